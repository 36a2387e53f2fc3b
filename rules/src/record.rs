//! What the hub keeps: records, who wrote their fields, and the rows of a tenant's log.
//!
//! Plain data, shared by the planner, the store and the feed. Nothing here decides anything.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use synchub_protocol::server::Origin;
use synchub_protocol::{Data, Priority};
use uuid::Uuid;

/// A tenant's number in the store.
pub type TenantNo = i64;
/// A user's or a unit's number in the store.
pub type PartyNo = i64;
/// A domain's number in the store.
pub type DomainNo = i64;
/// A device's number in the store.
pub type DeviceNo = i64;
/// The number of an installation of an app on a device. 0: the hub itself; below 0: the publisher whose
/// party number it is, negated. A device that names no installation has one row of its own.
pub type InstallNo = i64;
/// A record's number in the store, rising with creation.
pub type RecordNo = i64;

/// Who may see a record or a log row at most (V2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everyone of the tenant.
    Tenant,
    /// One unit or one user.
    Party(PartyNo),
    /// One device.
    Device(DeviceNo),
}

impl Scope {
    /// The number that the store keeps: 0, the party's, or the device's negated.
    pub fn number(self) -> i64 {
        match self {
            Self::Tenant => 0,
            Self::Party(party) => party,
            Self::Device(device) => -device,
        }
    }

    /// The scope behind a stored number.
    pub fn from_number(number: i64) -> Self {
        match number {
            0 => Self::Tenant,
            party if party > 0 => Self::Party(party),
            device => Self::Device(-device),
        }
    }
}

/// What somebody may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// Records of these scopes.
    Scopes(Vec<Scope>),
    /// The whole tenant: operators, publishers and the hub.
    Everything,
}

impl Sight {
    /// Whether a record of this scope may be seen.
    pub fn covers(&self, scope: Scope) -> bool {
        match self {
            Self::Scopes(scopes) => scopes.contains(&scope),
            Self::Everything => true,
        }
    }
}

/// When and by whom a field was written; compared in this order (T2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// The edit's time, corrected by the device's clock offset and bounded, in microseconds.
    pub time_us: i64,
    /// The device's priority.
    pub priority: i64,
    /// The installation.
    pub install: InstallNo,
    /// The entry's number; its place in the batch where it has none.
    pub number: u64,
}

/// A write that still owns at least one field of a record (E4). [`crate::conflict::owners`] keeps and
/// reads the list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The version that it made.
    pub version: u64,
    /// Its stamp.
    pub stamp: Stamp,
    /// The fields that it owns; the first write of a record also owns every field that the record holds
    /// and that stands in none.
    pub fields: Vec<String>,
}

/// How the last outcome of a record stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SyncStatus {
    /// Nothing is open.
    #[default]
    Synced,
    /// An entry waits.
    PendingSync,
    /// The last entry was refused.
    SyncError,
    /// A conflict awaits a person.
    Conflict,
}

/// A record as it stands; a tombstone is the same with `deleted` set and keeps its data (V4).
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The store's number for it.
    pub no: RecordNo,
    /// Its domain.
    pub domain: DomainNo,
    /// Its `mobile_id`.
    pub key: Uuid,
    /// The unit it belongs to.
    pub unit: Option<PartyNo>,
    /// The user it belongs to.
    pub owner: Option<PartyNo>,
    /// Who may see it.
    pub scope: Scope,
    /// Its version; the first is 1.
    pub version: u64,
    /// The place of its last log row; 0 if its last change has none, since the domain had no feed then.
    pub seq: u64,
    /// The time of its last change, in microseconds.
    pub time_us: i64,
    /// The priority of its last change.
    pub priority: Priority,
    /// How its last outcome stands.
    pub sync_status: SyncStatus,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// The writes that still own a field, newest last.
    pub writes: Vec<Write>,
    /// Its fields.
    pub data: Arc<Data>,
}

/// What a log row says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowKind {
    /// The record is new in the row's scope.
    Create,
    /// The record changed.
    Update,
    /// The record was deleted.
    Delete,
    /// The record left the row's scope.
    Leave,
}

impl RowKind {
    /// The number that the store keeps.
    pub fn number(self) -> i64 {
        match self {
            Self::Create => 1,
            Self::Update => 2,
            Self::Delete => 3,
            Self::Leave => 4,
        }
    }

    /// The kind behind a stored number.
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Leave]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// A row of a tenant's log that tells both sides of the change: what the store writes, the bus carries and
/// the feed routes.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// Its place.
    pub seq: u64,
    /// Whose view it concerns.
    pub scope: Scope,
    /// What it says.
    pub kind: RowKind,
    /// The record's domain.
    pub domain: DomainNo,
    /// The domain's name.
    pub domain_name: Arc<str>,
    /// The record.
    pub record: RecordNo,
    /// The record's `mobile_id`.
    pub key: Uuid,
    /// The version that the change made.
    pub version: u64,
    /// The version before the change; 0 for the record's first.
    pub base: u64,
    /// The place of the record's change before this one; 0 for the first, [`NOT_LOGGED`] where that
    /// change is not in the log.
    pub prev: u64,
    /// Its time, in microseconds; rises strictly with places (T1).
    pub time_us: i64,
    /// Who wrote it.
    pub install: InstallNo,
    /// Who wrote it, by name.
    pub origin: Arc<Origin>,
    /// The change's priority (E12).
    pub priority: Priority,
    /// The values before the change of the fields that it touched; null where there was none. Empty for
    /// the first change of a record (`prev` is 0): before it there was nothing. Of an append-only list
    /// that stood an empty one: what it held is the beginning of what it holds now.
    pub old: Arc<Data>,
    /// The record's fields after the change; a deleted one keeps its last.
    pub data: Arc<Data>,
    /// Who could see the record before, if it lived.
    pub before: Option<Scope>,
    /// Who may see it after, if it lives.
    pub after: Option<Scope>,
}

impl LogRow {
    /// A field as it was before the change; an absent one may be null. Of an append-only list that grew only that
    /// there was one.
    pub fn field_before(&self, name: &str) -> Option<&Value> {
        self.old.get(name).or_else(|| self.data.get(name))
    }
}

/// An earlier change of a record, read back from the log.
#[derive(Debug, Clone, PartialEq)]
pub struct PastChange {
    /// The version that it made.
    pub version: u64,
    /// Its place.
    pub seq: u64,
    /// The place of the change before it; 0 for the record's first, [`NOT_LOGGED`] where it has none.
    pub prev: u64,
    /// Its time, in microseconds.
    pub time_us: i64,
    /// What it did.
    pub kind: RowKind,
    /// The record's scope after it.
    pub scope: Scope,
    /// Who made it.
    pub install: InstallNo,
    /// The values before it of the fields that it touched.
    pub old: Arc<Data>,
}

/// A record with its latest changes.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The record as it stands.
    pub record: Record,
    /// Its changes, newest first, without gaps, as far back as was asked for or as the log reaches.
    pub changes: Vec<PastChange>,
}

/// The head of a tenant's log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last place given out.
    pub seq: u64,
    /// The time of the last row, in microseconds.
    pub time_us: i64,
}

/// Stands for the place of a change that was made while its domain had no feed: no row has it, so who
/// walks back finds the log too short, not the record's beginning.
pub const NOT_LOGGED: u64 = i64::MAX.cast_unsigned();

/// How many changes of a record are read back at most (E3, C5).
pub const HISTORY_LIMIT: usize = 100;

/// How much a record may weigh; without a bound, edits of a few fields each could let one grow for ever.
pub const MAX_WEIGHT: usize = 256 * 1024;

/// How much the data of a group's rows may weigh together, each row's counted by itself; above, they go without. A group of usual entries takes a few MiB; without a bound, small
/// edits of one large record would each keep a copy of it alive.
pub const MAX_ROWS_WEIGHT: usize = 32 * 1024 * 1024;
const _: () = assert!(MAX_ROWS_WEIGHT >= 100 * MAX_WEIGHT, "a hundred records go with their data");

/// About how many bytes a map of fields takes in memory.
pub fn weight(data: &Data) -> usize {
    data.iter().map(|(key, value)| 64 + key.len() + value_weight(value)).sum()
}

fn value_weight(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 32 + value_weight(item)).sum(),
        Value::Object(map) => weight(map),
        _ => 0,
    }
}
