//! What a client tells its app, and what it counts.

use std::sync::Arc;
use std::time::Duration;

use synchub_protocol::server::{
    ChangeOperation, ConflictAlert, EntryResult, EntrySettled, Fresh, Message, SettingsApplied, SyncTrigger,
};
use synchub_protocol::{Entry, ErrorCode, Timestamp};
use uuid::Uuid;

use crate::retry::{End, StopReason};
use crate::storage::Domain;
use crate::traffic::Flow;

/// Something happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// The hub said welcome.
    Connected {
        /// The session's name in the hub's logs.
        session_id: String,
        /// The domains that come as a snapshot.
        fresh: Vec<Fresh>,
    },
    /// The connection ended, or could not be made.
    Disconnected {
        /// Why.
        reason: End,
        /// When the client tries again; none: not by itself.
        retry_in: Option<Duration>,
    },
    /// A record of the copy changed.
    Changed {
        /// Its domain.
        domain: Domain,
        /// Its id.
        mobile_id: Uuid,
        /// Its version now, or that by which it went.
        version: u64,
        /// What happened, seen from this copy.
        operation: ChangeOperation,
    },
    /// The copy of a domain is complete.
    SnapshotFinished {
        /// The domain.
        domain: Domain,
    },
    /// The copy has everything up to this place, and what follows is live.
    CaughtUp {
        /// The place.
        seq: u64,
    },
    /// The copy has everything up to this place.
    Position {
        /// The place.
        seq: u64,
    },
    /// An edit was decided.
    Answered {
        /// The edit.
        entry: Arc<Entry>,
        /// What became of it.
        result: Arc<EntryResult>,
    },
    /// The session goes on under the token that was given to [`crate::Client::renew_token`].
    TokenRenewed {
        /// When that one ends.
        expires_at: Timestamp,
    },
    /// A service says something.
    Message(Message),
    /// Changes or pushes that are not urgent are held back, for the subscriptions' priority or because the device saves battery (C9);
    /// told once until the copy has caught up. [`crate::Client::catch_up`] brings them when it suits; if nobody calls it, they
    /// come with the next connection at the latest.
    HeldBack {
        /// The domains that it was about first; none: pushes alone.
        domains: Vec<String>,
    },
    /// The hub asks to sync: the app decides what that is worth. `queue_overflow` and `queue_expired` say that pushes were
    /// dropped unseen.
    SyncTrigger(SyncTrigger),
    /// A conflict, to show and perhaps to decide. One that still awaits the user comes again after each
    /// reconnect.
    ConflictAlert(ConflictAlert),
    /// A refused entry ended in the review inbox.
    EntrySettled(EntrySettled),
    /// The hub knows the device's state.
    SettingsApplied(SettingsApplied),
    /// A whole request was refused.
    Refused {
        /// The code to act on.
        code: ErrorCode,
        /// A sentence for the app's author.
        message: String,
    },
    /// The client has stopped and sends or stores nothing any more.
    Stopped {
        /// Why.
        reason: StopReason,
    },
}

/// What a client has counted since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Welcomes.
    pub connects: u64,
    /// Connections that ended, or could not be made.
    pub disconnects: u64,
    /// Frames from the hub.
    pub frames_in: u64,
    /// Frames to the hub.
    pub frames_out: u64,
    /// Bytes of frames from the hub, as they came.
    pub bytes_in: u64,
    /// Bytes of frames to the hub, as they went.
    pub bytes_out: u64,
    /// The same in detail: from the hub.
    pub incoming: Flow,
    /// The same in detail: to the hub.
    pub outgoing: Flow,
    /// Changes that came as data frames of subscribed domains.
    pub data_updates: u64,
    /// Records that came in snapshots of subscribed domains.
    pub snapshot_records: u64,
    /// Data frames that were no news (C6).
    pub skipped_repeats: u64,
    /// Data frames and snapshot pages of domains that are not subscribed to.
    pub ignored_frames: u64,
    /// Times that a record's version went down other than by a snapshot. Anything but 0 is a fault.
    pub version_regressions: u64,
    /// Times that a snapshot brought a lower version than the one held.
    pub snapshot_regressions: u64,
    /// Edits that were taken.
    pub entries_submitted: u64,
    /// Edits that were answered.
    pub entries_answered: u64,
    /// `sync` frames sent.
    pub batches_sent: u64,
    /// Of these, those sent again on the same connection after a refusal.
    pub batches_resent: u64,
    /// Requests, `hello` too, that the hub refused for the sake of a rate (`rate_limited`).
    pub rate_limited: u64,
    /// Acknowledgements sent.
    pub acks: u64,
}
