"""Messages that are refused, each with the way in which it must be refused."""

import struct

from encode import (
    BATCH_ID,
    CONFLICT_ID,
    ENTRY_ID,
    OTHER_ID,
    Pairs,
    Raw,
    float32,
    gzip,
    pack,
    raw_str,
    str32,
    text,
    uint64,
)
from good import ENTRY, HELLO, PING, SYNC, without

NAN = Raw(b"\xcb" + struct.pack(">d", float("nan")))
INFINITY = Raw(b"\xcb" + struct.pack(">d", float("inf")))
TIMESTAMP = Raw(b"\xd6\xff\x6b\x00\x00\x00")


def case(name, outcome, json=None, msgpack=None, direction="client"):
    return {"name": f"bad-{name}", "direction": direction, **outcome, "json": json, "msgpack": msgpack}


def both(name, outcome, value, direction="client"):
    return case(name, outcome, text(value), pack(value), direction)


def undecodable():
    closed = {"outcome": "undecodable"}
    for name, value in [
        ("array", [PING]),
        ("string", "ping"),
        ("null", None),
        ("number", 5),
        ("no-type", {"id": 1}),
        ("type-is-number", {"type": 5, "id": 1}),
        ("type-is-null", {"type": None, "id": 1}),
        ("type-is-map", {"type": {"a": 1}, "id": 1}),
        ("type-with-nul", {"type": "pi\0ng", "id": 1}),
    ]:
        yield both(name, closed, value)
    deep = 1
    for _ in range(32):
        deep = [deep]
    yield both("too-deep", closed, {**PING, "deep": deep})
    yield both("too-deep-in-an-entry", closed, {**SYNC, "entries": [{**ENTRY, "data": {"deep": deep}}]})
    yield case("empty", closed, b"", b"")
    yield case("wrong-encoding", closed, pack(PING), text(PING))
    yield case("truncated", closed, text(SYNC)[:-3], pack(SYNC)[:-3])
    yield case("trailing-bytes", closed, text(PING) + b"{}", pack(PING) + b"\xc0")
    yield case("trailing-reserved-byte", closed, msgpack=pack(PING) + b"\xc1")
    yield case("trailing-text", closed, text(PING) + b" x")
    yield case("reserved-byte", closed, msgpack=pack({**PING, "x": Raw(b"\xc1")}))
    yield case("integer-key", closed, msgpack=pack(Pairs([*PING.items(), (5, 1)])))
    yield case("type-is-bin", closed, msgpack=pack({"type": b"ping", "id": 1}))
    yield case("type-is-ext", closed, msgpack=pack({"type": Raw(b"\xd4\x01p"), "id": 1}))
    yield case("type-not-utf8", closed, msgpack=pack({"type": raw_str(b"p\xffng"), "id": 1}))
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1.", b".5", b"01", b"+1", b"0x10"):
        name = number.decode().lower().replace(".", "dot").replace("+", "plus").replace("-", "minus-")
        yield case(f"json-number-{name}", closed, b'{"type":"ping","id":1,"x":' + number + b"}")
    yield case("nan-in-an-entry", closed, text(SYNC).replace(b'"Printer"', b"NaN"))
    yield case("json-not-utf8", closed, b'{"type":"ping","id":1,"x":"\xff"}')
    yield case("json-entry-not-utf8", closed, text(SYNC).replace(b"Printer", b"\xff"))
    yield case("json-control-character", closed, b'{"type":"ping","id":1,"x":"\n"}')
    yield case("json-comment", closed, b'{"type":"ping","id":1/* one */}')
    yield case("json-trailing-comma", closed, b'{"type":"ping","id":1,}')
    yield case("json-type-lone-surrogate", closed, b'{"type":"\\ud800","id":1}')
    yield from bombs(closed)
    yield from compressed(closed)


def bombs(closed):
    """Small messages that claim to hold a great deal."""
    start = pack(PING).replace(b"\x82", b"\x83", 1)
    for marker, name in (
        (0xDD, "array32"),
        (0xDF, "map32"),
        (0xDB, "str32"),
        (0xC6, "bin32"),
        (0xC9, "ext32"),
    ):
        yield case(f"bomb-{name}", closed, msgpack=start + pack("x") + bytes([marker]) + b"\xff" * 5)
    array = b"\xdd" + b"\x00\x0f\x42\x40"
    yield case("bomb-nested-array32", closed, msgpack=start + pack("x") + array * 1000)
    entries = pack({"type": "sync", "id": 1, "batch_id": BATCH_ID}).replace(b"\x83", b"\x84", 1) + pack(
        "entries"
    )
    yield case("bomb-entries", closed, msgpack=entries + b"\xdd" + b"\xff" * 4)
    yield case("bomb-entry", closed, msgpack=entries + b"\x91" + array * 1000)
    yield case(
        "bomb-data", closed, msgpack=entries + b"\x91\x81" + pack("data") + array * 20 + b"\xc0" * 4900
    )
    yield case("bomb-map", closed, msgpack=b"\xdf\xff\xff\xff\xff" + pack("type") + pack("ping"))


def compressed(closed):
    """Messages that begin as gzip and are no whole stream, or too much of one."""
    frames = {"json": text({**PING, "x": "a" * 2000}), "msgpack": pack({**PING, "x": "a" * 2000})}

    def made(name, outcome, make):
        made = {encoding: make(gzip(frame)) for encoding, frame in frames.items()}
        return {"name": f"bad-gzip-{name}", "direction": "client", **outcome, "gzip": True, **made}

    yield made("truncated", closed, lambda message: message[:-9])
    yield made("without-its-end", closed, lambda message: message[:-8])
    yield made("trailing-bytes", closed, lambda message: message + b"\0")
    yield made("two-members", closed, lambda message: message + message)
    yield made("wrong-checksum", closed, lambda message: message[:-8] + b"\0\0\0\0" + message[-4:])
    yield made("wrong-length", closed, lambda message: message[:-4] + b"\xff" * 4)
    yield made("another-method", closed, lambda message: message[:2] + b"\x07" + message[3:])
    yield made("only-its-beginning", closed, lambda _: b"\x1f\x8b")
    yield made("of-no-frame", closed, lambda _: gzip(b"\xc1" * 2000))
    yield made("of-gzip", closed, lambda message: gzip(message))
    twice = gzip(b"a" * (5 << 20))
    yield made("bomb", {"outcome": "too_large"}, lambda _: twice)


def unknown_type():
    yield both("unknown-type", {"outcome": "unknown_type", "id": 9}, {"type": "teleport", "id": 9})
    yield both("unknown-type-without-id", {"outcome": "unknown_type", "id": None}, {"type": "teleport"})
    yield both("unknown-type-empty", {"outcome": "unknown_type", "id": 9}, {"type": "", "id": 9.0})
    yield both("type-of-the-other-side", {"outcome": "unknown_type", "id": 9}, {"type": "pong", "id": 9})
    yield both("hub-unknown-type", {"outcome": "unknown_type", "id": None}, {"type": "teleport"}, "hub")
    yield both("hub-type-of-the-other-side", {"outcome": "unknown_type", "id": 9}, PING, "hub")


def bad_request():
    def refused(id):
        return {"outcome": "bad_request", "id": id}

    for name, id in [
        ("missing", ...),
        ("null", None),
        ("negative", -1),
        ("fraction", 1.5),
        ("string", "1"),
        ("too-large", 2**53),
        ("list", [1]),
        ("map", {"a": 1}),
        ("bool", True),
    ]:
        yield both(f"id-{name}", refused(None), without({**PING, "id": id}, *(["id"] if id is ... else [])))
    yield case("id-number-out-of-range", refused(None), b'{"type":"ping","id":1e400}')
    yield case("id-nan", refused(None), msgpack=pack({**PING, "id": NAN}))
    yield case("id-bin", refused(None), msgpack=pack({**PING, "id": b"\1"}))
    yield case(
        "id-twice",
        refused(2),
        b'{"type":"ping","id":1,"id":2}',
        pack(Pairs([("type", "ping"), ("id", 1), ("id", 2)])),
    )
    device = {"id": "d", "kind": "phone"}
    for name, more in [
        ("token-number", {"token": 5}),
        ("token-nul", {"token": "a\0b"}),
        ("cursor-list", {"cursor": []}),
        ("attempt-negative", {"attempt": -1}),
        ("attempt-string", {"attempt": "1"}),
        ("attempt-fraction", {"attempt": 0.5}),
        ("subscriptions-map", {"subscriptions": {}}),
        ("compression-string", {"compression": "gzip"}),
        ("features-numbers", {"features": [1]}),
        ("client-time", {"client_time": "yesterday"}),
        ("client-time-number", {"client_time": 1732183200}),
        ("heartbeat-too-large", {"heartbeat_secs": 2**60}),
        ("device-string", {"device": "d"}),
        ("device-array", {"device": ["d", "phone"]}),
        ("device-without-id", {"device": without(device, "id")}),
        ("device-id-nul", {"device": {**device, "id": "a\0"}}),
        ("device-kind-unknown", {"device": {**device, "kind": "toaster"}}),
        ("device-kind-number", {"device": {**device, "kind": 3}}),
        ("device-kind-map", {"device": {**device, "kind": {"phone": None}}}),
        ("device-install-id", {"device": {**device, "install_id": ""}}),
        ("subscription-array", {"subscriptions": [["ticket"]]}),
        ("subscription-no-domain", {"subscriptions": [{}]}),
        ("subscription-priority", {"subscriptions": [{"domain": "ticket", "priority": "low"}]}),
        ("subscription-priority-number", {"subscriptions": [{"domain": "ticket", "priority": 1}]}),
        ("filter-list", {"subscriptions": [{"domain": "ticket", "filter": []}]}),
        ("filter-integer", {"subscriptions": [{"domain": "ticket", "filter": {"a": 2**53}}]}),
        ("filter-nul", {"subscriptions": [{"domain": "ticket", "filter": {"a": "\0"}}]}),
    ]:
        yield both(f"hello-{name}", refused(1), {**HELLO, **more})
    yield case("hello-token-lone-surrogate", refused(1), b'{"type":"hello","id":1,"token":"\\udc00"}')
    yield case("hello-attempt-out-of-range", refused(1), b'{"type":"hello","id":1,"attempt":1e400}')
    yield case("hello-token-bin", refused(1), msgpack=pack({**HELLO, "token": b"abc"}))
    yield case("hello-token-not-utf8", refused(1), msgpack=pack({**HELLO, "token": raw_str(b"\xff")}))
    yield case("hello-client-time-ext", refused(1), msgpack=pack({**HELLO, "client_time": TIMESTAMP}))
    filters = {**HELLO, "subscriptions": [{"domain": "ticket", "filter": {"a": NAN}}]}
    yield case("filter-nan", refused(1), msgpack=pack(filters))
    yield both("subscribe-missing", refused(3), {"type": "subscribe", "id": 3})
    yield both("subscribe-null", refused(3), {"type": "subscribe", "id": 3, "subscriptions": None})
    yield both("unsubscribe-missing", refused(4), {"type": "unsubscribe", "id": 4})
    yield both("unsubscribe-string", refused(4), {"type": "unsubscribe", "id": 4, "domains": "ticket"})
    yield both("ack-missing", refused(None), {"type": "ack"})
    yield both("ack-number", refused(None), {"type": "ack", "cursor": 5})
    for name, more in [
        ("batch-id-text", {"batch_id": "batch"}),
        ("batch-id-number", {"batch_id": 7}),
        ("batch-id-null", {"batch_id": None}),
        ("entries-null", {"entries": None}),
        ("entries-map", {"entries": {}}),
        ("entries-string", {"entries": "e"}),
        ("seq-negative", {"first_client_seq": -1}),
        ("seq-string", {"first_client_seq": "1"}),
        ("atomic-number", {"atomic": 1}),
        ("predict-string", {"predict": "yes"}),
    ]:
        yield both(f"sync-{name}", refused(2), {**SYNC, **more})
    yield both("sync-without-batch-id", refused(2), without(SYNC, "batch_id"))
    yield both("sync-without-entries", refused(2), without(SYNC, "entries"))
    yield case("sync-batch-id-bin", refused(2), msgpack=pack({**SYNC, "batch_id": bytes(16)}))
    yield case("sync-entries-bin", refused(2), msgpack=pack({**SYNC, "entries": b"\1\2"}))
    yield from requests_refused(refused)
    yield both("hub-position-without-seq", refused(None), {"type": "position", "cursor": "c"}, "hub")
    yield both("hub-pong-time", refused(9), {"type": "pong", "id": 9, "server_time": "now"}, "hub")


def requests_refused(refused):
    """The requests of `requests.py`, each with a field that is missing or wrong."""
    settings = {"type": "settings", "id": 5}
    resolve = {
        "type": "resolve",
        "id": 5,
        "conflict_id": CONFLICT_ID,
        "resolution": "client",
        "server_version": 9,
    }
    publish = {"type": "publish", "id": 5, "request_id": BATCH_ID}
    push = {"kind": "message", "to": {"user": "ann"}}
    for name, value in [
        ("catch-up-id-string", {"type": "catch_up", "id": "5"}),
        ("settings-battery-saver", {**settings, "battery_saver": "on"}),
        ("settings-network-quality-number", {**settings, "network_quality": 3}),
        ("settings-network-quality-empty", {**settings, "network_quality": ""}),
        ("settings-network-quality-long", {**settings, "network_quality": "x" * 33}),
        ("settings-network-quality-control", {**settings, "network_quality": "a\n"}),
        ("settings-app-state", {**settings, "app_state": "asleep"}),
        ("settings-app-state-number", {**settings, "app_state": 1}),
        ("digest-domains-string", {"type": "digest", "id": 5, "domains": "ticket"}),
        ("pull-limit-negative", {"type": "pull", "id": 5, "limit": -1}),
        ("pull-priority", {"type": "pull", "id": 5, "priority": "low"}),
        ("pull-filter-list", {"type": "pull", "id": 5, "filter": []}),
        ("resolve-without-conflict", without(resolve, "conflict_id")),
        ("resolve-conflict-text", {**resolve, "conflict_id": "the last one"}),
        ("resolve-without-version", without(resolve, "server_version")),
        ("resolve-resolution", {**resolve, "resolution": "manual_required"}),
        ("resolve-data-list", {**resolve, "data": []}),
        ("conflicts-after-number", {"type": "conflicts", "id": 5, "after": 5}),
        ("publish-without-request-id", without(publish, "request_id")),
        ("publish-changes-map", {**publish, "changes": {}}),
        ("publish-pushes-map", {**publish, "pushes": {}}),
        ("publish-push-array", {**publish, "pushes": [["message"]]}),
        ("publish-push-kind", {**publish, "pushes": [{**push, "kind": "entry_settled"}]}),
        ("publish-push-to-nobody", {**publish, "pushes": [{**push, "to": {}}]}),
        ("publish-push-to-both", {**publish, "pushes": [{**push, "to": {"user": "ann", "tenant": True}}]}),
        ("publish-push-to-a-device-alone", {**publish, "pushes": [{**push, "to": {"device": "d"}}]}),
        ("publish-push-to-an-array", {**publish, "pushes": [{**push, "to": ["ann"]}]}),
        ("publish-push-ttl", {**publish, "pushes": [{**push, "ttl_secs": -1}]}),
        ("presence-missing", {"type": "presence", "id": 5}),
        ("presence-numbers", {"type": "presence", "id": 5, "users": [5]}),
        ("token-missing", {"type": "token", "id": 5}),
        ("token-null", {"type": "token", "id": 5, "token": None}),
        ("hello-network-quality-long", {**HELLO, "id": 5, "network_quality": "x" * 33}),
    ]:
        yield both(f"request-{name}", refused(None if name == "catch-up-id-string" else 5), value)
    digest = {"type": "digest_result", "id": 5, "seq": 1}
    for name, value in [("short", "1f"), ("no-hex", "g" * 16), ("signed", "+" + "0" * 15), ("number", 5)]:
        wrong = {**digest, "domains": {"ticket": {"count": 1, "digest": value}}}
        yield both(f"hub-digest-{name}", refused(5), wrong, "hub")


def entry_faults():
    """The middle one of three entries is wrong: what is named of it, and what it is."""
    named = {"domain": "ticket", "mobile_id": OTHER_ID}

    def data(value):
        return {**ENTRY, "mobile_id": OTHER_ID, "data": {"a": value}}

    def put(**more):
        return {**ENTRY, "mobile_id": OTHER_ID, **more}

    in_data = {**named, "field": "a"}
    for name, value in [
        ("integer-too-large", 2**53),
        ("integer-too-small", -(2**53)),
        ("u64", 2**64 - 1),
        ("i64", -(2**63)),
        ("float-too-large", 2.0**53),
        ("nul", "a\0b"),
        ("nul-in-a-list", ["", {"k": "\0"}]),
    ]:
        yield entry(name, in_data, text(data(value)), pack(data(value)))
    for name, value in [
        ("nan", NAN),
        ("nan32", float32(float("nan"))),
        ("infinity", INFINITY),
        ("bin", b"abc"),
        ("bin-empty", b""),
        ("ext", Raw(b"\xd4\x05a")),
        ("ext-timestamp", TIMESTAMP),
        ("ext8", Raw(b"\xc7\x03\x05abc")),
        ("ext-empty", Raw(b"\xc7\x00\x05")),
        ("not-utf8", raw_str(b"\xff")),
        ("lone-surrogate", raw_str(b"\xed\xa0\x80")),
        ("nan-in-a-list", [1, {"x": [NAN]}]),
    ]:
        yield entry(name, in_data, None, pack(data(value)))
    for name, value in [
        ("1e400", b"1e400"),
        ("many-digits", b"1" * 400),
        ("json-lone-surrogate", b'"\\ud800"'),
        ("json-low-surrogate", b'"x\\udc00y"'),
        ("json-surrogate-in-a-list", b'[1,{"k":"\\ud800"}]'),
    ]:
        yield entry(name, in_data, text(data(0)).replace(b'"a":0', b'"a":' + value), None)
    yield entry(
        "key-twice",
        named,
        text(data(0)).replace(b'"a":0', b'"a":0,"a":1'),
        pack(put(data=Pairs([("a", 0), ("a", 1)]))),
    )
    yield entry("key-nul", named, text(put(data={"\0": 1})), pack(put(data={"\0": 1})))
    yield entry("key-integer", named, None, pack(put(data=Pairs([(1, 1)]))))
    yield entry("key-not-utf8", named, None, pack(put(data=Pairs([(raw_str(b"\xff"), 1)]))))
    yield entry("key-lone-surrogate", named, text(data(0)).replace(b'"a"', b'"\\ud800"'), None)
    twice = [*put().items(), ("version", 0)]
    yield entry(
        "field-twice",
        named,
        text(put()).replace(b'"version":0', b'"version":0,"version":0'),
        pack(Pairs(twice)),
    )
    yield entry("unknown-field-nan", {**named, "field": "later"}, None, pack(put(later=NAN)))
    nothing = {"domain": None, "mobile_id": None, "field": None}
    for name, value in [
        ("null", None),
        ("number", 5),
        ("negative", -5),
        ("float", 1.5),
        ("true", True),
        ("string", "e"),
        ("list", [ENTRY]),
    ]:
        yield entry(f"is-{name}", nothing, text(value), pack(value))
    for name, value in [
        ("bin", b"e"),
        ("ext", Raw(b"\xd4\x05a")),
        ("nan", NAN),
        ("not-utf8", raw_str(b"\xff")),
    ]:
        yield entry(f"is-{name}", nothing, None, pack(value))
    yield entry("is-1e400", nothing, b"1e400", None)
    yield entry("is-empty", {**nothing, "field": "domain"}, b"{}", b"\x80")
    yield from entry_fields(named, put)


def entry_fields(named, put):
    for field, names in [
        ("domain", {"domain": None}),
        ("mobile_id", {"mobile_id": None}),
        ("version", {}),
        ("data", {}),
    ]:
        outcome = {**named, **names, "field": field}
        value = without(put(), field)
        yield entry(f"{field}-missing", outcome, text(value), pack(value))
        value = put(**{field: None})
        yield entry(f"{field}-null", outcome, text(value), pack(value))
    for field, values in [
        ("domain", [5, ["ticket"]]),
        ("mobile_id", [5, "not-a-uuid", ENTRY_ID + "0", ""]),
        ("version", [-1, 1.5, "1", True, [0]]),
        ("data", [5, [], "title", True]),
        ("operation", ["create", 0, {"upsert": None}]),
        ("delta", ["true", 1]),
        ("client_timestamp", ["yesterday", 1732183200, "2026-13-01T00:00:00Z", "2026-11-21"]),
        ("priority", ["urgent", "LOW", 0, {"low": None}]),
        ("corrects", [-1, "7", 0.5]),
    ]:
        for number, value in enumerate(values):
            wrong = put(**{field: value})
            outcome = {**named, "field": field, **({field: None} if field in named else {})}
            yield entry(f"{field}-wrong-{number}", outcome, text(wrong), pack(wrong))
    yield entry(
        "mobile_id-bin",
        {**named, "mobile_id": None, "field": "mobile_id"},
        None,
        pack(put(mobile_id=bytes(16))),
    )
    yield entry(
        "version-1e400",
        {**named, "field": "version"},
        text(put()).replace(b'"version":0', b'"version":1e400'),
        None,
    )
    yield entry("version-too-large", {**named, "field": "version"}, None, pack(put(version=uint64(2**53))))
    yield entry(
        "domain-nul", {**named, "domain": None, "field": "domain"}, None, pack(put(domain=str32("tick\0et")))
    )
    deleted = put(operation="delete", data="all")
    yield entry("delete-with-text", {**named, "field": "data"}, text(deleted), pack(deleted))


def entry(name, fault, as_json, as_msgpack):
    """A batch of three, whose second is wrong."""
    batch = {**SYNC, "entries": ["MARK"]}
    around = [
        None if part is None else good + comma + part + comma + good
        for part, good, comma in ((as_json, text(ENTRY), b","), (as_msgpack, pack(ENTRY), b""))
    ]
    json = None if as_json is None else text(batch).replace(b'"MARK"', around[0])
    packed = None if as_msgpack is None else pack(batch).replace(b"\x91" + pack("MARK"), b"\x93" + around[1])
    return case(f"entry-{name}", {"outcome": "entry_fault", "entries": [None, fault, None]}, json, packed)


def cases():
    for group in (undecodable, unknown_type, bad_request, entry_faults):
        yield from group()
