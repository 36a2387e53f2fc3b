//! The whole client as a state without a socket: frames go in, outcomes and frames come out.
//!
//! [`State`] holds the copy, the outbox and, while connected, what one session needs. The connection loop
//! around it only moves bytes, stores what the journal has noted before it sends anything, and hands
//! outcomes on. Nothing here waits, reads a clock or touches a disk.

mod catch_ups;
mod comparisons;
mod incoming;
mod outgoing;
mod own_state;
mod publications;
mod requests;
mod seen;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use synchub_protocol::client::{Device, Publish, Subscription};
use synchub_protocol::server::{EntryError, EntryResult, Status, Welcome};
use synchub_protocol::{Encoding, Entry, ErrorCode, gzip};
use tokio::time::Instant;
use uuid::Uuid;

use crate::batches::Batches;
use crate::clock::Entropy;
use crate::config::{Backoff, Install};
use crate::copy::{HubCopy, Touched};
use crate::event::{Event, Stats};
use crate::outbox::Outbox;
use crate::retry::End;
use crate::session::catch_ups::CatchUps;
use crate::session::comparisons::Comparisons;
pub use crate::session::own_state::DeviceState;
use crate::session::publications::Publications;
use crate::session::requests::Requests;
use crate::session::seen::Seen;
use crate::storage::{Journal, Stored, StoredChange};

pub use crate::session::comparisons::{Compared, Verdict};
pub use crate::session::publications::PublishVerdict;

/// What a frame led to, for the loop to pass on.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// To be told to the app.
    Event(Event),
    /// A record of the copy changed.
    Touched(Touched),
    /// An edit was decided; whoever waits for it is told.
    Answered(u64, EntryResult),
    /// A comparison with the hub came to this.
    Compared(u64, Verdict),
    /// What became of something that was published.
    Published(u64, PublishVerdict),
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
    /// Whether the client is a service, which has no device.
    pub is_service: bool,
    /// How frames are written.
    pub encoding: Encoding,
    /// How long to wait after a batch was refused for now.
    pub backoff: Backoff,
    /// How often at most to acknowledge.
    pub ack_every: Duration,
    /// How long accepted edits are kept (R2).
    pub keep_accepted: Duration,
    /// Whether frames may be compressed.
    pub compression: bool,
    /// Whether changes may come as the fields that changed.
    pub delta: bool,
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
    /// Whether the hub has been told the device's state.
    device_state_is_said: bool,
    /// A token that is to be sent.
    renewal: Option<String>,
    /// Requests that carried a token and are not answered.
    renewals: Vec<u64>,
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
    own: DeviceState,
    attempt: u64,
    /// Bounds the batches, after a frame was too large for the hub.
    batch_cap: usize,
    session: Option<Session>,
    comparisons: Comparisons,
    catch_ups: CatchUps,
    publications: Publications,
    seen: Seen,
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
            own: DeviceState::default(),
            attempt,
            batch_cap: usize::MAX,
            session: None,
            comparisons: Comparisons::default(),
            catch_ups: CatchUps::default(),
            publications: Publications::default(),
            seen: Seen::default(),
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
        let batches = self.session.as_ref().and_then(|session| session.batches.as_ref());
        Stats {
            batches_resent: self.stats.batches_resent + batches.map_or(0, Batches::resent),
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

    /// Whether the hub takes compressed frames.
    pub fn compresses(&self) -> bool {
        let welcome = self.session.as_ref().and_then(|session| session.welcome.as_ref());
        let offered = welcome.and_then(|welcome| welcome.compression.as_ref());
        offered.is_some_and(|names| names.iter().any(|name| name == gzip::NAME))
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

    /// Takes the wish to compare the copy with the hub; gives the number of its [`Outcome::Compared`].
    pub fn compare(&mut self) -> u64 {
        self.comparisons.begin()
    }

    /// Takes the wish to have what was held back; gives its number.
    pub fn catch_up(&mut self) -> u64 {
        self.catch_ups.begin()
    }

    /// Whether the copy has what had been held back when the wish of this number was taken.
    pub fn has_caught_up(&self, number: u64) -> bool {
        self.catch_ups.is_done(number)
    }

    /// Takes what a service publishes; gives the number of its [`Outcome::Published`].
    pub fn publish(&mut self, request: Publish) -> u64 {
        self.publications.begin(request)
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

    /// The connection is gone. What was in flight waits again.
    pub fn end_session(&mut self, end: &End) {
        self.comparisons.ask_again();
        self.catch_ups.ask_again();
        self.publications.ask_again();
        let Some(session) = self.session.take() else { return };
        if let Some(batches) = session.batches {
            self.stats.batches_resent += batches.resent();
        }
        if matches!(end, End::Closed { code: 4505, .. }) {
            self.shrink_batches();
        }
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

    fn shrink_batches(&mut self) {
        self.batch_cap = (self.batch_cap.min(1000) / 2).max(1);
    }
}
