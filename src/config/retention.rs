//! How long the hub keeps what it needs only for a while.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long the hub keeps what it needs only for a while, and how it removes it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// How long log rows, tombstones and the errors of refused numbers are kept, in days (D3, O2). 30: a
    /// device that comes back within a month gets what it missed, a later one a snapshot.
    pub log_days: u64,
    /// How long batches are remembered with their answers, in hours (O1). 24: as long as is promised.
    pub batch_hours: u64,
    /// How long closed reviews are kept, in days from when they were made. 365: the audit of a year.
    /// Open ones stay.
    pub review_days: u64,
    /// The most rows that go in one transaction. 500: a few milliseconds, which is all that a batch may
    /// have to wait.
    pub rows: u32,
    /// How often the hub looks for what is past its time, in seconds. 60: little at a time.
    pub every_secs: u64,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { log_days: 30, batch_hours: 24, review_days: 365, rows: 500, every_secs: 60 }
    }
}

const HOUR_US: u64 = 3_600_000_000;

impl RetentionSettings {
    /// Log rows, tombstones and refused numbers from before this time go; times in microseconds.
    pub fn log_before(&self, now_us: i64) -> i64 {
        before(now_us, self.log_days.saturating_mul(24))
    }

    /// Batches from before this time go.
    pub fn batches_before(&self, now_us: i64) -> i64 {
        before(now_us, self.batch_hours)
    }

    /// Closed reviews from before this time go.
    pub fn reviews_before(&self, now_us: i64) -> i64 {
        before(now_us, self.review_days.saturating_mul(24))
    }

    /// How often the hub looks for what is past its time.
    pub fn every(&self) -> Duration {
        Duration::from_secs(self.every_secs)
    }
}

fn before(now_us: i64, hours: u64) -> i64 {
    now_us.saturating_sub(i64::try_from(hours.saturating_mul(HOUR_US)).unwrap_or(i64::MAX))
}
