//! How pushes that are not changes go out: messages, triggers, alerts (P1–P5).

use serde::{Deserialize, Serialize};

/// The longest time that a push can be kept, in seconds: a hundred years.
pub const MAX_TTL_SECS: u64 = 36_500 * 86_400;

/// How pushes that are not changes go out.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PushSettings {
    /// The most messages, triggers and alerts that a user is sent in a minute; more wait, those that are
    /// critical do not (P3). 10: a person who is told more reads none of it.
    pub per_minute: usize,
    /// How long a push is kept for who is away, in seconds, where its sender does not say (P1). 3600: news
    /// of an hour ago is none.
    pub ttl_secs: u64,
    /// The most pushes that wait for a device; the newest stay (P3). 1000: nobody looks further back.
    pub queue: usize,
}

impl Default for PushSettings {
    fn default() -> Self {
        Self { per_minute: 10, ttl_secs: 3600, queue: 1000 }
    }
}
