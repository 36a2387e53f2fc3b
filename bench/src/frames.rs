//! The frames of the hub's protocol that benchmarks send and look at, as MessagePack.

use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// How often a session has to say something: no benchmark takes so long.
const HEARTBEAT_SECS: u64 = 300;

/// What a frame of the hub is for a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A change.
    DataUpdate,
    /// The answer to a batch.
    SyncResult,
    /// What was missed has been sent.
    CaughtUp,
    /// A place.
    Position,
    /// A request was refused.
    Error,
    /// Anything else.
    Other,
}

/// Tells a frame by its `type`, without decoding it: the hub writes that first.
pub(crate) fn kind(frame: &[u8]) -> Kind {
    let is =
        |name: &[u8]| [1, 3].iter().any(|map| frame.get(*map..).is_some_and(|rest| rest.starts_with(name)));
    if is(b"\xa4type\xabdata_update") {
        Kind::DataUpdate
    } else if is(b"\xa4type\xabsync_result") {
        Kind::SyncResult
    } else if is(b"\xa4type\xa9caught_up") {
        Kind::CaughtUp
    } else if is(b"\xa4type\xa8position") {
        Kind::Position
    } else if is(b"\xa4type\xa5error") {
        Kind::Error
    } else {
        Kind::Other
    }
}

/// A value as MessagePack.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("plain data can be encoded")
}

/// A frame for people.
pub(crate) fn show(frame: &[u8]) -> String {
    rmp_serde::from_slice::<Value>(frame).map_or_else(|error| error.to_string(), |frame| frame.to_string())
}

/// The first cursor of a frame.
pub(crate) fn cursor(frame: &[u8]) -> Option<String> {
    let frame: Value = rmp_serde::from_slice(frame).ok()?;
    frame.get("cursor")?.as_str().map(str::to_owned)
}

/// A hello.
pub(crate) fn hello(
    token: &str,
    device: &str,
    install: Option<Uuid>,
    domains: &[&str],
    cursor: Option<&str>,
) -> Vec<u8> {
    let subscriptions: Vec<_> = domains.iter().map(|domain| json!({"domain": domain})).collect();
    let mut hello = json!({
        "type": "hello", "id": 1, "token": token, "heartbeat_secs": HEARTBEAT_SECS,
        "device": {"id": device, "kind": "phone"}, "subscriptions": subscriptions,
    });
    if let Some(install) = install {
        hello["device"]["install_id"] = json!(install);
    }
    if let Some(cursor) = cursor {
        hello["cursor"] = json!(cursor);
    }
    encode(&hello)
}

/// A batch; `first` is the number of its first entry.
pub(crate) fn sync(id: u64, batch: Uuid, first: Option<u64>, entries: &[Value]) -> Vec<u8> {
    let mut sync = json!({"type": "sync", "id": id, "batch_id": batch, "entries": entries});
    if let Some(first) = first {
        sync["first_client_seq"] = json!(first);
    }
    encode(&sync)
}

/// An entry with all of a record's data.
pub(crate) fn entry(domain: &str, key: Uuid, version: u64, data: &Value) -> Value {
    json!({"domain": domain, "mobile_id": key, "version": version, "operation": "upsert", "data": data,
        "client_timestamp": "2026-01-05T08:30:00.000000Z"})
}

/// `{"text": …}` of so many bytes as MessagePack, different for each `number`.
pub(crate) fn text_of(bytes: usize, number: u64) -> Value {
    // A map of one, "text", and the head of the string.
    let head = match bytes {
        ..40 => 7,
        40..264 => 8,
        _ => 9,
    };
    let mut text = format!("{number:010}");
    let fill = bytes.saturating_sub(head + text.len());
    text.extend(
        std::iter::repeat_n("the quick brown fox jumps over ", fill / 31 + 1).flat_map(str::chars).take(fill),
    );
    json!({"text": text})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_by_their_type() {
        for (name, expected) in [
            ("data_update", Kind::DataUpdate),
            ("sync_result", Kind::SyncResult),
            ("caught_up", Kind::CaughtUp),
            ("position", Kind::Position),
            ("error", Kind::Error),
            ("welcome", Kind::Other),
        ] {
            let frame = [&[0x82, 0xa4][..], b"type", &encode(&name), b"\xa1a\x01"].concat();
            assert_eq!(kind(&frame), expected, "{name}");
        }
        assert_eq!(kind(&[]), Kind::Other);
    }

    #[test]
    fn texts_have_the_size_that_was_asked_for() {
        for bytes in [200, 300, 20_000] {
            assert_eq!(encode(&text_of(bytes, 7)).len(), bytes);
        }
        assert_ne!(text_of(200, 7), text_of(200, 8));
    }

    #[test]
    fn a_cursor_is_found() {
        assert_eq!(cursor(&encode(&json!({"type": "position", "cursor": "abc"}))).unwrap(), "abc");
        assert_eq!(cursor(&encode(&json!({"type": "pong"}))), None);
    }
}
