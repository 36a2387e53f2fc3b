//! What is sent in attacks.

use std::sync::LazyLock;

use serde_json::{Value, json};
use synchub_protocol::{Encoding, gzip};

use super::wire::{BINARY, CONTINUATION, FINAL, PING, TEXT, frame, head, message};
use crate::chance::Chance;

const MIB: usize = 1 << 20;

/// A frame as a MessagePack message.
pub(super) fn packed(value: &Value) -> Vec<u8> {
    message(Encoding::MessagePack, &Encoding::MessagePack.encode(value))
}

/// Bytes that follow no rule.
pub(super) fn garbage(chance: &Chance) -> Vec<u8> {
    let bytes: Vec<u8> = (0..512).flat_map(|_| chance.next().to_le_bytes()).collect();
    // 0xc1 is the one byte that MessagePack never uses.
    message(Encoding::MessagePack, &[&[0xc1][..], &bytes].concat())
}

/// Lists in lists.
pub(super) fn nested() -> Vec<u8> {
    message(Encoding::MessagePack, &[&b"\x81\xa4type"[..], &vec![0x91; 50_000]].concat())
}

/// Four billion items, announced and not sent.
pub(super) fn announced() -> Vec<u8> {
    message(Encoding::MessagePack, b"\x82\xa4type\xa4ping\xa1x\xdd\xff\xff\xff\xff\xdd\xff\xff\xff\xff")
}

/// A message of 2^62 bytes, announced.
pub(super) fn announced_message() -> Vec<u8> {
    let mut bytes = head(FINAL | BINARY, 1 << 62);
    bytes.extend([0; 100]);
    bytes
}

/// A ping request of this size.
pub(super) fn padded(size: usize) -> Vec<u8> {
    packed(&json!({"type": "ping", "id": 5, "padding": "x".repeat(size)}))
}

/// A frame of 8 MiB in a few KiB.
pub(super) fn gzip_bomb() -> Vec<u8> {
    static BOMB: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let frame = [&b"\x81\xa4type\xdb\x00\x80\x00\x00"[..], &vec![b'x'; 8 * MIB]].concat();
        gzip::deflate(&frame).map(|bytes| bytes.to_vec()).unwrap_or_default()
    });
    message(Encoding::MessagePack, &BOMB)
}

/// What begins as gzip and is none.
pub(super) fn broken_gzip() -> Vec<u8> {
    message(Encoding::MessagePack, &[&b"\x1f\x8b\x08\x00"[..], &[7; 2000]].concat())
}

/// A message in parts that never ends.
pub(super) fn parts_without_end() -> Vec<u8> {
    let mut bytes = frame(BINARY, b"\x81");
    let part = frame(CONTINUATION, &[0; 1000]);
    bytes.extend(part.repeat(3 * MIB / 1000));
    bytes
}

/// Empty parts without end.
pub(super) fn empty_parts() -> Vec<u8> {
    [frame(BINARY, b"\x81"), frame(CONTINUATION, b"").repeat(20_000), frame(FINAL | CONTINUATION, b"\xc1")]
        .concat()
}

/// Pings by the thousand, and a request after them.
pub(super) fn pings() -> Vec<u8> {
    let mut bytes = frame(FINAL | PING, &[7; 100]).repeat(5000);
    bytes.extend(packed(&json!({"type": "ping", "id": 5})));
    bytes
}

/// A frame with reserved bits, a reserved opcode, a ping in parts, a long ping, one without a mask.
pub(super) fn broken_frames() -> [Vec<u8>; 5] {
    [
        frame(FINAL | BINARY | 0x40, b"\x81"),
        frame(FINAL | 0x3, b"\x81"),
        frame(PING, b"part"),
        frame(FINAL | PING, &[0; 200]),
        vec![FINAL | BINARY, 1, 0x81],
    ]
}

/// Text that is none.
pub(super) fn broken_text() -> Vec<u8> {
    frame(FINAL | TEXT, b"{\"type\":\"\xff\xfe\"}")
}

/// A batch.
pub(super) fn sync(chance: &Chance, entries: &[Value]) -> Vec<u8> {
    packed(&json!({"type": "sync", "id": 5, "batch_id": chance.uuid(), "entries": entries}))
}

/// A new ticket.
pub(super) fn ticket(chance: &Chance) -> Value {
    let data = json!({"subject": "nothing", "status": "NEW"});
    json!({"domain": "ticket", "mobile_id": chance.uuid(), "version": 0, "data": data})
}

/// Batches as bytes: the attackers share the machine with what they attack.
pub(super) mod batches {
    use super::{BROKEN, MIB, announce, named};
    use crate::chance::Chance;
    use crate::hostile::wire::message;
    use synchub_protocol::Encoding;

    /// A batch of entries that are encoded already.
    pub(in crate::hostile) fn of(chance: &Chance, entries: &[Vec<u8>]) -> Vec<u8> {
        let mut frame = b"\x84\xa4type\xa4sync\xa2id\x05\xa8batch_id\xd9\x24".to_vec();
        frame.extend(chance.uuid().to_string().bytes());
        frame.extend(b"\xa7entries");
        frame.extend(announce(entries.len()));
        for entry in entries {
            frame.extend(entry);
        }
        message(Encoding::MessagePack, &frame)
    }

    /// That many new tickets.
    pub(in crate::hostile) fn tickets(chance: &Chance, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| named(chance, b"\x82\xa7subject\xa7nothing\xa6status\xa3NEW")).collect()
    }

    /// A thousand, with one among them in which everything is wrong.
    pub(in crate::hostile) fn one_broken(chance: &Chance) -> Vec<u8> {
        let mut entries = tickets(chance, 1000);
        entries[500] = BROKEN.to_vec();
        of(chance, &entries)
    }

    /// A thousand in which everything is wrong.
    pub(in crate::hostile) fn all_broken(chance: &Chance) -> Vec<u8> {
        of(chance, &vec![BROKEN.to_vec(); 1000])
    }

    /// A thousand that are no entries.
    pub(in crate::hostile) fn nulls(chance: &Chance) -> Vec<u8> {
        of(chance, &vec![vec![0xc0]; 1000])
    }

    /// An entry with a long text.
    pub(in crate::hostile) fn large(chance: &Chance) -> Vec<u8> {
        let text = [&b"\x81\xa7subject\xdb\x00\x0d\x00\x00"[..], &vec![b'x'; 0xd_0000]].concat();
        of(chance, &[named(chance, &text)])
    }

    /// An entry with a mebibyte of maps of one field each.
    pub(in crate::hostile) fn small_maps(chance: &Chance) -> Vec<u8> {
        of(chance, &[named(chance, &super::small_maps(MIB / 4 - 200))])
    }

    /// Entries of small maps, each below its own bound.
    pub(in crate::hostile) fn many_small_maps(chance: &Chance) -> Vec<u8> {
        let data = super::small_maps(90);
        of(chance, &(0..900).map(|_| named(chance, &data)).collect::<Vec<_>>())
    }
}

/// An entry in which everything is wrong.
const BROKEN: &[u8] = b"\x89\xa6domain\xa6ticket\xa9mobile_id\xa5no id\xa7version\xff\xa9operation\xa7explode\
\xa5delta\xa3yes\xb0client_timestamp\xa9yesterday\xa8priority\x07\xa8corrects\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00\
\xa4data\x83\xa7subject\x05\xa6status\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00\xa4zero\xa1\x00";

/// The head of a list.
fn announce(count: usize) -> Vec<u8> {
    [&[0xdd][..], &u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()].concat()
}

/// A new ticket with data that is encoded already.
fn named(chance: &Chance, data: &[u8]) -> Vec<u8> {
    let id = chance.uuid().to_string();
    let head = b"\x84\xa6domain\xa6ticket\xa7version\x00\xa9mobile_id\xd9\x24";
    [&head[..], id.as_bytes(), b"\xa4data", data].concat()
}

/// A field that holds a list of maps with one field each.
fn small_maps(count: usize) -> Vec<u8> {
    [&b"\x81\xa4list"[..], &announce(count), &b"\x81\xa1a\x01".repeat(count)].concat()
}

/// A subscription with such a filter.
pub(super) fn filter() -> Vec<u8> {
    let head = b"\x83\xa4type\xa9subscribe\xa2id\x05\xadsubscriptions\x91\x82\xa6domain\xa6ticket\xa6filter";
    message(Encoding::MessagePack, &[&head[..], &small_maps(MIB / 4 - 200)].concat())
}
