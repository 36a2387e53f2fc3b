//! What was submitted and what was answered, line by line, while the replay runs.
//!
//! The ledger only notes; what the notes mean is for the report and the verdict.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use synchub_protocol::server::{EntryResult, Resolution, Status};

use crate::board::Outcome;
use crate::survey::{LineNo, Survey};

/// An answer, as far as it is accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Status,
    pub(crate) version: Option<u64>,
    pub(crate) resolution: Option<Resolution>,
    pub(crate) refused: bool,
    pub(crate) deleted: bool,
}

/// What is known of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The version that the line named.
    pub(crate) named: u64,
    /// How often it was given to the client.
    pub(crate) submitted: u32,
    /// How often it was answered.
    pub(crate) answered: u32,
    /// The first answer.
    pub(crate) answer: Option<Answer>,
}

/// Counts by what happened, each by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Tally {
    /// Results by status.
    pub(crate) status: BTreeMap<String, u64>,
    /// Conflicts by strategy and resolution.
    pub(crate) conflicts: BTreeMap<String, u64>,
    /// Errors by code.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Entries that named a version below the record's when they were decided: every `merged` and
    /// `conflict`; `unchanged` where the answered version is above the named one; `updated` where it
    /// is more than one above. `duplicate` and `error` do not say, and are not counted: kills lower it.
    pub(crate) stale: u64,
    /// Entries that were sent after a wait for the version they name.
    pub(crate) waited: u64,
    /// Entries that were sent without that version, because it did not come in time.
    pub(crate) gave_up_waiting: u64,
    /// Entries whose base line had been refused.
    pub(crate) base_refused: u64,
}

/// The notes of one replay.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: Mutex<Vec<Entry>>,
    tally: Mutex<Tally>,
    submitted: AtomicU64,
    answered: AtomicU64,
}

impl Ledger {
    /// An empty ledger for `lines` lines.
    pub(crate) fn new(lines: usize) -> Self {
        Self {
            entries: Mutex::new(vec![Entry::default(); lines]),
            tally: Mutex::default(),
            submitted: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }
    }

    /// Notes that a line is about to be given to its client.
    pub(crate) fn submit(&self, line: LineNo, named: u64) {
        let mut entries = self.entries.lock();
        entries[line].named = named;
        entries[line].submitted += 1;
        self.submitted.fetch_add(1, Ordering::SeqCst);
    }

    /// Notes an answer and says what it means for the lines that rest on this one.
    pub(crate) fn answer(&self, line: LineNo, result: &EntryResult) -> Outcome {
        let answer = Answer {
            status: result.status,
            version: result.server_version,
            resolution: result.conflict.as_ref().map(|conflict| conflict.resolution),
            refused: result.error.is_some() || result.status == Status::Error,
            deleted: result.deleted == Some(true),
        };
        let entry = {
            let mut entries = self.entries.lock();
            let entry = &mut entries[line];
            entry.answered += 1;
            entry.answer.get_or_insert(answer);
            *entry
        };
        self.tally.lock().count(entry.named, result);
        self.answered.fetch_add(1, Ordering::SeqCst);
        match answer.version {
            Some(version) if !answer.refused && answer.deleted => Outcome::Deleted(version),
            Some(version) if !answer.refused => Outcome::Version(version),
            _ => Outcome::Refused,
        }
    }

    /// Notes something about how a line came to be sent.
    pub(crate) fn note(&self, note: impl FnOnce(&mut Tally)) {
        note(&mut self.tally.lock());
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> u64 {
        self.entries.lock().len() as u64
    }

    /// How many lines were submitted so far.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted.load(Ordering::SeqCst)
    }

    /// How many answers came so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// All entries and counts.
    pub(crate) fn read(&self) -> (Vec<Entry>, Tally) {
        (self.entries.lock().clone(), self.tally.lock().clone())
    }
}

impl Tally {
    fn count(&mut self, named: u64, result: &EntryResult) {
        *self.status.entry(name(&result.status)).or_default() += 1;
        if let Some(conflict) = &result.conflict {
            let kind = format!("{} {}", name(&conflict.strategy), name(&conflict.resolution));
            *self.conflicts.entry(kind).or_default() += 1;
        }
        if let Some(error) = &result.error {
            *self.errors.entry(error.code.as_str().to_owned()).or_default() += 1;
        }
        self.stale += u64::from(is_stale(named, result.status, result.server_version));
    }
}

/// Whether an answer shows that the entry named a version below the one it met.
fn is_stale(named: u64, status: Status, version: Option<u64>) -> bool {
    match status {
        Status::Merged | Status::Conflict => true,
        Status::Unchanged => version.is_some_and(|version| version > named),
        Status::Updated => version.is_some_and(|version| version > named + 1),
        _ => false,
    }
}

/// The name on the wire.
fn name(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "unknown".to_owned(),
    }
}

/// How many entries each device submitted: what the mark of its install must be.
pub(crate) fn submitted_by_device(survey: &Survey, entries: &[Entry]) -> Vec<u64> {
    let mut counts = vec![0; survey.devices.len()];
    for (step, entry) in survey.steps.iter().zip(entries) {
        counts[step.device] += u64::from(entry.submitted);
    }
    counts
}

#[cfg(test)]
mod tests {
    use synchub_protocol::ErrorCode;
    use synchub_protocol::server::{ConflictInfo, EntryError, Strategy};
    use uuid::Uuid;

    use super::*;

    pub(crate) fn result(status: Status, version: Option<u64>) -> EntryResult {
        EntryResult {
            mobile_id: None,
            status,
            server_version: version,
            server_data: None,
            deleted: None,
            conflict: None,
            error: None,
        }
    }

    #[test]
    fn an_answer_is_noted_once_and_counted_each_time() {
        let ledger = Ledger::new(2);
        ledger.submit(1, 3);
        assert_eq!(ledger.answer(1, &result(Status::Updated, Some(4))), Outcome::Version(4));
        assert_eq!(ledger.answer(1, &result(Status::Duplicate, Some(9))), Outcome::Version(9));
        let (entries, tally) = ledger.read();
        assert_eq!((entries[1].named, entries[1].submitted, entries[1].answered), (3, 1, 2));
        assert_eq!(entries[1].answer.unwrap().version, Some(4));
        assert_eq!(tally.status, BTreeMap::from([("duplicate".to_owned(), 1), ("updated".to_owned(), 1)]));
        assert_eq!((ledger.submitted(), ledger.answered()), (1, 2));
    }

    #[test]
    fn refused_and_deleted_mean_other_things_for_who_rests_on_them() {
        let ledger = Ledger::new(3);
        let error = EntryError { code: ErrorCode::InvalidTransition, message: String::new(), field: None };
        let refused = EntryResult { error: Some(error), ..result(Status::Duplicate, Some(4)) };
        assert_eq!(ledger.answer(0, &refused), Outcome::Refused);
        let deleted = EntryResult { deleted: Some(true), ..result(Status::Updated, Some(5)) };
        assert_eq!(ledger.answer(1, &deleted), Outcome::Deleted(5));
        assert_eq!(ledger.answer(2, &result(Status::Error, None)), Outcome::Refused);
        assert_eq!(ledger.read().1.errors, BTreeMap::from([("invalid_transition".to_owned(), 1)]));
    }

    #[test]
    fn stale_is_what_named_a_version_below_the_one_it_met() {
        for (status, version, stale) in [
            (Status::Created, Some(1), false),
            (Status::Updated, Some(4), false),
            (Status::Updated, Some(5), true),
            (Status::Unchanged, Some(3), false),
            (Status::Unchanged, Some(4), true),
            (Status::Merged, Some(5), true),
            (Status::Conflict, Some(4), true),
            (Status::Duplicate, Some(9), false),
            (Status::Error, None, false),
        ] {
            assert_eq!(is_stale(3, status, version), stale, "{status:?} {version:?}");
        }
    }

    #[test]
    fn conflicts_are_counted_by_kind() {
        let conflict = ConflictInfo {
            conflict_id: Uuid::nil(),
            strategy: Strategy::PreserveEscalation,
            resolution: Resolution::Client,
        };
        let ledger = Ledger::new(1);
        ledger.answer(0, &EntryResult { conflict: Some(conflict), ..result(Status::Conflict, Some(5)) });
        let (_, tally) = ledger.read();
        assert_eq!(tally.conflicts, BTreeMap::from([("preserve_escalation client".to_owned(), 1)]));
        assert_eq!(tally.stale, 1);
    }
}
