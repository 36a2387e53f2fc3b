"""Frames that must be read; the canonical ones must be written byte for byte as they stand."""

import requests
from encode import BATCH_ID, CONFLICT_ID, ENTRY_ID, INSTALL_ID, MAX, OTHER_ID, TIME, pack, text

VALUES = {
    "": "an empty key",
    "array": [1, [2.5, None], {}, []],
    "edge": [0, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, MAX],
    "false": False,
    "float": [0.1, -2.5, 1234.0625, 0.30000000000000004],
    "negative": [-1, -32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, -MAX],
    "nested": {"a": {"b": {"c": [True]}}},
    "null": None,
    "text": 'quote " backslash \\ slash / newline \n tab \t \u007f',
    "unicode": "Zürich 東京 🚲 e\u0301 \u2028",
    "ключ": "a key beyond ASCII",
}
ENTRY = {"domain": "ticket", "mobile_id": ENTRY_ID, "version": 0, "data": {"title": "Printer"}}
FULL_ENTRY = {
    "domain": "ticket",
    "mobile_id": OTHER_ID,
    "version": 7,
    "operation": "upsert",
    "data": VALUES,
    "delta": True,
    "client_timestamp": TIME,
    "priority": "low",
    "corrects": 41,
}
del FULL_ENTRY["operation"]  # the default is not written
SYNC = {"type": "sync", "id": 2, "batch_id": BATCH_ID, "entries": [ENTRY]}
HELLO = {"type": "hello", "id": 1}
FULL_HELLO = {
    "type": "hello",
    "id": MAX,
    "token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln",
    "device": {
        "id": "phone-1",
        "kind": "phone",
        "install_id": INSTALL_ID,
        "name": "Zoë's phone",
        "os": "Android 17",
        "app_version": "3.2.1",
    },
    "attempt": 12,
    "cursor": "AbC-_0123",
    "subscriptions": [
        {
            "domain": "ticket",
            "filter": {"level": {"gte": 1, "lt": 3}, "site": ["A", "B"], "status": "open"},
            "priority": "high",
        },
        {"domain": "task", "priority": "all"},
        {"domain": "journal", "filter": {"owner": None}, "priority": "critical"},
    ],
    "compression": ["gzip"],
    "features": ["delta"],
    "network_quality": "poor",
    "heartbeat_secs": 300,
    "max_frame_bytes": 65536,
    "client_time": TIME,
}
PING = {"type": "ping", "id": 9}
CHANGE = {
    "type": "data_update",
    "domain": "ticket",
    "operation": "create",
    "mobile_id": ENTRY_ID,
    "version": 1,
    "data": {"title": "Printer"},
    "priority": "normal",
    "origin": {"user": "ann"},
    "server_timestamp": TIME,
}
LIMITS = {
    "max_frame_bytes": 1048576,
    "max_entry_bytes": 65536,
    "max_batch_entries": 1000,
    "max_in_flight": 4,
    "recommended_batch": 100,
}
WELCOME = {
    "type": "welcome",
    "id": 1,
    "session_id": "s-1",
    "server_time": TIME,
    "epoch": 0,
    "last_client_seq": 0,
    "fresh": [],
    "features": [],
    "heartbeat_secs": 25,
    "limits": LIMITS,
}
RESULT = {"type": "sync_result", "id": 2, "batch_id": BATCH_ID}
RESULT_END = {"seq": 8812, "server_timestamp": TIME, "repeated": False}


def without(source, *keys):
    return {key: value for key, value in source.items() if key not in keys}


def change(operation, *dropped, **changed):
    return {**without(CHANGE, *dropped), "operation": operation, **changed}


def result(status, **more):
    return {"mobile_id": ENTRY_ID, "status": status, **more}


def conflict(strategy, resolution):
    return {"conflict_id": CONFLICT_ID, "strategy": strategy, "resolution": resolution}


def client():
    yield "hello-minimal", HELLO
    yield "hello-full", FULL_HELLO
    yield "hello-kinds-desktop", {**HELLO, "device": {"id": "d", "kind": "desktop"}}
    yield "hello-kinds-laptop", {**HELLO, "device": {"id": "d", "kind": "laptop"}}
    yield "hello-kinds-tablet", {**HELLO, "device": {"id": "d", "kind": "tablet"}}
    yield "subscribe-none", {"type": "subscribe", "id": 3, "subscriptions": []}
    yield "subscribe-union", {
        "type": "subscribe",
        "id": 3,
        "subscriptions": [
            {"domain": "ticket", "filter": {"status": "open"}},
            {"domain": "ticket", "filter": {}},
        ],
    }
    yield "unsubscribe", {"type": "unsubscribe", "id": 4, "domains": ["ticket", "task"]}
    yield "unsubscribe-none", {"type": "unsubscribe", "id": 4, "domains": []}
    yield "sync-minimal", SYNC
    yield "sync-full", {
        **SYNC,
        "id": 300,
        "entries": [ENTRY, FULL_ENTRY],
        "first_client_seq": 40,
        "atomic": True,
        "cross_device": False,
        "predict": True,
        "client_time": TIME,
    }
    yield "sync-delete", {
        **SYNC,
        "entries": [{**without(ENTRY, "data"), "version": 3, "operation": "delete", "data": {}}],
    }
    yield "sync-empty-data", {**SYNC, "entries": [{**ENTRY, "data": {}}]}
    yield "sync-no-entries", {**SYNC, "entries": []}
    yield "sync-twenty-entries", {**SYNC, "entries": [{**ENTRY, "version": n} for n in range(20)]}
    yield "ack", {"type": "ack", "cursor": "x" * 1024}
    yield "ping-minimal", PING
    yield "ping-full", {**PING, "client_time": TIME}
    yield from requests.client()


def hub():
    yield "welcome-minimal", WELCOME
    yield "welcome-full", {
        **without(WELCOME, "features", "heartbeat_secs", "limits"),
        "epoch": 3,
        "last_client_seq": 4711,
        "fresh": [
            {"domain": f"d{n}", "reason": reason}
            for n, reason in enumerate(
                ["new", "changed", "cursor_expired", "cursor_invalid", "epoch_changed"]
            )
        ],
        "compression": ["gzip"],
        "features": ["delta"],
        "heartbeat_secs": 60,
        "limits": LIMITS,
    }
    yield "subscribed-empty", {"type": "subscribed", "id": 3, "subscriptions": [], "fresh": []}
    yield "subscribed-full", {
        "type": "subscribed",
        "id": 3,
        "subscriptions": FULL_HELLO["subscriptions"],
        "fresh": [{"domain": "ticket", "reason": "new"}],
    }
    snapshot = {"type": "snapshot", "domain": "ticket", "first": True, "last": True, "records": []}
    record = {
        "mobile_id": ENTRY_ID,
        "version": 5,
        "data": VALUES,
        "priority": "critical",
        "server_timestamp": TIME,
    }
    yield "snapshot-empty", {**snapshot, "cursor": "c1"}
    yield "snapshot-full", {
        **snapshot,
        "last": False,
        "records": [record, {**record, "mobile_id": OTHER_ID, "data": {}}],
        "total": 2500,
        "cursor": "c2",
    }
    yield "snapshot-page", {**snapshot, "first": False, "last": False, "records": [record], "cursor": "c3"}
    yield "snapshot-last", {**snapshot, "first": False, "cursor": "c4"}
    yield "data_update-create", CHANGE
    yield "data_update-full", {
        **without(CHANGE, "data", "priority", "origin", "server_timestamp"),
        "operation": "update",
        "version": MAX,
        "data": VALUES,
        "changed": ["float", "ключ"],
        "priority": "high",
        "origin": {"user": "ann", "device": "phone-1"},
        "server_timestamp": TIME,
    }
    yield "data_update-delta", {
        **without(CHANGE, "data", "priority", "origin", "server_timestamp"),
        "operation": "update",
        "version": 8,
        "base_version": 7,
        "data": {"status": "OPEN"},
        "changed": ["place", "status"],
        "priority": "normal",
        "origin": {"user": "ann"},
        "server_timestamp": TIME,
    }
    yield "data_update-delete", change("delete", "data", version=9)
    yield "data_update-remove", change("remove", "data", version=9, priority="low")
    yield "position", {"type": "position", "cursor": "c5", "seq": 8812}
    yield "position-zero", {"type": "position", "cursor": "c5", "seq": 0}
    yield "caught_up-minimal", {"type": "caught_up", "cursor": "c6", "seq": 8813}
    yield "caught_up-full", {"type": "caught_up", "cursor": "c6", "seq": 8813, "id": 17}
    yield "sync_result-created", {**RESULT, "results": [result("created", server_version=1)], **RESULT_END}
    yield "sync_result-plain", {
        **RESULT,
        "results": [
            result("updated", server_version=4),
            result("updated", server_version=5, deleted=True),
            result("unchanged", server_version=4),
            result("duplicate", server_version=4),
        ],
        "seq": 8812,
        "server_timestamp": TIME,
        "repeated": True,
        "backoff_ms": 250,
        "recommended_batch": 50,
    }
    yield "sync_result-merged", {
        **RESULT,
        "results": [result("merged", server_version=6, server_data=VALUES)],
        **RESULT_END,
    }
    yield "sync_result-conflicts", {
        **RESULT,
        "results": [
            result(
                "conflict",
                server_version=9,
                server_data={"title": "x"},
                conflict=conflict("most_recent_wins", "client"),
            ),
            result("conflict", server_version=9, conflict=conflict("server_wins", "server")),
            result("conflict", server_version=9, conflict=conflict("client_wins", "client")),
            result("conflict", server_version=9, conflict=conflict("preserve_escalation", "merged")),
            result("conflict", server_version=9, conflict=conflict("device_priority", "merged")),
            result(
                "conflict", server_version=9, deleted=True, conflict=conflict("manual", "manual_required")
            ),
        ],
        **RESULT_END,
    }
    yield "sync_result-errors", {
        **RESULT,
        "results": [
            result(
                "error", error={"code": "validation_failed", "message": "title is missing", "field": "title"}
            ),
            result("error", error={"code": "not_found", "message": "no such record"}),
            {
                "mobile_id": None,
                "status": "error",
                "error": {
                    "code": "validation_failed",
                    "message": "mobile_id is missing",
                    "field": "mobile_id",
                },
            },
            result(
                "duplicate",
                server_version=3,
                error={"code": "invalid_transition", "message": "done is the end"},
            ),
            result("conflict_risk"),
        ],
        **RESULT_END,
    }
    yield from requests.hub(VALUES, CHANGE, result)
    yield "pong", {"type": "pong", "id": 9, "server_time": TIME}
    yield "goaway", {"type": "goaway", "reason": "shutting_down", "reconnect_after_ms": 1500}
    for code, temporary in CODES:
        yield f"error-{code}", {
            "type": "error",
            "id": 2,
            "code": code,
            "message": "a sentence",
            "temporary": temporary,
        }
    yield "error-full", {
        "type": "error",
        "id": 2,
        "code": "rate_limited",
        "message": "zu schnell – später",
        "temporary": True,
        "retry_after_ms": 60000,
    }
    yield "error-without-id", {
        "type": "error",
        "code": "too_large",
        "message": "a sentence",
        "temporary": False,
    }


TEMPORARY = ["too_many_in_flight", "rate_limited", "out_of_order", "unavailable", "internal"]
LASTING = [
    "bad_request",
    "unauthorized",
    "forbidden",
    "unknown_type",
    "unknown_domain",
    "validation_failed",
    "invalid_transition",
    "not_found",
    "too_large",
    "too_many_entries",
    "idempotency_key_reused",
    "depends_on_failed",
    "not_applied",
    "conflict_not_open",
    "conflict_moved",
    "device_deactivated",
    "cursor_invalid",
    "cursor_expired",
]
CODES = [(code, True) for code in TEMPORARY] + [(code, False) for code in LASTING]


def cases():
    for direction, frames in (("client", client()), ("hub", hub())):
        for name, frame in frames:
            yield {
                "name": name,
                "direction": direction,
                "canonical": True,
                "json": text(frame),
                "msgpack": pack(frame),
            }
