//! The hash by which a batch that comes again is known to be the same (O1).

use serde::Serialize;
use sha2::{Digest, Sha256};
use synchub_protocol::RawEntry;
use synchub_protocol::client::Push;
use synchub_protocol::entry::RawChange;

/// Hashes what the idempotency of a batch covers: its entries and its two settings as decoded, so that
/// the encoding, the order of keys and unknown keys make no difference. A setting that is absent is
/// false. A faulty entry counts with what could be read of it and with what was wrong.
pub fn request_hash(entries: &[RawEntry], atomic: bool, cross_device: bool) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix([u8::from(atomic), u8::from(cross_device)]);
    let mut text = Vec::new();
    for RawEntry { entry, .. } in entries {
        text.clear();
        match entry {
            Ok(entry) => write(&mut text, b'e', entry),
            Err(fault) => {
                write(&mut text, b'f', &fault.message);
                write(&mut text, b'p', &fault.partial);
            }
        }
        hash.update(&text);
    }
    hash.finalize().into()
}

/// Hashes what the idempotency of a service's request covers in the same way: its changes and its pushes.
pub fn publish_hash(changes: &[RawChange], pushes: &[Push]) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(b"publish");
    let mut text = Vec::new();
    for RawChange { change, .. } in changes {
        text.clear();
        match change {
            Ok(change) => write(&mut text, b'e', change),
            Err(fault) => {
                write(&mut text, b'f', &fault.message);
                write(&mut text, b'p', &fault.partial);
            }
        }
        hash.update(&text);
    }
    for push in pushes {
        text.clear();
        write(&mut text, b'm', push);
        hash.update(&text);
    }
    hash.finalize().into()
}

/// Appends a value as JSON, whose end shows by itself.
fn write(text: &mut Vec<u8>, kind: u8, value: &impl Serialize) {
    text.push(kind);
    serde_json::to_writer(text, value).expect("what was decoded has string keys and finite numbers");
}
