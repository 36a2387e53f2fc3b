"""How the cases become bytes, and the forms of MessagePack that its Python library never writes."""

import json
import struct
import zlib

import msgpack

ENTRY_ID = "0190b2c4-7d1e-7a3b-9c55-0123456789ab"
OTHER_ID = "0190b2c4-7d1e-7a3b-9c55-fedcba987654"
BATCH_ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
INSTALL_ID = "550e8400-e29b-41d4-a716-446655440000"
CONFLICT_ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
TIME = "2026-11-21T10:00:00.123456Z"
MAX = 2**53 - 1


class Raw(bytes):
    """Bytes that go into a MessagePack message as they are."""


class Pairs(list):
    """A map as pairs, so that a key may stand twice or be no string."""


def head(short, short_limit, forms, length):
    """The first bytes of a string, an array or a map."""
    if length < short_limit:
        return bytes([short | length])
    for marker, code, limit in forms:
        if length < limit:
            return bytes([marker]) + struct.pack(code, length)
    raise ValueError(length)


def pack(value):
    """MessagePack in its shortest form, keys in the order given."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, (dict, Pairs)):
        pairs = value.items() if isinstance(value, dict) else value
        body = b"".join(pack(key) + pack(item) for key, item in pairs)
        return head(0x80, 16, [(0xDE, ">H", 2**16), (0xDF, ">I", 2**32)], len(value)) + body
    if isinstance(value, (list, tuple)):
        forms = [(0xDC, ">H", 2**16), (0xDD, ">I", 2**32)]
        return head(0x90, 16, forms, len(value)) + b"".join(map(pack, value))
    return msgpack.packb(value, use_bin_type=True)


def text(value):
    """JSON without spaces, as UTF-8."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def float32(value):
    return Raw(b"\xca" + struct.pack(">f", value))


def uint64(value):
    return Raw(b"\xcf" + struct.pack(">Q", value))


def int64(value):
    return Raw(b"\xd3" + struct.pack(">q", value))


def str32(value):
    return Raw(b"\xdb" + struct.pack(">I", len(value.encode())) + value.encode())


def raw_str(content):
    """A short string of any bytes."""
    return Raw(bytes([0xA0 | len(content)]) + content)


def gzip(content, level=9, names=b""):
    """One gzip member (RFC 1952) without a time; `names` are a file's name and a comment, each with its zero."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(content) + deflate.flush()
    header = b"\x1f\x8b\x08" + bytes([0x18 if names else 0]) + bytes(5) + b"\xff" + names
    return header + body + struct.pack("<II", zlib.crc32(content), len(content))
