//! Everything durable, behind one trait at transaction grain.
//!
//! A method is a whole transaction or a whole consistent read; nobody above holds a connection. The
//! store moves plain data: it never looks into a body and decides nothing about sync. A group commit
//! hands what it read to the plan that the caller gave and writes what comes back.

mod pages;
mod purge;
mod pushes;
pub mod sqlite;

pub use pages::{DigestQuery, DigestView, Digests, LogPage, LogQuery, PageRow, SnapshotPage, SnapshotQuery};
pub use purge::{PurgeQuery, Purgeable, Purged};
pub use pushes::{
    Conflict, ConflictPlace, ConflictQuery, DeliveryEvent, DeliveryNote, DeliveryQuery, Owed, OwedQuery,
};

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use async_trait::async_trait;
use synchub_protocol::DeviceKind;
use synchub_rules::domain::Visibility;
use synchub_rules::group::{Decision, Loaded, Plan, Reads};
use synchub_rules::push::PushRow;
use synchub_rules::record::{
    DeviceNo, DomainNo, Head, History, InstallNo, LogRow, PartyNo, RecordNo, Scope, TenantNo,
};
use tokio::sync::watch;
use uuid::Uuid;

/// A store of one hub, shared by its nodes.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads, plans and writes a group of batches of one tenant in one transaction (invariant 1).
    async fn commit(&self, group: Group) -> Result<Committed, CommitError>;

    /// Opens sessions: interns names, takes each device's next generation, finds the install. One
    /// transaction for all; answers in order.
    async fn register(&self, registrations: Vec<Registration>) -> Result<Vec<Registered>, StoreError>;

    /// Numbers for domains, given out where they are new; answers in order.
    async fn domains(&self, names: Vec<String>) -> Result<Vec<DomainNo>, StoreError>;

    /// Gives the records of these domains the scopes that their visibility says, where it changed since the
    /// last time (V2). Writes no log rows: for devices a changed visibility makes the domain fresh. Says how
    /// many records moved.
    async fn rescope(&self, domains: Vec<Visible>) -> Result<u64, StoreError>;

    /// How often each domain was given with another text than the time before; answers in order. The text
    /// says who is sent the domain's records: a cursor from before any such change is no good (C1).
    async fn turns(&self, covers: Vec<(DomainNo, String)>) -> Result<Vec<u64>, StoreError>;

    /// The number of a unit or user, given out where it is new.
    async fn party(&self, tenant: TenantNo, kind: PartyKind, name: String) -> Result<PartyNo, StoreError>;

    /// Moves devices' acknowledged places forward, all in one statement's worth of work (C10).
    async fn save_acks(&self, acks: Vec<(DeviceNo, u64)>) -> Result<(), StoreError>;

    /// Notes what happened to pushes, of all devices in one transaction (P4).
    async fn note_deliveries(&self, notes: Vec<DeliveryNote>) -> Result<(), StoreError>;

    /// Which pushes a device is owed (P2). Costs the same however much changed meanwhile.
    async fn owed(&self, query: OwedQuery) -> Result<Owed, StoreError>;

    /// Pushes at places, in order, as many as fit into so many bytes but one at least; and how many of the
    /// places that covers. A place without one is passed over.
    async fn pushes(
        &self,
        tenant: TenantNo,
        seqs: Vec<u64>,
        bytes: usize,
    ) -> Result<(Vec<PushRow>, usize), StoreError>;

    /// Conflicts of a tenant with their evidence.
    async fn conflicts(&self, tenant: TenantNo, query: ConflictQuery) -> Result<Vec<Conflict>, StoreError>;

    /// The scopes of users, or of one device of each where one is named; none for those that the tenant does
    /// not know. Answers in order.
    async fn recipients(
        &self,
        tenant: TenantNo,
        names: Vec<(String, Option<String>)>,
    ) -> Result<Vec<Option<Scope>>, StoreError>;

    /// How many devices pushes of these scopes are for; answers in order.
    async fn count_devices(&self, tenant: TenantNo, scopes: Vec<Scope>) -> Result<Vec<u64>, StoreError>;

    /// A part of the delivery log, for people: a line for each push and device, in the order of the pushes.
    async fn find_deliveries(&self, query: DeliveryQuery) -> Result<Vec<serde_json::Value>, StoreError>;

    /// Tenants after a number, rising, `limit` at most, whose log or tombstones are older than `before_us`.
    async fn tenants_to_purge(
        &self,
        after: TenantNo,
        before_us: i64,
        limit: u32,
    ) -> Result<Vec<TenantNo>, StoreError>;

    /// Gives back memory that busier times took, if nothing was written since this was asked last; says whether it
    /// did.
    async fn rest(&self) -> Result<bool, StoreError>;

    /// Removes what is past its time, a bounded number of rows, in one short transaction (D3).
    async fn purge(&self, query: PurgeQuery) -> Result<Purged, StoreError>;

    /// The head of a tenant's log and what lies below it.
    async fn place(&self, tenant: TenantNo) -> Result<LogPlace, StoreError>;

    /// A page of the log, with the records of its rows as they stand, all from one moment.
    async fn log_page(&self, query: LogQuery) -> Result<LogPage, StoreError>;

    /// A page of a domain's live records.
    async fn snapshot_page(&self, query: SnapshotQuery) -> Result<SnapshotPage, StoreError>;

    /// How many live records somebody sees of some domains, and the sums of their parts, all from one
    /// moment. A domain without a filter costs the same however many records it has.
    async fn digest(&self, query: DigestQuery) -> Result<Digests, StoreError>;

    /// Records with their changes down to a version, to tell how they stood before (V4, C5).
    async fn histories(
        &self,
        tenant: TenantNo,
        wanted: Vec<(RecordNo, u64)>,
    ) -> Result<HashMap<RecordNo, History>, StoreError>;

    /// One record, for people.
    async fn find_record(
        &self,
        tenant: &str,
        domain: &str,
        key: Uuid,
    ) -> Result<Option<serde_json::Value>, StoreError>;

    /// Devices of a tenant, for people; of one user or one id where given.
    async fn find_devices(
        &self,
        tenant: &str,
        user: Option<&str>,
        device: Option<&str>,
    ) -> Result<Vec<serde_json::Value>, StoreError>;

    /// Log rows of a tenant after a place, for people.
    async fn find_log(
        &self,
        tenant: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<serde_json::Value>, StoreError>;

    /// The digests of a tenant's domains, for people; of one domain, each scope's too.
    async fn find_digests(
        &self,
        tenant: &str,
        domain: Option<&str>,
    ) -> Result<Vec<serde_json::Value>, StoreError>;

    /// The key that authenticates cursors; made with the store, the same for its whole life.
    fn cursor_key(&self) -> [u8; 32];

    /// The history that the store is in.
    fn epoch(&self) -> u64;

    /// The history that the store is in, as it rises. Whoever began in an older one has to begin anew (R1).
    fn epochs(&self) -> watch::Receiver<u64>;

    /// Looks whether what a cursor names stands in the log. Where it does not, history was lost and the
    /// epoch has risen, durably, when this returns (R1). Returns the epoch.
    async fn examine(&self, witness: Witness) -> Result<u64, StoreError>;

    /// Whether the store can read and write now.
    async fn check(&self) -> Result<(), StoreError>;

    /// Finishes what was accepted and lets go of the files. Nothing may be asked afterwards.
    async fn close(&self);
}

/// What turns what was read into what is written. Pure, and run where the transaction runs.
pub type PlanFn = Box<dyn FnOnce(Loaded) -> Plan + Send>;

/// A group of batches of one tenant.
pub struct Group {
    /// The tenant.
    pub tenant: TenantNo,
    /// What the plan needs to know.
    pub reads: Reads,
    /// Decides.
    pub plan: PlanFn,
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// A group that is durable.
#[derive(Debug)]
pub struct Committed {
    /// One decision for each batch, in order.
    pub decisions: Vec<Decision>,
    /// The changes that were logged, in order, as they stand in the log.
    pub rows: Vec<LogRow>,
    /// The pushes that were logged, in order.
    pub pushes: Vec<PushRow>,
    /// Whether the rows' views lack their data, and so cannot be routed.
    pub rows_are_bare: bool,
    /// The history that they belong to.
    pub epoch: u64,
    /// The log's head after the group.
    pub head: Head,
}

/// Why a group was not committed; nothing of it was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The database refused the group's contents: one of its batches is guilty.
    #[error("the store refused the group: {0}")]
    Refused(String),
    /// The store cannot write now: full disk, I/O error, shut down.
    #[error("the store cannot write: {0}")]
    Unavailable(String),
}

/// Why the store could not do something else.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or failed to read or write.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What stands there cannot be read.
    #[error("the store holds something unreadable: {0}")]
    Corrupt(String),
}

/// Who sees a domain's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visible {
    /// The domain.
    pub domain: DomainNo,
    /// In tenants without a definition of their own; none: they have no such domain.
    pub shared: Option<Visibility>,
    /// In tenants with one, by name.
    pub own: BTreeMap<String, Visibility>,
}

/// What a party is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PartyKind {
    /// A business unit.
    Unit,
    /// A user.
    User,
}

/// A session that opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The tenant's name.
    pub tenant: String,
    /// The user's name.
    pub user: String,
    /// The unit's name.
    pub unit: Option<String>,
    /// The device; none for publishers and operators, who share the user's row with an empty id.
    pub device: Option<RegisteredDevice>,
    /// What the cursor that came with the hello names, if the hub made it.
    pub witness: Option<Witness>,
    /// When, in microseconds.
    pub at_us: i64,
}

/// What an authentic cursor says of the log (R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// The tenant whose log it is.
    pub tenant: TenantNo,
    /// The history.
    pub epoch: u64,
    /// A place, and the time of the row there.
    pub place: Head,
}

/// The device of a session that opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredDevice {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: DeviceKind,
    /// Its priority where the row has none yet.
    pub priority: i64,
    /// The installation; none: the device's own row.
    pub install_id: Option<Uuid>,
    /// Name, system and version of the app, as MessagePack.
    pub profile: Vec<u8>,
}

/// A session that opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// The tenant's number.
    pub tenant: TenantNo,
    /// The user's number.
    pub user: PartyNo,
    /// The unit's number.
    pub unit: Option<PartyNo>,
    /// The device's number.
    pub device: DeviceNo,
    /// The generation that this session took (C11).
    pub generation: u64,
    /// The install's number.
    pub install: InstallNo,
    /// The highest number of the install that was decided; 0 without `install_id`.
    pub mark: u64,
    /// The device's priority.
    pub priority: i64,
    /// The device's acknowledged place.
    pub acked: u64,
    /// Whether a push after it may be for the device, or a conflict awaits its user (P2, P5).
    pub owes: bool,
    /// Whether the device was deactivated; then no generation was taken.
    pub deactivated: bool,
    /// The log's head and what lies below it.
    pub place: LogPlace,
    /// Whether its cursor proved that history was lost: the epoch has risen, and this session, like every
    /// other, has to begin anew (R1).
    pub lost: bool,
}

/// Where a tenant's log stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogPlace {
    /// The history.
    pub epoch: u64,
    /// The head.
    pub head: Head,
    /// Rows and tombstones at or below may be gone (D3).
    pub horizon: u64,
}
