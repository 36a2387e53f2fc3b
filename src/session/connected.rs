//! The loop of a session that said hello.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use synchub_protocol::server::{ErrorFrame, Goaway};
use synchub_protocol::{CloseReason, ErrorCode, ServerFrame, gzip};
use synchub_rules::group::{Author, Decision};
use synchub_rules::push::Address;
use synchub_rules::route::Audience;
use tokio::time::{Instant, Sleep, sleep_until};
use uuid::Uuid;

use super::batch_size::BatchSize;
use super::catch_up::{CatchUp, Page};
use super::deps::Deps;
use super::digests::DigestReads;
use super::event::Event;
use super::hints::Probe;
use super::holding::Holding;
use super::in_flight::{InFlight, InFlights, Settled};
use super::observed::Delivering;
use super::outbox::Outbox;
use super::own_state::{OwnState, Renewal};
use super::progress::Progress;
use super::publications::Publications;
use super::pushes::PushLane;
use super::socket::Socket;
use super::subscriptions::{Reach, Subscriptions};
use super::timers::{Due, Timers};
use crate::auth::Identity;
use crate::limits::Allowance;
use crate::push::{Feed, Membership};
use crate::registry::{Command, GoAwayCause, Link, Mailbox, Subscriber};
use crate::sync::{SubmitError, sync_result};

/// How long a session that was told to go may take for its last answers.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);
/// What `goaway` says when the store's epoch rose (R1).
pub(super) const EPOCH_CHANGED: &str = "epoch_changed";

/// How the data lane is filled.
#[derive(Debug)]
pub(super) enum Mode {
    /// From snapshots and the log.
    CatchUp(CatchUp),
    /// From the feed.
    Live,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) deps: Arc<Deps>,
    pub(super) socket: Socket,
    pub(super) identity: Identity,
    pub(super) author: Author,
    pub(super) tenant: i64,
    pub(super) has_install: bool,
    /// Whether the client takes changes as the fields that changed.
    pub(super) takes_deltas: bool,
    pub(super) reach: Reach,
    pub(super) audience: Arc<Audience>,
    pub(super) subscriptions: Subscriptions,
    pub(super) progress: Progress,
    /// Which pushes the session is sent.
    pub(super) address: Address,
    pub(super) pushes: PushLane,
    pub(super) holding: Holding,
    pub(super) mode: Mode,
    pub(super) feed: Arc<Feed>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) outbox: Outbox,
    pub(super) answers: InFlights,
    pub(super) digests: DigestReads,
    pub(super) publications: Publications,
    pub(super) timers: Timers,
    pub(super) own_state: OwnState,
    pub(super) batch_size: BatchSize,
    /// Measures the round trip.
    pub(super) probe: Probe,
    pub(super) renewal: Renewal,
    pub(super) clock_samples: VecDeque<i64>,
    pub(super) forbidden: VecDeque<Instant>,
    /// The largest snapshot frame that the client takes.
    pub(super) frame_bytes: usize,
    /// The place of the last cursor that was queued.
    pub(super) named: Option<u64>,
    /// The highest place that a cursor of this session named: an ack may reach it.
    pub(super) sent: u64,
    /// The place that the last answer named: a position has to reach it (C7).
    pub(super) owed: u64,
    pub(super) leaving: bool,
    /// Deliveries of traced batches.
    pub(super) delivering: Delivering,
    /// What `welcome` called the session.
    pub(super) id: Uuid,
    /// The session's number on this node.
    pub(super) number: u64,
    pub(super) epoch: u64,
    pub(super) allowance: Allowance,
    /// Fields drop in order: the feed is left before the registry.
    pub(super) _membership: Membership,
    pub(super) _link: Link,
}

impl Session {
    /// Gives the socket back, to be closed; the device's place is free from here on.
    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }

    /// Runs until there is a reason to end.
    pub(super) async fn run(&mut self) -> CloseReason {
        let mut alarm = pin!(sleep_until(Instant::now()));
        loop {
            if let Err(reason) = self.step(alarm.as_mut()).await {
                return reason;
            }
        }
    }

    /// Waits for one thing and handles it. What cannot come without end goes first, so that a peer that
    /// never stops talking starves nothing:
    /// - a timer that is due;
    /// - the oldest batch in flight was decided;
    /// - a digest was read, or what a service asked for was done;
    /// - pushes, or a page of a snapshot or of the log, were read;
    /// - the node commands (goaway, replaced), or the feed offered rows;
    /// - the key of a token that renews the session's was asked for;
    /// - the peer said something, or the socket has room again.
    async fn step(&mut self, mut alarm: Pin<&mut Sleep>) -> Result<(), CloseReason> {
        if self.timers.due(Instant::now()) != Due::Nothing {
            return self.on_timer();
        }
        self.fill();
        self.write_at_once().await?;
        let wants_to_send = !self.outbox.is_empty();
        let deadline = self.looks_again().map_or(self.timers.next(), |again| again.min(self.timers.next()));
        // One that rings early does no harm, and setting it for each row would cost more than the row.
        if alarm.is_elapsed() || deadline < alarm.deadline() {
            alarm.as_mut().reset(deadline);
        }
        // None comes first always: a peer that sends without end must not hold up its own answers.
        tokio::select! {
            biased;
            settled = self.answers.next() => self.on_settled(settled),
            read = self.digests.next() => self.on_digest_read(read),
            publication = self.publications.next() => self.on_published(publication),
            read = self.pushes.next() => { self.on_push_read(read); Ok(()) }
            page = next_page(&mut self.mode) => { self.on_page(page); Ok(()) }
            () = self.mailbox.woken() => self.on_woken(),
            verified = self.renewal.next() => self.on_verified(verified),
            event = self.socket.event(wants_to_send) => self.on_event(event),
            () = alarm => Ok(()),
        }
    }

    /// When something that waits may go; while the lane is not empty, nothing may.
    fn looks_again(&self) -> Option<Instant> {
        let wakes = [self.pushes.wakes(), self.holding.wakes()].into_iter().flatten().min();
        wakes.filter(|_| !self.outbox.has_data())
    }

    fn on_woken(&mut self) -> Result<(), CloseReason> {
        match self.mailbox.take_command() {
            Some(Command::Close(reason)) => Err(reason),
            Some(Command::GoAway { cause, reconnect_after_ms }) => self.on_go_away(cause, reconnect_after_ms),
            None => Ok(()),
        }
    }

    /// The session ends: what is being decided is answered first.
    fn on_go_away(&mut self, cause: GoAwayCause, reconnect_after_ms: u64) -> Result<(), CloseReason> {
        if self.leaving {
            return Ok(());
        }
        self.leaving = true;
        self.timers.leave(Instant::now() + LEAVE_TIMEOUT);
        let reason = match cause {
            GoAwayCause::ShuttingDown => "shutting_down",
            GoAwayCause::EpochChanged => EPOCH_CHANGED,
        };
        self.say(&ServerFrame::Goaway(Goaway { reason: reason.to_owned(), reconnect_after_ms }))
    }

    fn on_event(&mut self, event: Event) -> Result<(), CloseReason> {
        match event {
            Event::Frame(frame) => {
                self.timers.heard(Instant::now());
                let took_ms = self.socket.took_ms();
                match self.takes_frame(frame.len()) {
                    Ok(()) => self.on_frame(&frame, took_ms),
                    Err(limited) => self.on_limited_frame(&frame, limited),
                }
            }
            Event::Alive => {
                self.timers.heard(Instant::now());
                self.on_silent_frame(0)
            }
            Event::Answered => self.on_answered(),
            Event::Oversized(size) => self.on_oversized(size),
            Event::Writable => self.write(),
            Event::Flushed => Ok(()),
            Event::Ended(reason) => Err(reason),
        }
    }

    /// Sends what waits if there is room now: a live change needs no other turn of the loop.
    async fn write_at_once(&mut self) -> Result<(), CloseReason> {
        if self.outbox.is_empty() || !self.socket.has_room_now().await? {
            return Ok(());
        }
        self.write()?;
        if self.outbox.is_empty() { self.socket.flush_at_once().await } else { Ok(()) }
    }

    /// Sends what fits, and queues what follows.
    fn write(&mut self) -> Result<(), CloseReason> {
        let now = Instant::now();
        self.timers.said(now);
        let (mut frames, mut bytes) = (0, 0);
        loop {
            if self.outbox.is_empty() {
                self.fill();
            }
            let Some(frame) = self.outbox.pop_if(self.socket.has_room()) else { break };
            (frames, bytes) = (frames + 1, bytes + frame.len() as u64);
            self.socket.send(frame)?;
        }
        if frames > 0 {
            self.deps.metrics.frames_sent.inc_by(frames);
            self.deps.metrics.sent_bytes.inc_by(bytes);
            self.end_deliveries();
            self.send_probe()?;
            if self.socket.gathers_much() {
                self.timers.strained(now);
            }
        }
        let is_answered = self.answers.is_empty() && self.publications.is_empty();
        if self.leaving && is_answered && !self.outbox.has_control() {
            return Err(CloseReason::GoingAway);
        }
        Ok(())
    }

    fn on_settled(&mut self, settled: Settled) -> Result<(), CloseReason> {
        match settled {
            Settled::Decided(in_flight, decision) => self.on_decision(in_flight, decision),
            Settled::Refused(error) => self.say(&ServerFrame::Error(error)),
        }
    }

    fn on_decision(
        &mut self,
        mut in_flight: InFlight,
        decision: Result<Decision, SubmitError>,
    ) -> Result<(), CloseReason> {
        let id = Some(in_flight.id);
        self.observe_decision(&mut in_flight, &decision);
        match decision {
            Ok(Decision::Answered(answer)) => {
                self.owed = self.owed.max(answer.seq);
                // A position follows, though the place may have been named before (C2).
                self.named = None;
                let mut result =
                    sync_result(in_flight.id, in_flight.batch_id, answer, self.deps.clock.now_us());
                self.give_hints(&mut result);
                self.timers.want_position(Instant::now(), self.deps.settings.feed.position_delay());
                self.say(&ServerFrame::SyncResult(result))
            }
            Ok(Decision::OutOfOrder) => {
                // What is sent behind a refused batch must not keep that one from being taken.
                self.allowance.give_back(in_flight.entries);
                let message = "a number before first_client_seq was not decided; wait for all answers, then send in order";
                self.refuse(id, ErrorCode::OutOfOrder, message)
            }
            Ok(Decision::KeyReused) => self.refuse(
                id,
                ErrorCode::IdempotencyKeyReused,
                "this batch_id came with other contents; take a new one",
            ),
            Ok(Decision::Replaced) => Err(CloseReason::Replaced),
            // Devices send no pushes.
            Ok(Decision::UnknownConflict(_)) => self.refuse(id, ErrorCode::Internal, "the batch held pushes"),
            Err(error @ SubmitError::Unavailable) => {
                self.refuse(id, ErrorCode::Unavailable, error.to_string())
            }
            Err(error @ SubmitError::Internal) => self.refuse(id, ErrorCode::Internal, error.to_string()),
        }
    }

    /// The cursor for everything that is queued, as the client stores it.
    pub(super) fn seal(&mut self) -> String {
        let cursor = self.progress.cursor();
        self.named = Some(cursor.seq);
        self.sent = self.sent.max(cursor.seq);
        self.deps.cursors.seal(&self.identity.tenant, &cursor)
    }

    /// A frame as it goes to this session alone.
    pub(super) fn encode(&self, frame: &ServerFrame) -> Bytes {
        let encoded = self.socket.encoding().encode(frame);
        let smaller = self.socket.compresses().then(|| gzip::deflate(&encoded)).flatten();
        smaller.unwrap_or(encoded)
    }

    /// Queues a frame of the data lane.
    pub(super) fn push(&mut self, frame: &ServerFrame) {
        let encoded = self.encode(frame);
        self.outbox.push_data(encoded);
    }

    /// Queues a control frame.
    pub(super) fn say(&mut self, frame: &ServerFrame) -> Result<(), CloseReason> {
        let encoded = self.encode(frame);
        self.outbox.push_control(encoded)
    }

    /// Answers a request that is refused whole.
    pub(super) fn refuse(
        &mut self,
        id: Option<u64>,
        code: ErrorCode,
        message: impl Into<String>,
    ) -> Result<(), CloseReason> {
        self.say(&ServerFrame::Error(ErrorFrame::new(id, code, message)))
    }

    /// Makes the feed know what is subscribed to now.
    pub(super) fn update_feed(&mut self) {
        self.audience = self.subscriptions.audience(&self.audience.sight);
        self.feed.update(Arc::new(Subscriber {
            session: self.number,
            audience: Arc::clone(&self.audience),
            address: self.address,
            mailbox: Arc::clone(&self.mailbox),
        }));
    }
}

async fn next_page(mode: &mut Mode) -> Page {
    match mode {
        Mode::CatchUp(catch_up) => catch_up.next().await,
        Mode::Live => std::future::pending().await,
    }
}
