//! What the unit tests of several modules make: frames, edits, randomness that can be held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use synchub_protocol::server::{
    Change, ChangeOperation, EntryResult, Origin, Snapshot, SnapshotRecord, Status,
};
use synchub_protocol::{Data, Entry, Priority, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use crate::batches::Moment;
use crate::clock::Entropy;

/// Randomness that counts: every UUID is another, every jitter is half of its ceiling.
#[derive(Debug, Default)]
pub(crate) struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        buffer.iter_mut().zip(number).for_each(|(to, from)| *to = from);
    }

    fn up_to(&self, most: Duration) -> Duration {
        most / 2
    }
}

pub(crate) fn moment(entropy: &Counting) -> Moment<'_> {
    Moment { instant: Instant::now(), clock: Timestamp(1_000_000), entropy }
}

pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(crate) fn data(title: &str) -> Data {
    json!({ "title": title }).as_object().expect("a map").clone()
}

pub(crate) fn edit(mobile_id: Uuid, title: &str) -> Entry {
    Entry { delta: true, ..Entry::upsert("task", mobile_id, 1, data(title)) }
}

pub(crate) fn change(operation: ChangeOperation, mobile_id: Uuid, version: u64) -> Change {
    let goes = matches!(operation, ChangeOperation::Delete | ChangeOperation::Remove);
    Change {
        domain: "task".to_owned(),
        operation,
        mobile_id,
        version,
        base_version: None,
        data: (!goes).then(|| Arc::new(data(&format!("v{version}")))),
        changed: None,
        priority: Priority::Normal,
        origin: Origin::default(),
        server_timestamp: Timestamp(0),
    }
}

pub(crate) fn page(first: bool, last: bool, records: &[(Uuid, u64)], cursor: &str) -> Snapshot {
    let record = |(mobile_id, version): &(Uuid, u64)| SnapshotRecord {
        mobile_id: *mobile_id,
        version: *version,
        data: Arc::new(data(&format!("v{version}"))),
        priority: Priority::Normal,
        server_timestamp: Timestamp(0),
    };
    Snapshot {
        domain: "task".to_owned(),
        first,
        last,
        records: records.iter().map(record).collect(),
        total: None,
        cursor: cursor.to_owned(),
    }
}

pub(crate) fn result(status: Status, server_version: u64) -> EntryResult {
    EntryResult {
        mobile_id: None,
        status,
        server_version: Some(server_version),
        server_data: None,
        deleted: None,
        conflict: None,
        error: None,
    }
}
