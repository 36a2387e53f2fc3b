//! Cuts what waits into batches for one connection, and says when each may go.
//!
//! A batch keeps its `batch_id` and its entries while it is unanswered on this connection (O1); a new
//! connection starts with new batches, since the numbers make it safe to cut anew (O2). The batches always
//! cover the first edits that wait, in order. It does no I/O.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use synchub_protocol::client::Sync;
use synchub_protocol::server::{ErrorFrame, Limits};
use synchub_protocol::{ClientFrame, Encoding, ErrorCode, RawEntry, Timestamp};
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Entropy;
use crate::config::Backoff;
use crate::outbox::Outbox;

/// What to do next with the outbox on this connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this frame; ask again.
    Send(Bytes),
    /// Nothing now; ask again after an answer, a new edit, or at the time of [`Batches::not_before`].
    Wait,
    /// This edit fits into no frame: refuse it here, and say hello again to close the gap in the numbers.
    TooLarge(u64),
    /// What waits needs another hello: it is numbered under another install.
    HelloAgain,
}

/// What the refusal of a whole batch means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It goes again, as it is or in halves, when nothing is in flight any more.
    Again,
    /// The hub's idea of the numbers is another one: say hello again (O2).
    HelloAgain,
    /// The one edit in it will never be taken: refuse it here.
    Entry(u64),
    /// The request was not one of this connection's batches.
    NotMine,
}

/// The hand that cuts and sends batches at one moment.
#[derive(Clone, Copy)]
pub struct Moment<'m> {
    /// For waiting.
    pub instant: Instant,
    /// For the hub to measure the clock's offset.
    pub clock: Timestamp,
    /// For batch ids and jitter.
    pub entropy: &'m dyn Entropy,
}

impl std::fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Moment").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The request of a batch that was not sent yet; hello has 1.
const NEVER_SENT: u64 = 0;

#[derive(Debug)]
struct Batch {
    request: u64,
    id: Uuid,
    first_number: u64,
    local_ids: Vec<u64>,
    in_flight: bool,
}

/// How many entries a batch may hold.
fn most_entries(limits: &Limits, cap: usize) -> usize {
    let hubs = limits.recommended_batch.min(limits.max_batch_entries).max(1);
    usize::try_from(hubs).unwrap_or(usize::MAX).min(cap).max(1)
}

/// The batches of one connection.
#[derive(Debug)]
pub struct Batches {
    install: Uuid,
    encoding: Encoding,
    limits: Limits,
    cap: usize,
    most_entries: usize,
    backoff: Backoff,
    cut: VecDeque<Batch>,
    /// A batch was refused: nothing goes until all that is in flight was answered (O2).
    holding: bool,
    not_before: Option<Instant>,
    refusals: u32,
    resent: u64,
}

impl Batches {
    /// Begins a connection. `cap` bounds the batches further, after a frame was too large.
    pub fn new(install: Uuid, encoding: Encoding, limits: Limits, cap: usize, backoff: Backoff) -> Self {
        let most_entries = most_entries(&limits, cap);
        Self {
            install,
            encoding,
            limits,
            cap,
            most_entries,
            backoff,
            cut: VecDeque::new(),
            holding: false,
            not_before: None,
            refusals: 0,
            resent: 0,
        }
    }

    /// The hub recommends so many entries a batch from now on. What is cut already stays as it is (O1).
    pub fn recommend(&mut self, entries: u64) {
        self.limits.recommended_batch = entries;
        self.most_entries = most_entries(&self.limits, self.cap);
    }

    /// How many batches are in flight.
    pub fn in_flight(&self) -> usize {
        self.cut.iter().filter(|batch| batch.in_flight).count()
    }

    /// How many batches were sent again on this connection.
    pub fn resent(&self) -> u64 {
        self.resent
    }

    /// Until when nothing goes because the hub is busy, if that is still to come.
    pub fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// The next thing to do. Only edits that are stored (at or below `stored_revision`) are sent.
    pub fn next(
        &mut self,
        outbox: &Outbox,
        stored_revision: u64,
        moment: Moment<'_>,
        next_request: &mut u64,
    ) -> Step {
        if self.not_before.is_some_and(|instant| moment.instant < instant) {
            return Step::Wait;
        }
        self.not_before = None;
        let in_flight = self.in_flight();
        self.holding &= in_flight > 0;
        if self.holding || in_flight as u64 >= self.limits.max_in_flight.max(1) {
            return Step::Wait;
        }
        let refused = self.cut.iter().position(|batch| !batch.in_flight);
        let index = match refused {
            Some(index) => index,
            None => match self.cut_next(outbox, stored_revision, moment.entropy) {
                Ok(Some(batch)) => {
                    self.cut.push_back(batch);
                    self.cut.len() - 1
                }
                Err(OtherInstall) if self.cut.is_empty() => return Step::HelloAgain,
                Ok(None) | Err(OtherInstall) => return Step::Wait,
            },
        };
        self.send(index, outbox, moment, next_request)
    }

    /// A batch was answered: its edits, in the order of the results.
    pub fn answered(&mut self, request: u64, pause: Option<Duration>, now: Instant) -> Option<Vec<u64>> {
        let index = self.cut.iter().position(|batch| batch.request == request && batch.in_flight)?;
        self.refusals = 0;
        if let Some(pause) = pause {
            self.wait_until(now + pause);
        }
        self.cut.remove(index).map(|batch| batch.local_ids)
    }

    /// A batch was refused as a whole; nothing of it was decided (O3).
    pub fn refused(&mut self, request: u64, error: &ErrorFrame, moment: Moment<'_>) -> Refusal {
        let Some(index) = self.cut.iter().position(|batch| batch.request == request && batch.in_flight)
        else {
            return Refusal::NotMine;
        };
        self.cut[index].in_flight = false;
        self.holding = true;
        if error.code == ErrorCode::OutOfOrder {
            // Behind a refused batch the gap is our own and closes when that one goes again.
            return if index == 0 { Refusal::HelloAgain } else { Refusal::Again };
        }
        if error.temporary || error.code.is_temporary() {
            let asked = Duration::from_millis(error.retry_after_ms.unwrap_or(0));
            let own = self.backoff.delay(self.refusals, moment.entropy);
            self.refusals += 1;
            self.wait_until(moment.instant + asked.max(own));
            return Refusal::Again;
        }
        if error.code == ErrorCode::IdempotencyKeyReused {
            self.cut[index].id = moment.entropy.uuid();
            return Refusal::Again;
        }
        self.halve(index, moment.entropy)
    }

    /// Nothing goes before this, nor before what was asked for already: several batches may be refused at once.
    fn wait_until(&mut self, instant: Instant) {
        self.not_before = self.not_before.max(Some(instant));
    }

    /// Somewhere in this batch is an edit for which the hub refuses all of it: the halves tell which.
    fn halve(&mut self, index: usize, entropy: &dyn Entropy) -> Refusal {
        let batch = &mut self.cut[index];
        if let [only] = batch.local_ids[..] {
            self.cut.remove(index);
            return Refusal::Entry(only);
        }
        let second = batch.local_ids.split_off(batch.local_ids.len() / 2);
        batch.id = entropy.uuid();
        batch.request = NEVER_SENT;
        let first_number = batch.first_number + batch.local_ids.len() as u64;
        let id = entropy.uuid();
        let half = Batch { request: NEVER_SENT, id, first_number, local_ids: second, in_flight: false };
        self.cut.insert(index + 1, half);
        Refusal::Again
    }

    fn cut_next(
        &self,
        outbox: &Outbox,
        stored_revision: u64,
        entropy: &dyn Entropy,
    ) -> Result<Option<Batch>, OtherInstall> {
        let after = self.cut.back().and_then(|batch| batch.local_ids.last()).copied().unwrap_or(0);
        let mut rest = outbox.waiting_after(after).peekable();
        let Some((first, _)) = rest.peek() else { return Ok(None) };
        if first.install != self.install {
            return Err(OtherInstall);
        }
        let first_number = first.number;
        let local_ids: Vec<u64> = rest
            .zip(first_number..)
            .take(self.most_entries)
            .take_while(|((kept, revision), number)| {
                *revision <= stored_revision && kept.install == self.install && kept.number == *number
            })
            .map(|((kept, _), _)| kept.local_id)
            .collect();
        let id = entropy.uuid();
        Ok((!local_ids.is_empty()).then_some(Batch {
            request: NEVER_SENT,
            id,
            first_number,
            local_ids,
            in_flight: false,
        }))
    }

    fn send(&mut self, index: usize, outbox: &Outbox, moment: Moment<'_>, next_request: &mut u64) -> Step {
        loop {
            let request = *next_request;
            let batch = &mut self.cut[index];
            let entries = batch.local_ids.iter().filter_map(|local_id| outbox.get(*local_id));
            let frame = ClientFrame::Sync(Sync {
                id: request,
                batch_id: batch.id,
                entries: entries.map(|kept| RawEntry::from((*kept.entry).clone())).collect(),
                first_client_seq: Some(batch.first_number),
                atomic: None,
                cross_device: None,
                predict: None,
                client_time: Some(moment.clock),
            });
            let bytes = self.encoding.encode(&frame);
            if bytes.len() as u64 <= self.limits.max_frame_bytes {
                self.resent += u64::from(batch.request != NEVER_SENT);
                batch.request = request;
                batch.in_flight = true;
                *next_request += 1;
                return Step::Send(bytes);
            }
            if let Refusal::Entry(local_id) = self.halve(index, moment.entropy) {
                return Step::TooLarge(local_id);
            }
        }
    }
}

struct OtherInstall;
