//! What a group reads, and the hash of a request.

use serde_json::json;
use synchub_protocol::{Entry, EntryFault, ErrorCode, FaultKind, RawEntry, Timestamp};
use synchub_rules::group::{Author, Reads};
use synchub_rules::plan::{reads, request_hash};
use uuid::Uuid;

use crate::support::{Hub, batch, create, data, delta, device, domain, fault, key};

#[test]
fn inv7_a_group_reads_each_thing_once_and_in_order() {
    let mut hub = Hub::default();
    let fenced = Author { generation: Some(3), ..device(20) };
    let submissions = [
        batch(&fenced, [delta("manual", 2, 7, json!({})), create("unit", 1, json!({})).corrects(4)])
            .id(9)
            .from(5),
        batch(&device(10), [delta("manual", 2, 5, json!({})), fault(Some("unit"), 3, ErrorCode::TooLarge)])
            .id(8),
        batch(&fenced, [delta("manual", 2, 6, json!({})), fault(None, 3, ErrorCode::TooLarge)]).id(9).from(6),
    ]
    .map(|batch| hub.submission(batch));
    let (manual, unit) = (domain("manual").no, domain("unit").no);
    let mut records = vec![(manual, key(2), 5), (unit, key(1), 0), (unit, key(3), u64::MAX)];
    records.sort_unstable();
    let expected = Reads {
        batches: vec![(10, Uuid::from_u128(8)), (20, Uuid::from_u128(9))],
        devices: vec![20],
        installs: vec![20],
        numbers: vec![(20, 5), (20, 6), (20, 7)],
        corrections: vec![(20, 4)],
        conflicts: Vec::new(),
        records,
    };
    assert_eq!(reads(&submissions), expected);
}

fn raw(change: impl FnOnce(&mut Entry)) -> RawEntry {
    let mut entry = Entry::upsert("task", key(1), 3, data(json!({"a": 1, "b": [1.5, "x"]})));
    change(&mut entry);
    entry.into()
}

fn broken(message: &str, partial: serde_json::Value) -> RawEntry {
    let message = message.to_owned();
    let fault =
        EntryFault { kind: FaultKind::Invalid, message, field: None, domain: None, mobile_id: None, partial };
    RawEntry { entry: Err(fault), size: 1, heap: 0 }
}

#[test]
fn o1_the_hash_covers_entries_and_settings_as_decoded() {
    let hash = |entries: &[RawEntry]| request_hash(entries, false, false);
    let same = raw(|entry| entry.data = data(json!({"b": [1.5, "x"], "a": 1})).into());
    assert_eq!(hash(&[raw(|_| ())]), hash(&[RawEntry { size: 99, ..same }]), "keys and size do not count");
    let mut hashes = vec![
        hash(&[]),
        request_hash(&[], true, false),
        request_hash(&[], false, true),
        request_hash(&[], true, true),
        hash(&[raw(|_| ())]),
        hash(&[raw(|_| ()), raw(|_| ())]),
        hash(&[raw(|entry| entry.version = 4)]),
        hash(&[raw(|entry| entry.delta = true)]),
        hash(&[raw(|entry| entry.domain = "other".to_owned())]),
        hash(&[raw(|entry| entry.mobile_id = key(2))]),
        hash(&[raw(|entry| entry.operation = synchub_protocol::Operation::Delete)]),
        hash(&[raw(|entry| entry.client_timestamp = Some(Timestamp(1)))]),
        hash(&[raw(|entry| entry.priority = Some(synchub_protocol::Priority::Low))]),
        hash(&[raw(|entry| entry.corrects = Some(1))]),
        hash(&[raw(|entry| entry.data = data(json!({"a": "1", "b": [1.5, "x"]})).into())]),
        hash(&[broken("x", json!({"a": 1}))]),
        hash(&[broken("y", json!({"a": 1}))]),
        hash(&[broken("x", json!({"a": 2}))]),
        hash(&[broken("x", json!(null)), raw(|_| ())]),
    ];
    let n_cases = hashes.len();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), n_cases);
}
