//! What the batches of a group have made of what was loaded, and the way back for one that sinks.

use std::collections::HashMap;
use std::sync::Arc;

use synchub_protocol::Priority;
use synchub_protocol::server::EntryError;
use uuid::Uuid;

use crate::group::{
    BatchRow, Loaded, RecordWrite, RefusedNumber, ReviewKind, StoredBatch, StoredReview, Writes,
};
use crate::plan::digests::Changes;
use crate::plan::slot::Slot;
use crate::record::{self, DeviceNo, DomainNo, Head, InstallNo, LogRow, MAX_ROWS_WEIGHT, Record, RecordNo};

/// What names a record within a tenant.
pub(super) type RecordKey = (DomainNo, Uuid);

/// The state that the next batch of the group meets.
#[derive(Debug)]
pub(super) struct Overlay {
    pub(super) now_us: i64,
    pub(super) epoch: u64,
    pub(super) version_floor: u64,
    /// Rows, reviews and the head grow here as batches are decided.
    pub(super) writes: Writes,
    /// What the rows' data weighs together.
    rows_weight: usize,
    records: HashMap<RecordKey, Slot>,
    /// The records to write, in the order in which they were first touched.
    touched: Vec<RecordKey>,
    free_numbers: Vec<RecordNo>,
    n_used: usize,
    stored: HashMap<(DeviceNo, Uuid), StoredBatch>,
    /// Where the batches of this group stand in the writes.
    decided: HashMap<(DeviceNo, Uuid), usize>,
    generations: HashMap<DeviceNo, u64>,
    marks: HashMap<InstallNo, u64>,
    refused: HashMap<(InstallNo, u64), EntryError>,
    corrections: HashMap<(InstallNo, u64), StoredReview>,
    conflicts: HashMap<Uuid, bool>,
    /// What the records were before the atomic batch that is being decided.
    undo: Option<HashMap<RecordKey, Option<Undo>>>,
}

/// A record before a batch.
#[derive(Debug)]
struct Undo {
    record: Record,
    n_changes: usize,
    touched: bool,
}

/// Where a batch began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    head: Head,
    n_rows: usize,
    rows_weight: usize,
    pub(super) n_reviews: usize,
    n_touched: usize,
    n_used: usize,
}

impl Overlay {
    pub(super) fn new(now_us: i64, loaded: Loaded) -> Self {
        // Most entries make or change a record each, and slots are large to move.
        let n_records = loaded.records.len() + loaded.free_numbers.len();
        let mut records = HashMap::with_capacity(n_records);
        records.extend(loaded.records.into_iter().map(|(key, history)| (key, Slot::loaded(history))));
        Self {
            now_us,
            epoch: loaded.epoch,
            version_floor: loaded.version_floor,
            writes: Writes { head: loaded.head, rows: Vec::with_capacity(n_records), ..Writes::default() },
            rows_weight: 0,
            records,
            touched: Vec::new(),
            free_numbers: loaded.free_numbers,
            n_used: 0,
            stored: loaded.batches,
            decided: HashMap::new(),
            generations: loaded.generations,
            marks: loaded.marks,
            refused: loaded.refused,
            corrections: loaded.corrections,
            conflicts: loaded.conflicts,
            undo: None,
        }
    }

    pub(super) fn slot(&self, key: RecordKey) -> Option<&Slot> {
        self.records.get(&key)
    }

    /// A record that is about to be changed; from now on it is among the writes.
    pub(super) fn touch(&mut self, key: RecordKey) -> Option<&mut Slot> {
        let slot = self.records.get_mut(&key)?;
        if let Some(undo) = &mut self.undo {
            undo.entry(key).or_insert_with(|| {
                let (record, n_changes) = (slot.record.clone(), slot.changes.len());
                Some(Undo { record, n_changes, touched: slot.touched })
            });
        }
        if !slot.touched {
            slot.touched = true;
            self.touched.push(key);
        }
        Some(slot)
    }

    /// Takes in a record that does not exist yet.
    pub(super) fn insert(&mut self, key: RecordKey, record: Record) -> &mut Slot {
        if let Some(undo) = &mut self.undo {
            undo.insert(key, None);
        }
        self.touched.push(key);
        let slot = self.records.entry(key).or_insert_with(|| Slot::new(record));
        slot.touched = true;
        slot
    }

    /// The number of the next new record.
    pub(super) fn take_number(&mut self) -> RecordNo {
        let number = self.free_numbers.get(self.n_used);
        self.n_used += 1;
        *number.expect("the store gives a number for each record that it was asked for and did not find")
    }

    /// Begins a batch; an atomic one can be taken back.
    pub(super) fn begin(&mut self, atomic: bool) -> Start {
        self.undo = atomic.then(HashMap::new);
        Start {
            head: self.writes.head,
            n_rows: self.writes.rows.len(),
            rows_weight: self.rows_weight,
            n_reviews: self.writes.reviews.len(),
            n_touched: self.touched.len(),
            n_used: self.n_used,
        }
    }

    /// Takes back what an atomic batch did to records, rows and reviews (E10).
    pub(super) fn roll_back(&mut self, start: Start) {
        for (key, undo) in self.undo.take().into_iter().flatten() {
            match (undo, self.records.get_mut(&key)) {
                (Some(undo), Some(slot)) => {
                    slot.record = undo.record;
                    slot.changes.truncate(undo.n_changes);
                    slot.touched = undo.touched;
                }
                _ => {
                    self.records.remove(&key);
                }
            }
        }
        self.writes.head = start.head;
        self.writes.rows.truncate(start.n_rows);
        self.rows_weight = start.rows_weight;
        self.writes.reviews.truncate(start.n_reviews);
        self.touched.truncate(start.n_touched);
        self.n_used = start.n_used;
    }

    /// Adds a row. Once the rows' data weighs too much, all of it is given up: who routes the rows would
    /// have to ask the log for some, so it asks for all.
    pub(super) fn push_row(&mut self, row: LogRow) {
        self.rows_weight += record::weight(&row.data);
        self.writes.rows.push(row);
        if self.writes.rows_are_bare {
            self.writes.rows.last_mut().map(strip);
        } else if self.rows_weight > MAX_ROWS_WEIGHT {
            self.writes.rows_are_bare = true;
            self.writes.rows.iter_mut().for_each(strip);
        }
    }

    pub(super) fn is_current(&self, device: DeviceNo, generation: Option<u64>) -> bool {
        generation.is_none() || self.generations.get(&device).copied() == generation
    }

    pub(super) fn batch(&self, device: DeviceNo, batch_id: Uuid) -> Option<&StoredBatch> {
        let id = (device, batch_id);
        self.stored
            .get(&id)
            .or_else(|| self.decided.get(&id).map(|place| &self.writes.batches[*place].stored))
    }

    pub(super) fn remember_batch(&mut self, row: BatchRow) {
        self.decided.insert((row.device, row.batch_id), self.writes.batches.len());
        self.writes.batches.push(row);
    }

    pub(super) fn mark(&self, install: InstallNo) -> u64 {
        self.marks.get(&install).copied().unwrap_or(0)
    }

    pub(super) fn raise_mark(&mut self, install: InstallNo, number: u64) {
        if number <= self.mark(install) {
            return;
        }
        self.marks.insert(install, number);
        match self.writes.marks.iter_mut().find(|(known, _)| *known == install) {
            Some((_, mark)) => *mark = number,
            None => self.writes.marks.push((install, number)),
        }
    }

    pub(super) fn refused(&self, install: InstallNo, number: u64) -> Option<&EntryError> {
        self.refused.get(&(install, number))
    }

    pub(super) fn refuse(&mut self, install: InstallNo, number: u64, error: EntryError) {
        self.refused.insert((install, number), error.clone());
        self.writes.refused.push(RefusedNumber { install, number, error, at_us: self.now_us });
    }

    /// The review row of a refused entry.
    pub(super) fn correction(&self, install: InstallNo, number: u64) -> Option<StoredReview> {
        self.corrections.get(&(install, number)).copied()
    }

    /// Takes a corrected entry out of the inbox. One that this group refused has no row yet.
    pub(super) fn close_review(&mut self, install: InstallNo, number: u64) {
        if let Some(review) = self.correction(install, number) {
            if !self.writes.corrected.contains(&review.no) {
                self.writes.corrected.push(review.no);
            }
            return;
        }
        self.writes.reviews.retain(|review| {
            let is_its_own = review.install == install && review.number == Some(number);
            !(review.kind == ReviewKind::Refused && is_its_own)
        });
    }

    /// Whether the tenant has a conflict.
    pub(super) fn has_conflict(&self, id: Uuid) -> bool {
        self.conflicts.contains_key(&id) || self.writes.reviews.iter().any(|review| review.id == id)
    }

    /// How urgent an alert is: high while somebody has to decide (P3).
    pub(super) fn alert_priority(&self, id: Uuid) -> Priority {
        let new = self.writes.reviews.iter().find(|review| review.id == id);
        let awaits = new.map(|review| review.kind == ReviewKind::Manual);
        let awaits = awaits.or_else(|| self.conflicts.get(&id).copied()).unwrap_or(false);
        if awaits { Priority::High } else { Priority::Normal }
    }

    pub(super) fn finish(mut self) -> Writes {
        let slots = self.touched.iter().filter_map(|key| self.records.remove(key));
        let mut digests = Changes::default();
        let records = slots.map(|slot| {
            digests.note(&slot);
            RecordWrite { is_new: slot.is_new, record: slot.record }
        });
        self.writes.records = records.collect();
        self.writes.digests = digests.finish();
        self.writes
    }
}

/// Takes the data out of a row.
fn strip(row: &mut LogRow) {
    row.data = Arc::default();
}
