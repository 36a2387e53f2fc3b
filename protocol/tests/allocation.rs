//! A message may not make the decoder allocate what it merely claims to hold.
//!
//! One test alone in its binary, since the allocator counts for the whole process.

use std::alloc::System;
use std::fs;
use std::path::PathBuf;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use synchub_protocol::{ClientFrame, Encoding, codec, entry, gzip};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;

/// Bytes allocated while decoding, freed or not.
fn allocated(bytes: &[u8]) -> usize {
    let region = Region::new(ALLOCATOR);
    drop(codec::decode_client(Encoding::MessagePack, bytes));
    drop(codec::decode_server(Encoding::MessagePack, bytes));
    region.change().bytes_allocated
}

fn sync_with_entries(entries: &[u8]) -> Vec<u8> {
    let mut message = b"\x84\xa4type\xa4sync\xa2id\x01\xa8batch_id\xd9\x24".to_vec();
    message.extend_from_slice(b"6f9619ff-8b86-4d01-b42d-00cf4fc964ff\xa7entries");
    message.extend_from_slice(entries);
    message
}

#[test]
fn what_is_claimed_is_not_allocated() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/frames");
    let mut bombs = 0;
    for file in fs::read_dir(&folder).unwrap() {
        let path = file.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        bombs += usize::from(path.to_string_lossy().contains("bomb"));
        let used = allocated(&bytes);
        assert!(used < MIB, "{} bytes of {path:?} made it allocate {used}", bytes.len());
    }
    assert!(bombs >= 10, "only {bombs} bombs were tried");

    // 5 KB of array headers that claim a million elements each, in every place where arrays go.
    let headers = b"\xdd\x00\x0f\x42\x40".repeat(1000);
    for prefix in [&b"\x91"[..], b"\x91\x81\xa4data", b"\x91\x81\xa4data\x81\xa1a", b""] {
        let used = allocated(&sync_with_entries(&[prefix, &headers].concat()));
        assert!(used < MIB, "array headers made it allocate {used}");
    }

    // Gzip that claims any length and holds 5 MiB: what comes out is bounded by the limit.
    let bomb = fs::read(folder.join("bad-gzip-bomb.msgpack")).unwrap();
    let region = Region::new(ALLOCATOR);
    assert_eq!(gzip::inflate(&bomb, 1 << 16), Err(gzip::InflateError::TooLarge));
    assert_eq!(gzip::inflate(&[&bomb[..30], &[0xff; 8]].concat(), 4 * MIB), Err(gzip::InflateError::Corrupt));
    let used = region.change().bytes_allocated;
    assert!(used < MIB, "a gzip bomb made it allocate {used}");

    // One-byte entries: hundreds of bytes each once decoded, were all of them kept.
    let mut entries = vec![0xdd, 0, 0x10, 0, 0];
    entries.resize(5 + MIB, 0xc0);
    let message = sync_with_entries(&entries);
    let used = allocated(&message);
    assert!(used < 16 * MIB, "a million empty entries made it allocate {used}");
    let Ok(ClientFrame::Sync(sync)) = codec::decode_client(Encoding::MessagePack, &message) else {
        panic!("a batch decodes, whatever its entries are");
    };
    assert_eq!(sync.entries.len(), entry::MAX_ENTRIES + 1);

    small_values_in_large_numbers_are_not_kept();
}

/// A mebibyte of values that each take many times their wire size, wherever a request may hold them.
fn small_values_in_large_numbers_are_not_kept() {
    const ID: &[u8] = b"\x82\xa9mobile_id\xd9\x246f9619ff-8b86-4d01-b42d-00cf4fc964ff\xa4data";
    let many = |item: &[u8], count: usize| {
        let length = u32::try_from(count).expect("a list is that short").to_be_bytes();
        [&b"\xdd"[..], &length, &item.repeat(count)].concat()
    };
    for item in [&b"\x81\xa1a\xc0"[..], b"\xc0", b"\x01", b"\xa1x", b"\x91\x91\xc0", b"\x81\xa0\x81\xa0\xc0"]
    {
        let large = many(item, MIB / item.len());
        let entry = [ID, b"\x81\xa1a", &large].concat();
        let used = allocated(&sync_with_entries(&[b"\x91", &entry[..]].concat()));
        assert!(used < 8 * MIB, "an entry of {item:?} made it allocate {used}");

        // Each entry below its own bound: the batch's is met.
        let entry = [ID, b"\x81\xa1a", &many(item, 45)].concat();
        let used = allocated(&sync_with_entries(&many(&entry, MIB / entry.len())));
        assert!(used < 32 * MIB, "a batch of {item:?} made it allocate {used}");

        for head in [&b"\xa4type\xa5hello\xa8features"[..], b"\xa4type\xa9subscribe\xadsubscriptions"] {
            let frame = [b"\x83", head, &large, b"\xa2id\x01"].concat();
            assert!(allocated(&frame) < 2 * MIB, "{head:?} with {item:?}");
        }
        let frame = [b"\x83\xa2id", &large[..], b"\xa4type", &large, b"\xa1x\xc0"].concat();
        assert!(allocated(&frame) < MIB, "a head of {item:?}");
        let filters = [&b"\x82\xa6domain\xa1d\xa6filter\x81\xa1a"[..], &many(item, 300)].concat();
        let frame =
            [b"\x83\xa4type\xa9subscribe\xa2id\x01\xadsubscriptions", &many(&filters, 1000)[..]].concat();
        assert!(allocated(&frame) < 32 * MIB, "filters of {item:?}");
    }
}
