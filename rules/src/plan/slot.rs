//! One record of the overlay with its latest changes, and what they tell about an older version.

use crate::conflict::owners;
use crate::plan::digests::Counted;
use crate::record::{HISTORY_LIMIT, History, InstallNo, PastChange, Record};

/// A record as the batches so far have left it.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) record: Record,
    /// Its latest changes, newest last, without gaps.
    pub(super) changes: Vec<PastChange>,
    /// Version and time of the record as it was loaded, where no change of it was.
    start: Option<(u64, i64)>,
    /// How the record counts in the digests that are stored.
    pub(super) counted: Option<Counted>,
    /// Whether the store does not have it yet.
    pub(super) is_new: bool,
    /// Whether it is to be written.
    pub(super) touched: bool,
}

impl Slot {
    pub(super) fn loaded(history: History) -> Self {
        let History { record, mut changes } = history;
        changes.reverse();
        let start = changes.is_empty().then_some((record.version, record.time_us));
        let counted = Counted::of(&record);
        Self { record, changes, start, counted, is_new: false, touched: false }
    }

    pub(super) fn new(record: Record) -> Self {
        Self { record, changes: Vec::new(), start: None, counted: None, is_new: true, touched: false }
    }

    /// The changes after a version, oldest first; none where they do not reach down to it, or are more
    /// than a group may read back (E3).
    pub(super) fn since(&self, base: u64) -> Option<&[PastChange]> {
        let (known, after) = self.split(base);
        let Some(first) = after.first() else {
            return (base >= self.record.version).then_some(after);
        };
        let reaches = first.version == base + 1
            || base == 0 && first.prev == 0
            || after.len() < HISTORY_LIMIT && self.time_in(known, base).is_some();
        (reaches && after.len() <= HISTORY_LIMIT).then_some(after)
    }

    /// When a version was committed, if that is known.
    pub(super) fn time_of(&self, version: u64) -> Option<i64> {
        if version == self.record.version {
            return Some(self.record.time_us);
        }
        let (known, after) = self.split(version);
        self.time_in(known, version).filter(|_| after.len() < HISTORY_LIMIT)
    }

    /// Whether somebody else changed the record after a version.
    pub(super) fn is_newer(&self, base: u64, install: InstallNo) -> bool {
        if base >= self.record.version {
            return false;
        }
        match self.since(base) {
            Some(changes) => changes.iter().any(|change| owners::is_foreign(change.install, install)),
            None => self.has_foreign_fields(base, install),
        }
    }

    /// Whether a field stands that somebody else wrote after a version.
    pub(super) fn has_foreign_fields(&self, base: u64, install: InstallNo) -> bool {
        owners::has_foreign_since(&self.record.writes, &self.record.data, base, install)
    }

    fn split(&self, version: u64) -> (&[PastChange], &[PastChange]) {
        self.changes.split_at(self.changes.partition_point(|change| change.version <= version))
    }

    fn time_in(&self, known: &[PastChange], version: u64) -> Option<i64> {
        let change = known.last().map(|change| (change.version, change.time_us));
        change.or(self.start).filter(|(made, _)| *made == version).map(|(_, time_us)| time_us)
    }
}
