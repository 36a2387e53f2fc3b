//! What a session does when one of its timers is due: a `position`, a sign of life, rest, or the end.

use synchub_protocol::server::Position;
use synchub_protocol::{CloseReason, ServerFrame};
use tokio::time::Instant;

use super::connected::{Mode, Session};
use super::timers::Due;

impl Session {
    pub(super) fn on_timer(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        match self.timers.due(now) {
            Due::Close(reason) => Err(reason),
            Due::Position => {
                self.timers.positioned(now);
                self.position();
                Ok(())
            }
            Due::Heartbeat => {
                self.timers.said(now);
                if self.outbox.is_empty() && self.socket.is_flushed() {
                    self.probe.sent(self.deps.reading.moment());
                    return self.socket.ping();
                }
                Ok(())
            }
            Due::Rest => {
                self.timers.rested();
                self.socket.rest();
                self.outbox.rest();
                Ok(())
            }
            Due::Nothing => Ok(()),
        }
    }

    /// Queues a `position` if the place moved since the last cursor; asks again while an answer is owed.
    fn position(&mut self) {
        if matches!(self.mode, Mode::CatchUp(_)) || self.outbox.has_data() {
            return self.timers.want_position(Instant::now(), self.deps.settings.feed.position_delay());
        }
        self.name_place();
    }

    /// Queues a `position` behind what is queued, if the place moved.
    pub(super) fn name_place(&mut self) {
        self.reach_head();
        let seq = self.progress.place().seq;
        if self.named != Some(seq) {
            let cursor = self.seal();
            self.push(&ServerFrame::Position(Position { cursor, seq }));
        }
        self.want_owed_position(seq);
    }

    /// While an answer is owed a place (C7), a position is wanted; what waits brings one when it goes.
    pub(super) fn want_owed_position(&mut self, seq: u64) {
        if seq < self.owed && !self.progress.is_held() {
            self.timers.want_position(Instant::now(), self.deps.settings.feed.position_delay());
        }
    }
}
