//! Pushes that are not changes: what a service asks for, and the frames that bring them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::result::{Resolution, Strategy};
use crate::wire;
use crate::{Data, Priority, Timestamp};

/// What a push is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushKind {
    /// A service's own.
    Message,
    /// Asks the app to sync.
    SyncTrigger,
    /// Tells of a conflict.
    ConflictAlert,
}

/// To whom a push goes, as the wire says it.
#[derive(Serialize, Deserialize)]
struct WireTarget {
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<bool>,
}

/// To whom a push goes: `{user, device?}` or `{tenant: true}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "WireTarget", into = "WireTarget")]
pub enum Target {
    /// All devices of a user, or one.
    User {
        /// The user.
        user: String,
        /// The one device.
        device: Option<String>,
    },
    /// Everybody of the tenant.
    Tenant,
}

impl TryFrom<WireTarget> for Target {
    type Error = &'static str;

    fn try_from(target: WireTarget) -> Result<Self, Self::Error> {
        match target {
            WireTarget { user: Some(user), device, tenant: None | Some(false) } => {
                Ok(Self::User { user, device })
            }
            WireTarget { user: None, device: None, tenant: Some(true) } => Ok(Self::Tenant),
            _ => Err("a push goes to {user, device?} or to {tenant: true}"),
        }
    }
}

impl From<Target> for WireTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::User { user, device } => Self { user: Some(user), device, tenant: None },
            Target::Tenant => Self { user: None, device: None, tenant: Some(true) },
        }
    }
}

/// A push that a service asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Push {
    /// What it is.
    #[serde(deserialize_with = "wire::word")]
    pub kind: PushKind,
    /// To whom it goes.
    #[serde(deserialize_with = "wire::map")]
    pub to: Target,
    /// How urgent it is.
    #[serde(default, deserialize_with = "wire::opt_word", skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// What it is about; of a message.
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What it says; of a message.
    #[serde(default, deserialize_with = "wire::opt_filter", skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// The domains to sync; of a trigger.
    #[serde(default, deserialize_with = "wire::opt_texts", skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    /// The conflict; of an alert.
    #[serde(default, with = "wire::opt_id", skip_serializing_if = "Option::is_none")]
    pub conflict_id: Option<Uuid>,
    /// How long it is kept for who is away, in seconds.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub ttl_secs: Option<u64>,
}

/// Why an app is asked to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerReason {
    /// Something waits; `catch_up` brings it.
    HeldBack,
    /// A service asks.
    ServerUpdate,
    /// A person asks.
    Operator,
    /// Pushes expired unseen.
    QueueExpired,
    /// Pushes were dropped, there were too many.
    QueueOverflow,
    /// A reason that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Asks the app to sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncTrigger {
    /// The push's name; the same one may come again.
    pub push_id: String,
    /// The domains that it is about.
    pub domains: Vec<String>,
    /// Why.
    pub reason: TriggerReason,
    /// When it was raised.
    pub server_timestamp: Timestamp,
}

/// A service's own push.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The push's name; the same one may come again.
    pub push_id: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// What it says.
    #[serde(deserialize_with = "wire::shared_fields")]
    pub data: Arc<Data>,
    /// When it was published.
    pub server_timestamp: Timestamp,
}

/// A conflict, to show and perhaps to decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConflictAlert {
    /// The push's name; the same one may come again. A conflict that was listed has none if it was
    /// never pushed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_id: Option<String>,
    /// The conflict's id in the audit log.
    #[serde(with = "wire::id")]
    pub conflict_id: Uuid,
    /// The domain's name.
    pub domain: String,
    /// The record.
    #[serde(with = "wire::id")]
    pub mobile_id: Uuid,
    /// Whether somebody has to decide.
    pub action_required: bool,
    /// The strategy of the domain.
    pub strategy: Strategy,
    /// Who won.
    pub resolution: Resolution,
    /// A sentence for people.
    pub reason: String,
    /// The record's version.
    #[serde(deserialize_with = "wire::uint")]
    pub server_version: u64,
    /// The record, for who may see it.
    #[serde(default, deserialize_with = "wire::opt_shared_fields", skip_serializing_if = "Option::is_none")]
    pub server_data: Option<Arc<Data>>,
    /// What the client sent, for who may see the record.
    #[serde(default, deserialize_with = "wire::opt_shared_fields", skip_serializing_if = "Option::is_none")]
    pub client_data: Option<Arc<Data>>,
    /// When it arose.
    pub server_timestamp: Timestamp,
}

/// How a refused entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A person applied it.
    Applied,
    /// A person threw it away.
    Discarded,
    /// An outcome that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How a refused entry ended in the review inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntrySettled {
    /// The push's name; the same one may come again.
    pub push_id: String,
    /// The entry's number, where it had one.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub client_seq: Option<u64>,
    /// The entry's record.
    #[serde(with = "wire::id")]
    pub mobile_id: Uuid,
    /// How it ended.
    pub outcome: Outcome,
    /// The record's version, where it was applied.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub server_version: Option<u64>,
}
