//! The frames that the hub sends.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use crate::answers::{
    ConflictsResult, DigestResult, DigestSum, DomainDigest, PresenceResult, PresentDevice, Published,
    PullResult, PulledSnapshot, PushReceipt, Resolved, SettingsApplied, TokenAccepted,
};
use crate::client::Subscription;
pub use crate::pushes::{ConflictAlert, EntrySettled, Message, Outcome, SyncTrigger, TriggerReason};
pub use crate::result::{ConflictInfo, EntryError, EntryResult, Resolution, Status, Strategy, SyncResult};
use crate::wire;
use crate::{Data, ErrorCode, Priority, Timestamp};

/// A frame from the hub.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// Answers `hello`.
    Welcome(Welcome),
    /// Answers `subscribe` and `unsubscribe`, in the data lane.
    Subscribed(Subscribed),
    /// A page of a domain's records.
    Snapshot(Snapshot),
    /// A change of one record.
    DataUpdate(Change),
    /// How far the client has been sent everything.
    Position(Position),
    /// The same, and what follows is live.
    CaughtUp(CaughtUp),
    /// Answers `sync`.
    SyncResult(SyncResult),
    /// Asks the app to sync.
    SyncTrigger(SyncTrigger),
    /// A conflict, to show and perhaps to decide.
    ConflictAlert(ConflictAlert),
    /// A service's own push.
    Message(Message),
    /// How a refused entry ended in the review inbox.
    EntrySettled(EntrySettled),
    /// Answers `pull`.
    PullResult(PullResult),
    /// Answers `resolve`.
    Resolved(Resolved),
    /// Answers `conflicts`.
    ConflictsResult(ConflictsResult),
    /// Answers `publish`.
    Published(Published),
    /// Answers `digest`.
    DigestResult(DigestResult),
    /// Answers `presence`.
    PresenceResult(PresenceResult),
    /// Answers `token`.
    TokenAccepted(TokenAccepted),
    /// Answers `settings`.
    SettingsApplied(SettingsApplied),
    /// Answers `ping`.
    Pong(Pong),
    /// A close follows.
    Goaway(Goaway),
    /// A request was refused whole.
    Error(ErrorFrame),
}

/// Answers `hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The id of the `hello`.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The session's name, for logs.
    pub session_id: String,
    /// The hub's clock.
    pub server_time: Timestamp,
    /// The history that the store is in.
    #[serde(deserialize_with = "wire::uint")]
    pub epoch: u64,
    /// The highest number of this install that was decided; 0 without `install_id`.
    #[serde(deserialize_with = "wire::uint")]
    pub last_client_seq: u64,
    /// The domains that come as a snapshot.
    pub fresh: Vec<Fresh>,
    /// The compression that the client may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Vec<String>>,
    /// Optional parts of the protocol that both sides know.
    pub features: Vec<String>,
    /// The heartbeat that counts, in seconds.
    #[serde(deserialize_with = "wire::uint")]
    pub heartbeat_secs: u64,
    /// What the hub takes.
    pub limits: Limits,
}

/// What the hub takes from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The largest frame, in bytes.
    #[serde(deserialize_with = "wire::uint")]
    pub max_frame_bytes: u64,
    /// The largest entry, in bytes.
    #[serde(deserialize_with = "wire::uint")]
    pub max_entry_bytes: u64,
    /// The most entries in a batch.
    #[serde(deserialize_with = "wire::uint")]
    pub max_batch_entries: u64,
    /// The most `sync` frames without an answer.
    #[serde(deserialize_with = "wire::uint")]
    pub max_in_flight: u64,
    /// The batch size that works best now.
    #[serde(deserialize_with = "wire::uint")]
    pub recommended_batch: u64,
}

/// A domain that comes as a snapshot, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fresh {
    /// The domain's name.
    pub domain: String,
    /// Why it cannot be replayed.
    pub reason: FreshReason,
}

/// Why a domain comes as a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FreshReason {
    /// Nothing of it was sent before.
    New,
    /// Filter, rights or definition changed.
    Changed,
    /// The cursor lies below what the log still holds.
    CursorExpired,
    /// The cursor is not one of the hub's.
    CursorInvalid,
    /// The store's history is another one.
    EpochChanged,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Answers `subscribe` and `unsubscribe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The whole set.
    pub subscriptions: Vec<Subscription>,
    /// The domains that come as a snapshot.
    pub fresh: Vec<Fresh>,
}

/// A page of a domain's records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The domain's name.
    pub domain: String,
    /// Whether the snapshot begins here.
    pub first: bool,
    /// Whether it ends here: what came neither in a page nor in a data frame since is gone.
    pub last: bool,
    /// The records of this page.
    pub records: Vec<SnapshotRecord>,
    /// About how many records will come; with `first`.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Stored together with the records.
    pub cursor: String,
}

/// One record of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// The record's id.
    #[serde(with = "wire::id")]
    pub mobile_id: Uuid,
    /// Its version.
    #[serde(deserialize_with = "wire::uint")]
    pub version: u64,
    /// Its fields.
    #[serde(deserialize_with = "wire::shared_fields")]
    pub data: Arc<Data>,
    /// The priority of its last change.
    pub priority: Priority,
    /// When it was last changed.
    pub server_timestamp: Timestamp,
}

/// What a change did to the receiver's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeOperation {
    /// The record is new.
    Create,
    /// The record changed.
    Update,
    /// The record was deleted.
    Delete,
    /// The record exists, but left the receiver's view.
    Remove,
    /// An operation that this version does not know: the client reconnects without a cursor.
    #[serde(other)]
    Unknown,
}

/// A change of one record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The domain's name.
    pub domain: String,
    /// What happened.
    pub operation: ChangeOperation,
    /// The record's id.
    #[serde(with = "wire::id")]
    pub mobile_id: Uuid,
    /// The record's version now.
    #[serde(deserialize_with = "wire::uint")]
    pub version: u64,
    /// The version of the copy that `data` is to be laid over; only to who named [`DELTA`](crate::DELTA). Then
    /// `data` has fields of `changed` alone; what `changed` names and `data` does not hold is gone.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub base_version: Option<u64>,
    /// The whole record, unless there is a `base_version`; absent with delete and remove.
    #[serde(default, deserialize_with = "wire::opt_shared_fields", skip_serializing_if = "Option::is_none")]
    pub data: Option<Arc<Data>>,
    /// The fields that this change touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<String>>,
    /// How urgent it is.
    pub priority: Priority,
    /// Who made it.
    pub origin: Origin,
    /// When the hub took it.
    pub server_timestamp: Timestamp,
}

/// Who made a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The user.
    pub user: String,
    /// The user's device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// How far the client has been sent everything that is for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Stored together with the copy.
    pub cursor: String,
    /// The place in the tenant's log.
    #[serde(deserialize_with = "wire::uint")]
    pub seq: u64,
}

/// A position after which everything is live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaughtUp {
    /// Stored together with the copy.
    pub cursor: String,
    /// The place in the tenant's log.
    #[serde(deserialize_with = "wire::uint")]
    pub seq: u64,
    /// The id of the `catch_up` that this answers.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
}

/// Answers `ping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The hub's clock.
    pub server_time: Timestamp,
}

/// A close follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goaway {
    /// Why, for logs.
    pub reason: String,
    /// Not to come back before this many milliseconds.
    #[serde(deserialize_with = "wire::uint")]
    pub reconnect_after_ms: u64,
}

/// A whole request was refused; nothing of it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// The id of the request, where it could be read.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The code to act on.
    pub code: ErrorCode,
    /// A sentence that says what is wrong and what would be right.
    pub message: String,
    /// Whether the same request may succeed later.
    pub temporary: bool,
    /// When to try again, where the hub knows.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl ErrorFrame {
    /// An error with a sentence; whether it is temporary follows from its code.
    pub fn new(id: Option<u64>, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { id, code, message: message.into(), temporary: code.is_temporary(), retry_after_ms: None }
    }
}
