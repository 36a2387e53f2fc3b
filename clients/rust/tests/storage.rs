//! One contract for every storage: what was applied is what is loaded, also after a kill.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;
use synchub_client::storage::{Accepted, Domain, Numbering, OutboxEntry, Shows, Stored, StoredChange};
use synchub_client::{CopyRecord, MemoryStorage, SqliteStorage, Storage, StorageError};
use synchub_protocol::{Data, Entry, Priority, Timestamp};
use uuid::Uuid;

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn domain(name: &str) -> Domain {
    Domain::from(name)
}

fn data() -> Data {
    json!({"text": "grün", "n": 9_007_199_254_740_991_u64, "f": 0.5, "none": null, "deep": {"list": [1, {"a": -1}]}})
        .as_object()
        .unwrap()
        .clone()
}

fn record(name: &str, number: u128, version: Option<u64>) -> StoredChange {
    let record = version.map(|version| CopyRecord {
        version,
        data: Arc::new(data()),
        priority: Priority::High,
        server_timestamp: Timestamp(1_700_000_000_000_001),
    });
    StoredChange::Record { domain: domain(name), mobile_id: id(number), record }
}

fn entry(local_id: u64, number: u64, answer: Option<Accepted>) -> StoredChange {
    let entry = Entry {
        delta: true,
        client_timestamp: Some(Timestamp(5)),
        priority: Some(Priority::Low),
        corrects: Some(3),
        ..Entry::upsert("task", id(1), 7, data())
    };
    StoredChange::Entry(OutboxEntry { local_id, install: id(9), number, entry: Arc::new(entry), answer })
}

fn accepted(shows: Shows) -> Accepted {
    Accepted { version: Some(8), seq: 100, at: Timestamp(6), shows }
}

/// Groups of changes that use everything there is, each on what the one before left.
fn groups() -> Vec<Vec<StoredChange>> {
    let begun = |name| StoredChange::SnapshotBegun(domain(name));
    let came = |name, number| StoredChange::Came(domain(name), id(number));
    vec![
        vec![StoredChange::Numbering(Numbering { install: id(9), given: 0 }), StoredChange::Attempt(1)],
        vec![
            begun("task"),
            record("task", 1, Some(1)),
            came("task", 1),
            StoredChange::Cursor(Some("c1".into())),
        ],
        vec![record("task", 2, Some(2)), came("task", 2), came("task", 1), begun("empty")],
        vec![
            entry(1, 1, None),
            entry(2, 2, None),
            StoredChange::Numbering(Numbering { install: id(9), given: 2 }),
        ],
        vec![record("task", 1, Some(5)), record("task", 2, None), StoredChange::Position(44)],
        vec![begun("task"), came("task", 3), record("other", 4, Some(1)), came("late", 5)],
        vec![
            entry(2, 3, None),
            entry(1, 1, Some(accepted(Shows::Edit))),
            entry(3, 4, Some(accepted(Shows::Nothing))),
        ],
        vec![entry(4, 5, Some(accepted(Shows::Record(Arc::new(data()))))), StoredChange::EntryDropped(1)],
        vec![StoredChange::SnapshotEnded(domain("task")), StoredChange::DomainDropped(domain("other"))],
        vec![StoredChange::Cursor(None), StoredChange::Attempt(7), record("task", 99, None)],
        vec![StoredChange::DomainDropped(domain("late")), entry(5, 6, None)],
    ]
}

fn keeps_what_is_applied(mut open: impl FnMut() -> Box<dyn Storage>) {
    let mut expected = Stored::default();
    assert_eq!(open().load().unwrap(), expected);
    for (index, group) in groups().into_iter().enumerate() {
        open().apply(&group).unwrap();
        for change in group {
            expected.apply(change);
        }
        assert_eq!(open().load().unwrap(), expected, "after group {index}");
    }
    let domains: BTreeSet<_> = expected.records.keys().map(AsRef::as_ref).collect();
    assert_eq!(domains, BTreeSet::from(["task"]), "the groups leave something to compare");
}

#[test]
fn c1_memory_keeps_what_is_applied() {
    let storage = MemoryStorage::default();
    keeps_what_is_applied(|| Box::new(storage.clone()));
}

#[test]
fn c1_a_file_keeps_what_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    keeps_what_is_applied(|| Box::new(SqliteStorage::open(folder.path().join("client.db")).unwrap()));
}

#[test]
fn c1_a_group_that_fails_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.db");
    let mut storage = SqliteStorage::open(&path).unwrap();
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch("CREATE TRIGGER no BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'full'); END")
        .unwrap();
    let group = [record("task", 1, Some(1)), StoredChange::Cursor(Some("c1".into())), entry(1, 1, None)];
    assert!(matches!(storage.apply(&group), Err(StorageError::Database(_))));
    assert_eq!(storage.load().unwrap(), Stored::default());
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.db");
    drop(SqliteStorage::open(&path).unwrap());
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteStorage::open(&path), Err(StorageError::TooNew { found: 99, .. })));
}
