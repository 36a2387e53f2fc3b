"""Every close code that can be provoked, what leads to it, and what the client then does; renewal."""

import asyncio
import contextlib
import gzip
import json
import signal

from hub import HubCase
from websockets.exceptions import ConnectionClosed

from synchub_client import HubError, Stopped


class Codes(HubCase):
    # Only one tenant is held to a rate, so that what lies behind the rates is reached.
    SETTINGS = {"limits_hello_timeout_secs": 1, "limits_max_frame_bytes": 65536, "drain_secs": 0,
                "rates_device_frames": 0, "rates_user_frames": 0,
                "rates_tenants": json.dumps({"flood": {"device_frames": 500}})}

    async def test_4002_heartbeat_missed(self):
        hub = await self.raw()
        await hub.hello(self.token(), heartbeat_secs=10)
        # The library answers the hub's pings meanwhile, which does not count.
        self.assertEqual(await hub.close_code(31), 4002)

    async def test_4003_too_slow_to_drain_the_control_lane(self):
        frame = json.dumps({"type": "settings", "id": 2, "network_quality": "q" * 32})
        for count in (80_000, 120_000, 160_000, 200_000):  # how many fill the system's buffers differs
            hub = await self.raw()
            await hub.hello(self.token())
            hub.socket.transport.pause_reading()
            try:
                for _ in range(count):
                    await hub.socket.send(frame)
                await asyncio.sleep(0.5)
                hub.socket.transport.resume_reading()
                self.assertEqual(await hub.close_code(5), 4003)
                return
            except (TimeoutError, ConnectionClosed):
                continue
        self.fail("never closed")

    async def test_4005_no_hello_in_time(self):
        hub = await self.raw()
        self.assertEqual(await hub.close_code(), 4005)

    async def test_4500_an_invalid_token_stops_a_client_that_has_no_other(self):
        for wrong in (self.token(secret="another secret of thirty-two bytes"), self.token(ttl=-10), "no token",
                      self.token(exp=None), self.token(role="king"), self.token(tenant="", sub=""),
                      self.token(device="not-this-one")):
            hub = await self.raw()
            await hub.send({"type": "hello", "id": 1, "token": wrong, "device": {"id": "raw-1", "kind": "phone"}})
            self.assertEqual(await hub.close_code(), 4500, wrong)
        hub = await self.raw(additional_headers={"Authorization": "Bearer nonsense"})
        await hub.send({"type": "hello", "id": 1, "device": {"id": "raw-1", "kind": "phone"}})
        self.assertEqual(await hub.close_code(), 4500)
        hub = await self.raw(additional_headers={"Authorization": "Bearer " + self.token()})
        self.assertEqual((await hub.hello(None))["type"], "welcome")
        async with self.client("a", token=self.token(ttl=-10)) as a:
            with self.assertRaises(Stopped) as stopped:
                await self.until(a, lambda: a.live)
            self.assertEqual(stopped.exception.code, 4500)

    async def test_4500_a_new_token_is_got_and_the_client_goes_on(self):
        tokens = [self.token(ttl=-10), self.token()]

        async def get():
            return tokens.pop(0)

        async with self.client("a", token=get) as a:
            await self.until(a, lambda: a.live)
            self.assertEqual(a.closes, [4500])

    async def test_4501_a_token_that_ends_without_renewal(self):
        hub = await self.raw()
        await hub.hello(self.token(ttl=2))
        self.assertEqual(await hub.close_code(), 4501)

    async def test_4503_what_cannot_be_decoded(self):
        for message in ("{", b"\x1f\x8bnonsense", "[1]", '{"id":1}', gzip.compress(b'{"type":"ping","id":2}')):
            hub = await self.raw()
            await hub.hello(self.token())
            await hub.socket.send(message)
            self.assertEqual(await hub.close_code(), 4503, message)

    async def test_4504_a_newer_connection_of_the_device(self):
        first, second = await self.raw(), await self.raw()
        await first.hello(self.token(), attempt=1)
        await second.hello(self.token(), attempt=2)
        self.assertEqual(await first.close_code(), 4504)

    async def test_4505_a_frame_far_too_large(self):
        limit = 65536
        hub = await self.raw()
        await hub.hello(self.token(), compression=["gzip"])

        def ping(size, request=2):
            frame = json.dumps({"type": "ping", "id": request, "x": ""})
            return frame.replace('""', '"' + "x" * (size - len(frame)) + '"')

        await hub.socket.send(ping(limit))
        self.assertEqual((await hub.answer(2))["type"], "pong")
        await hub.socket.send(ping(limit * 2))
        answer = await hub.read()
        self.assertEqual((answer["code"], "id" in answer), ("too_large", False))
        await hub.socket.send(gzip.compress(ping(limit * 4, 3).encode()))
        self.assertEqual((await hub.answer(3))["type"], "pong")
        await hub.socket.send(gzip.compress(ping(limit * 4 + 1).encode()))
        self.assertEqual(await hub.close_code(), 4505)
        hub = await self.raw()
        await hub.hello(self.token())
        await hub.socket.send(ping(limit * 2 + 1))
        self.assertEqual(await hub.close_code(), 4505)
        hub = await self.raw()
        await hub.socket.send(ping(64 * 1024 + 1))
        self.assertEqual(await hub.close_code(), 4505)

    async def test_4507_a_flood_that_does_not_wait(self):
        hub = await self.raw()
        await hub.hello(self.token(tenant="flood"))
        frame = json.dumps({"type": "ping", "id": 2})
        with contextlib.suppress(ConnectionClosed):
            for _ in range(20_000):
                await hub.socket.send(frame)
        self.assertEqual(await hub.close_code(5), 4507)

    async def test_4506_a_second_hello(self):
        hub = await self.raw()
        await hub.hello(self.token())
        await hub.send({"type": "hello", "id": 2, "token": self.token(), "device": {"id": "raw-1", "kind": "phone"}})
        self.assertEqual(await hub.close_code(), 4506)

    async def test_4506_ten_times_forbidden(self):
        hub = await self.raw()
        await hub.hello(self.token(role="publisher"), device=None)
        for number in range(2, 11):
            answer = await hub.ask({"type": "settings", "id": number})
            self.assertEqual(answer["code"], "forbidden")
        await hub.send({"type": "settings", "id": 12})
        self.assertEqual(await hub.close_code(), 4506)


class Restart(HubCase):
    async def test_4001_goaway_then_the_client_comes_back(self):
        async with self.client("a") as a:
            await self.until(a, lambda: a.live)
            frames = []
            take = a._take
            a._take = lambda frame: frames.append(frame) or take(frame)
            a.create("ticket", {"subject": "Lift"})
            await self.until(a, lambda: a.store.copy("ticket"))
            await asyncio.to_thread(self.hub.end, signal.SIGTERM)
            await self.until(a, lambda: a.closes)
            self.assertEqual(a.closes[0], 4001)
            self.assertEqual([f["reason"] for f in frames if f["type"] == "goaway"], ["shutting_down"])
            await asyncio.to_thread(self.hub.start)
            await self.assert_equal_to_the_hub(a)


class Reactions(HubCase):
    """What the client does with codes, without waiting as long as it would."""

    async def test_waits_and_stops_follow_the_table(self):
        a = self.client("a")
        for code in (4001, 4002, 4003, 4004, 4005, 4499, None, 1006):
            self.assertLessEqual(a._delay(code, ""), 60.0)
        for code in (4504, 4505, 4507):
            self.assertEqual(a._delay(code, ""), 60.0)
        for code in (4502, 4503, 4506, 4999, 4500, 4501):
            with self.assertRaises(Stopped):
                a._delay(code, "")

    async def test_backoff_doubles_up_to_a_minute_and_is_spread(self):
        a = self.client("a")
        waits = [a._delay(4002, "") for _ in range(300)]
        self.assertTrue(all(wait <= 0.5 * 2 ** min(n, 7) for n, wait in enumerate(waits[:8])))
        self.assertLessEqual(max(waits), 60.0)
        self.assertGreater(max(waits), 50.0)
        self.assertLess(min(waits[20:]), 10.0)


class Renewal(HubCase):
    async def test_a_client_renews_its_token_before_it_ends_and_stays(self):
        got = []

        async def get():
            got.append(self.token(ttl=2 if len(got) < 2 else 3600))
            return got[-1]

        async with self.client("a", token=get) as a:
            await self.until(a, lambda: a.live)
            await self.until(a, lambda: len(got) >= 3)
            await asyncio.sleep(2.5)
            a.create("ticket", {"subject": "still here"})
            await self.assert_equal_to_the_hub(a)
            self.assertEqual(a.closes, [])

    async def test_without_renewal_a_new_token_brings_it_back(self):
        tokens = [self.token(ttl=2), "no token", self.token()]

        async def get():
            return tokens.pop(0)

        async with self.client("a", token=get) as a:
            await self.until(a, lambda: a.closes)
            await self.until(a, lambda: a.live)
            self.assertEqual(a.closes, [4501])

    async def test_a_renewal_that_names_somebody_else_is_forbidden_and_the_old_token_goes_on(self):
        async with self.client("a") as a:
            await self.until(a, lambda: a.live)
            others = (self.token("bob"), self.token(tenant="other"), self.token(role="operator"),
                      self.token(unit="north"), self.token(device="ann-a"), "no token", self.token(ttl=-5))
            for other in others:
                with self.assertRaises(HubError) as refused:
                    await a.request({"type": "token", "token": other})
                self.assertEqual(refused.exception.code, "forbidden")
            answer = await a.request({"type": "token", "token": self.token(ttl=600)})
            self.assertEqual(answer["type"], "token_accepted")
            await self.assert_equal_to_the_hub(a)
