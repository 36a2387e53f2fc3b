"""The frames beside the main job: settings, tokens, queries, conflicts, and what services send."""

from encode import BATCH_ID, CONFLICT_ID, ENTRY_ID, MAX, OTHER_ID, TIME

PUBLISH = {"type": "publish", "id": 8, "request_id": BATCH_ID}
CHANGE = {"domain": "ticket", "mobile_id": ENTRY_ID, "data": {"title": "Printer"}}
DELETE = {"domain": "ticket", "mobile_id": ENTRY_ID, "version": 3, "operation": "delete", "data": {}}
FULL_CHANGE = {
    "domain": "ticket",
    "mobile_id": OTHER_ID,
    "version": 7,
    "data": {"title": None},
    "delta": True,
    "client_timestamp": TIME,
    "priority": "critical",
    "corrects": 4,
    "unit": "north",
    "owner": "bob",
    "key": "A-17",
}


def client():
    yield "catch_up", {"type": "catch_up", "id": 5}
    settings = {"type": "settings", "id": 5}
    yield "settings-minimal", settings
    yield "settings-full", {
        **settings,
        "battery_saver": True,
        "network_quality": "poor",
        "app_state": "background",
    }
    yield "settings-foreground", {**settings, "battery_saver": False, "app_state": "foreground"}
    yield "digest-minimal", {"type": "digest", "id": 5}
    yield "digest-full", {"type": "digest", "id": 5, "domains": ["ticket", "task"]}
    yield "digest-none", {"type": "digest", "id": 5, "domains": []}
    yield "pull-minimal", {"type": "pull", "id": 5}
    yield "pull-full", {
        "type": "pull",
        "id": 5,
        "cursor": "p1",
        "domains": ["ticket"],
        "limit": 1000,
        "priority": "high",
        "filter": {"level": {"gte": 1, "lt": 3}, "status": ["NEW", "OPEN"]},
    }
    resolve = {"type": "resolve", "id": 6, "conflict_id": CONFLICT_ID}
    yield "resolve-client", {**resolve, "resolution": "client", "server_version": 9}
    yield "resolve-server", {**resolve, "resolution": "server", "server_version": 9}
    yield "resolve-merged", {
        **resolve,
        "resolution": "merged",
        "server_version": MAX,
        "data": {"level": 2, "title": "Both"},
    }
    yield "conflicts-minimal", {"type": "conflicts", "id": 7}
    yield "conflicts-full", {"type": "conflicts", "id": 7, "after": "n1", "limit": 50}
    yield "publish-minimal", PUBLISH
    yield "publish-changes", {
        **PUBLISH,
        "changes": [CHANGE, FULL_CHANGE, DELETE],
    }
    yield "publish-pushes", {
        **PUBLISH,
        "pushes": [
            {"kind": "message", "to": {"tenant": True}},
            {
                "kind": "message",
                "to": {"user": "ann", "device": "phone-1"},
                "priority": "critical",
                "topic": "fire",
                "data": {"text": "leave the building"},
                "ttl_secs": 600,
            },
            {"kind": "sync_trigger", "to": {"user": "ann"}, "domains": ["ticket"]},
            {"kind": "conflict_alert", "to": {"user": "bob"}, "conflict_id": CONFLICT_ID},
        ],
    }
    yield "presence", {"type": "presence", "id": 9, "users": ["ann", "bob"]}
    yield "presence-none", {"type": "presence", "id": 9, "users": []}
    yield "token", {"type": "token", "id": 10, "token": "eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}


def hub(values, change, result):
    trigger = {"type": "sync_trigger", "push_id": "p-1", "domains": ["ticket"]}
    for reason in ("held_back", "server_update", "operator", "queue_expired", "queue_overflow"):
        yield f"sync_trigger-{reason}", {**trigger, "reason": reason, "server_timestamp": TIME}
    conflict = {
        "push_id": "p-2",
        "conflict_id": CONFLICT_ID,
        "domain": "ticket",
        "mobile_id": ENTRY_ID,
        "action_required": True,
        "strategy": "manual",
        "resolution": "manual_required",
        "reason": "title was changed on both sides",
        "server_version": 9,
        "server_data": values,
        "client_data": {"title": "Mine"},
        "server_timestamp": TIME,
    }
    settled = {
        key: value
        for key, value in conflict.items()
        if key not in ("push_id", "server_data", "client_data", "server_timestamp")
    }
    settled = {
        **settled,
        "action_required": False,
        "strategy": "server_wins",
        "resolution": "server",
        "server_timestamp": TIME,
    }
    yield "conflict_alert-open", {"type": "conflict_alert", **conflict}
    yield "conflict_alert-unseen", {"type": "conflict_alert", "push_id": "p-3", **settled}
    message = {"type": "message", "push_id": "p-4", "priority": "normal"}
    yield "message-minimal", {**message, "data": {}, "server_timestamp": TIME}
    yield "message-full", {**message, "topic": "fire", "data": values, "server_timestamp": TIME}
    yield "entry_settled-applied", {
        "type": "entry_settled",
        "push_id": "p-5",
        "client_seq": 41,
        "mobile_id": ENTRY_ID,
        "outcome": "applied",
        "server_version": 7,
    }
    yield "entry_settled-discarded", {
        "type": "entry_settled",
        "push_id": "p-6",
        "mobile_id": ENTRY_ID,
        "outcome": "discarded",
    }
    record = {
        "mobile_id": ENTRY_ID,
        "version": 5,
        "data": {"title": "Printer"},
        "priority": "low",
        "server_timestamp": TIME,
    }
    plain = {key: value for key, value in change.items() if key != "type"}
    yield "pull_result-snapshot", {
        "type": "pull_result",
        "id": 5,
        "snapshot": {"domain": "ticket", "first": True, "last": False, "records": [record]},
        "cursor": "p2",
        "has_more": True,
    }
    yield "pull_result-changes", {
        "type": "pull_result",
        "id": 5,
        "changes": [plain, {**plain, "version": 2}],
        "cursor": "p3",
        "has_more": False,
    }
    resolved = {"type": "resolved", "id": 6, "conflict_id": CONFLICT_ID, "server_version": 10}
    yield "resolved", {**resolved, "server_data": {"title": "Mine"}}
    yield "resolved-deleted", resolved
    yield "conflicts_result-none", {"type": "conflicts_result", "id": 7, "conflicts": []}
    yield "conflicts_result-full", {
        "type": "conflicts_result",
        "id": 7,
        "conflicts": [conflict, settled],
        "next": "n2",
    }
    yield "published-none", {"type": "published", "id": 8, "results": [], "pushes": []}
    yield "published-full", {
        "type": "published",
        "id": 8,
        "results": [result("created", server_version=1)],
        "pushes": [{"push_id": "p-7", "delivered": 2, "queued": 1, "held": 0}],
    }
    yield "digest_result", {
        "type": "digest_result",
        "id": 5,
        "seq": 8812,
        "domains": {
            "task": {"count": 0, "digest": "0000000000000000"},
            "ticket": {"count": 1, "digest": "00f1e2d3c4b5a697"},
        },
    }
    yield "digest_result-none", {"type": "digest_result", "id": 5, "seq": 0, "domains": {}}
    yield "presence_result", {
        "type": "presence_result",
        "id": 9,
        "users": {"ann": [{"device": "phone-1", "kind": "phone", "since": TIME}], "bob": []},
    }
    yield "token_accepted", {"type": "token_accepted", "id": 10, "expires_at": TIME}
    yield "settings_applied", {
        "type": "settings_applied",
        "id": 5,
        "battery_saver": False,
        "network_quality": "unknown",
        "app_state": "foreground",
    }
    yield "settings_applied-full", {
        "type": "settings_applied",
        "id": 5,
        "battery_saver": True,
        "network_quality": "poor",
        "app_state": "background",
    }
