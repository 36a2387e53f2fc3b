//! What goes out: hello, subscriptions, batches, acknowledgements.

use bytes::Bytes;
use synchub_protocol::client::{Ack, CatchUp, Device, Digest, Hello};
use synchub_protocol::{ClientFrame, DELTA, ErrorCode, gzip};
use tokio::time::Instant;

use crate::batches::{Batches, Moment, Step};
use crate::retry::End;
use crate::session::requests::Requests;
use crate::session::{DeviceState, HELLO_ID, Outcome, Session, State};
use crate::storage::StoredChange;

impl State {
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
            device: (!self.settings.is_service)
                .then(|| Device { install_id: Some(install), ..self.settings.device.clone() }),
            attempt: Some(self.attempt),
            cursor: self.copy.cursor().map(str::to_owned),
            subscriptions: self.wish.clone(),
            compression: self.settings.compression.then(|| gzip::NAME.to_owned()).into_iter().collect(),
            features: self.settings.delta.then(|| DELTA.to_owned()).into_iter().collect(),
            network_quality: self.own.network_quality.clone(),
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
            device_state_is_said: self.own == DeviceState::default(),
            renewal: None,
            renewals: Vec::new(),
        });
        self.settings.encoding.encode(&hello)
    }

    /// The next frame to send; none when there is nothing for now. What the journal holds has to be stored
    /// first: an entry that is not is not sent, a cursor that is not is not acknowledged.
    pub fn next_frame(&mut self, moment: Moment<'_>, outcomes: &mut Vec<Outcome>) -> Option<Bytes> {
        let session = self.session.as_mut()?;
        session.batches.as_ref()?;
        if let Some(frame) = session.requests.subscriptions(&self.wish, moment.instant) {
            return Some(self.settings.encoding.encode(&frame));
        }
        if session.is_live && self.comparisons.is_due() {
            let id = session.requests.next_id();
            self.comparisons.asked(id);
            let digest = ClientFrame::Digest(Digest { id, domains: None });
            return Some(self.settings.encoding.encode(&digest));
        }
        if let Some(frame) = self.own_frame() {
            return Some(frame);
        }
        let requests = &mut self.session.as_mut()?.requests;
        if let Some(id) = self.catch_ups.next(|| requests.next_id()) {
            return Some(self.settings.encoding.encode(&ClientFrame::CatchUp(CatchUp { id })));
        }
        let session = self.session.as_mut()?;
        let most = session.welcome.as_ref().map_or(0, |welcome| welcome.limits.max_in_flight);
        let request = self.publications.next(most, moment.instant, || session.requests.next_id());
        if let Some(request) = request {
            return Some(self.settings.encoding.encode(&ClientFrame::Publish(request)));
        }
        let batches = session.batches.as_mut()?;
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
        let ack = (!self.settings.is_service
            && self.stored_cursor.is_some()
            && session.acked != self.stored_cursor)
            .then(|| session.acked_at.map(|at| at + self.settings.ack_every))
            .flatten();
        let publish = self.publications.not_before();
        [busy, ack, publish, session.requests.not_before()].into_iter().flatten().min()
    }

    fn ack(&mut self, now: Instant) -> Option<Bytes> {
        let session = self.session.as_mut()?;
        let is_due = session.acked_at.is_none_or(|at| now >= at + self.settings.ack_every);
        // Services do not acknowledge: nothing is kept for them.
        let cursor = self.stored_cursor.as_ref().filter(|_| is_due && !self.settings.is_service)?;
        if session.acked.as_ref() == Some(cursor) {
            return None;
        }
        session.acked = Some(cursor.clone());
        session.acked_at = Some(now);
        self.stats.acks += 1;
        Some(self.settings.encoding.encode(&ClientFrame::Ack(Ack { cursor: cursor.clone() })))
    }
}
