//! Holds the crate against the golden frames, which a program in another language wrote.
//!
//! Every good frame is read to the same value from both encodings, the canonical ones are written
//! byte for byte, every bad one is refused in the way the index says. See `golden/README.md`.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files has failed")]

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;
use synchub_protocol::codec::{self, DecodeError};
use synchub_protocol::gzip::{self, InflateError};
use synchub_protocol::{ClientFrame, Encoding, EntryFault, ServerFrame};

#[derive(Deserialize)]
struct Index {
    good: Vec<Good>,
    bad: Vec<Bad>,
}

#[derive(Deserialize)]
struct Good {
    name: String,
    direction: String,
    canonical: bool,
    same_as: Option<String>,
    #[serde(default)]
    gzip: bool,
    encodings: Vec<String>,
}

#[derive(Deserialize)]
struct Bad {
    name: String,
    direction: String,
    outcome: String,
    id: Option<u64>,
    #[serde(default)]
    gzip: bool,
    #[serde(default)]
    entries: Vec<Option<serde_json::Map<String, serde_json::Value>>>,
    encodings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Frame {
    Client(ClientFrame),
    Hub(ServerFrame),
}

impl Frame {
    fn encode(&self, encoding: Encoding) -> bytes::Bytes {
        match self {
            Self::Client(frame) => encoding.encode(frame),
            Self::Hub(frame) => encoding.encode(frame),
        }
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn index() -> Index {
    let index: Index = serde_json::from_slice(&fs::read(folder().join("index.json")).unwrap()).unwrap();
    assert!(index.good.len() >= 80 && index.bad.len() >= 200, "the index has lost cases");
    index
}

fn frames<'c>(name: &'c str, encodings: &'c [String]) -> impl Iterator<Item = (Encoding, Vec<u8>)> + 'c {
    assert!(!encodings.is_empty(), "{name} has no file");
    encodings.iter().map(move |extension| {
        let encoding = if extension == "json" { Encoding::Json } else { Encoding::MessagePack };
        (encoding, fs::read(folder().join(format!("frames/{name}.{extension}"))).unwrap())
    })
}

fn decode(direction: &str, encoding: Encoding, bytes: &[u8]) -> Result<Frame, DecodeError> {
    match direction {
        "client" => codec::decode_client(encoding, bytes).map(Frame::Client),
        "hub" => codec::decode_server(encoding, bytes).map(Frame::Hub),
        other => panic!("no such direction: {other}"),
    }
}

/// What a receiver does with a message that it was told to expect compressed.
fn inflate(message: &[u8]) -> Result<bytes::Bytes, InflateError> {
    assert!(gzip::is_gzip(message));
    gzip::inflate(message, gzip::INFLATED_FRAMES << 20)
}

/// The one frame that all files of a case say.
fn read(good: &Good) -> Frame {
    let mut read: Option<Frame> = None;
    for (encoding, mut bytes) in frames(&good.name, &good.encodings) {
        if good.gzip {
            bytes = inflate(&bytes).unwrap_or_else(|error| panic!("{}: {error}", good.name)).to_vec();
        }
        let frame = decode(&good.direction, encoding, &bytes)
            .unwrap_or_else(|error| panic!("{} in {encoding:?}: {error}", good.name));
        if let Some(other) = &read {
            assert_eq!(&frame, other, "{}: the encodings say different things", good.name);
        }
        if let Frame::Client(ClientFrame::Sync(sync)) = &frame {
            assert!(sync.entries.iter().all(|raw| raw.entry.is_ok()), "{}: {sync:?}", good.name);
        }
        if let Frame::Client(ClientFrame::Publish(publish)) = &frame {
            assert!(publish.changes.iter().all(|raw| raw.change.is_ok()), "{}: {publish:?}", good.name);
        }
        read = Some(frame);
    }
    read.unwrap()
}

#[test]
fn good_frames_say_the_same_in_both_encodings() {
    for good in index().good {
        read(&good);
    }
}

#[test]
fn canonical_frames_are_written_byte_for_byte() {
    for good in index().good.iter().filter(|good| good.canonical) {
        let frame = read(good);
        for (encoding, bytes) in frames(&good.name, &good.encodings) {
            let encoded = frame.encode(encoding);
            if encoding == Encoding::Json {
                assert_eq!(
                    String::from_utf8_lossy(&encoded),
                    String::from_utf8_lossy(&bytes),
                    "{}",
                    good.name
                );
            }
            assert_eq!(encoded, bytes, "{} in {encoding:?}", good.name);
        }
    }
}

#[test]
fn every_frame_type_has_a_canonical_frame() {
    let types = [
        "hello",
        "subscribe",
        "unsubscribe",
        "sync",
        "ack",
        "catch_up",
        "settings",
        "digest",
        "pull",
        "resolve",
        "conflicts",
        "publish",
        "presence",
        "token",
        "ping",
        "welcome",
        "subscribed",
        "snapshot",
        "data_update",
        "position",
        "caught_up",
        "sync_result",
        "sync_trigger",
        "conflict_alert",
        "message",
        "entry_settled",
        "pull_result",
        "resolved",
        "conflicts_result",
        "published",
        "digest_result",
        "presence_result",
        "token_accepted",
        "settings_applied",
        "pong",
        "goaway",
        "error",
    ];
    let index = index();
    for kind in types {
        let mut canonical = index.good.iter().filter(|good| good.canonical);
        assert!(canonical.any(|good| good.name.split('-').next() == Some(kind)), "{kind} has none");
    }
}

#[test]
fn other_ways_of_saying_a_frame_say_that_frame() {
    let index = index();
    for good in index.good.iter().filter(|good| good.same_as.is_some()) {
        let same = index.good.iter().find(|other| Some(&other.name) == good.same_as.as_ref()).unwrap();
        assert_eq!(read(good), read(same), "{}", good.name);
    }
}

#[test]
fn o3_bad_messages_are_refused_as_the_index_says() {
    for bad in index().bad {
        for (encoding, bytes) in frames(&bad.name, &bad.encodings) {
            let what = format!("{} in {encoding:?}", bad.name);
            let bytes = if bad.gzip { inflate(&bytes) } else { Ok(bytes.into()) };
            let decoded = match bytes {
                Ok(bytes) => decode(&bad.direction, encoding, &bytes),
                Err(InflateError::Corrupt) => Err(DecodeError::Undecodable(String::new())),
                Err(InflateError::TooLarge) => {
                    assert_eq!(bad.outcome, "too_large", "{what}");
                    continue;
                }
            };
            match (bad.outcome.as_str(), decoded) {
                ("undecodable", Err(DecodeError::Undecodable(_))) => {}
                ("unknown_type", Err(DecodeError::UnknownType { id, .. }))
                | ("bad_request", Err(DecodeError::BadRequest { id, .. })) => {
                    assert_eq!(id, bad.id, "{what}");
                }
                ("entry_fault", Ok(Frame::Client(ClientFrame::Sync(sync)))) => {
                    check_entries(&what, &bad, &sync.entries);
                }
                (outcome, decoded) => panic!("{what}: {outcome} became {decoded:?}"),
            }
        }
    }
}

fn check_entries(what: &str, bad: &Bad, entries: &[synchub_protocol::RawEntry]) {
    assert_eq!(entries.len(), bad.entries.len(), "{what}");
    for (raw, expected) in entries.iter().zip(&bad.entries) {
        match (&raw.entry, expected) {
            (Ok(_), None) => {}
            (Err(fault), Some(expected)) => check_fault(what, fault, expected),
            (entry, _) => panic!("{what}: {entry:?}"),
        }
    }
}

fn check_fault(what: &str, fault: &EntryFault, expected: &serde_json::Map<String, serde_json::Value>) {
    assert!(!fault.message.is_empty(), "{what}");
    let fault = serde_json::to_value(fault).unwrap();
    for (key, value) in expected {
        assert_eq!(&fault[key], value, "{what}: {key} of {fault}");
    }
}
