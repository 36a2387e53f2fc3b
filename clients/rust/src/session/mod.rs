//! The whole client as a state without a socket: frames go in, outcomes and frames come out.
//!
//! [`State`] holds the copy, the outbox and, while connected, what one session needs. The connection loop
//! around it only moves bytes, stores what the journal has noted before it sends anything, and hands
//! outcomes on. Nothing here waits, reads a clock or touches a disk.

mod requests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use synchub_protocol::client::{Ack, Device, Hello, Subscription};
use synchub_protocol::server::{
    ChangeOperation, EntryError, EntryResult, ErrorFrame, Status, SyncResult, Welcome,
};
use synchub_protocol::{ClientFrame, Encoding, Entry, ErrorCode, ServerFrame};
use tokio::time::Instant;
use uuid::Uuid;

use crate::batches::{Batches, Moment, Refusal, Step};
use crate::clock::Entropy;
use crate::config::{Backoff, Install};
use crate::copy::{HubCopy, Touched};
use crate::event::{Event, Stats};
use crate::outbox::{Outbox, Welcomed};
use crate::retry::End;
use crate::session::requests::Requests;
use crate::storage::{Domain, Journal, Stored, StoredChange};

/// What a frame led to, for the loop to pass on.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// To be told to the app.
    Event(Event),
    /// A record of the copy changed.
    Touched(Touched),
    /// An edit was decided; whoever waits for it is told.
    Answered(u64, EntryResult),
    /// The session has caught up.
    CaughtUp,
    /// The hub asked not to be called again before so long.
    NotWithin(Duration),
    /// The connection is over.
    End(End),
}

/// What a state is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The device, without its install.
    pub device: Device,
    /// How frames are written.
    pub encoding: Encoding,
    /// How long to wait after a batch was refused for now.
    pub backoff: Backoff,
    /// How often at most to acknowledge.
    pub ack_every: Duration,
    /// How long accepted edits are kept (R2).
    pub keep_accepted: Duration,
    /// The heartbeat to ask for, in seconds.
    pub heartbeat_secs: Option<u64>,
}

/// A session that was opened on a connection.
#[derive(Debug)]
struct Session {
    install: Uuid,
    /// What the hello subscribed to; confirmed by the welcome.
    hello: Vec<Subscription>,
    welcome: Option<Welcome>,
    batches: Option<Batches>,
    requests: Requests,
    is_live: bool,
    acked: Option<String>,
    acked_at: Option<Instant>,
}

/// A client without its socket.
#[derive(Debug)]
pub struct State {
    settings: Settings,
    copy: HubCopy,
    outbox: Outbox,
    journal: Journal,
    stored_revision: u64,
    taken_cursor: Option<String>,
    stored_cursor: Option<String>,
    wish: Vec<Subscription>,
    attempt: u64,
    /// Bounds the batches, after a frame was too large for the hub.
    batch_cap: usize,
    session: Option<Session>,
    stats: Stats,
}

/// The id of `hello`; other requests count on from it.
const HELLO_ID: u64 = 1;

impl State {
    /// The client as it was stored.
    pub fn load(
        mut stored: Stored,
        settings: Settings,
        install: Install,
        wish: Vec<Subscription>,
        entropy: &dyn Entropy,
    ) -> Self {
        let install = match install {
            Install::KeptApart(install) => install,
            Install::InStorage => {
                stored.numbering.map_or_else(|| entropy.uuid(), |numbering| numbering.install)
            }
        };
        let mut journal = Journal::default();
        let attempt = stored.attempt;
        let stored_cursor = stored.cursor.clone();
        let copy = HubCopy::load(&mut stored);
        let outbox = Outbox::load(&mut stored, install, settings.keep_accepted, &copy, &mut journal);
        Self {
            settings,
            copy,
            outbox,
            journal,
            stored_revision: 0,
            taken_cursor: None,
            stored_cursor,
            wish,
            attempt,
            batch_cap: usize::MAX,
            session: None,
            stats: Stats::default(),
        }
    }

    /// The hub's records.
    pub fn copy(&self) -> &HubCopy {
        &self.copy
    }

    /// What waits.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// What was counted.
    pub fn stats(&self) -> Stats {
        let copy = self.copy.stats();
        Stats {
            data_updates: copy.data_updates,
            snapshot_records: copy.snapshot_records,
            skipped_repeats: copy.skipped_repeats,
            ignored_frames: copy.ignored,
            version_regressions: copy.version_regressions,
            snapshot_regressions: copy.snapshot_regressions,
            ..self.stats
        }
    }

    /// For the loop to count what goes over the wire.
    pub fn stats_mut(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// Whether the session has caught up, so that what comes is live.
    pub fn is_live(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_live)
    }

    /// The heartbeat of the session; none before the welcome.
    pub fn heartbeat(&self) -> Option<Duration> {
        let welcome = self.session.as_ref()?.welcome.as_ref()?;
        Some(Duration::from_secs(welcome.heartbeat_secs.max(1)))
    }

    /// How far the journal has come; see [`Journal::revision`].
    pub fn revision(&self) -> u64 {
        self.journal.revision()
    }

    /// Takes an edit; returns its local id.
    pub fn submit(&mut self, entry: Entry) -> u64 {
        self.stats.entries_submitted += 1;
        self.outbox.push(entry, &mut self.journal)
    }

    /// The version that an edit of this record starts from: the copy's, never an answer's (E1).
    pub fn base_version(&self, domain: &str, mobile_id: Uuid) -> u64 {
        self.copy.record(domain, mobile_id).map_or(0, |record| record.version)
    }

    /// Replaces the subscriptions of the domains named.
    pub fn subscribe(&mut self, subscriptions: Vec<Subscription>) {
        self.wish.retain(|old| !subscriptions.iter().any(|new| new.domain == old.domain));
        self.wish.extend(subscriptions);
    }

    /// Ends the subscriptions of the domains named.
    pub fn unsubscribe(&mut self, domains: &[String]) {
        self.wish.retain(|old| !domains.contains(&old.domain));
    }

    /// What has to be stored next, as one transaction, with the revision that it reaches.
    pub fn take_changes(&mut self) -> Option<(Vec<StoredChange>, u64)> {
        if self.journal.is_empty() {
            return None;
        }
        self.taken_cursor = self.copy.cursor().map(str::to_owned);
        Some((self.journal.take(), self.journal.revision()))
    }

    /// What was taken is stored.
    pub fn stored(&mut self, revision: u64) {
        self.stored_revision = revision;
        self.stored_cursor.clone_from(&self.taken_cursor);
    }

    /// Opens a session: counts the attempt, which has to be stored before [`State::hello`] goes out.
    pub fn begin_attempt(&mut self) {
        self.attempt += 1;
        self.journal.note(StoredChange::Attempt(self.attempt));
    }

    /// The hello of a new connection.
    pub fn hello(&mut self, token: Option<String>, moment: Moment<'_>) -> Bytes {
        let install = self.outbox.session_install();
        let hello = ClientFrame::Hello(Hello {
            id: HELLO_ID,
            token,
            device: Some(Device { install_id: Some(install), ..self.settings.device.clone() }),
            attempt: Some(self.attempt),
            cursor: self.copy.cursor().map(str::to_owned),
            subscriptions: self.wish.clone(),
            compression: Vec::new(),
            features: Vec::new(),
            network_quality: None,
            heartbeat_secs: self.settings.heartbeat_secs,
            max_frame_bytes: None,
            client_time: Some(moment.clock),
        });
        self.session = Some(Session {
            install,
            hello: self.wish.clone(),
            welcome: None,
            batches: None,
            requests: Requests::new(HELLO_ID + 1),
            is_live: false,
            acked: None,
            acked_at: None,
        });
        self.settings.encoding.encode(&hello)
    }

    /// The connection is gone. What was in flight waits again.
    pub fn end_session(&mut self, end: &End) {
        let Some(session) = self.session.take() else { return };
        if let Some(batches) = session.batches {
            self.stats.batches_resent += batches.resent();
        }
        if matches!(end, End::Closed { code: 4505, .. }) {
            self.shrink_batches();
        }
    }

    /// Applies one frame of the hub.
    pub fn on_frame(&mut self, frame: ServerFrame, moment: Moment<'_>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        match frame {
            ServerFrame::Welcome(welcome) => self.on_welcome(welcome, moment, &mut outcomes),
            ServerFrame::Subscribed(subscribed) => {
                self.copy.confirm(subscribed.subscriptions.iter().map(|wanted| wanted.domain.as_str()));
                if let Some(session) = &mut self.session {
                    session.is_live &= subscribed.fresh.is_empty();
                    session.requests.subscribed(subscribed.id, subscribed.subscriptions);
                }
            }
            ServerFrame::Snapshot(page) => {
                let finished = page.last.then(|| Domain::from(page.domain.as_str()));
                let touched = self.copy.snapshot(page, &mut self.journal);
                outcomes.extend(touched.into_iter().map(Outcome::Touched));
                outcomes.extend(finished.map(|domain| Outcome::Event(Event::SnapshotFinished { domain })));
            }
            ServerFrame::DataUpdate(change) if change.operation == ChangeOperation::Unknown => {
                // What it did to the record cannot be known: everything is asked for anew.
                self.copy.forget_cursor(&mut self.journal);
                outcomes.push(Outcome::End(End::Unreadable("an unknown operation".to_owned())));
            }
            ServerFrame::DataUpdate(change) => {
                outcomes.extend(self.copy.change(change, &mut self.journal).map(Outcome::Touched));
            }
            ServerFrame::Position(position) => {
                self.reached(position.cursor, position.seq, &mut outcomes);
                outcomes.push(Outcome::Event(Event::Position { seq: position.seq }));
            }
            ServerFrame::CaughtUp(place) => {
                self.reached(place.cursor, place.seq, &mut outcomes);
                if let Some(session) = &mut self.session {
                    session.is_live = true;
                }
                outcomes.push(Outcome::CaughtUp);
                outcomes.push(Outcome::Event(Event::CaughtUp { seq: place.seq }));
            }
            ServerFrame::SyncResult(result) => self.on_result(result, moment, &mut outcomes),
            ServerFrame::Pong(_) => {}
            ServerFrame::Goaway(goaway) => {
                outcomes.push(Outcome::NotWithin(Duration::from_millis(goaway.reconnect_after_ms)));
            }
            ServerFrame::Error(error) => self.on_error(error, moment, &mut outcomes),
        }
        self.outbox.settle_shown(&self.copy);
        outcomes
    }

    /// The next frame to send; none when there is nothing for now. What the journal holds has to be stored
    /// first: an entry that is not is not sent, a cursor that is not is not acknowledged.
    pub fn next_frame(&mut self, moment: Moment<'_>, outcomes: &mut Vec<Outcome>) -> Option<Bytes> {
        let session = self.session.as_mut()?;
        let batches = session.batches.as_mut()?;
        if let Some(frame) = session.requests.subscriptions(&self.wish, moment.instant) {
            return Some(self.settings.encoding.encode(&frame));
        }
        match batches.next(&self.outbox, self.stored_revision, moment, session.requests.next_id_mut()) {
            Step::Send(bytes) => {
                self.stats.batches_sent += 1;
                return Some(bytes);
            }
            Step::TooLarge(local_id) => {
                let message = "the entry alone is larger than the largest frame that the hub takes; split it";
                self.refuse_here(local_id, ErrorCode::TooLarge, message, outcomes);
                return None;
            }
            Step::HelloAgain => {
                outcomes.push(Outcome::End(End::HelloAgain));
                return None;
            }
            Step::Wait => {}
        }
        self.ack(moment.instant)
    }

    /// When [`State::next_frame`] will have something without anything else happening, if ever.
    pub fn next_due(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let busy = session.batches.as_ref().and_then(Batches::not_before);
        let ack = (self.stored_cursor.is_some() && session.acked != self.stored_cursor)
            .then(|| session.acked_at.map(|at| at + self.settings.ack_every))
            .flatten();
        [busy, ack, session.requests.not_before()].into_iter().flatten().min()
    }

    fn on_welcome(&mut self, welcome: Welcome, moment: Moment<'_>, outcomes: &mut Vec<Outcome>) {
        let Some(session) = &mut self.session else { return };
        if welcome.id != HELLO_ID || session.welcome.is_some() {
            outcomes.push(Outcome::End(End::Unreadable("a welcome that answers no hello".to_owned())));
            return;
        }
        self.stats.connects += 1;
        let hello = std::mem::take(&mut session.hello);
        self.copy.confirm(hello.iter().map(|wanted| wanted.domain.as_str()));
        session.requests.confirm(hello);
        self.outbox.forget_old(moment.clock, &mut self.journal);
        let (install, limits) = (session.install, welcome.limits);
        let welcomed = self.outbox.welcomed(
            install,
            welcome.last_client_seq,
            || moment.entropy.uuid(),
            &mut self.journal,
        );
        let Settings { encoding, backoff, .. } = self.settings;
        session.batches = Some(Batches::new(install, encoding, limits, self.batch_cap, backoff));
        outcomes.push(Outcome::Event(Event::Connected {
            session_id: welcome.session_id.clone(),
            fresh: welcome.fresh.clone(),
        }));
        session.welcome = Some(welcome);
        if welcomed == Welcomed::HelloAgain {
            outcomes.push(Outcome::End(End::HelloAgain));
        }
    }

    fn reached(&mut self, cursor: String, seq: u64, outcomes: &mut Vec<Outcome>) {
        let touched = self.copy.reached(cursor, seq, &mut self.journal);
        outcomes.extend(touched.into_iter().map(Outcome::Touched));
    }

    fn on_result(&mut self, answer: SyncResult, moment: Moment<'_>, outcomes: &mut Vec<Outcome>) {
        let batches = self.session.as_mut().and_then(|session| session.batches.as_mut());
        let pause = answer.backoff_ms.map(Duration::from_millis);
        if answer.results.iter().any(|result| result.status == Status::ConflictRisk) {
            // This decides nothing (O3), and was not asked for: the batch waits and goes again.
            let error = ErrorFrame::new(Some(answer.id), ErrorCode::Unavailable, "conflict_risk");
            return self.on_error(error, moment, outcomes);
        }
        let Some(local_ids) = batches.and_then(|b| b.answered(answer.id, pause, moment.instant)) else {
            return;
        };
        if local_ids.len() != answer.results.len() {
            let text = format!("{} results for {} entries", answer.results.len(), local_ids.len());
            outcomes.push(Outcome::End(End::Unreadable(text)));
            return;
        }
        for (local_id, result) in local_ids.into_iter().zip(answer.results) {
            let settled = self.outbox.settle(local_id, &result, answer.seq, moment.clock, &mut self.journal);
            if let Some(entry) = settled {
                self.answered(local_id, entry, result, outcomes);
            }
        }
        self.outbox.forget_old(moment.clock, &mut self.journal);
    }

    fn answered(
        &mut self,
        local_id: u64,
        entry: Arc<Entry>,
        result: EntryResult,
        outcomes: &mut Vec<Outcome>,
    ) {
        self.stats.entries_answered += 1;
        outcomes.push(Outcome::Event(Event::Answered { entry, result: Arc::new(result.clone()) }));
        outcomes.push(Outcome::Answered(local_id, result));
    }

    fn on_error(&mut self, error: ErrorFrame, moment: Moment<'_>, outcomes: &mut Vec<Outcome>) {
        let Some(session) = &mut self.session else { return };
        let ErrorFrame { code, temporary, .. } = error;
        let retry = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
        let refused = End::Refused { code, message: error.message.clone(), temporary };
        let Some(batches) = &mut session.batches else {
            outcomes.extend([Outcome::NotWithin(retry), Outcome::End(refused)]);
            return;
        };
        let Some(request) = error.id else {
            // A request without a name was refused: only a new connection finds out which is unanswered.
            self.shrink_batches();
            outcomes.push(Outcome::End(End::Refused { code, message: error.message, temporary: true }));
            return;
        };
        if session.requests.refused(request, &error, moment.instant, &mut self.wish) {
            outcomes.push(Outcome::Event(Event::Refused { code, message: error.message }));
            return;
        }
        if matches!(code, ErrorCode::Forbidden | ErrorCode::DeviceDeactivated | ErrorCode::Unauthorized) {
            outcomes.push(Outcome::End(refused));
            return;
        }
        match batches.refused(request, &error, moment) {
            Refusal::Again => {}
            Refusal::NotMine => {
                outcomes.push(Outcome::Event(Event::Refused { code, message: error.message }));
            }
            Refusal::HelloAgain => outcomes.push(Outcome::End(End::HelloAgain)),
            Refusal::Entry(local_id) => self.refuse_here(local_id, code, &error.message, outcomes),
        }
    }

    /// Settles an entry that the hub will never decide, and closes the gap that it leaves by a new hello.
    fn refuse_here(&mut self, local_id: u64, code: ErrorCode, message: &str, outcomes: &mut Vec<Outcome>) {
        let Some(entry) = self.outbox.discard(local_id, &mut self.journal) else { return };
        let result = EntryResult {
            mobile_id: Some(entry.mobile_id),
            status: Status::Error,
            server_version: None,
            server_data: None,
            deleted: None,
            conflict: None,
            error: Some(EntryError { code, message: message.to_owned(), field: None }),
        };
        self.answered(local_id, entry, result, outcomes);
        outcomes.push(Outcome::End(End::HelloAgain));
    }

    fn ack(&mut self, now: Instant) -> Option<Bytes> {
        let session = self.session.as_mut()?;
        let is_due = session.acked_at.is_none_or(|at| now >= at + self.settings.ack_every);
        let cursor = self.stored_cursor.as_ref().filter(|_| is_due)?;
        if session.acked.as_ref() == Some(cursor) {
            return None;
        }
        session.acked = Some(cursor.clone());
        session.acked_at = Some(now);
        self.stats.acks += 1;
        Some(self.settings.encoding.encode(&ClientFrame::Ack(Ack { cursor: cursor.clone() })))
    }

    fn shrink_batches(&mut self) {
        self.batch_cap = (self.batch_cap.min(1000) / 2).max(1);
    }
}
