"""What is held back from a device comes when it asks, and the copies end equal."""

from hub import TICKETS, HubCase


class HeldBack(HubCase):
    def held(self, pushes):
        return [push["domains"] for push in pushes if push.get("reason") == "held_back"]

    async def hold_and_catch_up(self, encoding, subscription, **settings):
        pushes = []
        options = {"encoding": encoding, "user": "bob", "pushed": pushes.append}
        async with self.client("a") as a, self.client("b", [subscription], **options) as b:
            await self.until(a, lambda: a.live)
            await self.until(b, lambda: b.live)
            if settings:
                await b.settings(**settings)
            low = [a.create("ticket", {"subject": f"Lift {number}", "status": "NEW"}) for number in range(3)]
            own = b.create("ticket", {"subject": "mine", "status": "NEW"})
            await self.until(b, lambda: self.held(pushes) and not b.store.waiting())
            await self.until(a, lambda: own in a.store.copy("ticket"))
            high = a.create("ticket", {"subject": "Fire", "status": "NEW", "priority": "CRITICAL"})
            await self.until(b, lambda: high in b.store.copy("ticket"))
            self.assertEqual((list(b.store.copy("ticket")), self.held(pushes)), ([high], [["ticket"]]))
            self.assertEqual(set(b.store.view("ticket")), {high, own}, "an own edit is shown all the while")
            self.assertEqual((await b.catch_up())["type"], "caught_up")
            self.assertEqual(set(b.store.copy("ticket")), {*low, own, high})
            await self.assert_equal_to_the_hub(a, b)

    async def test_what_the_subscription_delays(self):
        await self.hold_and_catch_up("json", {**TICKETS, "priority": "high"})

    async def test_what_battery_saver_delays(self):
        await self.hold_and_catch_up("msgpack", TICKETS, battery_saver=True)
