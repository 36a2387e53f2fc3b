//! The data lane of a session that is live: rows from the feed, until some were forgotten.

use std::collections::VecDeque;

use synchub_protocol::Priority;
use synchub_rules::route::Delivery;
use tokio::time::Instant;

use super::catch_up::CatchUp;
use super::connected::{Mode, Session};
use crate::observe::CatchUpCause;
use crate::registry::{Form, Lost, Outgoing, Post};

/// How many frames are queued before the socket is given its turn.
const ROWS_AT_ONCE: usize = 64;
/// How many changes wait on a poor link, so that urgent ones can overtake them.
const OVERTAKEN_MOST: usize = 1024;

/// Whether a change goes first on a poor link.
pub(super) fn is_urgent(priority: Priority) -> bool {
    priority >= Priority::High
}

impl Session {
    /// Fills the data lane when it is empty: from the feed, or with the next page.
    pub(super) fn fill(&mut self) {
        if self.outbox.has_data() {
            if self.own_state.is_on_poor_link() && matches!(self.mode, Mode::Live) {
                self.drain(OVERTAKEN_MOST);
            }
            return;
        }
        self.read_pushes();
        if matches!(self.mode, Mode::Live) {
            self.drain(ROWS_AT_ONCE);
            self.resume_after_limit();
        }
        // A session that has just found rows forgotten reads at once: nothing else may ever wake it.
        if let Mode::CatchUp(catch_up) = &self.mode
            && !catch_up.is_reading()
            && !self.pushes.goes_first()
            && !self.outbox.has_data()
        {
            self.read_page();
        }
    }

    fn drain(&mut self, most: usize) {
        let mut is_empty = false;
        while !is_empty && self.outbox.data_frames() < most {
            match self.mailbox.take(most - self.outbox.data_frames()) {
                Ok(posts) => {
                    is_empty = posts.is_empty();
                    self.take_posts(posts);
                }
                Err(Lost::Full) => return self.catch_up(CatchUpCause::SlowReader),
                Err(Lost::Gap) => return self.catch_up(CatchUpCause::Gap),
            }
        }
        self.tell_held_back();
        if self.outbox.has_data() || self.progress.is_held() {
            let (now, delay) = (Instant::now(), self.deps.settings.feed.position_delay());
            // One that goes with the changes costs no write of its own.
            if is_empty && self.timers.is_half_due(now, delay) && !self.own_state.is_on_poor_link() {
                self.timers.positioned(now);
                self.name_place();
            } else {
                self.timers.want_position(now, delay);
            }
        }
    }

    /// Queues a live change. It comes as a delta where the record as it was before has been sent and nothing can
    /// come in between: nothing of it is held back or waits to be overtaken.
    fn push_change(&mut self, outgoing: &Outgoing, delivery: Delivery) {
        let row = &outgoing.row;
        let is_in_order = !self.progress.is_delayed() && !self.outbox.has_later();
        let delta = self.takes_deltas && is_in_order && self.audience.saw_before(row);
        let frame = outgoing.frame(delivery, Form { delta, ..self.form() });
        if !self.own_state.is_on_poor_link() {
            self.outbox.push_data(frame);
        } else if is_urgent(row.priority) {
            self.outbox.push_urgent(frame);
        } else {
            self.outbox.push_later(frame);
        }
    }

    /// How changes go to this session, whole.
    pub(super) fn form(&self) -> Form {
        Form { encoding: self.socket.encoding(), compressed: self.socket.compresses(), delta: false }
    }

    /// Queues the rows that are for the device; those that it has been sent already are passed over.
    fn take_posts(&mut self, posts: VecDeque<Post>) {
        let (mut now_us, mut newest_us) = (None, None);
        for post in posts {
            let (before, place) = (self.progress.at(), post.place());
            // The feed was joined before the last page was read: some rows came with that page.
            if place.seq <= before.seq {
                continue;
            }
            self.progress.advance(place);
            match post {
                Post::Push(outgoing) => self.take_push(&outgoing, before),
                Post::Change(outgoing, _) if self.subscriptions.of(outgoing.row.domain).is_none() => {}
                Post::Change(outgoing, delivery) => {
                    let now_us = *now_us.get_or_insert_with(|| self.deps.clock.now_us());
                    newest_us = Some(outgoing.row.time_us);
                    if !self.holds_back(&outgoing.row, before, now_us) {
                        self.push_change(&outgoing, delivery);
                        if let Some(trail) = &outgoing.trail {
                            self.note_delivery(trail);
                        }
                    }
                }
            }
        }
        // Once, however many rows there were.
        if let (Some(now_us), Some(newest_us)) = (now_us, newest_us) {
            self.deps.metrics.feed_lag_seconds.observe(now_us - newest_us);
        }
    }

    /// Moves the place to the feed's head when everything up to it has been taken.
    pub(super) fn reach_head(&mut self) {
        // The head is read first: a row at or below it was offered before.
        let head = self.feed.head();
        if self.mailbox.is_drained() {
            self.progress.advance(head);
        }
    }

    /// Goes back to snapshots and the log, from the place that a cursor would name now: what was held back
    /// comes too, whatever its priority (C9).
    pub(super) fn catch_up(&mut self, cause: CatchUpCause) {
        self.deps.metrics.catch_ups.of(cause).inc();
        self.progress.go_back();
        self.holding.end_delay();
        if matches!(cause, CatchUpCause::Asked | CatchUpCause::Settings) {
            self.pushes.waiting.send_all();
        }
        self.mode = Mode::CatchUp(CatchUp::default());
    }
}
