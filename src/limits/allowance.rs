//! What one session may send: it is held to its device's, its user's and its tenant's rates at once.

use std::sync::Arc;
use std::time::Duration;

use super::meter::{Amount, Meter};
use super::{Held, Limited, Limits, Replays};

/// How many requests may come after a refusal was told: they were under way.
const UNDER_WAY: u64 = 16;

/// A session's part in the limits.
#[derive(Debug)]
pub struct Allowance {
    limits: Arc<Limits>,
    meters: Vec<Arc<Meter>>,
    refused: Refused,
    /// What all sessions of its tenant are sent again.
    replays: Arc<Replays>,
    /// Its place among the sessions of its tenant.
    _place: Option<Held>,
}

/// Refusals that came although the session was told to wait, since a window began.
#[derive(Debug, Default)]
struct Refused {
    since: i64,
    count: u64,
    /// Until when the session was told to wait.
    wait_until: i64,
    /// How many came since it was told.
    under_way: u64,
}

impl Allowance {
    pub(super) fn new(
        limits: Arc<Limits>,
        meters: Vec<Arc<Meter>>,
        (replays, place): (Arc<Replays>, Option<Held>),
    ) -> Self {
        Self { limits, meters, refused: Refused::default(), replays, _place: place }
    }

    /// What the session is sent again counts here.
    pub fn replays(&self) -> &Arc<Replays> {
        &self.replays
    }

    /// Takes so many frames of so many bytes in all. What is refused costs nothing.
    pub fn frames(&self, frames: u64, bytes: usize) -> Result<(), Limited> {
        self.take(Amount { frames, entries: 0, bytes: bytes as u64 })
    }

    /// Takes entries. What is refused costs nothing.
    pub fn entries(&self, entries: usize) -> Result<(), Limited> {
        self.take(Amount { frames: 0, entries: entries as u64, bytes: 0 })
    }

    /// Gives back the entries of a batch that could not be decided: it will come again.
    pub fn give_back(&self, entries: usize) {
        let amount = Amount { frames: 0, entries: entries as u64, bytes: 0 };
        self.meters.iter().for_each(|meter| meter.give_back(amount));
    }

    /// Notes that something was refused; false when that was once too often. Only what comes before the time that
    /// an earlier refusal named counts, but for what was under way then: who waits as told may find that others
    /// of its user or tenant were faster.
    pub fn may_go_on(&mut self, limited: Limited) -> bool {
        let now = self.limits.now();
        let refused = &mut self.refused;
        let was_told = now < refused.wait_until;
        refused.wait_until = refused.wait_until.max(now.saturating_add(nanoseconds(limited.0)));
        refused.under_way = if was_told { refused.under_way + 1 } else { 0 };
        if refused.under_way <= UNDER_WAY {
            return true;
        }
        let window = Duration::from_secs(self.limits.settings.refusal_secs);
        if refused.count == 0 || now - refused.since >= nanoseconds(window) {
            (refused.since, refused.count) = (now, 0);
        }
        refused.count += 1;
        refused.count <= self.limits.settings.refusals
    }

    /// All levels or none. Two sessions that share one may both find room for the last; that is no more than
    /// one frame each.
    fn take(&self, amount: Amount) -> Result<(), Limited> {
        if self.meters.is_empty() {
            return Ok(());
        }
        let now = self.limits.now();
        let waits = self.meters.iter().filter_map(|meter| meter.wait(amount, now));
        if let Some(wait) = waits.max() {
            return Err(Limited::after(wait));
        }
        self.meters.iter().for_each(|meter| meter.take(amount, now));
        Ok(())
    }
}

fn nanoseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
