//! What an entry is answered, and what the answer does to its record's status.

use std::sync::Arc;

use synchub_protocol::ErrorCode;
use synchub_protocol::server::{EntryError, Resolution, Status};
use uuid::Uuid;

use crate::group::{Outcome, StoredOutcome, Submission, SubmittedEntry};
use crate::plan::overlay::{Overlay, RecordKey};
use crate::record::{Record, SyncStatus};

/// Adds what the records hold now to the answers that show it, for who may see it (V3).
pub(super) fn show(overlay: &Overlay, submission: &Submission, outcomes: &mut [Outcome]) {
    for (entry, outcome) in submission.entries.iter().zip(outcomes) {
        if matches!(outcome.stored.status, Status::Conflict | Status::Merged) {
            let record = visible(overlay, submission, entry).filter(|record| !record.deleted);
            outcome.server_data = record.map(|record| Arc::clone(&record.data));
        }
    }
}

/// The record that an entry names, if the batch's sender may see it.
pub(super) fn visible<'o>(
    overlay: &'o Overlay,
    submission: &Submission,
    entry: &SubmittedEntry,
) -> Option<&'o Record> {
    let record = &overlay.slot(record_key(entry)?)?.record;
    submission.author.sight.covers(record.scope).then_some(record)
}

/// Brings a record's status to what the outcome says; a conflict stays until a person has decided.
pub(super) fn mark_status(overlay: &mut Overlay, key: RecordKey, stored: &StoredOutcome) {
    let Some(standing) = overlay.slot(key).map(|slot| slot.record.sync_status) else { return };
    let next = next_status(standing, stored);
    if next != standing
        && let Some(slot) = overlay.touch(key)
    {
        slot.record.sync_status = next;
    }
}

fn next_status(standing: SyncStatus, stored: &StoredOutcome) -> SyncStatus {
    let resolution = stored.conflict.as_ref().map(|conflict| conflict.resolution);
    match stored.status {
        Status::Conflict if resolution == Some(Resolution::ManualRequired) => SyncStatus::Conflict,
        _ if standing == SyncStatus::Conflict => SyncStatus::Conflict,
        Status::Error => SyncStatus::SyncError,
        Status::Created | Status::Updated | Status::Merged | Status::Conflict => SyncStatus::Synced,
        Status::Unchanged | Status::Duplicate | Status::ConflictRisk | Status::Unknown => standing,
    }
}

/// An answer with the record as it stands, if it may be named.
pub(super) fn answer(status: Status, record: Option<&Record>) -> StoredOutcome {
    StoredOutcome {
        status,
        version: record.map(|record| record.version),
        deleted: record.is_some_and(|record| record.deleted),
        conflict: None,
        error: None,
    }
}

/// Whether an entry that ends so sinks an atomic batch.
pub(super) fn is_sinking(stored: &StoredOutcome) -> bool {
    let resolution = stored.conflict.as_ref().map(|conflict| conflict.resolution);
    match stored.status {
        Status::Error => true,
        Status::Conflict => !matches!(resolution, Some(Resolution::Client | Resolution::Merged)),
        _ => false,
    }
}

pub(super) fn not_applied() -> EntryError {
    let message = "another entry sank the atomic batch; nothing of it was applied".to_owned();
    EntryError { code: ErrorCode::NotApplied, message, field: None }
}

pub(super) fn mobile_id(entry: &SubmittedEntry) -> Option<Uuid> {
    match entry {
        SubmittedEntry::Entry { entry, .. } => Some(entry.mobile_id),
        SubmittedEntry::Fault { fault, .. } => fault.mobile_id,
    }
}

pub(super) fn record_key(entry: &SubmittedEntry) -> Option<RecordKey> {
    let domain = match entry {
        SubmittedEntry::Entry { domain, .. } => domain,
        SubmittedEntry::Fault { domain, .. } => domain.as_ref()?,
    };
    Some((domain.no, mobile_id(entry)?))
}
