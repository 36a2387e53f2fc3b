//! What is plain is read as by the careful reader, and nothing else is read.

use serde_json::json;

use super::*;
use crate::ClientFrame;
use crate::codec::{Encoding, decode_carefully};

/// A plain frame is read, and read as the careful reader reads it.
fn assert_plain(bytes: &[u8]) {
    let plain = sync(bytes).expect("it is plain");
    let Ok(ClientFrame::Sync(careful)) = decode_carefully(Encoding::MessagePack, bytes) else { panic!() };
    let sizes = |frame: &Sync| -> Vec<_> { frame.entries.iter().map(|raw| (raw.size, raw.heap)).collect() };
    assert_eq!((sizes(&plain), plain), (sizes(&careful), careful));
}

fn frame(data: &Value) -> Vec<u8> {
    let id = "550e8400-e29b-41d4-a716-446655440000";
    let entry = json!({"domain": "task", "mobile_id": id, "version": 3, "data": data});
    let entries = json!([entry, entry]);
    let frame = json!({"type": "sync", "batch_id": id, "entries": entries, "id": 300, "atomic": true});
    rmp_serde::to_vec(&frame).unwrap()
}

#[test]
fn a_plain_batch_is_read_as_by_the_careful_reader() {
    let long = "x".repeat(70_000);
    assert_plain(&frame(&json!({})));
    assert_plain(&frame(&json!({
        "n": null, "t": true, "f": false, "text": "é", "long": long, "float": 1.5,
        "small": -5, "large": -9_007_199_254_740_991_i64, "max": 9_007_199_254_740_991_u64, "byte": 200,
        "list": [1, [2, {"a": {}}]], "words": vec!["w"; 40], "map": {"b": 1, "a": [null]},
    })));
}

#[test]
fn as_deep_as_the_careful_reader_goes_and_no_deeper() {
    let nested = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert_plain(&frame(&json!({"deep": nested(MAX_DEPTH - DATA_LEVEL)})));
    let deeper = frame(&json!({"deep": nested(MAX_DEPTH - DATA_LEVEL + 1)}));
    assert_eq!(sync(&deeper), None);
    assert!(decode_carefully(Encoding::MessagePack, &deeper).is_err());
}

proptest::proptest! {
    /// Any byte of a plain frame changed: what is still plain is what the careful reader makes of it.
    #[test]
    fn whatever_is_plain_is_read_as_by_the_careful_reader(at in 0..400_usize, byte: u8, more: u8) {
        let mut bytes = frame(&json!({
            "n": null, "t": true, "text": "words", "float": 1.5, "single": 0, "small": -5, "large": -70_000,
            "max": 9_007_199_254_740_991_u64, "byte": 200, "list": [1, [2, {"a": {}}]], "map": {"b": 1, "a": []},
        }));
        let places = bytes.len();
        bytes[at % places] = byte;
        bytes[(at * 7 + 3) % places] ^= more & 1;
        if sync(&bytes).is_some() {
            assert_plain(&bytes);
        }
    }
}

#[test]
fn what_is_not_plain_is_left_to_the_careful_reader() {
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let many = json!({"many": vec![json!({"a": 1}); 2000]});
    for data in [
        json!({"big": 1_u64 << 60}),
        json!({"whole": 3.0}),
        json!({"nul": "\0"}),
        deep,
        json!({"deep": many}),
    ] {
        assert!(sync(&frame(&data)).is_none(), "{}", data.to_string().get(..40).unwrap_or("short"));
    }
    let whole = frame(&json!({"a": 1}));
    for length in 0..whole.len() {
        assert_eq!(sync(&whole[..length]), None, "{length}");
    }
    assert_eq!(sync(&[&whole[..], &[0xc0]].concat()), None, "bytes follow");
    let twice: Vec<u8> = [&[0x82, 0xa1, b'a', 1, 0xa1, b'a', 2][..]].concat();
    let at = whole.windows(4).position(|bytes| bytes == [0x81, 0xa1, b'a', 1]).unwrap();
    assert_eq!(sync(&[&whole[..at], &twice, &whole[at + 4..]].concat()), None, "a key stands twice");
}
