//! What a group commit reads, what the planner is given, and what it hands to the store to write.
//!
//! The store loads a [`Loaded`] for the [`Reads`] of a group, the planner turns it and the
//! [`Submission`]s into a [`Plan`], and the store writes the plan's [`Writes`] in the same transaction.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use synchub_protocol::server::{ConflictInfo, EntryError, Origin, Resolution, Status, Strategy};
use synchub_protocol::{Data, Entry, EntryFault, ErrorCode};
use uuid::Uuid;

use crate::domain::Definition;
use crate::push::{PushRow, SubmittedPush};
use crate::record::{
    DeviceNo, DomainNo, Head, History, InstallNo, LogRow, PartyNo, Record, RecordNo, Scope, Sight,
};

/// Who sends entries, and with which rights.
#[derive(Debug, Clone)]
pub struct Author {
    /// The device's row; a publisher has one too.
    pub device: DeviceNo,
    /// The session's generation, which must be the row's (C11); none: not fenced.
    pub generation: Option<u64>,
    /// The installation; below 0 for a publisher.
    pub install: InstallNo,
    /// The user, who owns what is created.
    pub user: PartyNo,
    /// The unit of what is created.
    pub unit: Option<PartyNo>,
    /// What may be seen, and so be changed (V3).
    pub sight: Sight,
    /// The device's priority.
    pub priority: i64,
    /// Hub time minus device time, in microseconds (T2).
    pub clock_offset_us: i64,
    /// A publisher or an operator: may create in any state, raise priorities and set unit and owner.
    pub trusted: bool,
    /// The names that changes carry.
    pub origin: Arc<Origin>,
}

/// A domain as the planner meets it.
#[derive(Debug, Clone)]
pub struct Domain {
    /// Its number in the store.
    pub no: DomainNo,
    /// Its name.
    pub name: Arc<str>,
    /// Its rules, as they are for the tenant.
    pub definition: Arc<Definition>,
}

/// A change of what a record belongs to, by a publisher (V1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belonging {
    /// The new unit; `Some(None)`: none.
    pub unit: Option<Option<PartyNo>>,
    /// The new owner; `Some(None)`: none.
    pub owner: Option<Option<PartyNo>>,
}

/// One entry of a batch, as far as it could be taken.
#[derive(Debug, Clone)]
pub enum SubmittedEntry {
    /// Of a known domain and well formed.
    Entry {
        /// The entry.
        entry: Entry,
        /// Its domain.
        domain: Arc<Domain>,
        /// What the record is to belong to from now on.
        belonging: Option<Belonging>,
    },
    /// Refused before it reached the rules.
    Fault {
        /// What is wrong and what could be read.
        fault: EntryFault,
        /// The code of the answer.
        code: ErrorCode,
        /// The domain, if it is a known one: then the entry is kept in the inbox (E11).
        domain: Option<Arc<Domain>>,
    },
}

/// A batch as the planner meets it.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Who sends it.
    pub author: Author,
    /// Its id.
    pub batch_id: Uuid,
    /// The hash of its contents (O1).
    pub hash: [u8; 32],
    /// The number of its first entry (O2).
    pub first_number: Option<u64>,
    /// Whether one bad entry sinks it (E10).
    pub atomic: bool,
    /// Its entries.
    pub entries: Vec<SubmittedEntry>,
    /// Pushes, which are logged behind the entries' changes; only services send them.
    pub pushes: Vec<SubmittedPush>,
    /// How many bytes of memory its entries take, about; 0 where that need not be bounded.
    pub heap: usize,
    /// When it came, in microseconds.
    pub received_us: i64,
}

impl Submission {
    /// How much work it is: the number of entries and pushes.
    pub fn size(&self) -> usize {
        self.entries.len() + self.pushes.len()
    }
}

/// The version of an entry that goes on the record as it stands, whichever that is: a service need not
/// know it. No client can name it.
pub const AS_IT_STANDS: u64 = u64::MAX;

/// What a group needs to know. The store loads each kind in sorted order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reads {
    /// Batches that may have been decided.
    pub batches: Vec<(DeviceNo, Uuid)>,
    /// Devices whose generation counts.
    pub devices: Vec<DeviceNo>,
    /// Installs whose mark counts.
    pub installs: Vec<InstallNo>,
    /// Numbers that may have been refused; only those at or below their install's mark matter.
    pub numbers: Vec<(InstallNo, u64)>,
    /// Refused entries that are corrected: their review rows.
    pub corrections: Vec<(InstallNo, u64)>,
    /// Conflicts that pushes tell of.
    pub conflicts: Vec<Uuid>,
    /// Records, each with the lowest version that an entry starts from: where the record is newer, its
    /// changes are loaded down to and including the first that made this version or a lower one,
    /// [`crate::record::HISTORY_LIMIT`] at most.
    pub records: Vec<(DomainNo, Uuid, u64)>,
}

/// What the store found.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The log's head.
    pub head: Head,
    /// The store's epoch.
    pub epoch: u64,
    /// The highest version of any purged tombstone (D3).
    pub version_floor: u64,
    /// Batches that were decided.
    pub batches: HashMap<(DeviceNo, Uuid), StoredBatch>,
    /// Each device's generation.
    pub generations: HashMap<DeviceNo, u64>,
    /// Each install's mark.
    pub marks: HashMap<InstallNo, u64>,
    /// Refused numbers and why.
    pub refused: HashMap<(InstallNo, u64), EntryError>,
    /// What became of refused entries.
    pub corrections: HashMap<(InstallNo, u64), StoredReview>,
    /// The tenant's conflicts that exist, and whether each awaits a person.
    pub conflicts: HashMap<Uuid, bool>,
    /// Records that exist.
    pub records: HashMap<(DomainNo, Uuid), History>,
    /// Numbers for records that do not exist yet, as many as were asked for and not found, rising.
    pub free_numbers: Vec<RecordNo>,
}

/// A batch that was decided within the last 24 h.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredBatch {
    /// The hash of its contents.
    pub hash: [u8; 32],
    /// What became of its entries.
    pub outcomes: Vec<StoredOutcome>,
}

/// What is remembered of an entry's result: neither the id, which the request has, nor data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredOutcome {
    /// What became of it.
    pub status: Status,
    /// The version that was answered.
    pub version: Option<u64>,
    /// Whether the record was deleted.
    pub deleted: bool,
    /// The conflict.
    pub conflict: Option<ConflictInfo>,
    /// Why it was refused.
    pub error: Option<EntryError>,
}

/// The review row of a refused entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredReview {
    /// Its number.
    pub no: i64,
    /// Whether it was applied from the inbox meanwhile.
    pub applied: bool,
}

/// What the planner made of a group.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// One decision for each submission, in order.
    pub decisions: Vec<Decision>,
    /// What the transaction writes.
    pub writes: Writes,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Every entry was decided, now or before.
    Answered(BatchAnswer),
    /// It would leave a gap in the install's numbers; nothing was decided.
    OutOfOrder,
    /// Its id was used with other contents; nothing was decided.
    KeyReused,
    /// A newer session of the device took over; nothing was decided.
    Replaced,
    /// A push tells of a conflict that the tenant does not have; nothing was decided.
    UnknownConflict(Uuid),
}

/// The answer to a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchAnswer {
    /// One for each entry, in order.
    pub outcomes: Vec<Outcome>,
    /// The place of the batch's last change; without one, the log's head.
    pub seq: u64,
    /// Whether it was decided before.
    pub repeated: bool,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The record's id, where it could be read.
    pub mobile_id: Option<Uuid>,
    /// What is remembered of the result.
    pub stored: StoredOutcome,
    /// The record's fields as they stand, for who may see them; with `conflict` and `merged`.
    pub server_data: Option<Arc<Data>>,
}

/// What a group's transaction writes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Writes {
    /// Records as they stand after the group, each once.
    pub records: Vec<RecordWrite>,
    /// Changes in the log; numbered from [`Loaded::head`] on, together with the pushes.
    pub rows: Vec<LogRow>,
    /// Pushes in the log.
    pub pushes: Vec<PushRow>,
    /// Whether the rows have lost their data, since together they took more than
    /// [`crate::record::MAX_ROWS_WEIGHT`]. Such rows are good for the log, not for routing.
    pub rows_are_bare: bool,
    /// Batches that were decided.
    pub batches: Vec<BatchRow>,
    /// Each install's new mark, each once.
    pub marks: Vec<(InstallNo, u64)>,
    /// Numbers that were refused.
    pub refused: Vec<RefusedNumber>,
    /// Review rows: audit, manual conflicts, inbox.
    pub reviews: Vec<Review>,
    /// Review rows that a correction closes.
    pub corrected: Vec<i64>,
    /// What the group does to the digests, each domain and scope once, in order.
    pub digests: Vec<DigestChange>,
    /// The log's head after the group; the loaded one if nothing was logged.
    pub head: Head,
}

/// What a group does to the digest of a domain's live records of one scope: to be added to what stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestChange {
    /// The domain.
    pub domain: DomainNo,
    /// The scope.
    pub scope: Scope,
    /// How many records more; below 0: fewer.
    pub count: i64,
    /// What the sum of their parts grows by, modulo 2^64.
    pub sum: u64,
}

/// A record to write.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordWrite {
    /// Whether it is inserted.
    pub is_new: bool,
    /// The record as it stands.
    pub record: Record,
}

/// A decided batch to remember.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchRow {
    /// Whose it is.
    pub device: DeviceNo,
    /// Its id.
    pub batch_id: Uuid,
    /// Its hash and outcomes.
    pub stored: StoredBatch,
    /// When it was decided, in microseconds.
    pub at_us: i64,
}

/// A refused number to remember until the horizon (O2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedNumber {
    /// Whose it is.
    pub install: InstallNo,
    /// The number.
    pub number: u64,
    /// Why.
    pub error: EntryError,
    /// When, in microseconds.
    pub at_us: i64,
}

/// What a review row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReviewKind {
    /// A conflict that a strategy resolved: audit.
    Resolved,
    /// A conflict that awaits a person.
    Manual,
    /// A refused entry, or edits that lost to a delete or to the workflow: inbox.
    Refused,
}

impl ReviewKind {
    /// The number that the store keeps.
    pub fn number(self) -> i64 {
        match self {
            Self::Resolved => 1,
            Self::Manual => 2,
            Self::Refused => 3,
        }
    }

    /// Whether somebody still has to look at it.
    pub fn is_open(self) -> bool {
        self != Self::Resolved
    }
}

/// What did not land whole, with its evidence (E11).
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// The conflict's id.
    pub id: Uuid,
    /// What it is.
    pub kind: ReviewKind,
    /// The domain.
    pub domain: DomainNo,
    /// The record, where the entry named one.
    pub key: Option<Uuid>,
    /// Who may see it: the record's scope, or the sender's user.
    pub scope: Scope,
    /// The device that sent the entry.
    pub device: DeviceNo,
    /// The installation that sent it.
    pub install: InstallNo,
    /// The entry's number.
    pub number: Option<u64>,
    /// When, in microseconds.
    pub at_us: i64,
    /// Why it was refused.
    pub code: Option<ErrorCode>,
    /// The strategy that decided.
    pub strategy: Option<Strategy>,
    /// Who won.
    pub resolution: Option<Resolution>,
    /// The version that the entry started from.
    pub base_version: u64,
    /// The version that it met.
    pub server_version: u64,
    /// The entry as sent.
    pub entry: Value,
    /// The values that it met, of its fields.
    pub server: Data,
    /// For each stale field who won and why.
    pub fields: Data,
}
