//! The frames that a client sends.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::entry::{self, RawEntry};
pub use crate::pushes::{Push, PushKind, Target};
pub use crate::requests::{
    AppState, CatchUp, Choice, Conflicts, Digest, NetworkQuality, Presence, Publish, Pull, Resolve, Settings,
    Token,
};
use crate::wire;
use crate::{Data, DeviceKind, Timestamp};

/// A frame from a client.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "a frame lives only while it is handled")]
pub enum ClientFrame {
    /// Opens the session.
    Hello(Hello),
    /// Adds or replaces subscriptions.
    Subscribe(Subscribe),
    /// Ends subscriptions.
    Unsubscribe(Unsubscribe),
    /// Sends a batch of entries.
    Sync(Sync),
    /// Says how far the client has stored.
    Ack(Ack),
    /// Asks for what was held back.
    CatchUp(CatchUp),
    /// Says in which state the device is.
    Settings(Settings),
    /// Asks what the hub holds, to compare copies.
    Digest(Digest),
    /// A query apart from the session.
    Pull(Pull),
    /// Decides a conflict.
    Resolve(Resolve),
    /// Asks for the open conflicts.
    Conflicts(Conflicts),
    /// Changes and pushes of a service.
    Publish(Publish),
    /// Asks which devices are connected.
    Presence(Presence),
    /// Renews the session's token.
    Token(Token),
    /// Asks for a sign of life.
    Ping(Ping),
}

/// Opens the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The request's id, repeated in `welcome`.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The token, where it did not come in the upgrade's `Authorization` header.
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The device; publishers and operators have none.
    #[serde(default, deserialize_with = "wire::opt_map", skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// Rises with each connection that this install opens.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u64>,
    /// The last cursor that was stored with the copy.
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// What the client wants to be sent.
    #[serde(default, deserialize_with = "wire::maps", skip_serializing_if = "Vec::is_empty")]
    pub subscriptions: Vec<Subscription>,
    /// Encodings that the hub may compress with.
    #[serde(default, deserialize_with = "wire::texts", skip_serializing_if = "Vec::is_empty")]
    pub compression: Vec<String>,
    /// Optional parts of the protocol that the client knows.
    #[serde(default, deserialize_with = "wire::texts", skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// How good the client believes its network to be.
    #[serde(default, deserialize_with = "wire::opt_parsed", skip_serializing_if = "Option::is_none")]
    pub network_quality: Option<NetworkQuality>,
    /// The heartbeat that the client asks for, in seconds (10 to 300).
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub heartbeat_secs: Option<u64>,
    /// The largest frame that the client takes, in bytes.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub max_frame_bytes: Option<u64>,
    /// The client's clock, to measure its offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_time: Option<Timestamp>,
}

/// The device that says hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The device's id, unique for its user.
    #[serde(deserialize_with = "wire::text")]
    pub id: String,
    /// What kind of device it is.
    #[serde(deserialize_with = "wire::word")]
    pub kind: DeviceKind,
    /// The installation of the app, without which entries have no numbers. What came as another text is
    /// the UUID that stands for it.
    #[serde(
        default,
        serialize_with = "wire::opt_id::serialize",
        deserialize_with = "wire::opt_install",
        skip_serializing_if = "Option::is_none"
    )]
    pub install_id: Option<Uuid>,
    /// A name for people.
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The operating system.
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// The app's version.
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    pub app_version: Option<String>,
}

/// One domain that a client wants to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscription {
    /// The domain's name.
    #[serde(deserialize_with = "wire::text")]
    pub domain: String,
    /// Fields of `data` and what they must be: a value, a list of values, or `{gte?, lt?}`.
    #[serde(default, deserialize_with = "wire::opt_filter", skip_serializing_if = "Option::is_none")]
    pub filter: Option<Data>,
    /// The least priority that is sent at once.
    #[serde(default, deserialize_with = "wire::opt_word", skip_serializing_if = "Option::is_none")]
    pub priority: Option<SubscriptionPriority>,
}

/// The least priority that a subscription wants at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubscriptionPriority {
    /// Everything.
    #[default]
    All,
    /// High and critical.
    High,
    /// Only critical.
    Critical,
}

/// Adds subscriptions; those of the domains named are replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subscribe {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The new subscriptions; two for one domain are a union.
    #[serde(deserialize_with = "wire::required_maps")]
    pub subscriptions: Vec<Subscription>,
}

/// Ends the subscriptions of some domains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The domains' names.
    #[serde(deserialize_with = "wire::required_texts")]
    pub domains: Vec<String>,
}

/// A batch of entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sync {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The batch's own id; the same id and contents again are answered again, not applied again.
    #[serde(with = "wire::id")]
    pub batch_id: Uuid,
    /// The entries, in the order in which they were made; of more than [`entry::MAX_ENTRIES`] only
    /// that many and one more are kept.
    #[serde(deserialize_with = "entry::list")]
    pub entries: Vec<RawEntry>,
    /// The number of the first entry, counted by the install.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub first_client_seq: Option<u64>,
    /// Whether one bad entry sinks the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atomic: Option<bool>,
    /// Whether device priorities decide between devices of one user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_device: Option<bool>,
    /// Whether a risky batch is to be held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predict: Option<bool>,
    /// The client's clock, to measure its offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_time: Option<Timestamp>,
}

/// Says that everything up to a cursor is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The stored cursor.
    #[serde(deserialize_with = "wire::text")]
    pub cursor: String,
}

/// Asks for a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The client's clock, to measure its offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_time: Option<Timestamp>,
}

impl ClientFrame {
    /// The request's id; an ack has none.
    pub fn id(&self) -> Option<u64> {
        match self {
            Self::Hello(hello) => Some(hello.id),
            Self::Subscribe(subscribe) => Some(subscribe.id),
            Self::Unsubscribe(unsubscribe) => Some(unsubscribe.id),
            Self::Sync(sync) => Some(sync.id),
            Self::Ack(_) => None,
            Self::CatchUp(catch_up) => Some(catch_up.id),
            Self::Settings(settings) => Some(settings.id),
            Self::Digest(digest) => Some(digest.id),
            Self::Pull(pull) => Some(pull.id),
            Self::Resolve(resolve) => Some(resolve.id),
            Self::Conflicts(conflicts) => Some(conflicts.id),
            Self::Publish(publish) => Some(publish.id),
            Self::Presence(presence) => Some(presence.id),
            Self::Token(token) => Some(token.id),
            Self::Ping(ping) => Some(ping.id),
        }
    }
}
