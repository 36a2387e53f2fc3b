//! The copy: what this client holds of the hub's records, and how frames change it (C3, C4, C6).
//!
//! It does no I/O: each change is noted in the [`Journal`], to be stored in one transaction with the cursor
//! that follows it. Only frames of the data lane change the copy; answers never do (C7).

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use synchub_protocol::server::{Change, ChangeOperation, Snapshot, SnapshotRecord};
use synchub_protocol::{Data, Digest};
use uuid::Uuid;

use crate::storage::{CopyRecord, Domain, Journal, Stored, StoredChange};

/// What a frame did to one record of the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touched {
    /// The record's domain.
    pub domain: Domain,
    /// The record's id.
    pub mobile_id: Uuid,
    /// Its version now; of a record that went, the version by which it went.
    pub version: u64,
    /// What happened to it, seen from this copy.
    pub operation: ChangeOperation,
}

/// Why a wait for a version of a record is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The copy holds this version of it.
    Held(u64),
    /// It was deleted, or left the view, at that version or a later one.
    Gone,
}

/// What was counted while frames were applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Changes that came as data frames of subscribed domains.
    pub data_updates: u64,
    /// Records that came in snapshots of subscribed domains.
    pub snapshot_records: u64,
    /// Data frames that were no news: their version was not higher than the one held, or nothing was held.
    pub skipped_repeats: u64,
    /// Changes that came as the fields that changed, and were applied.
    pub deltas: u64,
    /// Changes that came so for a record that is not held any more.
    pub deltas_without_base: u64,
    /// Frames that were ignored because their domain is not subscribed to.
    pub ignored: u64,
    /// Times that a record's version went down other than by a snapshot. Anything but 0 is a fault.
    pub version_regressions: u64,
    /// Times that a snapshot brought a lower version than the one held, as after a restored hub.
    pub snapshot_regressions: u64,
}

/// The hub's records as this client has them.
#[derive(Debug, Default)]
pub struct HubCopy {
    records: HashMap<Domain, HashMap<Uuid, CopyRecord>>,
    /// Of each domain whose snapshot has begun and not ended: what came since it began.
    running: HashMap<Domain, HashSet<Uuid>>,
    /// The domains that the hub has confirmed; none before the first welcome.
    subscribed: Option<HashSet<Domain>>,
    cursor: Option<String>,
    position: u64,
    /// Whether a data frame came since the position was named.
    moved: bool,
    /// The versions by which records went, for those who wait for one; not stored, and bounded.
    gone: HashMap<Uuid, u64>,
    stats: CopyStats,
}

/// How many records that went are remembered for [`HubCopy::reached_version`]; about 2 MiB.
const GONE_REMEMBERED: usize = 1 << 16;

impl HubCopy {
    /// The copy as it was stored.
    pub fn load(stored: &mut Stored) -> Self {
        Self {
            records: std::mem::take(&mut stored.records),
            running: std::mem::take(&mut stored.running),
            cursor: stored.cursor.take(),
            position: stored.position,
            moved: true,
            ..Self::default()
        }
    }

    /// A record, as the hub gave it.
    pub fn record(&self, domain: &str, mobile_id: Uuid) -> Option<&CopyRecord> {
        self.records.get(domain)?.get(&mobile_id)
    }

    /// All records of a domain.
    pub fn records(&self, domain: &str) -> impl Iterator<Item = (Uuid, &CopyRecord)> {
        self.records.get(domain).into_iter().flatten().map(|(mobile_id, record)| (*mobile_id, record))
    }

    /// The last cursor, which stands for everything in this copy.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// The place of the last `position` or `caught_up`; 0 before the first.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether the copy is what it was when its position was named: complete up to there, and no further.
    pub fn is_at_its_position(&self) -> bool {
        !self.moved && self.running.is_empty()
    }

    /// What the copy of a domain adds up to, to be held against the hub's.
    pub fn digest(&self, domain: &str) -> Digest {
        let mut digest = Digest::default();
        for (mobile_id, record) in self.records(domain) {
            digest.add(mobile_id, record.version);
        }
        digest
    }

    /// Whether the copy has a record at this version or a later one, or has seen it go by then. Of a record
    /// that a snapshot no longer has it is not known by which version it went: that counts as gone.
    pub fn reached_version(&self, domain: &str, mobile_id: Uuid, version: u64) -> Option<Reached> {
        match self.record(domain, mobile_id) {
            Some(record) => (record.version >= version).then_some(Reached::Held(record.version)),
            None => self.gone.get(&mobile_id).filter(|gone| **gone >= version).map(|_| Reached::Gone),
        }
    }

    /// What was counted.
    pub fn stats(&self) -> CopyStats {
        self.stats
    }

    /// The hub has confirmed what is subscribed to, by `welcome` or `subscribed`. What was left stays
    /// until the next cursor, which no longer covers it (C3).
    pub fn confirm<'d>(&mut self, domains: impl IntoIterator<Item = &'d str>) {
        self.subscribed = Some(domains.into_iter().map(Domain::from).collect());
    }

    /// Forgets the cursor, so that the next hello asks for everything anew.
    pub fn forget_cursor(&mut self, journal: &mut Journal) {
        self.cursor = None;
        journal.note(StoredChange::Cursor(None));
    }

    /// Applies a page of a snapshot (C4).
    pub fn snapshot(&mut self, page: Snapshot, journal: &mut Journal) -> Vec<Touched> {
        let mut touched = Vec::new();
        self.moved = true;
        if self.is_ignored(&page.domain) {
            self.store_cursor(page.cursor, journal, &mut touched);
            return touched;
        }
        let domain = self.name(&page.domain);
        if page.first || !self.running.contains_key(&domain) {
            self.running.insert(Domain::clone(&domain), HashSet::new());
            journal.note(StoredChange::SnapshotBegun(Domain::clone(&domain)));
        }
        self.stats.snapshot_records += page.records.len() as u64;
        for record in page.records {
            self.came(&domain, record.mobile_id, journal);
            touched.extend(self.adopt_from_snapshot(&domain, record, journal));
        }
        if page.last {
            self.end_snapshot(&domain, journal, &mut touched);
        }
        self.store_cursor(page.cursor, journal, &mut touched);
        touched
    }

    /// Whether a change is to be laid over a version that is newer than the one held: the hub sends none such.
    pub fn missed_base_of(&self, change: &Change) -> bool {
        let held = self.record(&change.domain, change.mobile_id).map(|record| record.version);
        held.zip(change.base_version).is_some_and(|(held, base)| held < base)
    }

    /// Applies a `data_update`: only what is newer than what is held (C6).
    pub fn change(&mut self, change: Change, journal: &mut Journal) -> Option<Touched> {
        if self.is_ignored(&change.domain) {
            return None;
        }
        self.moved = true;
        let domain = self.name(&change.domain);
        let (mobile_id, version) = (change.mobile_id, change.version);
        self.stats.data_updates += 1;
        if self.running.contains_key(&domain) {
            self.came(&domain, mobile_id, journal);
        }
        let held = self.record(&domain, mobile_id).map_or(0, |record| record.version);
        let goes = matches!(change.operation, ChangeOperation::Delete | ChangeOperation::Remove);
        if goes && version > held {
            self.note_gone(mobile_id, version);
        }
        if version <= held || (goes && held == 0) {
            self.stats.skipped_repeats += 1;
            return None;
        }
        if goes {
            self.drop_record(&domain, mobile_id, journal);
            return Some(Touched { domain, mobile_id, version, operation: change.operation });
        }
        let Change { base_version, data, changed, priority, server_timestamp, .. } = change;
        let mut data = data.unwrap_or_default();
        if let Some(base) = base_version {
            // Without the base it has left the view since: a later change brings it back whole.
            let Some(record) = self.record(&domain, mobile_id).filter(|record| record.version == base) else {
                self.stats.deltas_without_base += 1;
                return None;
            };
            data = laid_over(&record.data, &data, &changed.unwrap_or_default());
            self.stats.deltas += 1;
        }
        let record = CopyRecord { version, data, priority, server_timestamp };
        let replaced = self.put(&domain, mobile_id, record, journal);
        self.stats.version_regressions +=
            u64::from(replaced.as_ref().is_some_and(|old| old.version > version));
        Some(Touched { domain, mobile_id, version, operation: operation_on(replaced.as_ref()) })
    }

    /// Takes the cursor and the place of a `position` or `caught_up`.
    pub fn reached(&mut self, cursor: String, seq: u64, journal: &mut Journal) -> Vec<Touched> {
        let mut touched = Vec::new();
        self.position = seq;
        self.moved = false;
        journal.note(StoredChange::Position(seq));
        self.store_cursor(cursor, journal, &mut touched);
        touched
    }

    fn adopt_from_snapshot(
        &mut self,
        domain: &Domain,
        record: SnapshotRecord,
        journal: &mut Journal,
    ) -> Option<Touched> {
        let SnapshotRecord { mobile_id, version, data, priority, server_timestamp } = record;
        let record = CopyRecord { version, data, priority, server_timestamp };
        if self.record(domain, mobile_id) == Some(&record) {
            return None;
        }
        let replaced = self.put(domain, mobile_id, record, journal);
        self.stats.snapshot_regressions +=
            u64::from(replaced.as_ref().is_some_and(|old| old.version > version));
        let operation = operation_on(replaced.as_ref());
        Some(Touched { domain: Domain::clone(domain), mobile_id, version, operation })
    }

    fn end_snapshot(&mut self, domain: &Domain, journal: &mut Journal, touched: &mut Vec<Touched>) {
        let came = self.running.remove(domain).unwrap_or_default();
        let gone: Vec<(Uuid, u64)> = self
            .records(domain)
            .filter(|(mobile_id, _)| !came.contains(mobile_id))
            .map(|(mobile_id, record)| (mobile_id, record.version))
            .collect();
        for (mobile_id, version) in gone {
            self.drop_record(domain, mobile_id, journal);
            self.note_gone(mobile_id, u64::MAX);
            let operation = ChangeOperation::Remove;
            touched.push(Touched { domain: Domain::clone(domain), mobile_id, version, operation });
        }
        journal.note(StoredChange::SnapshotEnded(Domain::clone(domain)));
    }

    fn store_cursor(&mut self, cursor: String, journal: &mut Journal, touched: &mut Vec<Touched>) {
        let left: Vec<Domain> = match &self.subscribed {
            Some(subscribed) => {
                let held = self.records.keys().chain(self.running.keys());
                held.filter(|domain| !subscribed.contains(*domain)).cloned().collect()
            }
            None => Vec::new(),
        };
        for domain in left {
            self.running.remove(&domain);
            for (mobile_id, record) in self.records.remove(&domain).unwrap_or_default() {
                let (version, operation) = (record.version, ChangeOperation::Remove);
                touched.push(Touched { domain: Domain::clone(&domain), mobile_id, version, operation });
            }
            journal.note(StoredChange::DomainDropped(domain));
        }
        self.cursor = Some(cursor.clone());
        journal.note(StoredChange::Cursor(Some(cursor)));
    }

    fn came(&mut self, domain: &Domain, mobile_id: Uuid, journal: &mut Journal) {
        if self.running.get_mut(domain).is_some_and(|came| came.insert(mobile_id)) {
            journal.note(StoredChange::Came(Domain::clone(domain), mobile_id));
        }
    }

    fn put(
        &mut self,
        domain: &Domain,
        mobile_id: Uuid,
        record: CopyRecord,
        journal: &mut Journal,
    ) -> Option<CopyRecord> {
        journal.note(StoredChange::Record {
            domain: Domain::clone(domain),
            mobile_id,
            record: Some(record.clone()),
        });
        self.gone.remove(&mobile_id);
        self.records.entry(Domain::clone(domain)).or_default().insert(mobile_id, record)
    }

    fn drop_record(&mut self, domain: &Domain, mobile_id: Uuid, journal: &mut Journal) {
        if let Some(records) = self.records.get_mut(domain) {
            records.remove(&mobile_id);
        }
        journal.note(StoredChange::Record { domain: Domain::clone(domain), mobile_id, record: None });
    }

    fn note_gone(&mut self, mobile_id: Uuid, version: u64) {
        if self.gone.len() >= GONE_REMEMBERED {
            self.gone.clear();
        }
        let gone = self.gone.entry(mobile_id).or_default();
        *gone = version.max(*gone);
    }

    fn is_ignored(&mut self, domain: &str) -> bool {
        let ignored = self.subscribed.as_ref().is_none_or(|subscribed| !subscribed.contains(domain));
        self.stats.ignored += u64::from(ignored);
        ignored
    }

    /// The one shared name of a subscribed domain.
    fn name(&self, domain: &str) -> Domain {
        let known = self.subscribed.as_ref().and_then(|subscribed| subscribed.get(domain));
        known.cloned().unwrap_or_else(|| Domain::from(domain))
    }
}

/// A record with the fields of a delta laid over it; what the delta names and does not hold is gone.
fn laid_over(record: &Data, delta: &Data, changed: &[String]) -> Arc<Data> {
    let mut data = record.clone();
    for name in changed {
        match delta.get(name) {
            Some(value) => data.insert(name.clone(), value.clone()),
            None => data.remove(name),
        };
    }
    Arc::new(data)
}

fn operation_on(replaced: Option<&CopyRecord>) -> ChangeOperation {
    if replaced.is_some() { ChangeOperation::Update } else { ChangeOperation::Create }
}
