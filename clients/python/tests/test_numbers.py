"""Numbers through restored phones and hubs; and what a client does with a hub that is newer, busy or at fault."""

import asyncio
import shutil
import signal
import unittest

from hub import TICKETS, HubCase
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from synchub_client import Client, Disconnected, Store, decode, encode

WELCOME = {"type": "welcome", "id": 0, "session_id": "s", "server_time": "2026-11-21T10:00:00.000000Z", "epoch": 0,
           "last_client_seq": 0, "fresh": [], "features": [], "heartbeat_secs": 25,
           "limits": {"max_frame_bytes": 65536, "max_entry_bytes": 16384, "max_batch_entries": 10,
                      "max_in_flight": 3, "recommended_batch": 2}}
CAUGHT_UP = {"type": "caught_up", "cursor": "c1", "seq": 1}


class Restored(HubCase):
    async def test_a_phone_restored_from_a_backup_takes_a_new_install_id(self):
        path = self.hub.folder + "/phone.db"
        async with self.client("a", store=Store(path)) as a:
            a.create("ticket", {"subject": "before the backup"})
            await self.at_rest(a)
            a.store.db.commit()
            shutil.copy(path, path + ".backup")
            for number in range(3):
                a.create("ticket", {"subject": f"after it {number}"})
            await self.at_rest(a)
        a.store.close()
        store = Store(path + ".backup")
        install_id = store.get("install_id")
        a = self.client("a", store=store)
        a.create("ticket", {"subject": "new on the restored phone"})
        async with a:
            await self.assert_equal_to_the_hub(a)
        self.assertNotEqual(store.get("install_id"), install_id)
        self.assertEqual(len(store.copy("ticket")), 5)

    async def test_a_hub_restored_from_a_backup_gets_again_what_it_had_accepted(self):
        folder = self.hub.folder
        async with self.client("a") as a:
            first = a.create("ticket", {"subject": "before the backup"})
            await self.at_rest(a)
            await asyncio.to_thread(self.hub.end, signal.SIGTERM)
            shutil.copytree(folder, folder + ".backup")
            self.addCleanup(shutil.rmtree, folder + ".backup", True)
            await asyncio.to_thread(self.hub.start)
            await self.until(a, lambda: a.live)
            later = [a.create("ticket", {"subject": f"after it {number}"}) for number in range(3)]
            a.edit("ticket", first, {"location": "roof"})
            await self.at_rest(a)
            await asyncio.to_thread(self.hub.end, signal.SIGTERM)
            shutil.rmtree(folder)
            shutil.copytree(folder + ".backup", folder)
            a.create("ticket", {"subject": "while it was away"})
            await asyncio.to_thread(self.hub.start)
            await self.until(a, lambda: a.live)
            await self.assert_equal_to_the_hub(a)
            self.assertEqual(len(a.store.copy("ticket")), 5)
            self.assertEqual(a.store.view("ticket")[first]["location"], "roof")
            self.assertTrue(set(later) <= set(a.store.copy("ticket")))


class AnotherHub(unittest.IsolatedAsyncioTestCase):
    """Against a hub of a few lines: each connection runs `script(socket, hello)`."""

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)
        self.hellos = []
        self.scripts = []
        server = await serve(self.connected, "127.0.0.1", 0, subprotocols=["synchub.v1.json"])

        async def close():
            server.close()
            await server.wait_closed()

        self.addAsyncCleanup(close)
        self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/ws"

    async def connected(self, socket):
        try:
            self.hellos.append(decode(await socket.recv(), "json"))
            script = self.scripts.pop(0)
            await script(socket)
            await socket.wait_closed()
        except ConnectionClosed:
            pass

    def client(self, **options):
        return Client(self.url, "no.token", {"id": "a", "kind": "phone"}, Store(), [TICKETS], encoding="json", **options)

    async def until(self, client, condition):
        async with asyncio.timeout(20):
            await client.until(condition)

    @staticmethod
    async def say(socket, *frames):
        for frame in frames:
            await socket.send(encode(frame, "json"))

    @staticmethod
    async def sync(socket):
        while (frame := decode(await socket.recv(), "json"))["type"] != "sync":
            pass
        return frame

    @staticmethod
    def results(sync, seq=2, **fields):
        results = [{"mobile_id": entry["mobile_id"], "status": "created", "server_version": 1, **fields}
                   for entry in sync["entries"]]
        return {"type": "sync_result", "id": sync["id"], "batch_id": sync["batch_id"], "results": results,
                "seq": seq, "server_timestamp": WELCOME["server_time"], "repeated": False}

    async def test_what_a_newer_hub_may_send_is_passed_over(self):
        async def script(socket):
            await self.say(socket, {**WELCOME, "fresh": [{"domain": "ticket", "reason": "moon"}], "later": {"a": 1}},
                           {"type": "horoscope", "id": 1}, {"type": "sync_trigger", "push_id": "p", "reason": "moon"},
                           {"type": "error", "code": "too_late", "message": "m", "temporary": True}, CAUGHT_UP)
            await self.say(socket, self.results(await self.sync(socket), status="pondered"))

        self.scripts = [script]
        settled = []
        async with self.client(settled=lambda edit, result: settled.append(result["status"])) as a:
            await self.until(a, lambda: a.live)
            a.create("ticket", {"subject": "x"})
            await self.until(a, lambda: settled)
            self.assertEqual((settled, a.store.waiting(), a.store.view("ticket")), (["pondered"], [], {}))
            self.assertEqual(a.closes, [])

    async def test_an_unknown_operation_leads_to_a_hello_without_cursor(self):
        async def first(socket):
            await self.say(socket, WELCOME, CAUGHT_UP, {
                "type": "data_update", "domain": "ticket", "operation": "archive", "mobile_id": "m", "version": 1})

        async def second(socket):
            await self.say(socket, WELCOME, CAUGHT_UP)

        self.scripts = [first, second]
        async with self.client() as a:
            await self.until(a, lambda: len(self.hellos) == 2 and a.live)
        self.assertNotIn("cursor", self.hellos[1])
        self.assertGreater(self.hellos[1]["attempt"], self.hellos[0]["attempt"])

    async def test_a_hub_at_fault_costs_a_connection_and_nothing_of_the_copy(self):
        async def first(socket):
            await self.say(socket, WELCOME, CAUGHT_UP, {"type": "position", "cursor": "c2"})

        async def second(socket):
            await self.say(socket, WELCOME, {"type": "position", "cursor": "c3", "seq": 3}, CAUGHT_UP)

        self.scripts = [first, second]
        async with self.client() as a:
            await self.until(a, lambda: len(self.hellos) == 2 and a.live)
        self.assertEqual(self.hellos[1]["cursor"], "c1")

    async def test_batches_keep_their_room_and_go_again_in_order_after_a_refusal(self):
        seen, waited = [], []

        async def script(socket):
            await self.say(socket, WELCOME, CAUGHT_UP)
            batches = [await self.sync(socket) for _ in range(3)]
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self.sync(socket)
            refused = {"type": "error", "message": "m", "temporary": True}
            await self.say(socket, {**refused, "id": batches[0]["id"], "code": "rate_limited", "retry_after_ms": 900})
            refused_at = asyncio.get_running_loop().time()
            with self.assertRaises(TimeoutError):  # nothing goes while others are unanswered
                async with asyncio.timeout(0.3):
                    await self.sync(socket)
            await self.say(socket, {**refused, "id": batches[1]["id"], "code": "rate_limited", "retry_after_ms": 1},
                           {**refused, "id": batches[2]["id"], "code": "out_of_order"})
            for number in range(4):
                sync = await self.sync(socket)
                waited.append(asyncio.get_running_loop().time() - refused_at)
                seen.append((sync["first_client_seq"], sync["batch_id"]))
                await self.say(socket, self.results(sync))
            seen.insert(0, [batch["batch_id"] for batch in batches])

        self.scripts = [script]
        async with self.client() as a:
            for number in range(8):
                a.create("ticket", {"subject": str(number)})
            await self.until(a, lambda: not a.store.waiting())
            await asyncio.sleep(0.1)
        ids, *again = seen
        self.assertEqual([number for number, _ in again], [1, 3, 5, 7])
        self.assertEqual([batch_id for _, batch_id in again[:3]], ids, "a batch keeps its id")
        self.assertGreater(waited[0], 0.8, "the longest wait that was asked for counts")

    async def test_an_entry_that_can_never_be_sent_is_taken_out_and_the_gap_closed(self):
        numbers = []

        async def script(socket):
            await self.say(socket, {**WELCOME, "last_client_seq": sum(numbers)}, CAUGHT_UP)
            while True:
                sync = await self.sync(socket)
                numbers.append(len(sync["entries"]))
                await self.say(socket, self.results(sync))

        self.scripts = [script, script]
        settled = []
        async with self.client(settled=lambda edit, result: settled.append(result["status"])) as a:
            a.create("ticket", {"subject": "fits"})
            a.create("ticket", {"subject": "x" * 70_000})
            a.create("ticket", {"subject": "fits, too"})
            await self.until(a, lambda: len(settled) == 3)
            self.assertEqual((sorted(settled), len(self.hellos)), (["created", "created", "error"], 2))
            self.assertEqual(a.store.get("next_number"), 3)

    async def test_an_answered_edit_is_shown_until_a_place_at_or_past_it_has_come(self):
        go = asyncio.Event()

        async def script(socket):
            await self.say(socket, WELCOME, CAUGHT_UP)
            await self.say(socket, self.results(await self.sync(socket), seq=5))
            await self.say(socket, {"type": "position", "cursor": "c4", "seq": 4})
            await go.wait()
            await self.say(socket, {"type": "position", "cursor": "c5", "seq": 5})

        self.scripts = [script]
        async with self.client() as a:
            mobile_id = a.create("ticket", {"subject": "x"})
            await self.until(a, lambda: a.store.get("seq") == 4 and not a.store.waiting())
            self.assertEqual(a.store.view("ticket"), {mobile_id: {"subject": "x"}})
            go.set()
            await self.until(a, lambda: a.store.get("seq") == 5)
            self.assertEqual(a.store.view("ticket"), {})

    async def test_a_hub_without_a_sign_of_life_is_left(self):
        async def silent(socket):
            await self.say(socket, {**WELCOME, "heartbeat_secs": 1}, CAUGHT_UP)

        async def alive(socket):
            await silent(socket)
            while True:
                frame = decode(await socket.recv(), "json")
                if frame["type"] == "ping":
                    await self.say(socket, {"type": "pong", "id": frame["id"], "server_time": WELCOME["server_time"]})

        self.scripts = [silent, alive]
        async with self.client() as a:
            await self.until(a, lambda: len(self.hellos) == 2 and a.live)
            await asyncio.sleep(3)
            self.assertEqual((len(self.hellos), a.live, a.closes), (2, True, [None]))

    async def test_requests_on_a_connection_that_ends_are_told_so(self):
        async def script(socket):
            await self.say(socket, WELCOME, CAUGHT_UP)
            await socket.recv()
            await socket.close(4000)

        self.scripts = [script, lambda socket: self.say(socket, WELCOME)]
        async with self.client() as a:
            await self.until(a, lambda: a.live)
            with self.assertRaises(Disconnected):
                await a.settings()


class Digest(unittest.TestCase):
    def test_the_sum_of_the_first_eight_bytes(self):
        store = Store()
        self.assertEqual(store.digest("ticket"), {"count": 0, "digest": "0" * 16})
        store._adopt("ticket", "0193b5f0-0000-7000-8000-000000000001", 1, {})
        self.assertEqual(store.digest("ticket"), {"count": 1, "digest": "d04fe4de5c2b42ad"})


class Copy(unittest.TestCase):
    """The rules of the copy, frame by frame."""

    def setUp(self):
        self.store = Store()

    def update(self, mobile_id, version, operation="update"):
        self.store.data_update({"domain": "ticket", "operation": operation, "mobile_id": mobile_id,
                                "version": version, "data": {"v": version}})

    def page(self, *records, first=False, last=False):
        records = [{"mobile_id": mobile_id, "version": version, "data": {}} for mobile_id, version in records]
        self.store.snapshot({"domain": "ticket", "first": first, "last": last, "records": records, "cursor": "c"})

    def versions(self):
        return {mobile_id: version for mobile_id, (version, _) in self.store.copy("ticket").items()}

    def test_only_newer_versions_are_adopted(self):
        for version in (3, 2, 3, 5, 4):
            self.update("m", version)
        self.update("m", 4, "delete")
        self.assertEqual(self.versions(), {"m": 5})
        self.update("m", 6, "remove")
        self.update("n", 1, "delete")
        self.assertEqual(self.versions(), {})

    def test_a_snapshot_is_taken_as_it_is_and_the_rest_goes_at_its_last(self):
        self.update("old", 9)
        self.update("kept", 9)
        self.page(("kept", 3), first=True)
        self.update("live", 1)
        self.assertEqual(self.versions(), {"old": 9, "kept": 3, "live": 1})
        self.page(("end", 1), last=True)
        self.assertEqual(self.versions(), {"kept": 3, "live": 1, "end": 1})

    def test_marks_survive_a_break_and_a_first_begins_anew(self):
        self.page(("a", 1), first=True)
        self.page(("b", 1))
        self.page(("c", 1), last=True)
        self.assertEqual(set(self.versions()), {"a", "b", "c"})
        self.page(("a", 1), first=True)
        self.page(("b", 1), first=True, last=True)
        self.assertEqual(set(self.versions()), {"b"})
