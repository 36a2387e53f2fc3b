//! Whatever bytes come, decoding returns: it never panics, and what it takes it can write again.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its files has failed")]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use synchub_protocol::{Encoding, codec};

const ENCODINGS: [Encoding; 2] = [Encoding::MessagePack, Encoding::Json];

static GOLDEN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/frames");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 400, "golden frames are missing");
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
});

fn decode_everywhere(bytes: &[u8]) {
    for encoding in ENCODINGS {
        if let Ok(frame) = codec::decode_client(encoding, bytes) {
            let again = codec::decode_client(encoding, &encoding.encode(&frame));
            assert!(again.is_ok(), "{frame:?} was read, but not once written again: {again:?}");
        }
        if let Ok(frame) = codec::decode_server(encoding, bytes) {
            assert!(!encoding.encode(&frame).is_empty());
        }
    }
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Truncate(Index),
    Splice(Index, Index, Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<Index>();
    prop_oneof![
        (index.clone(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        any::<Index>().prop_map(Mutation::Remove),
        any::<Index>().prop_map(Mutation::Truncate),
        (any::<Index>(), any::<Index>(), any::<Index>())
            .prop_map(|(at, file, from)| Mutation::Splice(at, file, from)),
    ]
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    match mutation {
        Mutation::Set(at, byte) => *at.get_mut(bytes) = *byte,
        Mutation::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
        Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len()), *byte),
        Mutation::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        Mutation::Splice(at, file, from) => {
            let other = file.get(&GOLDEN);
            let at = at.index(bytes.len());
            bytes.splice(at..at, other[from.index(other.len() + 1)..].iter().copied());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        decode_everywhere(&bytes);
    }

    #[test]
    fn random_maps_never_panic(bytes in vec(any::<u8>(), 0..200), size in 0..16_u8) {
        decode_everywhere(&[&[0x80 | size][..], &bytes].concat());
    }

    #[test]
    fn mutated_frames_never_panic(file in any::<Index>(), mutations in vec(mutation(), 1..5)) {
        let mut bytes = file.get(&GOLDEN).clone();
        for mutation in &mutations {
            apply(&mut bytes, mutation);
        }
        decode_everywhere(&bytes);
    }
}

#[test]
fn every_cut_of_a_frame_is_refused() {
    for bytes in GOLDEN.iter().filter(|bytes| bytes.len() < 2000) {
        for end in 0..bytes.len() {
            decode_everywhere(&bytes[..end]);
        }
    }
}

#[test]
fn nesting_without_end_is_refused() {
    for opening in [&b"["[..], b"{\"a\":", b"\x91", b"\x81\xa1a", b"\xdd\x00\x00\x00\x02", b"\x81\x91"] {
        for start in [&b""[..], b"\x81\xa1x", b"{\"x\":", b"\x83\xa4type\xa4ping\xa2id\x01\xa1x"] {
            decode_everywhere(&[start, &opening.repeat(100_000)].concat());
        }
    }
}
