"""Pushes of a service arrive, and a client that does not show them goes on."""

import uuid

from hub import TICKETS, HubCase


class Pushes(HubCase):
    async def service(self):
        """A publisher's socket, which has no device."""
        peer = await self.raw()
        await peer.send({"type": "hello", "id": 1, "token": self.token("service", role="publisher")})
        self.assertEqual((await peer.read())["type"], "welcome")
        return peer

    async def test_a_message_arrives_once_and_a_client_that_knows_none_goes_on(self):
        async with self.client("a") as a:
            await self.until(a, lambda: a.live)
            phone = await self.raw()
            await phone.hello(self.token("bob"), device={"id": "bob-phone", "kind": "phone"})
            service = await self.service()
            push = {"kind": "message", "to": {"tenant": True}, "topic": "news", "data": {"text": "東京"}}
            request = {"type": "publish", "id": 2, "request_id": str(uuid.uuid4()), "pushes": [push]}
            published = await service.ask(request)
            self.assertEqual([(p["delivered"], p["queued"], p["held"]) for p in published["pushes"]], [(2, 0, 0)])
            frame = await phone.read()
            while frame["type"] != "message":
                frame = await phone.read()
            self.assertEqual((frame["push_id"], frame["data"]), (published["pushes"][0]["push_id"], {"text": "東京"}))
            again = await service.ask({**request, "id": 3})
            self.assertEqual(again["pushes"][0]["push_id"], frame["push_id"])
            mobile_id = a.create("ticket", {"subject": "Lift", "status": "NEW"})
            await self.until(a, lambda: mobile_id in a.store.copy("ticket"))
            await self.assert_equal_to_the_hub(a)
            for peer in (phone, service):
                await peer.close()
