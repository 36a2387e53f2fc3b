//! What the numbers are told apart by: each label's values, known from the start.
//!
//! No value is ever a tenant, a user or a device, of which there is no end.

use synchub_protocol::server::Status;
use synchub_protocol::{CloseReason, Encoding};

/// Why a session reads the log instead of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CatchUpCause {
    /// It said hello.
    Hello,
    /// Its subscriptions changed.
    Subscribe,
    /// It read too slowly, and what it had queued was forgotten (C8).
    SlowReader,
    /// Rows were missing between its place and the feed.
    Gap,
    /// Its place fell below the horizon (D3).
    Expired,
    /// It asked for what was held back (C9).
    Asked,
    /// Its device does not save battery any more.
    Settings,
    /// It had been sent too many changes in a second.
    Limit,
}

/// What was removed because it was past its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PurgedKind {
    /// A row of a log.
    Log,
    /// A tombstone.
    Tombstone,
    /// A batch with its answer.
    Batch,
    /// A refused number.
    Refused,
    /// A closed review.
    Review,
    /// A note of what happened to a push.
    Delivery,
}

/// What had no room under a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// A socket of an address.
    AddressConnection,
    /// A session of a tenant.
    TenantConnection,
    /// A hello of an address.
    AddressHello,
    /// A hello of a device.
    DeviceHello,
    /// A frame, for its number or its bytes.
    Frame,
    /// A batch, for its entries.
    Entries,
    /// A hello, for the load of the node.
    Load,
    /// A page of a snapshot or a replay, which waits.
    Replay,
}

/// Why a group was not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitFailure {
    /// The database refused what is in it.
    Refused,
    /// The store could not write.
    Unavailable,
}

/// What became of spans that were to go to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExportResult {
    /// The collector took them.
    Sent,
    /// It did not, and they are gone.
    Failed,
}

/// What waits in a queue of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QueueKind {
    /// Batches that wait to be committed.
    Commit,
    /// Changes and pushes that sessions have not taken yet.
    Sessions,
}

/// A file of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreFile {
    /// The database.
    Database,
    /// What was committed since the last checkpoint.
    WriteAheadLog,
}

/// Why a change is held back (C9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeldBy {
    /// Its priority is below its subscription's.
    Priority,
    /// The device saves battery.
    BatterySaver,
    /// The session was sent too many in a second.
    Limit,
}

/// What a push is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushKind {
    /// A service's own.
    Message,
    /// Asks the app to sync.
    SyncTrigger,
    /// Tells of a conflict.
    ConflictAlert,
    /// How a refused entry ended.
    EntrySettled,
}

/// What happens to a push on its way to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PushFate {
    /// It was handed to the socket.
    Delivered,
    /// It waits for the user's next minute (P3).
    Held,
    /// A later trigger says what it said.
    Merged,
    /// There were too many.
    Dropped,
    /// Its time was over.
    Expired,
}

pub(super) const ENCODINGS: [(Encoding, &str); 2] =
    [(Encoding::MessagePack, "msgpack"), (Encoding::Json, "json")];

pub(super) const STATUSES: [(Status, &str); 8] = [
    (Status::Created, "created"),
    (Status::Updated, "updated"),
    (Status::Unchanged, "unchanged"),
    (Status::Merged, "merged"),
    (Status::Duplicate, "duplicate"),
    (Status::Conflict, "conflict"),
    (Status::Error, "error"),
    (Status::ConflictRisk, "conflict_risk"),
];

pub(super) const CLOSE_REASONS: [CloseReason; 14] = [
    CloseReason::PeerClosed,
    CloseReason::GoingAway,
    CloseReason::HeartbeatMissed,
    CloseReason::TooSlow,
    CloseReason::Overloaded,
    CloseReason::HelloTimeout,
    CloseReason::InvalidToken,
    CloseReason::TokenExpired,
    CloseReason::DeviceDeactivated,
    CloseReason::Undecodable,
    CloseReason::Replaced,
    CloseReason::FrameTooLarge,
    CloseReason::Misbehaved,
    CloseReason::RateLimitIgnored,
];

pub(super) const CATCH_UP_CAUSES: [(CatchUpCause, &str); 8] = [
    (CatchUpCause::Hello, "hello"),
    (CatchUpCause::Subscribe, "subscribe"),
    (CatchUpCause::SlowReader, "slow_reader"),
    (CatchUpCause::Gap, "gap"),
    (CatchUpCause::Expired, "expired"),
    (CatchUpCause::Asked, "asked"),
    (CatchUpCause::Settings, "settings"),
    (CatchUpCause::Limit, "limit"),
];

pub(super) const PURGED_KINDS: [(PurgedKind, &str); 6] = [
    (PurgedKind::Log, "log"),
    (PurgedKind::Tombstone, "tombstone"),
    (PurgedKind::Batch, "batch"),
    (PurgedKind::Refused, "refused"),
    (PurgedKind::Review, "review"),
    (PurgedKind::Delivery, "delivery"),
];

pub(super) const LIMIT_KINDS: [(LimitKind, &str); 8] = [
    (LimitKind::AddressConnection, "address_connection"),
    (LimitKind::TenantConnection, "tenant_connection"),
    (LimitKind::AddressHello, "address_hello"),
    (LimitKind::DeviceHello, "device_hello"),
    (LimitKind::Frame, "frame"),
    (LimitKind::Entries, "entries"),
    (LimitKind::Load, "load"),
    (LimitKind::Replay, "replay"),
];

pub(super) const HELD_BY: [(HeldBy, &str); 3] =
    [(HeldBy::Priority, "priority"), (HeldBy::BatterySaver, "battery_saver"), (HeldBy::Limit, "limit")];

pub(super) const PUSH_KINDS: [(PushKind, &str); 4] = [
    (PushKind::Message, "message"),
    (PushKind::SyncTrigger, "sync_trigger"),
    (PushKind::ConflictAlert, "conflict_alert"),
    (PushKind::EntrySettled, "entry_settled"),
];

pub(super) const PUSH_FATES: [(PushFate, &str); 5] = [
    (PushFate::Delivered, "delivered"),
    (PushFate::Held, "held"),
    (PushFate::Merged, "merged"),
    (PushFate::Dropped, "dropped"),
    (PushFate::Expired, "expired"),
];

pub(super) const COMMIT_FAILURES: [(CommitFailure, &str); 2] =
    [(CommitFailure::Refused, "refused"), (CommitFailure::Unavailable, "unavailable")];

pub(super) const EXPORT_RESULTS: [(ExportResult, &str); 2] =
    [(ExportResult::Sent, "sent"), (ExportResult::Failed, "failed")];

pub(super) const QUEUES: [(QueueKind, &str); 2] =
    [(QueueKind::Commit, "commit"), (QueueKind::Sessions, "sessions")];

pub(super) const STORE_FILES: [(StoreFile, &str); 2] =
    [(StoreFile::Database, "database"), (StoreFile::WriteAheadLog, "wal")];
