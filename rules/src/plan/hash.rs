//! The hash by which a batch that comes again is known to be the same (O1).

use serde::Serialize;
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};
use synchub_protocol::client::Push;
use synchub_protocol::entry::RawChange;
use synchub_protocol::{Data, Entry, RawEntry};

/// Hashes what the idempotency of a batch covers: its entries and its two settings as decoded, so that
/// the encoding, the order of keys and unknown keys make no difference. A setting that is absent is
/// false. A faulty entry counts with what could be read of it and with what was wrong.
pub fn request_hash(entries: &[RawEntry], atomic: bool, cross_device: bool) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix([u8::from(atomic), u8::from(cross_device)]);
    let mut text = Vec::new();
    for RawEntry { entry, .. } in entries {
        text.clear();
        match entry {
            Ok(entry) => write_entry(&mut text, entry),
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

/// Appends a part of which others are made as JSON, whose end shows by itself.
fn write(text: &mut Vec<u8>, kind: u8, value: &impl Serialize) {
    text.push(kind);
    serde_json::to_writer(text, value).expect("what was decoded has string keys and finite numbers");
}

/// Appends an entry in a form that needs no text: each part says what it is and how long.
fn write_entry(text: &mut Vec<u8>, entry: &Entry) {
    let Entry { domain, mobile_id, version, operation, data, delta, client_timestamp, priority, corrects } =
        entry;
    text.push(b'e');
    write_text(text, domain);
    text.extend(mobile_id.as_bytes());
    text.extend(version.to_be_bytes());
    text.push(*operation as u8);
    text.push(u8::from(*delta));
    text.push(priority.map_or(u8::MAX, |priority| priority as u8));
    write_option(text, client_timestamp.map(|time| time.0.to_be_bytes()));
    write_option(text, corrects.map(u64::to_be_bytes));
    write_map(text, data);
}

fn write_option(text: &mut Vec<u8>, number: Option<[u8; 8]>) {
    text.push(u8::from(number.is_some()));
    text.extend(number.unwrap_or_default());
}

/// Seven bits a byte, the lowest first; the last byte has its highest bit clear (LEB128).
fn write_length(text: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        text.push(0x80 | u8::try_from(length & 0x7f).unwrap_or_default());
        length >>= 7;
    }
    text.push(u8::try_from(length).unwrap_or_default());
}

fn write_text(text: &mut Vec<u8>, value: &str) {
    write_length(text, value.len());
    text.extend(value.as_bytes());
}

fn write_map(text: &mut Vec<u8>, map: &Data) {
    write_length(text, map.len());
    for (key, value) in map {
        write_text(text, key);
        write_value(text, value);
    }
}

fn write_value(text: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => text.push(b'n'),
        Value::Bool(value) => text.push(if *value { b't' } else { b'f' }),
        Value::Number(number) => write_number(text, number),
        Value::String(value) => {
            text.push(b's');
            write_text(text, value);
        }
        Value::Array(items) => {
            text.push(b'a');
            write_length(text, items.len());
            for item in items {
                write_value(text, item);
            }
        }
        Value::Object(map) => {
            text.push(b'o');
            write_map(text, map);
        }
    }
}

/// Integers and fractions never equal each other: what was decoded has no fraction that is whole.
fn write_number(text: &mut Vec<u8>, number: &Number) {
    if let Some(integer) = number.as_i64() {
        text.push(b'i');
        text.extend(integer.to_be_bytes());
    } else {
        text.push(b'd');
        text.extend(number.as_f64().unwrap_or(f64::NAN).to_be_bytes());
    }
}
