//! The requests beside the main job: settings, tokens, queries, conflicts, and what services send.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Data;
use crate::client::SubscriptionPriority;
use crate::entry::{self, RawChange};
use crate::pushes::Push;
use crate::wire;

/// Asks for what was held back, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUp {
    /// The request's id, repeated in `caught_up`.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
}

/// Whether the app is in front of its user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AppState {
    /// It is.
    #[default]
    Foreground,
    /// It is not; works like battery saver.
    Background,
}

/// Says in which state the device is; what is absent stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// Whether only what is urgent is wanted at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery_saver: Option<bool>,
    /// How good the network is, as [`NetworkQuality`] says.
    #[serde(default, deserialize_with = "wire::opt_parsed", skip_serializing_if = "Option::is_none")]
    pub network_quality: Option<NetworkQuality>,
    /// Whether the app is in front of its user.
    #[serde(default, deserialize_with = "wire::opt_word", skip_serializing_if = "Option::is_none")]
    pub app_state: Option<AppState>,
}

/// How good a client believes its network to be: a word of its own choosing, 1 to 32 characters without
/// control characters. `good`, `fair` and `poor` are usual; `unknown` stands for never said.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkQuality(String);

impl NetworkQuality {
    /// The most characters of the word.
    pub const MAX_CHARS: usize = 32;

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for NetworkQuality {
    fn default() -> Self {
        Self("unknown".to_owned())
    }
}

impl std::str::FromStr for NetworkQuality {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::MAX_CHARS).contains(&word.chars().count());
        if !fits || word.chars().any(char::is_control) {
            return Err("a network quality is a word of 1 to 32 characters, such as good, fair, poor");
        }
        Ok(Self(word.to_owned()))
    }
}

/// Asks what the hub holds in the session's view, to compare copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The domains; without it all that are subscribed.
    #[serde(default, deserialize_with = "wire::opt_texts", skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
}

/// A query apart from the session: a page of records or of changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// Where the page before ended; a cursor of `pull_result`.
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The domains; without it all that have a feed.
    #[serde(default, deserialize_with = "wire::opt_texts", skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    /// The most records or changes (1 to 1000).
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The least priority.
    #[serde(default, deserialize_with = "wire::opt_word", skip_serializing_if = "Option::is_none")]
    pub priority: Option<SubscriptionPriority>,
    /// As in a subscription.
    #[serde(default, deserialize_with = "wire::opt_filter", skip_serializing_if = "Option::is_none")]
    pub filter: Option<Data>,
}

/// How a person decides a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// The client's side.
    Client,
    /// The record as it stands.
    Server,
    /// What `data` says.
    Merged,
}

/// Decides an open conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resolve {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The conflict.
    #[serde(with = "wire::id")]
    pub conflict_id: Uuid,
    /// Who wins.
    #[serde(deserialize_with = "wire::word")]
    pub resolution: Choice,
    /// The version of the record that the decision was made on.
    #[serde(deserialize_with = "wire::uint")]
    pub server_version: u64,
    /// The fields; with `merged`.
    #[serde(default, deserialize_with = "wire::opt_record", skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
}

/// Asks for the open conflicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflicts {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// Where the page before ended: `next` of its answer.
    #[serde(default, deserialize_with = "wire::opt_text", skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The most conflicts.
    #[serde(default, deserialize_with = "wire::opt_uint", skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
}

/// Changes and pushes of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Publish {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The publication's own id; the same id and contents again are answered again, not done again.
    #[serde(with = "wire::id")]
    pub request_id: Uuid,
    /// The changes; of more than [`entry::MAX_ENTRIES`] only that many and one more are kept.
    #[serde(default, deserialize_with = "entry::list", skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<RawChange>,
    /// The pushes.
    #[serde(default, deserialize_with = "wire::maps", skip_serializing_if = "Vec::is_empty")]
    pub pushes: Vec<Push>,
}

/// Asks which devices of some users are connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The users.
    #[serde(deserialize_with = "wire::required_texts")]
    pub users: Vec<String>,
}

/// Renews the session's token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The request's id.
    #[serde(deserialize_with = "wire::uint")]
    pub id: u64,
    /// The new token, for the same tenant, user, unit, device and role.
    #[serde(deserialize_with = "wire::text")]
    pub token: String,
}

impl std::fmt::Debug for Token {
    /// Without the token, which opens doors.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}
