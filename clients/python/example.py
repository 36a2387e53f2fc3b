"""Opens a ticket, shows all of them, and goes on showing what anybody changes: python example.py TOKEN"""

import asyncio
import sys

from synchub_client import Client, Store


async def main(token):
    store = Store("example.db")
    device = {"id": "example-1", "kind": "laptop"}
    async with Client("ws://127.0.0.1:8480/ws", token, device, store, [{"domain": "ticket"}]) as client:
        client.create("ticket", {"subject": "Lift stuck", "status": "NEW", "priority": "HIGH"})
        shown = None
        while True:
            await client.until(lambda: client.live and store.view("ticket") != shown)
            shown = store.view("ticket")
            print(*(ticket.get("subject") for ticket in shown.values()), sep="\n", end="\n\n")


asyncio.run(main(sys.argv[1]))
