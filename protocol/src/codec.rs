//! Bytes to frames and back, in both encodings.
//!
//! Decoding reads `type` and `id` first and then the one shape that `type` names: no tagged or
//! untagged decoding, which would buffer what a hostile sender only claims to send.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use rmp_serde::decode::ReadRefReader;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::budget::Bound;
use crate::client::{self, ClientFrame};
use crate::loose::{Loose, Notes};
use crate::plain;
use crate::server::{self, ServerFrame};
use crate::wire;

/// How deep maps and arrays may nest in a frame; the frame itself is the first level.
pub const MAX_DEPTH: usize = 32;

/// How frames are written on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Binary messages, MessagePack maps.
    MessagePack,
    /// Text messages, JSON objects.
    Json,
}

impl Encoding {
    /// The WebSocket subprotocol that names this encoding.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::MessagePack => "synchub.v1.msgpack",
            Self::Json => "synchub.v1.json",
        }
    }

    /// The encoding that a subprotocol names.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        [Self::MessagePack, Self::Json].into_iter().find(|encoding| encoding.subprotocol() == name)
    }

    /// Encodes a frame, or any part of one.
    pub fn encode<T: Serialize>(self, frame: &T) -> Bytes {
        let encoded = match self {
            Self::MessagePack => rmp_serde::to_vec_named(frame).map_err(|error| error.to_string()),
            Self::Json => serde_json::to_vec(frame).map_err(|error| error.to_string()),
        };
        // The frame types hold only string keys and plain values, and a Vec takes every write.
        Bytes::from(encoded.expect("a frame can be encoded"))
    }
}

/// Why a message is no frame, or no frame that can be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No map, no string `type`, too deep, or not the encoding at all: the socket closes.
    #[error("not a frame: {0}")]
    Undecodable(String),
    /// A `type` that nobody knows.
    #[error("unknown frame type `{kind}`")]
    UnknownType {
        /// The request's id, where it could be read.
        id: Option<u64>,
        /// The type as sent.
        kind: String,
    },
    /// A field is missing or of the wrong type.
    #[error("{message}")]
    BadRequest {
        /// The frame's type.
        kind: String,
        /// The request's id, where it could be read.
        id: Option<u64>,
        /// What is wrong, beginning with the field's path.
        message: String,
    },
}

struct Head {
    kind: String,
    id: Option<u64>,
}

/// Decodes a frame that a client sent.
pub fn decode_client(encoding: Encoding, bytes: &[u8]) -> Result<ClientFrame, DecodeError> {
    let plain = if encoding == Encoding::MessagePack { plain::sync(bytes) } else { None };
    plain.map_or_else(|| decode_carefully(encoding, bytes), |frame| Ok(ClientFrame::Sync(frame)))
}

/// Decodes any frame that a client sent.
pub(crate) fn decode_carefully(encoding: Encoding, bytes: &[u8]) -> Result<ClientFrame, DecodeError> {
    let head = read_head(encoding, bytes)?;
    Ok(match head.kind.as_str() {
        "hello" => ClientFrame::Hello(read(encoding, bytes, &head)?),
        "subscribe" => ClientFrame::Subscribe(read(encoding, bytes, &head)?),
        "unsubscribe" => ClientFrame::Unsubscribe(read(encoding, bytes, &head)?),
        "sync" => ClientFrame::Sync(read::<client::Sync>(encoding, bytes, &head)?),
        "ack" => ClientFrame::Ack(read(encoding, bytes, &head)?),
        "catch_up" => ClientFrame::CatchUp(read(encoding, bytes, &head)?),
        "settings" => ClientFrame::Settings(read(encoding, bytes, &head)?),
        "digest" => ClientFrame::Digest(read(encoding, bytes, &head)?),
        "pull" => ClientFrame::Pull(read(encoding, bytes, &head)?),
        "resolve" => ClientFrame::Resolve(read(encoding, bytes, &head)?),
        "conflicts" => ClientFrame::Conflicts(read(encoding, bytes, &head)?),
        "publish" => ClientFrame::Publish(read(encoding, bytes, &head)?),
        "presence" => ClientFrame::Presence(read(encoding, bytes, &head)?),
        "token" => ClientFrame::Token(read(encoding, bytes, &head)?),
        "ping" => ClientFrame::Ping(read(encoding, bytes, &head)?),
        _ => return Err(DecodeError::UnknownType { id: head.id, kind: head.kind }),
    })
}

/// Decodes a frame that the hub sent.
pub fn decode_server(encoding: Encoding, bytes: &[u8]) -> Result<ServerFrame, DecodeError> {
    let head = read_head(encoding, bytes)?;
    Ok(match head.kind.as_str() {
        "welcome" => ServerFrame::Welcome(read(encoding, bytes, &head)?),
        "subscribed" => ServerFrame::Subscribed(read(encoding, bytes, &head)?),
        "snapshot" => ServerFrame::Snapshot(read(encoding, bytes, &head)?),
        "data_update" => ServerFrame::DataUpdate(read(encoding, bytes, &head)?),
        "position" => ServerFrame::Position(read(encoding, bytes, &head)?),
        "caught_up" => ServerFrame::CaughtUp(read(encoding, bytes, &head)?),
        "sync_result" => ServerFrame::SyncResult(read(encoding, bytes, &head)?),
        "sync_trigger" => ServerFrame::SyncTrigger(read(encoding, bytes, &head)?),
        "conflict_alert" => ServerFrame::ConflictAlert(read(encoding, bytes, &head)?),
        "message" => ServerFrame::Message(read(encoding, bytes, &head)?),
        "entry_settled" => ServerFrame::EntrySettled(read(encoding, bytes, &head)?),
        "pull_result" => ServerFrame::PullResult(read(encoding, bytes, &head)?),
        "resolved" => ServerFrame::Resolved(read(encoding, bytes, &head)?),
        "conflicts_result" => ServerFrame::ConflictsResult(read(encoding, bytes, &head)?),
        "published" => ServerFrame::Published(read(encoding, bytes, &head)?),
        "digest_result" => ServerFrame::DigestResult(read(encoding, bytes, &head)?),
        "presence_result" => ServerFrame::PresenceResult(read(encoding, bytes, &head)?),
        "token_accepted" => ServerFrame::TokenAccepted(read(encoding, bytes, &head)?),
        "settings_applied" => ServerFrame::SettingsApplied(read(encoding, bytes, &head)?),
        "pong" => ServerFrame::Pong(read(encoding, bytes, &head)?),
        "goaway" => ServerFrame::Goaway(read(encoding, bytes, &head)?),
        "error" => ServerFrame::Error(read::<server::ErrorFrame>(encoding, bytes, &head)?),
        _ => return Err(DecodeError::UnknownType { id: head.id, kind: head.kind }),
    })
}

/// Up to which size a refused frame is read again, to find the path of what is wrong.
const EXPLAINED_BYTES: usize = 64 * 1024;

fn read<T: DeserializeOwned>(encoding: Encoding, bytes: &[u8], head: &Head) -> Result<T, DecodeError> {
    let read = match encoding {
        Encoding::MessagePack => T::deserialize(&mut message_pack(&bytes)).map_err(|error| error.to_string()),
        Encoding::Json => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
    };
    read.map_err(|message| DecodeError::BadRequest {
        kind: head.kind.clone(),
        id: head.id,
        message: if bytes.len() > EXPLAINED_BYTES {
            wire::shorten(message)
        } else {
            explain::<T>(encoding, bytes)
        },
    })
}

fn explain<T: DeserializeOwned>(encoding: Encoding, bytes: &[u8]) -> String {
    let error = match encoding {
        Encoding::MessagePack => serde_path_to_error::deserialize::<_, T>(&mut message_pack(&bytes))
            .map(drop)
            .map_err(|error| format!("{}: {}", error.path(), error.inner())),
        Encoding::Json => {
            let mut deserializer = serde_json::Deserializer::from_slice(bytes);
            serde_path_to_error::deserialize::<_, T>(&mut deserializer)
                .map(drop)
                .map_err(|error| format!("{}: {}", error.path(), error.inner()))
        }
    };
    wire::shorten(error.err().unwrap_or_else(|| "a field is missing or of the wrong type".to_owned()))
}

type MessagePack<'b> = rmp_serde::Deserializer<ReadRefReader<'b, &'b [u8]>>;

fn message_pack<'b>(bytes: &'b &'b [u8]) -> MessagePack<'b> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(MAX_DEPTH + 1);
    deserializer
}

/// Walks the whole message once: its structure, its depth, its end, `type` and `id`.
fn read_head(encoding: Encoding, bytes: &[u8]) -> Result<Head, DecodeError> {
    let undecodable = |message: String| DecodeError::Undecodable(wire::shorten(message));
    let head = match encoding {
        Encoding::MessagePack => {
            let mut deserializer = message_pack(&bytes);
            // After an error the decoder's depth is off: nothing may be read from it any more.
            let head = (&mut deserializer)
                .deserialize_any(HeadVisitor(encoding))
                .map_err(|error| undecodable(error.to_string()))?;
            let end = IgnoredAny::deserialize(&mut deserializer);
            if !matches!(end, Err(rmp_serde::decode::Error::InvalidMarkerRead(_))) {
                return Err(undecodable("bytes follow the frame".to_owned()));
            }
            head
        }
        Encoding::Json => {
            check_json_depth(bytes).map_err(undecodable)?;
            let text = std::str::from_utf8(bytes).map_err(|error| undecodable(error.to_string()))?;
            let mut deserializer = serde_json::Deserializer::from_str(text);
            let head = deserializer.deserialize_any(HeadVisitor(encoding));
            let head = head.and_then(|head| deserializer.end().map(|()| head));
            head.map_err(|error| undecodable(error.to_string()))?
        }
    };
    let (Value::String(kind), id) = head else {
        return Err(undecodable("a frame has a `type`, a string".to_owned()));
    };
    Ok(Head { kind: wire::shorten(kind), id: id.as_u64() })
}

/// Brackets outside strings; what else is wrong with the text, the decoder finds.
fn check_json_depth(bytes: &[u8]) -> Result<(), String> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH} levels"));
        }
    }
    Ok(())
}

struct HeadVisitor(Encoding);

impl HeadVisitor {
    /// One value; null stands for what cannot be read.
    fn value<'de, A: MapAccess<'de>>(&self, access: &mut A) -> Result<Value, A::Error> {
        let notes = Notes::bounded(Bound::NAME);
        if self.0 == Encoding::MessagePack {
            return access.next_value_seed(Loose(&notes));
        }
        let raw = access.next_value::<&RawValue>()?.get();
        Ok(serde_json::Deserializer::from_str(raw).deserialize_any(Loose(&notes)).unwrap_or_default())
    }
}

impl<'de> Visitor<'de> for HeadVisitor {
    type Value = (Value, Value);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let (mut kind, mut id) = (Value::Null, Value::Null);
        while let Some(key) = access.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                "type" => kind = self.value(&mut access)?,
                "id" => id = self.value(&mut access)?,
                _ => drop(access.next_value::<IgnoredAny>()?),
            }
        }
        Ok((kind, id))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::client::Ping;

    fn decode(value: &Value) -> Result<ClientFrame, DecodeError> {
        let packed = decode_client(Encoding::MessagePack, &Encoding::MessagePack.encode(value));
        let text = decode_client(Encoding::Json, &Encoding::Json.encode(value));
        assert_eq!(packed.is_ok(), text.is_ok());
        if let (Ok(packed), Ok(text)) = (&packed, &text) {
            assert_eq!(packed, text);
        }
        packed
    }

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn unknown_keys_are_ignored_and_integral_floats_are_integers() {
        let ping = ClientFrame::Ping(Ping { id: 7, client_time: None });
        assert_eq!(decode(&json!({"type": "ping", "id": 7, "new": {"a": [1]}})), Ok(ping.clone()));
        assert_eq!(decode(&json!({"id": 7.0, "type": "ping"})), Ok(ping));
    }

    #[test]
    fn what_is_no_frame_is_undecodable() {
        for value in [json!([]), json!("ping"), json!({"id": 1}), json!({"type": 5}), json!(null)] {
            assert!(matches!(decode(&value), Err(DecodeError::Undecodable(_))), "{value}");
        }
        for bytes in
            [&b""[..], b"\xc1", b"\x81\x01\xa1x", b"\xdf\xff\xff\xff\xff", b"{\"type\":\"ping\",\"id\":1}"]
        {
            let decoded = decode_client(Encoding::MessagePack, bytes);
            assert!(matches!(decoded, Err(DecodeError::Undecodable(_))), "{bytes:?}");
        }
        let mut trailing = Encoding::MessagePack.encode(&json!({"type": "ping", "id": 1})).to_vec();
        trailing.push(0xc0);
        assert!(matches!(decode_client(Encoding::MessagePack, &trailing), Err(DecodeError::Undecodable(_))));
        for text in ["{\"type\":\"ping\",\"id\":NaN}", "{\"type\":\"ping\",\"id\":1}x", "\u{0}"] {
            assert!(matches!(
                decode_client(Encoding::Json, text.as_bytes()),
                Err(DecodeError::Undecodable(_))
            ));
        }
    }

    #[test]
    fn depth_is_counted_alike_in_both_encodings() {
        let frame = |levels| json!({"type": "ping", "id": 1, "deep": nested(levels)});
        assert!(decode(&frame(MAX_DEPTH - 1)).is_ok());
        assert!(matches!(decode(&frame(MAX_DEPTH)), Err(DecodeError::Undecodable(_))));
    }

    #[test]
    fn a_wrong_field_is_a_bad_request_that_names_it() {
        let decoded = decode(&json!({"type": "hello", "id": 3, "device": {"id": "d", "kind": "toaster"}}));
        let Err(DecodeError::BadRequest { id: Some(3), message, .. }) = decoded else {
            panic!("{decoded:?}")
        };
        assert!(message.starts_with("device.kind: "), "{message}");
        assert!(matches!(
            decode(&json!({"type": "ping", "id": -1})),
            Err(DecodeError::BadRequest { id: None, .. })
        ));
        assert!(matches!(decode(&json!({"type": "ping"})), Err(DecodeError::BadRequest { id: None, .. })));
        let unknown = decode(&json!({"type": "predict", "id": 9}));
        assert_eq!(unknown, Err(DecodeError::UnknownType { id: Some(9), kind: "predict".to_owned() }));
    }
}
