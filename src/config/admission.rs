//! From which load on the hub asks for less, and lets nobody more in.

use serde::{Deserialize, Serialize};

/// What the hub does before it gets slow. Its load is the fullest of what waits to be committed (against the
/// most that may wait) and the time of a commit (against `slow_commit_ms`).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionSettings {
    /// From this load on, in percent, answers to batches ask their devices to wait (`backoff_ms`). 50: half a
    /// second of work waits.
    pub busy_percent: u64,
    /// From this load on, in percent, new sessions are turned away (4004). 80: those who are in go on.
    pub full_percent: u64,
    /// A commit that takes so long is a load of 100 percent, in milliseconds. 2000: a disk in trouble. 0: the
    /// time of commits does not count.
    pub slow_commit_ms: u64,
}

impl Default for AdmissionSettings {
    fn default() -> Self {
        Self { busy_percent: 50, full_percent: 80, slow_commit_ms: 2000 }
    }
}
