//! What a client keeps over a restart, at transaction grain.
//!
//! Every change of the copy and the outbox is a [`StoredChange`]. They are handed over in order and in
//! groups, and each group is one transaction: after a kill the storage holds a prefix of what happened, so
//! a cursor never stands without the records and snapshot marks that it covers (C1, C4).
//! One storage belongs to one account (tenant, user, device). Nothing here knows the protocol's rules.

mod memory;
mod sqlite;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use synchub_protocol::{Data, Entry, Priority, Timestamp};
use uuid::Uuid;

pub use crate::storage::memory::MemoryStorage;
pub use crate::storage::sqlite::SqliteStorage;

/// A domain's name, shared by everything that mentions it.
pub type Domain = Arc<str>;

/// Where the copy and the outbox survive a restart.
pub trait Storage: Send {
    /// Everything that was stored. Called once, before the first `apply`.
    fn load(&mut self) -> Result<Stored, StorageError>;

    /// Stores a group of changes, in order, all or nothing; when it returns they survive a kill.
    fn apply(&mut self, changes: &[StoredChange]) -> Result<(), StorageError>;

    /// Whether `apply` may wait for a disk, and so has to run on a thread of its own.
    fn blocks(&self) -> bool {
        true
    }
}

/// Why something could not be stored or read. The client stops: what it shows must survive a restart.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The database refused.
    #[error("the client's database refused: {0}; check the file's permissions and the space on the disk")]
    Database(#[from] rusqlite::Error),
    /// A row cannot be understood.
    #[error(
        "the client's database holds a {what} that cannot be read ({reason}); it was written by another version, or is damaged"
    )]
    Unreadable {
        /// What the row should have been.
        what: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The file was written by a newer version of this crate.
    #[error("the client's database has layout {found}, this version knows {known}; update the app")]
    TooNew {
        /// The file's layout.
        found: i64,
        /// The newest layout that this version reads.
        known: i64,
    },
    /// A storage that is not of this crate.
    #[error("{0}")]
    Other(String),
}

/// One record as the hub gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct CopyRecord {
    /// The hub's version of it.
    pub version: u64,
    /// Its fields.
    pub data: Arc<Data>,
    /// The priority of its last change.
    pub priority: Priority,
    /// When the hub took its last change.
    pub server_timestamp: Timestamp,
}

/// One edit that was made on this device.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxEntry {
    /// Counts the edits of this storage in the order they were made; never sent, never changed.
    pub local_id: u64,
    /// The install under which it is numbered (O2).
    pub install: Uuid,
    /// Its number, counted by the install.
    pub number: u64,
    /// What is sent.
    pub entry: Arc<Entry>,
    /// The answer, once it was accepted; without one it waits.
    pub answer: Option<Accepted>,
}

/// What the answer said of an accepted entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The record's version after it; the copy shows the edit itself from there on.
    pub version: Option<u64>,
    /// The place by which the copy has it in any case (C7).
    pub seq: u64,
    /// When the answer came, by the device's clock.
    pub at: Timestamp,
    /// What to show on top of the copy until then.
    pub shows: Shows,
}

/// What an answered edit shows on top of the copy.
#[derive(Debug, Clone, PartialEq)]
pub enum Shows {
    /// The entry's own fields over the record's.
    Edit,
    /// The record as the answer gave it (`merged` and `conflict`).
    Record(Arc<Data>),
    /// Nothing: the record is deleted.
    Nothing,
}

/// How this device's edits are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbering {
    /// The install that numbers new edits.
    pub install: Uuid,
    /// The highest number that it gave.
    pub given: u64,
}

/// One change of what is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredChange {
    /// The last cursor; none: ask for everything anew.
    Cursor(Option<String>),
    /// The place of the last `position` or `caught_up`.
    Position(u64),
    /// A record was adopted or, without one, dropped.
    Record {
        /// Its domain.
        domain: Domain,
        /// Its id.
        mobile_id: Uuid,
        /// What is held from now on.
        record: Option<CopyRecord>,
    },
    /// All records and snapshot marks of a domain went.
    DomainDropped(Domain),
    /// A snapshot of a domain began: no record of it has come yet.
    SnapshotBegun(Domain),
    /// A record came since the snapshot of its domain began.
    Came(Domain, Uuid),
    /// The snapshot of a domain is complete; its marks go.
    SnapshotEnded(Domain),
    /// An edit was made, renumbered or accepted.
    Entry(OutboxEntry),
    /// An edit is through, or refused.
    EntryDropped(u64),
    /// Numbers were given, or a new install began.
    Numbering(Numbering),
    /// How many connections were opened.
    Attempt(u64),
}

/// Everything that a storage holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// The last cursor.
    pub cursor: Option<String>,
    /// The place of the last `position` or `caught_up`.
    pub position: u64,
    /// The copy.
    pub records: HashMap<Domain, HashMap<Uuid, CopyRecord>>,
    /// The domains whose snapshot has begun and not ended, with the records that came since.
    pub running: HashMap<Domain, HashSet<Uuid>>,
    /// Edits that wait, and accepted ones that are kept for a while, by `local_id`.
    pub entries: BTreeMap<u64, OutboxEntry>,
    /// How edits are numbered; none before the first start.
    pub numbering: Option<Numbering>,
    /// How many connections were opened.
    pub attempt: u64,
}

impl Stored {
    /// Makes one change: the meaning of each [`StoredChange`].
    pub fn apply(&mut self, change: StoredChange) {
        match change {
            StoredChange::Cursor(cursor) => self.cursor = cursor,
            StoredChange::Position(seq) => self.position = seq,
            StoredChange::Record { domain, mobile_id, record: Some(record) } => {
                self.records.entry(domain).or_default().insert(mobile_id, record);
            }
            StoredChange::Record { domain, mobile_id, record: None } => {
                if let Some(records) = self.records.get_mut(&domain) {
                    records.remove(&mobile_id);
                    if records.is_empty() {
                        self.records.remove(&domain);
                    }
                }
            }
            StoredChange::DomainDropped(domain) => {
                self.records.remove(&domain);
                self.running.remove(&domain);
            }
            StoredChange::SnapshotBegun(domain) => {
                self.running.insert(domain, HashSet::new());
            }
            StoredChange::Came(domain, mobile_id) => {
                self.running.entry(domain).or_default().insert(mobile_id);
            }
            StoredChange::SnapshotEnded(domain) => {
                self.running.remove(&domain);
            }
            StoredChange::Entry(entry) => {
                self.entries.insert(entry.local_id, entry);
            }
            StoredChange::EntryDropped(local_id) => {
                self.entries.remove(&local_id);
            }
            StoredChange::Numbering(numbering) => self.numbering = Some(numbering),
            StoredChange::Attempt(attempt) => self.attempt = attempt,
        }
    }
}

/// The changes that were made and are not stored yet, in order.
#[derive(Debug, Default)]
pub struct Journal {
    changes: Vec<StoredChange>,
    revision: u64,
}

impl Journal {
    /// Notes a change.
    pub fn note(&mut self, change: StoredChange) {
        self.changes.push(change);
        self.revision += 1;
    }

    /// How many changes were ever noted; a thing changed at this revision is stored when a group taken
    /// at this revision or later is.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether nothing waits to be stored.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Takes what is to be stored as one transaction.
    pub fn take(&mut self) -> Vec<StoredChange> {
        std::mem::take(&mut self.changes)
    }
}
