"""Frames that must be read, though nobody needs to write them so."""

from encode import BATCH_ID, ENTRY_ID, MAX, TIME, Raw, float32, gzip, int64, pack, str32, text, uint64
from good import (
    CHANGE,
    ENTRY,
    FULL_HELLO,
    HELLO,
    PING,
    RESULT,
    RESULT_END,
    SYNC,
    WELCOME,
    change,
    conflict,
    result,
)
from requests import PUBLISH


def sync_variants():
    """Other ways of saying `sync-minimal`."""
    reverse = dict(reversed(SYNC.items()))
    yield "sync-keys-in-any-order", {**reverse, "entries": [dict(reversed(ENTRY.items()))]}
    yield "sync-upper-case-uuids", {
        **SYNC,
        "batch_id": BATCH_ID.upper(),
        "entries": [{**ENTRY, "mobile_id": ENTRY_ID.upper()}],
    }
    yield "sync-integral-floats", {**SYNC, "id": 2.0, "entries": [{**ENTRY, "version": 0.0}]}
    yield "sync-nulls-for-absent", {
        **SYNC,
        "first_client_seq": None,
        "atomic": None,
        "cross_device": None,
        "predict": None,
        "client_time": None,
        "entries": [
            {
                **ENTRY,
                "operation": None,
                "delta": None,
                "client_timestamp": None,
                "priority": None,
                "corrects": None,
            }
        ],
    }
    yield "sync-defaults-written-out", {**SYNC, "entries": [{**ENTRY, "operation": "upsert", "delta": False}]}
    yield "sync-unknown-keys", {
        **SYNC,
        "later": {"type": "ping", "id": 5},
        "entries": [{**ENTRY, "later": [1.5, {"a": None}], "key": "k"}],
    }


def equal():
    """Frames that say what a canonical one says: name, which one, JSON's value, MessagePack's value."""
    for name, value in sync_variants():
        yield name, "client", "sync-minimal", value, value
    nulls = dict.fromkeys(
        [
            "token",
            "device",
            "attempt",
            "cursor",
            "subscriptions",
            "compression",
            "features",
            "network_quality",
            "heartbeat_secs",
            "max_frame_bytes",
            "client_time",
        ]
    )
    yield "hello-nulls-for-absent", "client", "hello-minimal", {**HELLO, **nulls}, {**HELLO, **nulls}
    site = FULL_HELLO["subscriptions"][0]
    floats = {
        **FULL_HELLO,
        "id": float(MAX),
        "attempt": 12.0,
        "heartbeat_secs": 300.0,
        "subscriptions": [
            {**site, "filter": {**site["filter"], "level": {"gte": 1.0, "lt": 3.0}}},
            *FULL_HELLO["subscriptions"][1:],
        ],
    }
    yield "hello-integral-floats", "client", "hello-full", floats, floats
    zone = {**PING, "client_time": "2026-11-21T12:00:00.1234569+02:00"}
    yield "ping-other-zone", "client", "ping-full", zone, zone
    deep = 1
    for _ in range(31):
        deep = [deep]
    yield "ping-deepest", "client", "ping-minimal", {**PING, "deep": deep}, {**PING, "deep": deep}
    forms = {
        "type": str32("ping"),
        str32("id"): uint64(9),
        "f": float32(1.5),
        "x": Raw(b"\xc7\x02\x05ab"),
        "b": b"z",
    }
    yield "ping-longest-forms", "client", "ping-minimal", None, forms
    entry = {**ENTRY, "version": int64(0), "data": {"title": str32("Printer")}}
    yield "sync-longest-forms", "client", "sync-minimal", None, {
        **SYNC,
        "id": float32(2.0),
        "entries": [entry],
    }
    yield "position-unknown-keys", "hub", "position-zero", *[
        {"type": "position", "later": [], "cursor": "c5", "seq": 0.0}
    ] * 2
    nothing = {
        "type": "settings",
        "id": 5.0,
        "battery_saver": None,
        "network_quality": None,
        "app_state": None,
    }
    yield "settings-nulls-for-absent", "client", "settings-minimal", nothing, nothing
    nothing = {**PUBLISH, "changes": [], "pushes": None}
    yield "publish-nothing-written-out", "client", "publish-minimal", nothing, nothing
    nothing = {"type": "pull", "id": 5, **dict.fromkeys(["cursor", "domains", "limit", "priority", "filter"])}
    yield "pull-nulls-for-absent", "client", "pull-minimal", nothing, nothing
    nothing = {"type": "digest", "id": 5, "domains": None}
    yield "digest-null-for-absent", "client", "digest-minimal", nothing, nothing
    delete = change("delete", version=9, data=None, changed=None)
    yield "data_update-delete-null-data", "hub", "data_update-delete", delete, delete


def later():
    """Frames with names that this version does not know, and must not fail on."""
    yield "data_update-unknown-operation", change("archive")
    yield "sync_result-unknown-status", {**RESULT, "results": [result("pondered")], **RESULT_END}
    yield "sync_result-unknown-names", {
        **RESULT,
        "results": [
            result("conflict", conflict=conflict("dice", "both")),
            result("error", error={"code": "too_late", "message": "m"}),
        ],
        **RESULT_END,
    }
    yield "welcome-unknown-reason", {**WELCOME, "fresh": [{"domain": "ticket", "reason": "moon"}]}
    yield "sync_trigger-unknown-reason", {
        "type": "sync_trigger",
        "push_id": "p",
        "domains": [],
        "reason": "weather",
        "server_timestamp": TIME,
    }
    yield "entry_settled-unknown-outcome", {
        "type": "entry_settled",
        "push_id": "p",
        "mobile_id": ENTRY_ID,
        "outcome": "forgotten",
    }
    yield "welcome-unknown-names", {**WELCOME, "compression": ["gzip", "brotli"], "features": ["telepathy"]}
    yield "error-unknown-code", {"type": "error", "code": "too_late", "message": "m", "temporary": True}


# Long enough to be compressed, and small when it is.
LONG_SYNC = {
    **SYNC,
    "entries": [{**ENTRY, "version": n, "data": {"title": "Printer " * 20}} for n in range(20)],
}
LONG_CHANGE = change("update", data={"title": "Printer " * 500})


def compressed():
    """Whole messages as gzip: in a JSON session too they are binary messages."""
    for name, direction, frame in [
        ("sync-long", "client", LONG_SYNC),
        ("data_update-long", "hub", LONG_CHANGE),
    ]:
        plain = {"direction": direction, "canonical": False, "json": text(frame), "msgpack": pack(frame)}
        yield {"name": name, **plain}
        packed = [gzip(plain[encoding]) for encoding in ("json", "msgpack")]
        yield {
            "name": f"{name}-gzip",
            "direction": direction,
            "canonical": False,
            "same_as": name,
            "gzip": True,
            "json": packed[0],
            "msgpack": packed[1],
        }
    # A header with a name and a comment, and blocks that are only stored.
    yield {
        "name": "sync-long-gzip-with-name",
        "direction": "client",
        "canonical": False,
        "same_as": "sync-long",
        "gzip": True,
        "msgpack": gzip(pack(LONG_SYNC), 0, b"frame\0a comment\0"),
    }


def cases():
    yield from compressed()
    for name, direction, same_as, as_json, as_msgpack in equal():
        yield {
            "name": name,
            "direction": direction,
            "canonical": False,
            "same_as": same_as,
            "json": None if as_json is None else text(as_json),
            "msgpack": pack(as_msgpack),
        }
    for name, frame in later():
        yield {
            "name": name,
            "direction": "hub",
            "canonical": False,
            "json": text(frame),
            "msgpack": pack(frame),
        }
