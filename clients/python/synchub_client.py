"""A client of synchub in one file: a copy and an outbox in SQLite, kept in step with the hub.

It is an example for authors of clients in other languages and follows `protocol/PROTOCOL.md` section by
section; the README beside it says where each section went. `Store` is what survives a restart and needs no
network; `Client` is the connection; the functions at the top are the two encodings and gzip.
"""

import asyncio
import base64
import gzip
import hashlib
import json
import math
import random
import re
import sqlite3
import time
import uuid
import zlib
from datetime import datetime, timezone

import msgpack
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

SUBPROTOCOLS = {"json": "synchub.v1.json", "msgpack": "synchub.v1.msgpack"}
MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1
DAY = 24 * 3600


class FrameError(Exception):
    """A message that is no frame. `outcome` names the way, as `golden/index.json` does."""

    def __init__(self, outcome, message):
        super().__init__(message)
        self.outcome = outcome


class HubError(Exception):
    """An `error` frame: nothing of the request was done."""

    def __init__(self, frame):
        super().__init__(f"{frame['code']}: {frame['message']}")
        self.code, self.temporary, self.frame = frame["code"], frame["temporary"], frame


class Disconnected(Exception):
    """The connection ended before the answer came; what was asked may have been done or not."""


class Stopped(Exception):
    """The hub does not want this client again: `code` is its close code, or the code of an error."""

    def __init__(self, code, reason=""):
        super().__init__(f"{code} {reason}".strip())
        self.code = code


class _Reconnect(Exception):
    """Ends this connection; the next one says hello anew. `failed`: after a backoff."""

    def __init__(self, why, failed=True):
        super().__init__(why)
        self.failed = failed


# ---- Carrier: frames as messages -------------------------------------------------------------------


def encode(frame, encoding, may_compress=False):
    """A frame as one message; text is what JSON is sent as, bytes are MessagePack or gzip."""
    if encoding == "json":
        message = json.dumps(frame, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        content = message.encode()
    else:
        message = content = msgpack.packb(frame)
    if may_compress and len(content) > 1024:
        packed = gzip.compress(content, mtime=0)
        if len(packed) < len(content):
            return packed
    return message


def decode(message, encoding, max_inflated=0):
    """The frame that a message is. `max_inflated` caps what gzip may become; 0: gzip was not agreed on."""
    if isinstance(message, bytes) and (encoding == "json" or message[:2] == b"\x1f\x8b"):
        if not max_inflated:
            raise FrameError("undecodable", "compressed, which was not agreed on")
        content = inflate(message, max_inflated)
    elif isinstance(message, str) and encoding == "msgpack":
        raise FrameError("undecodable", "text, where MessagePack was agreed on")
    else:
        content = message
    try:
        if encoding == "json":
            text = content if isinstance(content, str) else content.decode()
            frame = json.loads(text, parse_constant=_no_number)
        else:
            frame = msgpack.unpackb(content, strict_map_key=True)
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise FrameError("undecodable", str(error)) from error
    frame = _plain(frame, 1)
    kind = frame.get("type") if isinstance(frame, dict) else None
    if not isinstance(kind, str) or fault_in(kind):
        raise FrameError("undecodable", "no map with a string `type`")
    return frame


def inflate(message, limit):
    """What one gzip member holds. Never makes more than `limit` bytes, whatever the message says."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        content = inflater.decompress(message, limit + 1)
    except zlib.error as error:
        raise FrameError("undecodable", str(error)) from error
    if len(content) > limit:
        raise FrameError("too_large", f"inflates to more than {limit} bytes")
    if not inflater.eof or inflater.unused_data:
        raise FrameError("undecodable", "not one whole gzip member")
    return content


def _no_number(text):
    raise ValueError(f"{text} is no JSON")


def _plain(value, depth):
    """JSON's data model: integral floats are integers, and nothing is nested too deep."""
    if isinstance(value, (dict, list)) and depth > MAX_DEPTH:
        raise FrameError("undecodable", "nested too deep")
    if isinstance(value, dict):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def fault_in(value):
    """What makes a value unfit for an entry, or None: the hub would answer `validation_failed`."""
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            return "U+0000 or a lone surrogate"
    elif isinstance(value, dict):
        return next(filter(None, (fault_in(part) for pair in value.items() for part in pair)), None)
    elif isinstance(value, list):
        return next(filter(None, map(fault_in, value)), None)
    elif isinstance(value, (int, float)):
        if not math.isfinite(value) or (value == int(value) and abs(value) > MAX_INTEGER):
            return f"{value} is out of range"
    elif value is not None:
        return f"{type(value).__name__} is no JSON"
    return None


# What a frame of the hub must have. A frame of another type is passed over; one of these without a field,
# or with another type in it, ends the connection, for nobody knows what else is wrong.
_FIELDS = {
    "welcome": {"id": int, "epoch": int, "last_client_seq": int, "fresh": list, "server_time": "time",
                "heartbeat_secs": int, "limits": dict},
    "subscribed": {"id": int, "subscriptions": list, "fresh": list},
    "snapshot": {"domain": str, "first": bool, "last": bool, "records": list, "cursor": str},
    "data_update": {"domain": str, "operation": str, "mobile_id": str, "version": int},
    "position": {"cursor": str, "seq": int},
    "caught_up": {"cursor": str, "seq": int},
    "sync_result": {"id": int, "batch_id": str, "results": list, "seq": int},
    "digest_result": {"id": int, "seq": int, "domains": dict},
    "token_accepted": {"id": int, "expires_at": "time"},
    "settings_applied": {"id": int, "battery_saver": bool, "network_quality": str, "app_state": str},
    "pong": {"id": int, "server_time": "time"},
    "goaway": {"reason": str, "reconnect_after_ms": int},
    "error": {"code": str, "message": str, "temporary": bool},
}
_PUSHES = {"sync_trigger", "conflict_alert", "message", "entry_settled"}


def check_frame(frame):
    """Raises FrameError: `unknown_type` (pass it over) or `bad_request` (a hub at fault)."""
    kind = frame["type"]
    if kind not in _FIELDS and kind not in _PUSHES:
        raise FrameError("unknown_type", f"unknown type {kind}")
    for field, wanted in _FIELDS.get(kind, {}).items():
        value = frame.get(field)
        right = is_time(value) if wanted == "time" else isinstance(value, wanted)
        if not right or (wanted is int and isinstance(value, bool)):
            raise FrameError("bad_request", f"{kind} with {field} {value!r}")
    if kind == "digest_result":
        for name, state in frame["domains"].items():
            if not re.fullmatch("[0-9a-f]{16}", str(state.get("digest"))):
                raise FrameError("bad_request", f"no digest of {name}")


def is_time(value):
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def now_text():
    return datetime.now(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


# ---- What to keep ----------------------------------------------------------------------------------


class Store:
    """The copy, the cursor, the marks, the outbox and the numbers of one account, in one SQLite file.

    Changes of the copy are committed with the cursor that follows them; changes of the outbox at once. That
    commits records without their cursor now and then, which only makes them come again.
    """

    TABLES = """
        CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value);
        CREATE TABLE IF NOT EXISTS record (
            domain TEXT, mobile_id TEXT, version INTEGER, data TEXT, PRIMARY KEY (domain, mobile_id));
        CREATE TABLE IF NOT EXISTS running (domain TEXT PRIMARY KEY);  -- snapshots between first and last
        CREATE TABLE IF NOT EXISTS mark (domain TEXT, mobile_id TEXT, PRIMARY KEY (domain, mobile_id));
        CREATE TABLE IF NOT EXISTS edit (
            place INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which edits were made
            number INTEGER, batch_id TEXT, domain TEXT, mobile_id TEXT, entry TEXT,
            state TEXT DEFAULT 'waiting',  -- waiting, shown (answered, not in the copy yet), kept (24 h)
            shown TEXT,  -- the whole record to show instead, from the answer; 'null': it is deleted
            server_version INTEGER, seq INTEGER, settled_at REAL);
        """

    def __init__(self, path=":memory:"):
        self.db = sqlite3.connect(path)
        self.db.row_factory = sqlite3.Row
        self.db.executescript(self.TABLES)
        self.leaving = set()  # domains whose copy goes with the next cursor
        if self.get("install_id") is None:
            self.put("install_id", str(uuid.uuid4()))
            self.put("next_number", 1)
        self.db.commit()

    def close(self):
        self.db.commit()
        self.db.close()

    def get(self, key):
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row and row["value"]

    def put(self, key, value):
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def next_attempt(self):
        self.put("attempt", (self.get("attempt") or 0) + 1)
        self.db.commit()
        return self.get("attempt")

    # ---- The copy: fed by the data lane alone

    def held(self, domain, mobile_id):
        """The version that the copy has of a record, or None."""
        row = self.db.execute(
            "SELECT version FROM record WHERE domain = ? AND mobile_id = ?", (domain, mobile_id)).fetchone()
        return row and row["version"]

    def copy(self, domain):
        """What the hub has told: {mobile_id: (version, data)}."""
        rows = self.db.execute("SELECT * FROM record WHERE domain = ?", (domain,))
        return {row["mobile_id"]: (row["version"], json.loads(row["data"])) for row in rows}

    def leave_all_but(self, domains):
        held = self.db.execute("SELECT domain FROM record UNION SELECT domain FROM running")
        self.leaving = {row["domain"] for row in held} - set(domains)

    def data_update(self, change):
        """C6: adopts what is newer than what is held. False: an operation that this client does not know."""
        domain, mobile_id, version = change["domain"], change["mobile_id"], change["version"]
        if change["operation"] not in ("create", "update", "delete", "remove"):
            return False
        if domain in self.leaving:
            return True
        if self.db.execute("SELECT 1 FROM running WHERE domain = ?", (domain,)).fetchone():
            self._mark(domain, mobile_id)
        held = self.held(domain, mobile_id)
        gone = change["operation"] in ("delete", "remove")
        if held is None or version > held:
            if gone:
                self._drop(domain, mobile_id)
            else:
                self._adopt(domain, mobile_id, version, change["data"])
        self.db.execute(
            "UPDATE edit SET state = 'kept' WHERE state = 'shown' AND domain = ? AND mobile_id = ?"
            " AND (server_version <= ? OR ?)", (domain, mobile_id, version, gone))
        return True

    def snapshot(self, page):
        """C4: adopts every record of the page; at the last, drops what did not come."""
        domain = page["domain"]
        if domain not in self.leaving:
            if page["first"]:
                self._end_snapshot(domain)
                self.db.execute("INSERT INTO running VALUES (?)", (domain,))
            for record in page["records"]:
                self._mark(domain, record["mobile_id"])
                self._adopt(domain, record["mobile_id"], record["version"], record["data"])
                self.db.execute(
                    "UPDATE edit SET state = 'kept' WHERE state = 'shown' AND domain = ? AND mobile_id = ?"
                    " AND server_version <= ?", (domain, record["mobile_id"], record["version"]))
            if page["last"]:
                self.db.execute(
                    "DELETE FROM record WHERE domain = ? AND mobile_id NOT IN"
                    " (SELECT mobile_id FROM mark WHERE domain = ?)", (domain, domain))
                self._end_snapshot(domain)
        self.cursor(page["cursor"])

    def cursor(self, cursor, seq=None):
        """Stores a cursor, and with it everything that came before."""
        for domain in self.leaving:
            self.db.execute("DELETE FROM record WHERE domain = ?", (domain,))
            self._end_snapshot(domain)
        self.leaving = set()
        self.put("cursor", cursor)
        if seq is not None:
            self.put("seq", seq)
            self.db.execute("UPDATE edit SET state = 'kept' WHERE state = 'shown' AND seq <= ?", (seq,))
            self.db.execute("DELETE FROM edit WHERE state = 'kept' AND settled_at < ?", (time.time() - DAY,))
        self.db.commit()

    def _adopt(self, domain, mobile_id, version, data):
        self.db.execute("INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)",
                        (domain, mobile_id, version, json.dumps(data)))

    def _drop(self, domain, mobile_id):
        self.db.execute("DELETE FROM record WHERE domain = ? AND mobile_id = ?", (domain, mobile_id))

    def _mark(self, domain, mobile_id):
        self.db.execute("INSERT OR IGNORE INTO mark VALUES (?, ?)", (domain, mobile_id))

    def _end_snapshot(self, domain):
        self.db.execute("DELETE FROM mark WHERE domain = ?", (domain,))
        self.db.execute("DELETE FROM running WHERE domain = ?", (domain,))

    def digest(self, domain):
        """Count and digest of the copy, to hold against the hub's."""
        rows = self.db.execute("SELECT mobile_id, version FROM record WHERE domain = ?", (domain,)).fetchall()
        texts = (f"{row['mobile_id']}:{row['version']}".encode() for row in rows)
        total = sum(int.from_bytes(hashlib.sha256(text).digest()[:8], "big") for text in texts)
        return {"count": len(rows), "digest": f"{total % 2**64:016x}"}

    # ---- Showing: the copy with answered edits and the outbox on top (C7)

    def view(self, domain):
        """What the user sees: {mobile_id: data}; a cleared field is null, as in what the hub tells."""
        seen = {mobile_id: data for mobile_id, (_, data) in self.copy(domain).items()}
        edits = self.db.execute(
            "SELECT * FROM edit WHERE domain = ? AND state IN ('waiting', 'shown') ORDER BY place", (domain,))
        for edit in edits:
            mobile_id, entry = edit["mobile_id"], json.loads(edit["entry"])
            if seen.get(mobile_id) is None and (entry["version"] or mobile_id in seen):
                continue  # deleted, or out of sight by now
            if edit["shown"] is not None:
                seen[mobile_id] = json.loads(edit["shown"])
            elif entry.get("operation") == "delete":
                seen[mobile_id] = None
            else:
                seen[mobile_id] = {**(seen.get(mobile_id) or {}), **entry["data"]}
        return {mobile_id: data for mobile_id, data in seen.items() if data is not None}

    # ---- The outbox

    def add(self, domain, mobile_id, data, kind="edit", corrects=None):
        """Puts a "create", "edit" or "delete" behind the others; `data` holds the edited fields only."""
        fault = fault_in(data)
        if fault:
            raise ValueError(fault)
        entry = {"domain": domain, "mobile_id": mobile_id, "version": self.held(domain, mobile_id) or 0,
                 "client_timestamp": now_text(), "data": data}
        if kind == "delete":
            entry["operation"] = "delete"
        elif kind == "edit":  # a creation goes without: with `delta` the record must be there
            entry["delta"] = True
        if corrects is not None:
            entry["corrects"] = corrects
        number = self.get("next_number")
        self.db.execute("INSERT INTO edit (number, domain, mobile_id, entry) VALUES (?, ?, ?, ?)",
                        (number, domain, mobile_id, json.dumps(entry)))
        self.put("next_number", number + 1)
        self.db.commit()
        return number

    def waiting(self):
        return self.db.execute("SELECT * FROM edit WHERE state = 'waiting' ORDER BY number").fetchall()

    def next_batch(self, on_the_way, max_entries, max_bytes):
        """The batch with the lowest numbers that is not on the way: (batch_id, edits), or None."""
        rows = [row for row in self.waiting() if row["batch_id"] not in on_the_way]
        if not rows:
            return None
        batch_id = rows[0]["batch_id"]
        if batch_id is not None:  # sent before: the same id goes with the same contents
            return batch_id, [row for row in rows if row["batch_id"] == batch_id]
        batch, size = [], 0
        for row in rows:
            size += len(row["entry"].encode()) + 1
            follows = not batch or row["number"] == batch[-1]["number"] + 1
            if row["batch_id"] is not None or not follows or len(batch) == max_entries:
                break
            if batch and size > max_bytes:
                break
            batch.append(row)
        batch_id = str(uuid.uuid4())
        self._set_batch([row["place"] for row in batch], batch_id)
        return batch_id, batch

    def _set_batch(self, places, batch_id):
        self.db.executemany("UPDATE edit SET batch_id = ? WHERE place = ?",
                            [(batch_id, place) for place in places])
        self.db.commit()

    def take_apart(self, batch_id):
        """The entries of a batch go in new ones."""
        self.db.execute("UPDATE edit SET batch_id = NULL WHERE batch_id = ? AND state = 'waiting'", (batch_id,))
        self.db.commit()

    def settle(self, edit, result, seq):
        """O3: takes an answered entry out of the outbox, whatever became of it. True: it holds."""
        status = result["status"]
        if status == "conflict_risk":
            return False
        refused = result.get("error") or status not in (
            "created", "updated", "unchanged", "merged", "duplicate", "conflict")
        if refused:
            self.db.execute("DELETE FROM edit WHERE place = ?", (edit["place"],))
            self.db.commit()
            return False
        shown = None
        if result.get("deleted"):
            shown = "null"
        elif result.get("server_data") is not None:
            shown = json.dumps(result["server_data"])
        version = result.get("server_version")
        held = self.held(edit["domain"], edit["mobile_id"])
        arrived = (self.get("seq") or -1) >= seq or (version and held is not None and held >= version)
        won = status != "conflict" or (result.get("conflict") or {}).get("resolution") == "client"
        lost = not won and shown is None
        self.db.execute(
            "UPDATE edit SET state = ?, shown = ?, server_version = ?, seq = ?, settled_at = ? WHERE place = ?",
            ("kept" if arrived or lost else "shown", shown, version, seq, time.time(), edit["place"]))
        self.db.commit()
        return True

    def give_up(self, batch_id):
        """Takes out what can never be sent."""
        self.db.execute("DELETE FROM edit WHERE batch_id = ? AND state = 'waiting'", (batch_id,))
        self.db.commit()

    # ---- Numbers

    def welcome(self, epoch, last):
        """Numbers what waits as the hub counts. False: say hello again, under the new install_id."""
        if self.get("epoch") != epoch:
            self.put("epoch", epoch)
            self.put("seq", None)  # the log's numbers may have begun anew
        if last >= self.get("next_number"):  # O4: this phone is younger than its numbers
            self.put("install_id", str(uuid.uuid4()))
            self.db.execute("DELETE FROM edit WHERE state = 'kept'")
            self._number(self.waiting(), 1)
            self.db.commit()
            return False
        # R2: what was accepted above the hub's count is lost there, and goes again before the rest.
        self.db.execute(
            "UPDATE edit SET state = 'waiting', batch_id = NULL, shown = NULL, server_version = NULL, seq = NULL"
            " WHERE state IN ('shown', 'kept') AND number > ?", (last,))
        rows = self.db.execute("SELECT * FROM edit WHERE state = 'waiting' AND number > ? ORDER BY place", (last,))
        self._number(rows.fetchall(), last + 1)
        self.db.commit()
        return True

    def _number(self, rows, number):
        changed = {row["batch_id"] for place, row in enumerate(rows) if row["number"] != number + place}
        for place, row in enumerate(rows):
            batch_id = None if row["batch_id"] in changed else row["batch_id"]
            self.db.execute("UPDATE edit SET number = ?, batch_id = ? WHERE place = ?",
                            (number + place, batch_id, row["place"]))
        self.put("next_number", number + len(rows))


# ---- The connection --------------------------------------------------------------------------------


class Client:
    """Stays connected, keeps `store` in step with the hub, and takes edits at any time.

    `token` is a JWT, or a coroutine function that gets one. `settled(edit, result)` is told what became of
    each entry, `pushed(frame)` of pushes. Used as `async with`, it runs in a task of its own.
    """

    def __init__(self, url, token, device, store, subscriptions=(), *, encoding="msgpack", compression=True,
                 heartbeat_secs=None, max_frame_bytes=None, settled=None, pushed=None, long_wait=60.0):
        self.url, self.token, self.device, self.store = url, token, device, store
        self.subscriptions = [dict(subscription) for subscription in subscriptions]
        self.encoding, self.compression = encoding, compression
        self.wishes = {"heartbeat_secs": heartbeat_secs, "max_frame_bytes": max_frame_bytes}
        self.settled, self.pushed, self.long_wait = settled, pushed, long_wait
        self.batch_cap = self.flight_cap = 1000  # lowered when the hub found something too much
        self.last_id = self.failures = self.token_failures = 0
        self.stopping = False
        self.running = self.expires = None
        self.ahead = 0.0  # by how much this device's clock is ahead of the hub's
        self.closes = []  # the close codes so far; None: without one
        self.conditions = []
        self._reset()

    def _reset(self):
        self.socket = self.limits = None
        self.live = self.paused = False
        self.requests = {}  # id: the future of its answer
        self.on_the_way = {}  # id of a sync: (batch_id, edits, sent alone)
        self.go_on_at = 0.0  # no batch before this time
        self.renew_at = math.inf
        self.heartbeat = 25
        self.may_compress = False
        self.max_inflated = 4 * 2**20
        self.reconnect_after = 0.0
        self.acked = None
        self.acked_at = self.said_at = self.heard_at = self.pinged_at = time.monotonic()
        self.wake = asyncio.Event()

    # ---- For the app

    async def __aenter__(self):
        self.running = asyncio.create_task(self.run())
        self.running.add_done_callback(self._ended)
        return self

    async def __aexit__(self, *_):
        self.stopping = True
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def _ended(self, task):
        error = Disconnected() if task.cancelled() else task.exception()
        for _, future in self.conditions:
            if not future.done():
                future.set_exception(error or Disconnected())

    def create(self, domain, data, mobile_id=None, corrects=None):
        mobile_id = mobile_id or str(uuid.uuid4())
        self.store.add(domain, mobile_id, data, "create", corrects)
        self.wake.set()
        return mobile_id

    def edit(self, domain, mobile_id, data, corrects=None):
        self.store.add(domain, mobile_id, data, "edit", corrects)
        self.wake.set()

    def delete(self, domain, mobile_id):
        self.store.add(domain, mobile_id, {}, "delete")
        self.wake.set()

    async def subscribe(self, *subscriptions):
        """Replaces the subscriptions of the domains that are named."""
        named = {subscription["domain"] for subscription in subscriptions}
        others = [subscription for subscription in self.subscriptions if subscription["domain"] not in named]
        return await self._resubscribe([*others, *map(dict, subscriptions)],
                                       {"type": "subscribe", "subscriptions": list(subscriptions)})

    async def unsubscribe(self, *domains):
        others = [subscription for subscription in self.subscriptions if subscription["domain"] not in domains]
        return await self._resubscribe(others, {"type": "unsubscribe", "domains": list(domains)})

    async def _resubscribe(self, wanted, frame):
        before, self.subscriptions = self.subscriptions, wanted  # the next hello names the whole set
        if not self.limits:
            return None
        try:
            return await self.request(frame)
        except HubError:
            self.subscriptions = before
            raise

    async def settings(self, **settings):
        return await self.request({"type": "settings", **settings})

    async def catch_up(self):
        """Waits until what was held back has come; a push with the reason `held_back` says when there is something."""
        return await self.request({"type": "catch_up"})

    async def compare(self, tries=10):
        """Holds the copy against the hub's digests: {domain: (own, the hub's)} of those that differ."""
        differing = {}
        for _ in range(tries):
            await self.until(lambda: self.live and not self.store.waiting())
            answer = await self.request({"type": "digest"})
            own = {}

            def reached():
                # Taken between two frames, at the first place at or past the answer's.
                if (self.store.get("seq") or 0) < answer["seq"]:
                    return False
                if self.store.get("seq") == answer["seq"]:
                    own.update({domain: self.store.digest(domain) for domain in answer["domains"]})
                return True

            await self.until(reached)
            differing = {domain: (own[domain], state) for domain, state in answer["domains"].items()
                         if domain in own and own[domain] != state}
            if own and not differing:
                return {}
        if not differing:
            raise TimeoutError("the log never stood still for a comparison")
        return differing

    async def until(self, condition):
        """Waits until a condition holds; it is looked at after each frame."""
        if condition():
            return
        if self.running and self.running.done():
            self.running.result()
        future = asyncio.get_running_loop().create_future()
        self.conditions.append((condition, future))
        await future

    async def request(self, frame):
        """Sends a request and gives its answer, or raises HubError or Disconnected."""
        if self.socket is None:
            raise Disconnected
        self.last_id += 1
        future = self.requests[self.last_id] = asyncio.get_running_loop().create_future()
        await self._send({**frame, "id": self.last_id})
        return await future

    # ---- Closing: when to come back

    async def run(self):
        """Connects again and again, until it is cancelled or the hub forbids it (raises Stopped)."""
        while not self.stopping:
            code, reason, failed = await self._session()
            if failed:
                self.closes.append(code)
            self._look()
            delay = self._delay(code, reason) if failed else 0
            await asyncio.sleep(max(delay, self.reconnect_after))

    def _delay(self, code, reason):
        if code in (4502, 4503, 4506):
            raise Stopped(code, reason)
        if code in (4500, 4501):
            self.token_failures += 1
            if self.token_failures > 1 or not callable(self.token):
                raise Stopped(code, reason)
        elif code is not None and 4500 <= code <= 4999:
            if code not in (4504, 4505, 4507):
                raise Stopped(code, reason)
            if code == 4505:
                self.batch_cap = max(1, self.batch_cap // 2)
            return self.long_wait
        elif code == 4003:
            self.flight_cap = 1
        self.failures += 1
        return random.uniform(0, min(60.0, 0.5 * 2 ** min(self.failures - 1, 10)))

    async def _session(self):
        """One connection, from hello to its end: its close code, reason, and whether it failed."""
        self._reset()
        writer = None
        try:
            token = await self.token() if callable(self.token) else self.token
            self._expires(token)
            attempt = self.store.next_attempt()
            async with connect(self.url, subprotocols=[SUBPROTOCOLS[self.encoding]], compression=None,
                               ping_interval=None, max_size=2**28, open_timeout=10,
                               close_timeout=1) as self.socket:
                writer = asyncio.create_task(self._hello_and_write(token, attempt))
                reader = asyncio.create_task(self._read())
                try:
                    done, _ = await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_EXCEPTION)
                    for task in done:
                        task.result()
                finally:
                    reader.cancel()
                    writer.cancel()
                    await asyncio.gather(reader, writer, return_exceptions=True)
        except ConnectionClosed as error:
            received = error.rcvd
            return (received.code, received.reason, True) if received else (None, "", True)
        except _Reconnect as why:
            return None, str(why), why.failed
        except (OSError, InvalidHandshake, FrameError) as error:
            return None, str(error), True
        finally:
            self.socket = self.limits = None
            self.live = False
            self.store.db.commit()
            for future in self.requests.values():
                if not future.done():
                    future.set_exception(Disconnected())
                    future.exception()  # nobody need be waiting for it
        return None, "", True

    # ---- Coming up

    async def _hello_and_write(self, token, attempt):
        hello = {
            "type": "hello", "id": 0, "token": token, "attempt": attempt, "client_time": now_text(),
            "device": {**self.device, "install_id": self.store.get("install_id")},
            "subscriptions": self.subscriptions, "features": [],
            "compression": ["gzip"] if self.compression else None,
            "cursor": self.store.get("cursor"), **self.wishes,
        }
        await self._send({key: value for key, value in hello.items() if value is not None})
        while True:
            self.wake.clear()
            wait = await self._write()
            try:
                async with asyncio.timeout(wait):
                    await self.wake.wait()
            except TimeoutError:
                pass

    def _welcome(self, frame):
        self.limits = frame["limits"]
        self.heartbeat = frame["heartbeat_secs"]
        self.may_compress = self.compression and "gzip" in (frame.get("compression") or [])
        self.max_inflated = 4 * self.limits["max_frame_bytes"]
        self.store.leave_all_but({subscription["domain"] for subscription in self.subscriptions})
        if not self.store.welcome(frame["epoch"], frame["last_client_seq"]):
            raise _Reconnect("a new install_id", failed=False)
        self.ahead = time.time() - datetime.fromisoformat(frame["server_time"]).timestamp()
        self._renew_before(self.expires)

    # ---- Reading: both lanes

    async def _read(self):
        async for message in self.socket:
            self.heard_at = time.monotonic()
            allowed = self.max_inflated if self.compression else 0
            try:
                frame = decode(message, self.encoding, allowed)
                check_frame(frame)
            except FrameError as error:
                if error.outcome == "unknown_type":
                    continue
                raise
            self._take(frame)
            self._look()
            self.wake.set()
        # The iteration ends silently at 1000 and 1001; this raises what it ended with.
        await self.socket.recv()

    def _take(self, frame):
        kind = frame["type"]
        if kind == "data_update":
            if not self.store.data_update(frame):
                self.store.put("cursor", None)
                raise _Reconnect(f"unknown operation {frame['operation']}")
        elif kind == "snapshot":
            self.store.snapshot(frame)
        elif kind in ("position", "caught_up"):
            self.store.cursor(frame["cursor"], frame["seq"])
            if kind == "caught_up":
                self.live = True
                self.failures = self.token_failures = 0
        elif kind == "subscribed":
            self.live = self.live and not frame["fresh"]
            self.store.leave_all_but({subscription["domain"] for subscription in frame["subscriptions"]})
        elif kind == "welcome":
            self._welcome(frame)
        elif kind == "sync_result":
            self._result(frame)
        elif kind == "goaway":
            self.reconnect_after = frame["reconnect_after_ms"] / 1000
        elif kind == "error":
            self._error(frame)
        elif kind in _PUSHES and self.pushed:
            self.pushed(frame)
        future = self.requests.pop(frame.get("id"), None)
        if future and not future.done():
            if kind == "error":
                future.set_exception(HubError(frame))
            else:
                future.set_result(frame)

    def _look(self):
        for item in list(self.conditions):
            condition, future = item
            if future.done():
                self.conditions.remove(item)
            elif condition():
                self.conditions.remove(item)
                future.set_result(None)

    def _result(self, frame):
        _, edits, _ = self.on_the_way.pop(frame["id"], (None, [], None))
        for edit, result in zip(edits, frame["results"]):
            self.store.settle(edit, result, frame["seq"])
            if self.settled:
                self.settled(edit, result)
        if not self.on_the_way:
            self.paused = False
        if frame.get("recommended_batch"):
            self.limits["recommended_batch"] = frame["recommended_batch"]
        if frame.get("backoff_ms"):
            self._wait(frame["backoff_ms"])

    def _wait(self, ms):
        """No batch before this, nor before what was asked for already: several may be refused at once."""
        self.go_on_at = max(self.go_on_at, time.monotonic() + ms / 1000)

    def _error(self, frame):
        """What an error means for a hello or a batch; other requests raise it where they were made."""
        code, request = frame["code"], frame.get("id")
        if request == 0:
            if frame["temporary"]:
                raise _Reconnect(code)
            raise Stopped(code, frame["message"])
        if request is None and code == "too_large":  # which one, nobody knows: all go in smaller batches
            for batch_id, _, _ in self.on_the_way.values():
                self.store.take_apart(batch_id)
            self.batch_cap = max(1, self.batch_cap // 2)
            raise _Reconnect(code)
        if request not in self.on_the_way:
            return
        batch_id, edits, alone = self.on_the_way.pop(request)
        if code == "out_of_order":
            if alone and not self.on_the_way:
                raise _Reconnect(code)
        elif code in ("too_large", "too_many_entries"):
            self._split(batch_id, edits)
        elif code == "idempotency_key_reused":
            self.store.take_apart(batch_id)
        elif frame["temporary"]:
            self._wait(frame.get("retry_after_ms") or random.uniform(100, 1000))
        else:
            raise Stopped(code, frame["message"])
        # What follows would be out of order: first all answers, then on with the lowest number.
        self.paused = bool(self.on_the_way)

    def _split(self, batch_id, edits):
        if len(edits) > 1:
            self.batch_cap = len(edits) // 2
            self.store.take_apart(batch_id)
            return
        self.store.give_up(batch_id)
        if self.settled:
            self.settled(edits[0], {"mobile_id": edits[0]["mobile_id"], "status": "error",
                                    "error": {"code": "too_large", "message": "too large to be sent"}})
        raise _Reconnect("a number was left out", failed=False)

    # ---- Writing: batches, acks, signs of life, renewal

    async def _send(self, frame):
        self.said_at = time.monotonic()
        await self.socket.send(encode(frame, self.encoding, self.may_compress))

    async def _write(self):
        """Sends what is due; gives the seconds until something else may be."""
        now = time.monotonic()
        if now - self.heard_at > 2 * self.heartbeat:
            raise _Reconnect("the hub is silent")
        if not self.limits:
            return 1.0
        await self._send_batches()
        cursor = self.store.get("cursor")
        if self.live and cursor != self.acked and now - self.acked_at > 1.0:
            self.acked, self.acked_at = cursor, now
            await self._send({"type": "ack", "cursor": cursor})
        # The library answers the hub's pings without a word; only a pong of our own tells that it lives.
        quiet_since = min(self.said_at, max(self.heard_at, self.pinged_at))
        if now - quiet_since > self.heartbeat / 2:
            self.pinged_at = now
            self.last_id += 1
            await self._send({"type": "ping", "id": self.last_id, "client_time": now_text()})
        if now >= self.renew_at:
            self.renew_at = math.inf
            await self._renew()
        return max(0.01, min(1.0, self.heartbeat / 4, self.renew_at - now, self.go_on_at - now if self.go_on_at > now else 1.0))

    async def _send_batches(self):
        limits = self.limits
        room = min(limits["max_in_flight"], self.flight_cap)
        while not self.paused and time.monotonic() >= self.go_on_at and len(self.on_the_way) < room:
            taken = {batch_id for batch_id, _, _ in self.on_the_way.values()}
            entries = min(limits["recommended_batch"], limits["max_batch_entries"], self.batch_cap)
            batch = self.store.next_batch(taken, entries, limits["max_frame_bytes"] - 1024)
            if batch is None:
                return
            batch_id, edits = batch
            self.last_id += 1
            frame = {"type": "sync", "id": self.last_id, "batch_id": batch_id, "client_time": now_text(),
                     "first_client_seq": edits[0]["number"],
                     "entries": [json.loads(edit["entry"]) for edit in edits]}
            message = encode(frame, self.encoding)
            if len(message.encode() if isinstance(message, str) else message) > limits["max_frame_bytes"]:
                self._split(batch_id, edits)
                continue
            self.on_the_way[self.last_id] = (batch_id, edits, not self.on_the_way)
            await self._send(frame)

    # ---- Authentication: renewal

    def _expires(self, token):
        """When a token ends, from its claims; the hub's clock counts, not this device's."""
        try:
            payload = token.split(".")[1]
            self.expires = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["exp"]
        except (IndexError, KeyError, ValueError):
            self.expires = None

    def _renew_before(self, expires):
        self.renew_at = math.inf
        if callable(self.token) and expires is not None:
            left = expires - (time.time() - self.ahead)
            self.renew_at = time.monotonic() + max(left / 2, left - 60)

    async def _renew(self):
        try:
            answer = await self.request({"type": "token", "token": await self.token()})
        except HubError as error:
            if error.temporary:
                self.renew_at = time.monotonic() + 5
            return  # the old one goes on; at its end the hub says 4501
        self._renew_before(datetime.fromisoformat(answer["expires_at"]).timestamp())
