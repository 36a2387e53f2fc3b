"""The golden frames: read and written by the client, and what the hub says to those of a client."""

import asyncio
import json
import pathlib
import tempfile
import unittest
import uuid

from hub import ROOT, HubCase

from synchub_client import FrameError, check_frame, decode, encode

GOLDEN = ROOT / "protocol/golden"
INDEX = json.loads((GOLDEN / "index.json").read_text())
LIMIT = 4 * 2**20


def content(case, encoding):
    return (GOLDEN / "frames" / f"{case['name']}.{encoding}").read_bytes()


def message(case, encoding):
    """As it would come from a socket: text in JSON, but for what is compressed or no text."""
    data = content(case, encoding)
    if encoding == "json" and not case.get("gzip"):
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
    return data


def read(case, encoding):
    return decode(message(case, encoding), encoding, LIMIT)


def each(kind):
    return [(case, encoding) for case in INDEX[kind] for encoding in case["encodings"]]


class Frames(unittest.TestCase):
    def test_good_frames_are_read_and_written_alike_in_both_encodings(self):
        for case, encoding in each("good"):
            with self.subTest(case["name"], encoding=encoding):
                frame = read(case, encoding)
                if case["direction"] == "hub" and frame["type"] not in OTHER_ANSWERS:
                    check_frame(frame)
                for other in case["encodings"]:
                    self.assertEqual(read(case, other), frame)
                    for compressed in (False, True):
                        self.assertEqual(decode(encode(frame, other, compressed), other, LIMIT), frame)
                if case["canonical"]:
                    written = encode(frame, encoding)
                    self.assertEqual(written.encode() if encoding == "json" else written, content(case, encoding))

    def test_bad_frames_are_refused_as_the_index_says(self):
        for case, encoding in each("bad"):
            if case["outcome"] not in ("undecodable", "too_large") and case["direction"] == "client":
                continue  # the hub's part, below
            with self.subTest(case["name"], encoding=encoding):
                with self.assertRaises(FrameError) as refused:
                    check_frame(read(case, encoding))
                self.assertEqual(refused.exception.outcome, case["outcome"])


# Answers to requests that this client does not make.
OTHER_ANSWERS = {"pull_result", "resolved", "conflicts_result", "published", "presence_result"}


def is_not_offered(case):
    """A request that this version of the hub answers `unknown_type`, whatever its fields say."""
    return case["name"].startswith(tuple(f"bad-request-{name}-" for name in (
        "pull", "resolve", "conflicts", "presence")))


class AgainstTheHub(HubCase):
    """A tenant for each frame, and a domain `ticket` that refuses nothing of itself."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        text = 'name = "ticket"\nstrategy = "client_wins"\nvisibility = "tenant"\n'
        (pathlib.Path(folder.name) / "ticket.toml").write_text(text)
        cls.SETTINGS = {"domains_dir": folder.name}
        super().setUpClass()

    async def each(self, cases, check):
        room = asyncio.Semaphore(8)
        wrong = []

        async def one(case, encoding):
            async with room:
                hub = await self.raw(encoding)
                if not case["name"].startswith("bad-hello"):
                    tenant = case["name"][-40:] + encoding
                    device = {"id": "d", "kind": "phone", "install_id": str(uuid.uuid4())}
                    await hub.hello(self.token(tenant=tenant), device, compression=["gzip"])
                data = message(case, encoding)
                await hub.socket.send(data, text=encoding == "json" and "not-utf8" in case["name"] or None)
                try:
                    await check(case, hub)
                except Exception as error:
                    wrong.append(f"{case['name']}.{encoding}: {type(error).__name__} {error}")
                await hub.close()

        await asyncio.gather(*(one(case, encoding) for case, encoding in cases))
        self.assertFalse(wrong, "\n" + "\n".join(wrong))

    async def test_good_frames_of_a_client_are_no_bad_requests(self):
        async def check(case, hub):
            await hub.send({"type": "ping", "id": 4711})
            while (answer := await hub.read()).get("id") != 4711:
                self.assertNotEqual(answer.get("code"), "bad_request", answer)

        cases = [(case, encoding) for case, encoding in each("good") if case["direction"] == "client"
                 and not case["name"].startswith("hello") and case["name"] != "sync-no-entries"]
        await self.each(cases, check)

    async def test_bad_frames_of_a_client_are_answered_as_the_index_says(self):
        async def check(case, hub):
            outcome = case["outcome"]
            if outcome in ("undecodable", "too_large"):
                self.assertEqual(await hub.close_code(10), {"undecodable": 4503, "too_large": 4505}[outcome])
                return
            while (answer := await hub.read())["type"] not in ("error", "sync_result"):
                pass
            if outcome != "entry_fault":
                if outcome == "bad_request" and is_not_offered(case):
                    outcome = "unknown_type"
                self.assertEqual((answer.get("code"), answer.get("id")), (outcome, case["id"]), answer)
                await hub.send({"type": "ping", "id": 4711})
                self.assertIn((await hub.read())["type"], ("pong", "error"), "the socket goes on")
                return
            for result, fault in zip(answer["results"], case["entries"], strict=True):
                error = result.get("error") or {}
                self.assertEqual(error.get("code"), fault and "validation_failed", result)
                if fault:
                    self.assertEqual(result["mobile_id"], fault["mobile_id"])
                    if "field" in fault:
                        self.assertEqual(error.get("field"), fault["field"])

        await self.each([pair for pair in each("bad") if pair[0]["direction"] == "client"], check)
