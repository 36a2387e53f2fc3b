//! When a session has to do something by itself: heartbeats, positions, the token's end.

use std::time::Duration;

use synchub_protocol::CloseReason;
use tokio::time::Instant;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// A `position`, if the place moved.
    Position,
    /// A sign of life.
    Heartbeat,
    /// What busier times have left in the buffers can go.
    Rest,
    /// The socket is to be closed.
    Close(CloseReason),
}

/// How long nothing much was sent before buffers are given back: a busy session keeps them, an idle one does not
/// wait for its next heartbeat.
const REST: Duration = Duration::from_secs(2);

/// A session's timers.
#[derive(Debug)]
pub(super) struct Timers {
    heartbeat: Duration,
    idle_position: Duration,
    heard: Instant,
    said: Instant,
    positioned: Instant,
    position_due: Option<Instant>,
    token_ends: Instant,
    leaves: Option<Instant>,
    rests: Option<Instant>,
}

impl Timers {
    pub(super) fn new(
        now: Instant,
        heartbeat: Duration,
        idle_position: Duration,
        token_left: Duration,
    ) -> Self {
        Self {
            heartbeat,
            idle_position,
            heard: now,
            said: now,
            positioned: now,
            position_due: None,
            token_ends: now + token_left,
            leaves: None,
            rests: None,
        }
    }

    /// The peer said something.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Something was said to the peer.
    pub(super) fn said(&mut self, now: Instant) {
        self.said = now;
    }

    /// A position went out.
    pub(super) fn positioned(&mut self, now: Instant) {
        self.positioned = now;
        self.position_due = None;
    }

    /// A position is wanted within `delay`; an earlier wish stays (C2).
    pub(super) fn want_position(&mut self, now: Instant, delay: Duration) {
        self.position_due.get_or_insert(now + delay);
    }

    /// Whether a position that is wanted has waited for half its time.
    pub(super) fn is_half_due(&self, now: Instant, delay: Duration) -> bool {
        self.position_due.is_some_and(|due| now + delay / 2 >= due)
    }

    /// The session's token ends at `at` from now on.
    pub(super) fn renew(&mut self, at: Instant) {
        self.token_ends = at;
    }

    /// The session ends at `at`, whatever is still to be said.
    pub(super) fn leave(&mut self, at: Instant) {
        self.leaves = Some(at);
    }

    /// So much was sent that buffers have grown.
    pub(super) fn strained(&mut self, now: Instant) {
        self.rests = Some(now + REST);
    }

    /// The buffers are given back.
    pub(super) fn rested(&mut self) {
        self.rests = None;
    }

    /// When to look again.
    pub(super) fn next(&self) -> Instant {
        let silence = self.heard + 2 * self.heartbeat;
        let idle = self.positioned + self.idle_position;
        let first = silence.min(self.said + self.heartbeat).min(idle).min(self.token_ends);
        [self.position_due, self.leaves, self.rests].into_iter().flatten().fold(first, Instant::min)
    }

    /// What is due now.
    pub(super) fn due(&self, now: Instant) -> Due {
        if now >= self.token_ends {
            Due::Close(CloseReason::TokenExpired)
        } else if self.leaves.is_some_and(|leaves| now >= leaves) {
            Due::Close(CloseReason::GoingAway)
        } else if now >= self.heard + 2 * self.heartbeat {
            Due::Close(CloseReason::HeartbeatMissed)
        } else if self.position_due.is_some_and(|due| now >= due)
            || now >= self.positioned + self.idle_position
        {
            Due::Position
        } else if now >= self.said + self.heartbeat {
            Due::Heartbeat
        } else if self.rests.is_some_and(|rests| now >= rests) {
            Due::Rest
        } else {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv5_buffers_are_given_back_some_time_after_they_were_needed_last() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let minute = Duration::from_mins(1);
        let mut timers = Timers::new(start, minute, minute, minute);
        timers.strained(at(0));
        timers.strained(at(5));
        assert_eq!((timers.next(), timers.due(at(6)), timers.due(at(7))), (at(7), Due::Nothing, Due::Rest));
        timers.rested();
        assert_eq!((timers.next(), timers.due(at(7))), (at(60), Due::Nothing));
    }

    #[test]
    fn c2_positions_and_heartbeats_come_when_they_are_due() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut timers =
            Timers::new(start, Duration::from_secs(25), Duration::from_mins(1), Duration::from_hours(1));
        assert_eq!((timers.due(at(24)), timers.next()), (Due::Nothing, at(25)));
        timers.want_position(at(3), Duration::from_secs(1));
        timers.want_position(at(3), Duration::from_secs(9));
        let is_half_due = |secs| timers.is_half_due(at(secs), Duration::from_secs(2));
        assert_eq!((is_half_due(2), is_half_due(3)), (false, true));
        assert_eq!((timers.next(), timers.due(at(4))), (at(4), Due::Position));
        timers.positioned(at(4));
        assert!(!timers.is_half_due(at(4), Duration::from_secs(2)), "none is wanted");
        assert_eq!(timers.due(at(25)), Due::Heartbeat);
        timers.said(at(25));
        assert_eq!(
            (timers.due(at(49)), timers.due(at(50))),
            (Due::Nothing, Due::Close(CloseReason::HeartbeatMissed))
        );
        timers.heard(at(49));
        assert_eq!(timers.due(at(64)), Due::Position);
        assert_eq!(timers.due(at(3600)), Due::Close(CloseReason::TokenExpired));
    }
}
