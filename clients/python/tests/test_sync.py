"""Copies, outboxes and subscriptions against a real hub: all end equal."""

import asyncio
import os
import signal
import sqlite3
import uuid

from hub import JOURNAL, TICKETS, HubCase

from synchub_client import HubError, Store


class Live(HubCase):
    async def fan_out(self, encoding):
        async with self.client("a", encoding=encoding) as a, self.client("b", encoding=encoding, user="bob") as b:
            for number in range(5):
                mobile_id = a.create("ticket", {"subject": f"Ä {number}", "status": "NEW", "impact": number})
            await self.until(b, lambda: len(b.store.copy("ticket")) == 5)
            b.edit("ticket", mobile_id, {"location": "東京", "impact": None})
            await self.until(a, lambda: "location" in a.store.view("ticket")[mobile_id])
            self.assertIsNone(a.store.view("ticket")[mobile_id]["impact"])
            b.delete("ticket", mobile_id)
            await self.until(a, lambda: len(a.store.view("ticket")) == 4)
            await self.assert_equal_to_the_hub(a, b)

    async def test_a_change_reaches_the_others_in_json(self):
        await self.fan_out("json")

    async def test_a_change_reaches_the_others_in_msgpack(self):
        await self.fan_out("msgpack")

    async def test_an_edit_is_shown_at_once_and_until_the_copy_has_it(self):
        async with self.client("a") as a:
            await self.until(a, lambda: a.live)
            mobile_id = a.create("ticket", {"subject": "Lift"})
            self.assertEqual(a.store.copy("ticket"), {})
            self.assertEqual(a.store.view("ticket"), {mobile_id: {"subject": "Lift"}})
            seen = []
            await self.until(a, lambda: seen.append(a.store.view("ticket")) or a.store.copy("ticket"))
            self.assertTrue(all(view == {mobile_id: {"subject": "Lift"}} for view in seen), seen)
            await self.assert_equal_to_the_hub(a)

    async def test_another_users_journal_is_out_of_sight(self):
        async with self.client("a", [JOURNAL]) as a, self.client("b", [JOURNAL], user="bob") as b:
            mobile_id = a.create("journal", {"content": "mine"})
            await self.until(a, lambda: mobile_id in a.store.copy("journal"))
            refused = []
            b.settled = lambda edit, result: refused.append(result)
            b.edit("journal", mobile_id, {"content": "yours"})
            await self.until(b, lambda: refused)
            self.assertEqual((refused[0]["status"], refused[0]["error"]["code"]), ("error", "not_found"))
            self.assertEqual(b.store.view("journal"), {})
            await self.assert_equal_to_the_hub(a, b)


class Repeats(HubCase):
    def entry(self, **fields):
        return {"domain": "ticket", "mobile_id": str(uuid.uuid4()), "version": 0,
                "data": {"subject": "Lift"}, **fields}

    async def test_a_repeated_batch_gets_the_same_answer_and_is_applied_once(self):
        async with self.client("watch", user="bob") as watch:
            await self.until(watch, lambda: watch.live)
            sync = {"type": "sync", "id": 2, "batch_id": str(uuid.uuid4()), "entries": [self.entry(), self.entry()]}
            first = await self.raw()
            await first.hello(self.token())
            answer = await first.ask(sync)
            self.assertFalse(answer["repeated"])
            again = await first.ask({**sync, "id": 3})
            await first.close()
            second = await self.raw("msgpack")
            await second.hello(self.token())
            elsewhere = await second.ask({**sync, "id": 4})
            for repeated in (again, elsewhere):
                self.assertTrue(repeated["repeated"])
                self.assertEqual(repeated["results"], answer["results"])
            other = await second.ask({**sync, "id": 5, "entries": [self.entry()]})
            self.assertEqual(other["code"], "idempotency_key_reused")
            await self.assert_equal_to_the_hub(watch)
            self.assertEqual([version for version, _ in watch.store.copy("ticket").values()], [1, 1])

    async def test_repeated_numbers_are_duplicates_and_a_gap_is_out_of_order(self):
        device = {"id": "raw-1", "kind": "phone", "install_id": str(uuid.uuid4())}
        hub = await self.raw()
        await hub.send({"type": "hello", "id": 1, "token": self.token(), "device": device})
        self.assertEqual((await hub.answer(1))["last_client_seq"], 0)

        def sync(request, number, *entries):
            return {"type": "sync", "id": request, "batch_id": str(uuid.uuid4()), "first_client_seq": number,
                    "entries": list(entries)}

        entries = [self.entry(), self.entry(), self.entry(data={"status": "NEW"})]
        answer = await hub.ask(sync(2, 1, *entries))
        self.assertEqual([result["status"] for result in answer["results"]], ["created", "created", "error"])
        # The same numbers in a new batch, whatever they hold: decided before.
        again = await hub.ask(sync(3, 2, self.entry(), self.entry(), self.entry()))
        self.assertEqual([result["status"] for result in again["results"]], ["duplicate", "duplicate", "created"])
        self.assertEqual([bool(result.get("error")) for result in again["results"]], [False, True, False])
        gap = await hub.ask(sync(4, 6, self.entry()))
        self.assertEqual((gap["code"], gap["temporary"]), ("out_of_order", True))
        await hub.close()
        hub = await self.raw()
        await hub.send({"type": "hello", "id": 1, "token": self.token(), "device": device, "attempt": 2})
        self.assertEqual((await hub.answer(1))["last_client_seq"], 4)

    async def test_an_answer_that_was_lost_is_asked_for_again(self):
        async with self.client("a") as a, self.client("b", user="bob") as b:
            await self.until(a, lambda: a.live)
            ids = set()
            for _ in range(3):
                ids |= {a.create("ticket", {"subject": f"number {number}"}) for number in range(100)}
                while not a.on_the_way:
                    await asyncio.sleep(0)
                a.socket.transport.abort()
                await self.until(a, lambda: not a.socket)
                await self.until(a, lambda: a.live)
            await self.until(b, lambda: len(b.store.copy("ticket")) >= 300)
            await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(set(b.store.copy("ticket")), ids)
            self.assertEqual({version for version, _ in b.store.copy("ticket").values()}, {1})

    async def test_more_in_flight_than_allowed_is_temporary_and_decides_nothing(self):
        hub = await self.raw()
        welcome = await hub.hello(self.token())
        frames = [{"type": "sync", "id": 10 + n, "batch_id": str(uuid.uuid4()),
                   "entries": [self.entry() for _ in range(500)]} for n in range(12)]
        # Somebody else holds the database: nothing is decided before the hub has read all of them.
        lock = sqlite3.connect(os.path.join(self.hub.folder, "synchub.db"), isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        for frame in frames:
            await hub.send(frame)
        await hub.ask({"type": "ping", "id": 5})
        lock.execute("ROLLBACK")
        lock.close()
        answers = [await hub.answer(frame["id"]) for frame in frames]
        refused = [answer for answer in answers if answer["type"] == "error"]
        self.assertEqual({(answer["code"], answer["temporary"]) for answer in refused},
                         {("too_many_in_flight", True)})
        self.assertEqual(len(answers) - len(refused), welcome["limits"]["max_in_flight"])


class Offline(HubCase):
    SETTINGS = {"catch_up_page_rows": 10}

    async def test_edits_made_offline_arrive_in_their_order(self):
        store = Store()
        a = self.client("a", store=store)
        mobile_id = a.create("ticket", {"subject": "Lift", "status": "NEW"})
        for status in ("OPEN", "INPROGRESS", "ONHOLD", "OPEN", "INPROGRESS", "RESOLVED", "CLOSED"):
            a.edit("ticket", mobile_id, {"status": status})
        gone = a.create("ticket", {"subject": "not needed"})
        a.delete("ticket", gone)
        seen = []
        async with self.client("b", user="bob") as b:
            await self.until(b, lambda: b.live)
            apply = b.store.data_update
            b.store.data_update = lambda change: seen.append(change) or apply(change)
            statuses = []
            a.settled = lambda _, result: statuses.append(result["status"])
            async with a:
                await self.until(a, lambda: a.live and not store.waiting())
                self.assertEqual(statuses, ["created", *["updated"] * 7, "created", "updated"])
                await self.assert_equal_to_the_hub(a, b)
        versions = [change["version"] for change in seen if change["mobile_id"] == mobile_id]
        self.assertEqual(versions, sorted(versions))
        self.assertEqual(b.store.view("ticket"), {mobile_id: {"subject": "Lift", "status": "CLOSED"}})

    async def test_what_was_missed_is_replayed_from_the_cursor(self):
        store = Store()
        async with self.client("a", user="bob") as a:
            async with self.client("b", store=store) as b:
                ids = [a.create("ticket", {"subject": str(number)}) for number in range(30)]
                await self.until(b, lambda: len(store.copy("ticket")) == 30)
                await self.at_rest(a, b)
            for mobile_id in ids[:25]:
                a.edit("ticket", mobile_id, {"location": "cellar"})
            for mobile_id in ids[20:28]:
                a.delete("ticket", mobile_id)
            await self.at_rest(a)
            pages = []
            b = self.client("b", store=store)
            snapshot = store.snapshot
            store.snapshot = lambda page: pages.append(page) or snapshot(page)
            async with b:
                await self.until(b, lambda: b.live)
                await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(pages, [], "a replay, no snapshot")
            self.assertEqual(len(store.copy("ticket")), 22)


class Snapshots(HubCase):
    SETTINGS = {"catch_up_page_rows": 5}

    async def test_a_snapshot_that_broke_off_goes_on_and_drops_what_has_gone(self):
        store = Store()
        async with self.client("a", user="bob") as a:
            ids = [a.create("ticket", {"subject": str(number)}) for number in range(60)]
            await self.at_rest(a)
            firsts, pages = 0, 0
            snapshot = store.snapshot

            def page_by_page(page):
                nonlocal firsts, pages
                firsts, pages = firsts + page["first"], pages + 1
                snapshot(page)
                if pages in (2, 5, 7):
                    raise ConnectionResetError

            store.snapshot = page_by_page
            # A record that is not in the snapshot, as if it had gone while this device was away.
            store._adopt("ticket", str(uuid.uuid4()), 7, {"subject": "gone"})
            async with self.client("b", store=store) as b:
                await self.until(b, lambda: pages >= 3)
                for mobile_id in ids[::7]:
                    a.delete("ticket", mobile_id)
                a.edit("ticket", ids[1], {"location": "roof"})
                await self.until(b, lambda: b.live)
                self.assertEqual(firsts, 1, "it went on behind the cursor")
                self.assertGreaterEqual(len(b.closes), 3)
                await self.assert_equal_to_the_hub(a, b)
                self.assertEqual(len(store.copy("ticket")), 51)

    async def test_a_restart_of_the_app_in_a_snapshot_loses_nothing(self):
        path = self.hub.folder + f"/{self.tenant}.db"
        async with self.client("a", user="bob") as a:
            for number in range(40):
                a.create("ticket", {"subject": str(number)})
            await self.at_rest(a)
            for wanted in (10, 25):
                async with self.client("b", store=Store(path)) as b:
                    await self.until(b, lambda wanted=wanted: len(b.store.copy("ticket")) >= wanted)
                b.store.db.rollback()
                b.store.db.close()
            async with self.client("b", store=Store(path)) as b:
                await self.assert_equal_to_the_hub(a, b)


class Subscriptions(HubCase):
    SETTINGS = {"catch_up_page_rows": 5}

    async def test_widened_narrowed_and_widened_again(self):
        async with self.client("a", [TICKETS, JOURNAL]) as a, self.client("b", [JOURNAL]) as b:
            for number in range(12):
                a.create("ticket", {"subject": str(number), "priority": ["LOW", "HIGH"][number % 2]})
                a.create("journal", {"content": str(number)})
            await self.at_rest(a, b)
            self.assertEqual(b.store.copy("ticket"), {})
            answer = await b.subscribe(TICKETS)
            self.assertEqual(answer["fresh"], [{"domain": "ticket", "reason": "new"}])
            await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(len(b.store.copy("ticket")), 12)
            answer = await b.unsubscribe("ticket")
            self.assertEqual(answer["fresh"], [])
            self.assertEqual([s["domain"] for s in answer["subscriptions"]], ["journal"])
            await self.until(b, lambda: not b.store.copy("ticket"))
            a.create("ticket", {"subject": "unseen"})
            await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(b.store.copy("ticket"), {})
            await b.subscribe(TICKETS)
            await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(len(b.store.copy("ticket")), 13)

    async def test_a_hello_with_fewer_domains_drops_their_copies(self):
        store = Store()
        async with self.client("a", [TICKETS, JOURNAL], store=store) as a:
            a.create("ticket", {"subject": "x"})
            a.create("journal", {"content": "x"})
            await self.at_rest(a)
        async with self.client("a", [JOURNAL], store=store) as a:
            await self.until(a, lambda: a.live)
            self.assertEqual((len(store.copy("ticket")), len(store.copy("journal"))), (0, 1))
        async with self.client("a", [TICKETS, JOURNAL], store=store) as a:
            await self.assert_equal_to_the_hub(a)
            self.assertEqual(len(store.copy("ticket")), 1)

    async def test_a_filter_removes_what_no_longer_matches_and_brings_what_does(self):
        urgent = {"domain": "ticket", "filter": {"priority": ["HIGH", "CRITICAL"], "impact": {"gte": 2, "lt": 5}}}
        async with self.client("a", user="bob") as a, self.client("b", [urgent]) as b:
            seen = []
            apply = b.store.data_update
            b.store.data_update = lambda change: seen.append(change["operation"]) or apply(change)
            ids = [a.create("ticket", {"subject": str(n), "priority": "HIGH", "impact": n}) for n in range(7)]
            await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(set(b.store.copy("ticket")), set(ids[2:5]))
            a.edit("ticket", ids[2], {"impact": 1})
            a.edit("ticket", ids[3], {"priority": "LOW"})
            a.edit("ticket", ids[6], {"impact": 4})
            a.delete("ticket", ids[4])
            await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(set(b.store.copy("ticket")), {ids[6]})
            self.assertEqual((seen.count("remove"), seen.count("delete")), (2, 1))
            answer = await b.subscribe({"domain": "ticket", "filter": {"priority": "LOW"}})
            self.assertEqual(answer["fresh"], [{"domain": "ticket", "reason": "changed"}])
            await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(set(b.store.copy("ticket")), {ids[3]})

    async def test_an_unknown_domain_does_nothing_of_the_request(self):
        async with self.client("a") as a:
            await self.until(a, lambda: a.live)
            with self.assertRaises(HubError) as refused:
                await a.subscribe(JOURNAL, {"domain": "no-such"})
            self.assertEqual(refused.exception.code, "unknown_domain")
            self.assertEqual(a.subscriptions, [TICKETS])
            await self.assert_equal_to_the_hub(a)


class Conflicts(HubCase):
    async def test_stale_edits_of_other_fields_are_merged_and_of_the_same_field_decided(self):
        store = Store()
        statuses = []
        async with self.client("a", user="bob") as a:
            mobile_id = a.create("ticket", {"subject": "Lift", "priority": "LOW"})
            escalated = a.create("ticket", {"subject": "Door", "priority": "LOW"})
            deleted = a.create("ticket", {"subject": "Roof"})
            async with self.client("b", store=store) as b:
                await self.until(b, lambda: len(store.copy("ticket")) == 3)
                await self.at_rest(a, b)
            a.edit("ticket", mobile_id, {"location": "cellar"})
            a.edit("ticket", escalated, {"priority": "CRITICAL"})
            a.delete("ticket", deleted)
            await self.at_rest(a)
            b = self.client("b", store=store)
            b.settled = lambda edit, result: statuses.append((edit["mobile_id"], result))
            b.edit("ticket", mobile_id, {"impact": 3})
            b.edit("ticket", escalated, {"priority": "MEDIUM"})
            b.edit("ticket", deleted, {"subject": "Roof, again"})
            async with b:
                await self.assert_equal_to_the_hub(a, b)
            results = [result for _, result in statuses]
            self.assertEqual([result["status"] for result in results], ["merged", "conflict", "conflict"])
            self.assertEqual(results[0]["server_data"], {"subject": "Lift", "priority": "LOW", "location": "cellar", "impact": 3})
            self.assertEqual(results[1]["conflict"]["resolution"], "server")
            self.assertEqual(results[1]["server_data"]["priority"], "CRITICAL")
            self.assertTrue(results[2]["deleted"])
            self.assertEqual(store.view("ticket")[mobile_id]["impact"], 3)
            self.assertNotIn(deleted, store.view("ticket"))

    async def test_a_refused_entry_is_no_longer_shown_and_can_be_corrected(self):
        async with self.client("a") as a:
            refused = []
            a.settled = lambda edit, result: result["status"] == "error" and refused.append((edit["number"], result))
            mobile_id = a.create("ticket", {"status": "CLOSED"})
            await self.until(a, lambda: refused)
            number, result = refused[0]
            self.assertEqual(result["error"]["code"], "validation_failed", result)
            self.assertEqual(a.store.view("ticket"), {})
            a.create("ticket", {"subject": "Lift", "status": "NEW"}, mobile_id, corrects=number)
            await self.until(a, lambda: mobile_id in a.store.copy("ticket"))
            await self.assert_equal_to_the_hub(a)


class SameDevice(HubCase):
    async def test_a_second_socket_of_a_device_takes_over_and_both_copies_end_equal(self):
        first = Store()
        async with self.client("z", user="bob") as z:
            async with self.client("a", store=first) as a:
                a.create("ticket", {"subject": "from the first"})
                await self.at_rest(a)
                second = self.client("a")
                async with second:
                    await self.until(a, lambda: a.closes)
                    self.assertEqual(a.closes, [4504])
                    a.create("ticket", {"subject": "from the first, later"})
                    second.create("ticket", {"subject": "from the second"})
                    await self.assert_equal_to_the_hub(second, z)
            async with self.client("a", store=first) as a:
                await self.assert_equal_to_the_hub(a, z)
            self.assertEqual(len(first.copy("ticket")), 3)

    async def test_an_older_connection_of_the_same_install_does_not_take_over(self):
        device = {"id": "raw-1", "kind": "phone", "install_id": str(uuid.uuid4())}

        async def hello(attempt):
            hub = await self.raw()
            await hub.send({"type": "hello", "id": 1, "token": self.token(), "device": device, "attempt": attempt})
            return hub

        newer = await hello(5)
        self.assertEqual((await newer.answer(1))["type"], "welcome")
        self.assertEqual(await (await hello(4)).close_code(), 4504)
        self.assertEqual((await newer.ask({"type": "ping", "id": 2}))["type"], "pong")
        newest = await hello(6)
        self.assertEqual((await newest.answer(1))["type"], "welcome")
        self.assertEqual(await newer.close_code(), 4504)


class Compression(HubCase):
    async def both_ways(self, encoding):
        async with self.client("a", encoding=encoding) as a, self.client("b", encoding=encoding, user="bob") as b:
            await self.until(a, lambda: a.live and a.may_compress)
            sent, received = [], []
            send, recv = a.socket.send, b.socket.recv
            a.socket.send = lambda message: sent.append(message) or send(message)
            del recv
            for number in range(50):
                a.create("ticket", {"subject": "Lift " * 40, "impact": number})
            await self.at_rest(a, b)
            self.assertTrue(any(isinstance(m, bytes) and m[:2] == b"\x1f\x8b" for m in sent))
            await self.assert_equal_to_the_hub(a, b)
            raw = await self.raw(encoding)
            welcome = await raw.hello(self.token("bob"), subscriptions=[TICKETS], compression=["br", "gzip"])
            self.assertEqual(welcome["compression"], ["gzip"])
            while not received or received[-1][:2] != b"\x1f\x8b":
                received.append(await asyncio.wait_for(raw.socket.recv(), 10))

    async def test_gzip_both_ways_in_json(self):
        await self.both_ways("json")

    async def test_gzip_both_ways_in_msgpack(self):
        await self.both_ways("msgpack")

    async def test_who_did_not_name_gzip_gets_none(self):
        raw = await self.raw("msgpack")
        welcome = await raw.hello(self.token())
        self.assertIsNone(welcome.get("compression"))
        async with self.client("a", compression=False) as a:
            a.create("ticket", {"subject": "Lift " * 2000})
            await self.assert_equal_to_the_hub(a)
            self.assertFalse(a.may_compress)


class Requests(HubCase):
    async def test_settings_hold_until_said_otherwise(self):
        async with self.client("a") as a:
            await self.until(a, lambda: a.live)
            answer = await a.settings(battery_saver=True)
            self.assertEqual((answer["battery_saver"], answer["network_quality"], answer["app_state"]),
                             (True, "unknown", "foreground"))
            answer = await a.settings(app_state="background", network_quality="poor")
            self.assertEqual((answer["battery_saver"], answer["network_quality"], answer["app_state"]),
                             (True, "poor", "background"))
            with self.assertRaises(HubError) as refused:
                await a.settings(app_state="asleep", battery_saver=False)
            self.assertEqual(refused.exception.code, "bad_request")
            self.assertTrue((await a.settings())["battery_saver"])

    async def test_what_this_version_does_not_offer_is_unknown_type(self):
        hub = await self.raw()
        await hub.hello(self.token())
        for request, kind in enumerate(("pull", "resolve", "conflicts", "presence", "dance"), 2):
            answer = await hub.ask({"type": kind, "id": request})
            self.assertEqual((answer["type"], answer["code"]), ("error", "unknown_type"), kind)

    async def test_a_request_before_hello_is_unauthorized(self):
        hub = await self.raw()
        answer = await hub.ask({"type": "ping", "id": 7})
        self.assertEqual((answer["code"], answer["id"]), ("unauthorized", 7))
        self.assertEqual((await hub.hello(self.token()))["type"], "welcome")

    async def test_the_digest_of_the_copy_is_the_hubs(self):
        async with self.client("a", [TICKETS, JOURNAL]) as a:
            await self.until(a, lambda: a.live)
            self.assertEqual(await a.compare(), {})
            mobile_id = a.create("ticket", {"subject": "Lift"})
            await self.until(a, lambda: a.store.copy("ticket"))
            self.assertEqual(await a.compare(), {})
            a.store._adopt("ticket", mobile_id, 2, {})
            self.assertEqual(list(await a.compare()), ["ticket"])


class Killed(HubCase):
    async def test_a_hub_that_is_killed_in_the_middle_costs_nothing(self):
        async with self.client("a") as a, self.client("b", user="bob", encoding="json") as b:
            await self.until(a, lambda: a.live)
            await self.until(b, lambda: b.live)
            ids = []
            for round in range(3):
                for client in (a, b):
                    ids += [client.create("ticket", {"subject": f"{round}", "impact": 0}) for _ in range(150)]
                await asyncio.sleep(0.03 * round)
                await asyncio.to_thread(self.hub.end, signal.SIGKILL)
                for mobile_id in ids[::50]:
                    a.edit("ticket", mobile_id, {"impact": round + 1})
                await asyncio.to_thread(self.hub.start)
                await self.until(a, lambda: a.live)
            await self.assert_equal_to_the_hub(a, b)
            self.assertEqual(set(a.store.copy("ticket")), set(ids))
            self.assertEqual(a.store.copy("ticket"), b.store.copy("ticket"))
