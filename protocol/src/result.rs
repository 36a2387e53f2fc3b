//! The answer to `sync`: what became of each entry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::wire;
use crate::{Data, ErrorCode, Timestamp};

/// Answers `sync`: what became of each entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SyncResult {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The batch.
    #[serde(with = "wire::id")]
    pub batch_id: Uuid,
    /// One result for each entry, in order.
    pub results: Vec<EntryResult>,
    /// The place of the batch's last change; without one, the log's head.
    #[serde(deserialize_with = "wire::uint")]
    pub seq: u64,
    /// When the hub decided.
    pub server_timestamp: Timestamp,
    /// Whether this is the answer of an earlier delivery of the batch.
    pub repeated: bool,
    /// How long to wait before the next batch, when the hub is busy.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    /// How many entries the next batches should hold, when that is another number than the client was told last.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub recommended_batch: Option<u64>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The record is new.
    Created,
    /// The record changed as asked.
    Updated,
    /// Nothing was to be changed.
    Unchanged,
    /// The edit joined newer edits of other fields.
    Merged,
    /// This number was decided before.
    Duplicate,
    /// Somebody else had changed the same; `conflict` says who won.
    Conflict,
    /// Refused.
    Error,
    /// Held back, nothing was decided.
    ConflictRisk,
    /// A status that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The result of one entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryResult {
    /// The record's id; null where the entry's could not be read.
    #[serde(default, with = "wire::opt_id")]
    pub mobile_id: Option<Uuid>,
    /// What became of the entry.
    pub status: Status,
    /// The record's version after it.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub server_version: Option<u64>,
    /// The record as it stands, to show; with `conflict` and `merged`.
    #[serde(default, deserialize_with = "wire::opt_shared_fields", skip_serializing_if = "Option::is_none")]
    pub server_data: Option<Arc<Data>>,
    /// Whether the record is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<bool>,
    /// The conflict, and who won.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<ConflictInfo>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<EntryError>,
}

/// A conflict, and how it was resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictInfo {
    /// The conflict's id in the audit log.
    #[serde(with = "wire::id")]
    pub conflict_id: Uuid,
    /// The strategy that decided.
    pub strategy: Strategy,
    /// Who won.
    pub resolution: Resolution,
}

/// How a stale edit is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// The entry's value.
    ClientWins,
    /// The record's value.
    ServerWins,
    /// The later one.
    MostRecentWins,
    /// The record's escalation, else the later one.
    PreserveEscalation,
    /// The device with the higher priority.
    DevicePriority,
    /// A person decides.
    Manual,
    /// A strategy that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Who won a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// The entry, in all stale fields.
    Client,
    /// The record, in all stale fields.
    Server,
    /// The entry in some of them.
    Merged,
    /// Nobody yet.
    ManualRequired,
    /// A resolution that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Why an entry was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryError {
    /// The code to act on.
    pub code: ErrorCode,
    /// A sentence that says what is wrong and what would be right.
    pub message: String,
    /// The field, where one is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}
