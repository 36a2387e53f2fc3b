"""The hub that the tests talk to: the real binary, on a free port, with its data in a temporary folder."""

import asyncio
import base64
import gzip
import hashlib
import hmac
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from synchub_client import SUBPROTOCOLS, Client, Store, decode, encode  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("SYNCHUB_BINARY", str(ROOT / "target/debug/synchub"))
PATIENCE = float(os.environ.get("SYNCHUB_TEST_PATIENCE", "20"))  # seconds that a condition may take
SECRET = "a secret of thirty-two bytes or so"
TICKETS = {"domain": "ticket"}
JOURNAL = {"domain": "journal"}


def token(user="ann", tenant="demo", role="device", ttl=3600, secret=SECRET, **claims):
    """An HS256 token; claims that are None are left out."""
    claims = {"sub": user, "tenant": tenant, "role": role, "exp": int(time.time() + ttl), **claims}
    claims = {name: value for name, value in claims.items() if value is not None}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.new(secret.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


class Hub:
    def __init__(self, **settings):
        self.folder = tempfile.mkdtemp(prefix="synchub-python-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/ws"
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith("SYNCHUB_") or name == "SYNCHUB_TEST_RUN"}
        self.environment = {**kept, "SYNCHUB_AUTH_HS256_SECRET": SECRET, "SYNCHUB_LOG_LEVEL": "off",
                            "SYNCHUB_DRAIN_SECS": "0", "SYNCHUB_DRAIN_RECONNECT_MS": "100",
                            "SYNCHUB_FEED_POSITION_MS": "20", "SYNCHUB_FEED_IDLE_POSITION_SECS": "1",
                            **{f"SYNCHUB_{name.upper()}": str(value) for name, value in settings.items()}}
        self.process = None

    def start(self):
        command = [BINARY, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.folder]
        self.process = subprocess.Popen(command, env=self.environment)
        for _ in range(600):
            if self.process.poll() is not None:
                raise RuntimeError(f"the hub ended with {self.process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except ConnectionRefusedError:
                time.sleep(0.05)
        raise RuntimeError("the hub does not listen")

    def end(self, how=signal.SIGTERM):
        """Ends the hub and waits until it is gone."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def remove(self):
        self.end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class HubCase(unittest.IsolatedAsyncioTestCase):
    """Tests against one hub for the class; each has a tenant of its own. `SETTINGS` of the hub."""

    SETTINGS = {}

    @classmethod
    def setUpClass(cls):
        cls.hub = Hub(**cls.SETTINGS)
        cls.addClassCleanup(cls.hub.remove)
        cls.hub.start()

    def setUp(self):
        self.tenant = "t-" + uuid.uuid4().hex[:12]

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # says nothing of a busy machine

    def token(self, user="ann", **claims):
        return token(user, claims.pop("tenant", self.tenant), **claims)

    def client(self, name, subscriptions=(TICKETS,), *, user="ann", store=None, **options):
        store = store or Store()
        get_token = options.pop("token", None) or self.token(user)
        device = {"id": f"{user}-{name}", "kind": "phone"}
        return Client(self.hub.url, get_token, device, store, subscriptions, **options)

    async def until(self, client, condition, seconds=PATIENCE):
        async with asyncio.timeout(seconds):
            await client.until(condition)

    async def at_rest(self, *clients):
        """Waits until all is answered, and everything of everyone has come."""
        for client in clients:
            await self.until(client, lambda client=client: client.live and not client.store.waiting())
        async with asyncio.timeout(PATIENCE):
            places = {client: (await client.request({"type": "digest"}))["seq"] for client in clients}
        for client, place in places.items():
            await self.until(client, lambda c=client, p=place: (c.store.get("seq") or 0) >= p)

    async def assert_equal_to_the_hub(self, *clients):
        """Each copy is what a device of that user that comes new is given, and its digests are the hub's."""
        await self.at_rest(*clients)
        for client in clients:
            user = client.device["id"].split("-")[0]
            async with self.client(uuid.uuid4().hex, client.subscriptions, user=user) as fresh:
                await self.until(fresh, lambda: fresh.live)
                for subscription in client.subscriptions:
                    domain = subscription["domain"]
                    self.assertEqual(client.store.copy(domain), fresh.store.copy(domain))
                    self.assertEqual(client.store.view(domain),
                                     {key: data for key, (_, data) in client.store.copy(domain).items()})
            async with asyncio.timeout(PATIENCE):
                self.assertEqual(await client.compare(), {})

    async def raw(self, encoding="json", **options):
        socket = Raw(encoding, self.hub.url, options)
        self.addAsyncCleanup(socket.close)
        return await socket.open()


class Raw:
    """A socket without a client behind it, for what a client never does."""

    def __init__(self, encoding, url, options):
        self.encoding, self.url, self.options, self.socket = encoding, url, options, None

    async def open(self):
        protocols = [SUBPROTOCOLS[self.encoding]]
        self.socket = await connect(self.url, subprotocols=protocols, compression=None, ping_interval=None,
                                    close_timeout=1, max_size=None, **self.options)
        return self

    async def close(self):
        await self.socket.close()

    async def send(self, frame, compressed=False):
        message = encode(frame, self.encoding)
        if compressed:
            message = gzip.compress(message.encode() if isinstance(message, str) else message)
        await self.socket.send(message)

    async def hello(self, token, device="raw-1", **fields):
        if isinstance(device, str):
            device = {"id": device, "kind": "phone"}
        frame = {"type": "hello", "id": 1, "token": token, "device": device, **fields}
        await self.send({key: value for key, value in frame.items() if value is not None})
        return await self.answer(1)

    async def read(self):
        async with asyncio.timeout(PATIENCE):
            return decode(await self.socket.recv(), self.encoding, 2**24)

    async def answer(self, request):
        while True:
            frame = await self.read()
            if frame.get("id") == request or (frame["type"] == "error" and "id" not in frame):
                return frame

    async def ask(self, frame):
        await self.send(frame)
        return await self.answer(frame["id"])

    async def close_code(self, seconds=30):
        """Reads until the hub closes."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.socket.recv()
        except ConnectionClosed as error:
            return error.rcvd.code if error.rcvd else None
