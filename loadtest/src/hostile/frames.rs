//! What is sent in attacks.

use serde_json::{Value, json};
use synchub_protocol::Encoding;

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
    message(Encoding::MessagePack, &[&b"\x81\xa4type"[..], &[0x91; 50_000]].concat())
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
    entry(chance, &json!({"subject": "nothing", "status": "NEW"}))
}

/// A new ticket with any data.
pub(super) fn entry(chance: &Chance, data: &Value) -> Value {
    json!({"domain": "ticket", "mobile_id": chance.uuid(), "version": 0, "data": data})
}

/// An entry in which everything is wrong.
pub(super) fn broken_entry() -> Value {
    json!({
        "domain": "ticket", "mobile_id": "no id", "version": -1, "operation": "explode", "delta": "yes",
        "client_timestamp": "yesterday", "priority": 7, "corrects": 1.5,
        "data": {"subject": 5, "status": "ON FIRE", "impact": 1e300, "zero": "\u{0}"},
    })
}

/// A list of maps with one field each, a mebibyte on the wire.
pub(super) fn small_maps() -> Value {
    json!({"subject": "x", "list": vec![json!({"a": 1}); MIB / 4 - 200]})
}

/// Entries of small maps, each below its own bound.
pub(super) fn many_small_maps(chance: &Chance) -> Vec<Value> {
    let data = json!({"subject": "x", "list": vec![json!({"a": 1}); 90]});
    (0..900).map(|_| entry(chance, &data)).collect()
}
