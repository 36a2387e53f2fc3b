//! A change on its way into the overlay: versions, places and times, log rows, and who owns what.

use std::sync::Arc;

use synchub_protocol::server::Strategy;
use synchub_protocol::{Data, Priority};

use crate::conflict::owners;
use crate::domain::Visibility;
use crate::group::{Author, Domain};
use crate::plan::overlay::{Overlay, RecordKey};
use crate::push::{PushBody, PushRow, SubmittedPush};
use crate::record::{
    Head, LogRow, NOT_LOGGED, PartyNo, PastChange, Record, RowKind, Scope, Stamp, SyncStatus, Write,
};

/// What an entry does to its record.
#[derive(Debug)]
pub(super) struct Change {
    /// Create, update or delete.
    pub(super) kind: RowKind,
    /// The record's fields after it.
    pub(super) data: Arc<Data>,
    /// The fields that it touches, with their values before; of a record's first change empty.
    pub(super) old: Arc<Data>,
    pub(super) home: Home,
    pub(super) stamp: Stamp,
    pub(super) priority: Priority,
}

/// Where a record belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) unit: Option<PartyNo>,
    pub(super) owner: Option<PartyNo>,
    pub(super) scope: Scope,
}

/// Who may see a record of such a domain (V2); none for an owner's record without an owner.
pub(super) fn scope_of(
    visibility: Visibility,
    unit: Option<PartyNo>,
    owner: Option<PartyNo>,
) -> Option<Scope> {
    match visibility {
        Visibility::Tenant => Some(Scope::Tenant),
        Visibility::Unit => Some(unit.map_or(Scope::Tenant, Scope::Party)),
        Visibility::Owner => owner.map(Scope::Party),
    }
}

impl Overlay {
    /// Puts a change into the overlay and returns the version that it made.
    pub(super) fn apply(&mut self, author: &Author, domain: &Domain, key: RecordKey, change: Change) -> u64 {
        if self.slot(key).is_none() {
            let record = self.blank(key, &change);
            self.insert(key, record);
        }
        let row = self.describe(author, domain, key, &change);
        let (version, kind) = (row.version, row.kind);
        // A domain without a feed has no rows: its records have no place, and nobody walks back.
        let place =
            if domain.definition.feed() { self.log(row) } else { Head { seq: 0, time_us: self.now_us } };
        let Some(slot) = self.touch(key) else { return version };
        let past = PastChange {
            version,
            seq: place.seq,
            prev: place_before(&slot.record),
            time_us: place.time_us,
            kind,
            scope: change.home.scope,
            install: author.install,
            old: Arc::clone(&change.old),
        };
        if domain.definition.feed() {
            if slot.changes.is_empty() {
                // Few records are changed twice in a group.
                slot.changes.reserve_exact(1);
            }
            slot.changes.push(past);
        }
        settle(&mut slot.record, (version, place), domain.definition.strategy(), change);
        version
    }

    /// A record before its first change.
    fn blank(&mut self, (domain, key): RecordKey, change: &Change) -> Record {
        let Home { unit, owner, scope } = change.home;
        Record {
            no: self.take_number(),
            domain,
            key,
            unit,
            owner,
            scope,
            version: 0,
            seq: 0,
            time_us: 0,
            priority: change.priority,
            sync_status: SyncStatus::Synced,
            deleted: true,
            writes: Vec::new(),
            data: Arc::default(),
        }
    }

    /// The change's log row, but for its place and time.
    fn describe(&self, author: &Author, domain: &Domain, key: RecordKey, change: &Change) -> LogRow {
        let record = self.slot(key).map(|slot| &slot.record);
        let version = record.map(|record| record.version).filter(|version| *version > 0);
        let before = record.filter(|record| !record.deleted).map(|record| record.scope);
        let moved = before.is_some_and(|scope| scope != change.home.scope);
        let lives = change.kind != RowKind::Delete;
        LogRow {
            seq: 0,
            scope: change.home.scope,
            kind: if moved { RowKind::Create } else { change.kind },
            domain: domain.no,
            domain_name: Arc::clone(&domain.name),
            record: record.map_or(0, |record| record.no),
            key: key.1,
            version: version.unwrap_or(self.version_floor).max(self.epoch << 32) + 1,
            base: version.unwrap_or(0),
            prev: record.map_or(0, place_before),
            time_us: 0,
            install: author.install,
            origin: Arc::clone(&author.origin),
            priority: change.priority,
            old: Arc::clone(&change.old),
            data: Arc::clone(&change.data),
            before,
            after: lives.then_some(change.home.scope),
        }
    }

    /// Appends a change's row, after one in the scope that the record leaves by it (V2).
    fn log(&mut self, row: LogRow) -> Head {
        let left = row.before.filter(|left| *left != row.scope);
        if let Some(scope) = left {
            self.append(LogRow { scope, kind: RowKind::Leave, ..row.clone() });
        }
        self.append(row)
    }

    fn append(&mut self, row: LogRow) -> Head {
        let Head { seq, time_us } = self.next_place();
        self.push_row(LogRow { seq, time_us, ..row });
        self.writes.head
    }

    /// Appends a push's row.
    pub(super) fn log_push(&mut self, author: &Author, push: &SubmittedPush) {
        let priority = match push.body {
            PushBody::ConflictAlert { conflict_id } => self.alert_priority(conflict_id),
            _ => push.priority.unwrap_or_default(),
        };
        let Head { seq, time_us } = self.next_place();
        self.writes.pushes.push(PushRow {
            seq,
            time_us,
            scope: push.scope,
            id: push.id,
            priority,
            install: author.install,
            expires_us: time_us.saturating_add(push.ttl_us),
            body: push.body.clone(),
        });
    }

    /// The next place and time of the log (T1).
    fn next_place(&mut self) -> Head {
        let last = self.writes.head;
        let seq = last.seq.max(self.epoch << 40) + 1;
        self.writes.head = Head { seq, time_us: self.now_us.max(last.time_us + 1) };
        self.writes.head
    }
}

/// The place of a record's last change.
fn place_before(record: &Record) -> u64 {
    if record.version > 0 && record.seq == 0 { NOT_LOGGED } else { record.seq }
}

/// Brings the record to what the change leaves.
fn settle(record: &mut Record, (version, place): (u64, Head), strategy: Strategy, change: Change) {
    let Change { kind, data, old, home, stamp, priority } = change;
    if kind == RowKind::Create {
        let dropped = old.keys().filter(|field| !data.contains_key(*field)).cloned().collect();
        record.writes = owners::created(version, stamp, dropped);
    } else {
        let write = Write { version, stamp, fields: old.keys().cloned().collect() };
        owners::take(&mut record.writes, write, &record.data, strategy);
    }
    (record.version, record.seq, record.time_us) = (version, place.seq, place.time_us);
    (record.unit, record.owner, record.scope) = (home.unit, home.owner, home.scope);
    (record.data, record.deleted, record.priority) = (data, kind == RowKind::Delete, priority);
}
