//! Holding back (C9): what a subscription's priority, battery saver or the session's limit delays.
//!
//! Nothing of a change is kept here. Cursors stay before the oldest change that is held back
//! (`Progress::delay`), the session says so once, and a catch-up from there brings all of them, in whatever state they are
//! by then. Replays and snapshots are never held back.

use std::time::Duration;

use synchub_protocol::server::TriggerReason;
use synchub_protocol::{CloseReason, ErrorCode, Priority};
use synchub_rules::filter::is_wanted_at_once;
use synchub_rules::record::{DomainNo, Head, LogRow};
use synchub_rules::route;
use tokio::time::Instant;

use super::connected::{Mode, Session};
use crate::auth::Role;
use crate::observe::{CatchUpCause, HeldBy};

/// The most `catch_up` requests that wait for an answer.
const ASKED_MOST: usize = 16;
/// What the limit is about: a second.
const WINDOW_US: i64 = 1_000_000;

/// What a session knows of what it holds back.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// The `catch_up` requests that the next `caught_up` answers.
    asked: Vec<u64>,
    /// Whether `held_back` was said since the last `caught_up`.
    said: bool,
    /// The domains of changes that were held back, until it is said.
    domains: Vec<DomainNo>,
    rate: Rate,
    /// Whether the limit holds changes back.
    is_over: bool,
    /// When they may go.
    wakes: Option<Instant>,
}

/// The changes that a session was sent in the second that runs.
#[derive(Debug, Default)]
struct Rate {
    began_us: i64,
    sent: usize,
}

impl Rate {
    /// Whether one more may be sent now, as one of `most` a second.
    fn admits(&mut self, most: usize, now_us: i64) -> bool {
        if self.left_us(now_us) == 0 {
            *self = Self { began_us: now_us, sent: 0 };
        }
        let admits = self.sent < most;
        self.sent += usize::from(admits);
        admits
    }

    /// How long the second still lasts, in microseconds. A clock that was put back begins another one.
    fn left_us(&self, now_us: i64) -> u64 {
        let ends_us = self.began_us.saturating_add(WINDOW_US);
        if now_us < self.began_us { 0 } else { u64::try_from(ends_us - now_us).unwrap_or(0) }
    }
}

impl Holding {
    /// What the limit held back comes with the catch-up that begins.
    pub(super) fn end_delay(&mut self) {
        self.is_over = false;
        self.wakes = None;
    }

    /// The session has caught up; gives the requests that `caught_up` answers, or none where nobody asked.
    pub(super) fn caught_up(&mut self) -> Vec<Option<u64>> {
        self.said = false;
        self.domains = Vec::new();
        let asked = std::mem::take(&mut self.asked);
        if asked.is_empty() { vec![None] } else { asked.into_iter().map(Some).collect() }
    }

    /// When the session has to look again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.wakes
    }
}

impl Session {
    /// Sends what is held back, and says when it was (C9).
    pub(super) fn on_catch_up(&mut self, id: u64) -> Result<(), CloseReason> {
        if self.identity.role != Role::Device {
            return self.forbid(Some(id), "only devices ask for what was held back");
        }
        if self.holding.asked.len() >= ASKED_MOST {
            let message = format!("{ASKED_MOST} catch_up wait for their caught_up already; wait for one");
            return self.refuse(Some(id), ErrorCode::TooManyInFlight, message);
        }
        self.holding.asked.push(id);
        match self.mode {
            Mode::Live => self.catch_up(CatchUpCause::Asked),
            // What runs ends with the answer.
            Mode::CatchUp(_) => self.pushes.waiting.send_all(),
        }
        Ok(())
    }

    /// Whether a live change stays behind; `before` is the place before it.
    pub(super) fn holds_back(&mut self, row: &LogRow, before: Head, now_us: i64) -> bool {
        let Some(why) = self.held_by(row, now_us) else { return false };
        self.deps.metrics.changes_held.of(why).inc();
        self.holding.is_over |= why == HeldBy::Limit;
        if !self.holding.said && !self.holding.domains.contains(&row.domain) {
            self.holding.domains.push(row.domain);
        }
        self.progress.delay(before);
        true
    }

    fn held_by(&mut self, row: &LogRow, now_us: i64) -> Option<HeldBy> {
        if self.own_state.saves_battery() && row.priority < Priority::High {
            return Some(HeldBy::BatterySaver);
        }
        if self.subscriptions.delays() && !self.is_wanted_at_once(row) {
            return Some(HeldBy::Priority);
        }
        let most = self.deps.settings.feed.changes_per_sec;
        (!self.holding.rate.admits(most, now_us)).then_some(HeldBy::Limit)
    }

    fn is_wanted_at_once(&self, row: &LogRow) -> bool {
        let Some(filters) = self.audience.domains.get(&row.domain) else { return true };
        is_wanted_at_once(route::asked_priority(row, &self.audience.sight, filters), row.priority)
    }

    /// Says that something is held back, once until the next `caught_up`.
    pub(super) fn tell_held_back(&mut self) {
        let saves = self.own_state.saves_battery() && self.pushes.waiting.saves();
        if self.holding.said || !(saves || self.progress.is_delayed()) {
            return;
        }
        self.holding.said = true;
        let held = std::mem::take(&mut self.holding.domains);
        let names = held.into_iter().filter_map(|no| self.subscriptions.of(no));
        let names = names.map(|subscribed| subscribed.domain.name.to_string()).collect();
        self.tell(TriggerReason::HeldBack, names);
    }

    /// Catches up when the second is over in which too much was to be sent, or looks again then.
    pub(super) fn resume_after_limit(&mut self) {
        if !self.holding.is_over {
            return;
        }
        match self.holding.rate.left_us(self.deps.clock.now_us()) {
            0 => self.catch_up(CatchUpCause::Limit),
            left => self.holding.wakes = Some(Instant::now() + Duration::from_micros(left.max(1000))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c9_so_many_changes_a_second_are_sent_and_a_new_second_begins_with_the_next_one() {
        let mut rate = Rate::default();
        let mut admits = |now_us| rate.admits(2, now_us);
        let start = 5 * WINDOW_US;
        assert_eq!([start, start, start, start + WINDOW_US - 1].map(&mut admits), [true, true, false, false]);
        assert_eq!([start + WINDOW_US, start + WINDOW_US + 9].map(&mut admits), [true, true]);
        assert_eq!([start + WINDOW_US + 10, start].map(&mut admits), [false, true], "the clock was put back");
        assert_eq!((rate.left_us(start + 10), rate.left_us(start + WINDOW_US)), (999_990, 0));
    }
}
