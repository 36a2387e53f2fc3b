//! What a client may ask for once it has said hello.

use std::sync::Arc;
use std::time::Duration;

use synchub_protocol::client::{Ack, Subscribe, Sync, Unsubscribe};
use synchub_protocol::codec::decode_client;
use synchub_protocol::server::{ErrorFrame, Pong, Subscribed};
use synchub_protocol::{ClientFrame, CloseReason, DecodeError, ErrorCode, ServerFrame, Timestamp};
use tokio::time::Instant;

use super::connected::{Mode, Session};
use super::cursor::Cursor;
use super::handshake::rights;
use super::in_flight::InFlight;
use super::subscriptions::{SubscriptionError, Subscriptions};
use crate::auth::Role;
use crate::observe::CatchUpCause;
use crate::store::Witness;
use crate::sync::validate;

/// Requests of the protocol that this hub does not offer: to a client as unknown as any other word.
const NOT_OFFERED: [&str; 4] = ["pull", "resolve", "conflicts", "presence"];
/// How many forbidden requests in [`FORBIDDEN_WINDOW`] close the socket.
const FORBIDDEN_MOST: usize = 10;
/// The window of [`FORBIDDEN_MOST`].
const FORBIDDEN_WINDOW: Duration = Duration::from_mins(1);
/// How many measurements of the device's clock count: the smallest has the least delay in it.
const CLOCK_SAMPLES: usize = 8;

impl Session {
    /// Answers one frame of the client, which took `took_ms` milliseconds to come in.
    pub(super) fn on_frame(&mut self, frame: &[u8], took_ms: u64) -> Result<(), CloseReason> {
        self.deps.metrics.frames_received.inc();
        self.deps.metrics.received_bytes.inc_by(frame.len() as u64);
        let read = (self.deps.traces.now_us(), frame.len());
        match decode_client(self.socket.encoding(), frame) {
            Ok(ClientFrame::Hello(_)) => Err(CloseReason::Misbehaved),
            Ok(ClientFrame::Subscribe(subscribe)) => self.on_subscribe(subscribe),
            Ok(ClientFrame::Unsubscribe(unsubscribe)) => self.on_unsubscribe(&unsubscribe),
            Ok(ClientFrame::Sync(sync)) => self.on_sync(sync, read, took_ms),
            Ok(ClientFrame::Ack(ack)) => self.on_ack(&ack),
            Ok(ClientFrame::Settings(settings)) => self.on_settings(&settings),
            Ok(ClientFrame::Token(token)) => self.on_token(token),
            Ok(ClientFrame::Digest(digest)) => self.on_digest(digest),
            Ok(ClientFrame::CatchUp(catch_up)) => self.on_catch_up(catch_up.id),
            Ok(ClientFrame::Pull(pull)) => self.refuse_type(Some(pull.id), "pull"),
            Ok(ClientFrame::Resolve(resolve)) => self.refuse_type(Some(resolve.id), "resolve"),
            Ok(ClientFrame::Conflicts(conflicts)) => self.refuse_type(Some(conflicts.id), "conflicts"),
            Ok(ClientFrame::Publish(publish)) => self.on_publish(publish),
            Ok(ClientFrame::Presence(presence)) => self.refuse_type(Some(presence.id), "presence"),
            Ok(ClientFrame::Ping(ping)) => {
                let now_us = self.deps.clock.now_us();
                self.sample_clock(ping.client_time, now_us);
                self.say(&ServerFrame::Pong(Pong { id: ping.id, server_time: Timestamp(now_us) }))
            }
            // What the decoder says of it may quote it.
            Err(DecodeError::Undecodable(_)) => {
                self.log().in_scope(|| tracing::debug!(bytes = frame.len(), "closing: not a frame"));
                Err(CloseReason::Undecodable)
            }
            Err(DecodeError::UnknownType { id, kind }) => self.refuse_type(id, &kind),
            Err(DecodeError::BadRequest { kind, id, .. }) if NOT_OFFERED.contains(&kind.as_str()) => {
                self.refuse_type(id, &kind)
            }
            // It was to be a batch: its answer waits for those of the batches before it.
            Err(DecodeError::BadRequest { kind, id: Some(id), message }) if kind == "sync" => {
                self.refuse_batch(id, ErrorCode::BadRequest, message)
            }
            Err(DecodeError::BadRequest { id, message, .. }) => {
                self.refuse(id, ErrorCode::BadRequest, message)
            }
        }
    }

    /// Refuses a request that this hub does not offer, whatever its fields say.
    fn refuse_type(&mut self, id: Option<u64>, kind: &str) -> Result<(), CloseReason> {
        self.refuse(id, ErrorCode::UnknownType, format!("this hub knows no `{kind}`"))
    }

    /// `read`: when the frame was read, if that is to be known, and its size.
    fn on_sync(&mut self, sync: Sync, read: (Option<i64>, usize), took_ms: u64) -> Result<(), CloseReason> {
        let (id, batch_id, entries) = (sync.id, sync.batch_id, sync.entries.len());
        if self.identity.role != Role::Device {
            return self.forbid(Some(id), "only devices send batches");
        }
        self.batch_size.came(entries, took_ms, self.deps.settings.limits.recommended_batch);
        let most = self.deps.settings.limits.max_in_flight;
        if self.answers.batches() >= most {
            let message = format!("{most} batches wait for an answer already; wait for one");
            return self.refuse_batch(id, ErrorCode::TooManyInFlight, message);
        }
        // A session that has not been told yet of a new epoch decides nothing in it (R1).
        if self.leaving || self.deps.store.epoch() != self.epoch {
            let message =
                "the hub is closing this session; send the batch again when you are back".to_owned();
            return self.refuse_batch(id, ErrorCode::Unavailable, message);
        }
        if let Some(error) = self.takes_entries(id, entries)? {
            return self.refuse_batch_with(error);
        }
        let now_us = self.deps.clock.now_us();
        self.sample_clock(sync.client_time, now_us);
        let trace = self.trace_batch(&sync, read);
        let context = (self.identity.tenant.as_str(), &self.deps.catalog, &self.deps.settings.limits);
        match validate::batch(sync, self.author.clone(), self.has_install, context, now_us) {
            Ok(submission) => {
                let answer = self.deps.engine.submit_traced(self.tenant, submission, trace.as_deref());
                self.answers.push(InFlight { id, batch_id, entries, received_us: now_us, trace, answer });
                Ok(())
            }
            Err(error) => {
                self.log_refused(batch_id, error.code().as_str());
                self.refuse_batch(id, error.code(), error.to_string())
            }
        }
    }

    /// Answers a batch that is refused whole, when those before it have been answered.
    fn refuse_batch(&mut self, id: u64, code: ErrorCode, message: String) -> Result<(), CloseReason> {
        self.refuse_batch_with(ErrorFrame::new(Some(id), code, message))
    }

    /// The same with an error that says more.
    pub(super) fn refuse_batch_with(&mut self, error: ErrorFrame) -> Result<(), CloseReason> {
        if self.answers.is_empty() {
            return self.say(&ServerFrame::Error(error));
        }
        self.answers.refuse(error)
    }

    fn on_subscribe(&mut self, subscribe: Subscribe) -> Result<(), CloseReason> {
        let rights = rights(&self.deps, &self.identity);
        match self.subscriptions.with(subscribe.subscriptions, &self.reach, &rights) {
            Ok(subscriptions) => self.resubscribe(subscribe.id, subscriptions),
            Err(error) => self.refuse_subscription(subscribe.id, &error),
        }
    }

    fn on_unsubscribe(&mut self, unsubscribe: &Unsubscribe) -> Result<(), CloseReason> {
        let unknown = unsubscribe.domains.iter().find(|name| {
            let domain = self.deps.catalog.lookup(&self.identity.tenant, name);
            domain.is_none_or(|domain| !domain.definition.feed())
        });
        if let Some(name) = unknown {
            return self.refuse_subscription(unsubscribe.id, &SubscriptionError::UnknownDomain(name.clone()));
        }
        self.resubscribe(unsubscribe.id, self.subscriptions.without(&unsubscribe.domains))
    }

    fn refuse_subscription(&mut self, id: u64, error: &SubscriptionError) -> Result<(), CloseReason> {
        self.refuse(Some(id), error.code(), error.to_string())
    }

    /// Takes the new set; `subscribed` goes in the data lane and a position follows (C3).
    fn resubscribe(&mut self, id: u64, subscriptions: Subscriptions) -> Result<(), CloseReason> {
        if matches!(self.mode, Mode::Live) {
            // What is live goes on from the head, however long nothing was for the device.
            self.reach_head();
        }
        // What is held back may be wanted at once under the new set.
        let resumes = self.progress.is_delayed() && self.subscriptions.sent() != subscriptions.sent();
        self.subscriptions = subscriptions;
        self.update_feed();
        let fresh = self.progress.subscribe(&self.subscriptions);
        let catches_up = resumes || !fresh.is_empty() || matches!(self.mode, Mode::CatchUp(_));
        let subscribed = Subscribed { id, subscriptions: self.subscriptions.sent(), fresh };
        let encoded = self.encode(&ServerFrame::Subscribed(subscribed));
        self.outbox.push_subscribed(encoded)?;
        self.named = None;
        if catches_up {
            self.catch_up(CatchUpCause::Subscribe);
        } else {
            self.timers.want_position(Instant::now(), Duration::ZERO);
        }
        Ok(())
    }

    /// Moves the device's acknowledged place; what is not the hub's own or ahead of what was sent is
    /// ignored (C10).
    fn on_ack(&mut self, ack: &Ack) -> Result<(), CloseReason> {
        if self.identity.role != Role::Device {
            return self.forbid(None, "only devices acknowledge");
        }
        let Some(cursor) = self.deps.cursors.open(&self.identity.tenant, &ack.cursor) else { return Ok(()) };
        let own = cursor.tenant == self.tenant && cursor.epoch == self.epoch;
        if own && cursor.seq <= self.sent {
            self.deps.acks.note(self.author.device, cursor.seq);
        }
        if cursor.tenant == self.tenant && self.is_doubtful(&cursor) {
            self.examine(cursor.witness());
        }
        Ok(())
    }

    /// Whether a cursor names what this session does not know of: only then is the store asked (R1).
    fn is_doubtful(&self, cursor: &Cursor) -> bool {
        let (named, reached) = (cursor.place(), self.progress.place());
        let other_row = named.seq == reached.seq && named.time_us != reached.time_us;
        cursor.epoch > self.epoch
            || (cursor.epoch == self.epoch && (named.seq > self.feed.head().seq || other_row))
    }

    /// Holds a cursor against the log beside the session, which is told like all others if the epoch rises.
    fn examine(&self, witness: Witness) {
        let (deps, log) = (Arc::clone(&self.deps), self.log());
        self.deps.tasks.spawn(async move {
            if let Err(error) = deps.store.examine(witness).await {
                let _in = log.enter();
                tracing::warn!(%error, "a cursor could not be held against the log; its device shows it again");
            }
        });
    }

    /// Refuses what the role may not do; the tenth time in a minute closes the socket.
    pub(super) fn forbid(&mut self, id: Option<u64>, message: &str) -> Result<(), CloseReason> {
        let now = Instant::now();
        self.forbidden.push_back(now);
        while self.forbidden.front().is_some_and(|first| now.duration_since(*first) > FORBIDDEN_WINDOW) {
            self.forbidden.pop_front();
        }
        if self.forbidden.len() >= FORBIDDEN_MOST {
            return Err(CloseReason::Misbehaved);
        }
        self.refuse(id, ErrorCode::Forbidden, message)
    }

    /// Measures the device's clock (T2).
    pub(super) fn sample_clock(&mut self, client_time: Option<Timestamp>, now_us: i64) {
        let Some(Timestamp(client_us)) = client_time else { return };
        if self.clock_samples.len() == CLOCK_SAMPLES {
            self.clock_samples.pop_front();
        }
        self.clock_samples.push_back(now_us.saturating_sub(client_us));
        self.author.clock_offset_us = self.clock_samples.iter().copied().min().unwrap_or(0);
    }
}
