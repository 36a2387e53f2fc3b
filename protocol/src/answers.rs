//! The answers to the requests of [`crate::requests`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::pushes::ConflictAlert;
use crate::requests::{AppState, NetworkQuality};
use crate::result::EntryResult;
use crate::server::{Change, SnapshotRecord};
use crate::wire;
use crate::{Data, DeviceKind, Timestamp};

/// What holds now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsApplied {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// Whether only what is urgent comes at once.
    pub battery_saver: bool,
    /// The network; `unknown` if it was never said.
    pub network_quality: NetworkQuality,
    /// Whether the app is in front of its user.
    #[serde(deserialize_with = "wire::word")]
    pub app_state: AppState,
}

/// The new token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenAccepted {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The sum, modulo 2^64, of the first 8 bytes (big-endian) of SHA-256 over `mobile_id ":" version`;
/// 16 hex digits on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DigestSum(pub u64);

impl fmt::Display for DigestSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for DigestSum {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DigestSum {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = wire::text(deserializer)?;
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let sum = u64::from_str_radix(&text, 16).ok().filter(|_| digits);
        sum.map(Self).ok_or_else(|| D::Error::custom("a digest has 16 hex digits"))
    }
}

/// What the hub holds of a domain in the session's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainDigest {
    /// How many records.
    #[serde(deserialize_with = "wire::uint")]
    pub count: u64,
    /// Their digest.
    pub digest: DigestSum,
}

/// Answers `digest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestResult {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The place in the log that it was taken at.
    #[serde(deserialize_with = "wire::uint")]
    pub seq: u64,
    /// The domains by name.
    pub domains: BTreeMap<String, DomainDigest>,
}

/// A page of a domain's records, of a query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PulledSnapshot {
    /// The domain's name.
    pub domain: String,
    /// Whether the domain begins here.
    pub first: bool,
    /// Whether it ends here.
    pub last: bool,
    /// The records of this page.
    pub records: Vec<SnapshotRecord>,
}

/// Answers `pull`: a page of records or of changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PullResult {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// A page of records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<PulledSnapshot>,
    /// A page of changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<Change>>,
    /// For the next `pull`, and nothing else.
    pub cursor: String,
    /// Whether there is more now.
    pub has_more: bool,
}

/// The conflict is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolved {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The conflict.
    #[serde(with = "wire::id")]
    pub conflict_id: Uuid,
    /// The record's version now.
    #[serde(deserialize_with = "wire::uint")]
    pub server_version: u64,
    /// The record now; absent if it is deleted.
    #[serde(default, deserialize_with = "wire::opt_shared_fields", skip_serializing_if = "Option::is_none")]
    pub server_data: Option<Arc<Data>>,
}

/// A page of open conflicts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictsResult {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The conflicts.
    pub conflicts: Vec<ConflictAlert>,
    /// Where the next page begins; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushReceipt {
    /// The push's name.
    pub push_id: String,
    /// To how many devices it goes that are online now.
    #[serde(deserialize_with = "wire::uint")]
    pub delivered: u64,
    /// For how many others it waits.
    #[serde(deserialize_with = "wire::uint")]
    pub queued: u64,
    /// For how many it is held back by a limit or by battery saver.
    #[serde(deserialize_with = "wire::uint")]
    pub held: u64,
}

/// Answers `publish`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// One result for each change, in order.
    pub results: Vec<EntryResult>,
    /// One receipt for each push, in order.
    pub pushes: Vec<PushReceipt>,
}

/// A device that is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentDevice {
    /// The device's id.
    pub device: String,
    /// What kind of device it is.
    #[serde(deserialize_with = "wire::word")]
    pub kind: DeviceKind,
    /// Since when.
    pub since: Timestamp,
}

/// Answers `presence`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceResult {
    /// The id of the request.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The connected devices of each user that was asked for.
    pub users: BTreeMap<String, Vec<PresentDevice>>,
}
