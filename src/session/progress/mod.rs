//! A session's place in the log and what it still owes the device: snapshots, a replay, then live.
//!
//! Pure: what is to be sent next follows from this alone, and every cursor is made here (C1–C4). The
//! place moves only forward, except to where a running snapshot began or to what was held back.

use std::collections::{BTreeMap, VecDeque};

use synchub_protocol::server::{Fresh, FreshReason};
use synchub_rules::record::{DomainNo, Head, RecordNo, Scope, TenantNo};

use super::cursor::{CoverHash, Cursor, RunningSnapshot};
use super::subscriptions::Subscriptions;

/// What the device holds when it says hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// A cursor that can be gone on from.
    Cursor(Cursor),
    /// Nothing that helps, and why.
    Nothing(FreshReason),
}

/// A domain that comes as a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FreshDomain {
    no: DomainNo,
    hash: CoverHash,
    /// The last record that was sent or passed over.
    after: Option<(Scope, RecordNo)>,
    /// Whether a frame of it has been sent.
    begun: bool,
}

/// Where the session stands.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    tenant: TenantNo,
    epoch: u64,
    /// Everything covered up to here has been sent.
    at: Head,
    /// The place where the snapshots began; the replay goes on from here.
    base: Head,
    covered: BTreeMap<DomainNo, CoverHash>,
    fresh: VecDeque<FreshDomain>,
    /// Every push up to here was sent, waits, or is owed apart (P2).
    pushed: u64,
    /// Rows that wait, each with the place before it: no cursor goes past the first (C2).
    held: BTreeMap<u64, Head>,
    /// The place before the oldest change that is held back (C9): no cursor goes past it either.
    delayed: Option<Head>,
}

/// A page of a snapshot that is to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextPage {
    pub(crate) domain: DomainNo,
    pub(crate) after: Option<(Scope, RecordNo)>,
    /// Whether a frame of the snapshot has been sent.
    pub(crate) begun: bool,
}

impl Progress {
    /// Begins a session, at the cursor's place or at the log's head.
    pub(crate) fn begin(
        (tenant, epoch, head): (TenantNo, u64, Head),
        known: Known,
        subscriptions: &Subscriptions,
    ) -> (Self, Vec<Fresh>) {
        let (at, covered, running, reason) = match known {
            Known::Cursor(cursor) => {
                let covered = cursor.covered.iter().copied().collect();
                (cursor.place(), covered, cursor.running, FreshReason::New)
            }
            Known::Nothing(reason) => (head, BTreeMap::new(), None, reason),
        };
        let mut progress = Self {
            tenant,
            epoch,
            at,
            base: at,
            covered: BTreeMap::new(),
            fresh: VecDeque::new(),
            pushed: head.seq,
            held: BTreeMap::new(),
            delayed: None,
        };
        let fresh = progress.cover(&covered, running, reason, subscriptions);
        (progress, fresh)
    }

    /// Takes another set of subscriptions; domains that it adds or changes are fresh (C3).
    pub(crate) fn subscribe(&mut self, subscriptions: &Subscriptions) -> Vec<Fresh> {
        let (was_fresh, running) = (!self.fresh.is_empty(), self.running());
        self.base = self.reached();
        let covered = std::mem::take(&mut self.covered);
        let fresh = self.cover(&covered, running, FreshReason::New, subscriptions);
        if was_fresh && self.fresh.is_empty() {
            self.at = self.base;
        }
        fresh
    }

    /// Begins anew at the head: every domain is fresh (C3).
    pub(crate) fn start_over(&mut self, head: Head, subscriptions: &Subscriptions) -> Vec<Fresh> {
        let place = (self.tenant, self.epoch, head);
        let (progress, fresh) = Self::begin(place, Known::Nothing(FreshReason::CursorExpired), subscriptions);
        *self = progress;
        fresh
    }

    /// Splits the set into what goes on and what comes fresh; a running snapshot goes on first.
    fn cover(
        &mut self,
        covered: &BTreeMap<DomainNo, CoverHash>,
        running: Option<RunningSnapshot>,
        reason: FreshReason,
        subscriptions: &Subscriptions,
    ) -> Vec<Fresh> {
        self.fresh.clear();
        let mut named = Vec::new();
        for subscribed in subscriptions.iter() {
            let (no, hash) = (subscribed.domain.no, subscribed.hash);
            let known = covered.get(&no);
            if known == Some(&hash) {
                self.covered.insert(no, hash);
                continue;
            }
            let reason = if known.is_some() { FreshReason::Changed } else { reason };
            named.push(Fresh { domain: subscribed.domain.name.to_string(), reason });
            match running.filter(|running| (running.domain, running.hash) == (no, hash)) {
                Some(running) => {
                    self.fresh.push_front(FreshDomain {
                        no,
                        hash,
                        after: Some(running.after()),
                        begun: true,
                    });
                }
                None => self.fresh.push_back(FreshDomain { no, hash, after: None, begun: false }),
            }
        }
        named
    }

    /// The snapshot page that comes next; none when the replay is due.
    pub(crate) fn next_page(&self) -> Option<NextPage> {
        self.fresh.front().map(|fresh| NextPage { domain: fresh.no, after: fresh.after, begun: fresh.begun })
    }

    /// A part of the snapshot was sent, up to a record.
    pub(crate) fn snapshot_sent(&mut self, after: (Scope, RecordNo)) {
        self.snapshot_passed(after);
        if let Some(fresh) = self.fresh.front_mut() {
            fresh.begun = true;
        }
    }

    /// Records up to this one were read, and none of them was for the device.
    pub(crate) fn snapshot_passed(&mut self, after: (Scope, RecordNo)) {
        if let Some(fresh) = self.fresh.front_mut() {
            fresh.after = Some(after);
        }
    }

    /// The snapshot was sent to its end. After the last one the replay begins where they began (C4).
    pub(crate) fn snapshot_done(&mut self) {
        if let Some(done) = self.fresh.pop_front() {
            self.covered.insert(done.no, done.hash);
            if self.fresh.is_empty() {
                self.fresh = VecDeque::new();
                self.at = self.base;
            }
        }
    }

    /// Everything up to a place was sent.
    pub(crate) fn advance(&mut self, to: Head) {
        if to.seq > self.at.seq {
            self.at = to;
        }
    }

    /// Everything up to here was sent.
    pub(crate) fn at(&self) -> Head {
        self.at
    }

    /// Whether a push at a place is still to be taken; from now on it is not.
    pub(crate) fn take_push(&mut self, seq: u64) -> bool {
        let is_new = seq > self.pushed;
        self.pushed = seq.max(self.pushed);
        is_new
    }

    /// Up to where pushes were taken.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The row at a place waits; `before` is a place before it that was reached.
    pub(crate) fn hold(&mut self, seq: u64, before: Head) {
        self.held.insert(seq, before);
    }

    /// The row at a place waits no longer.
    pub(crate) fn release(&mut self, seq: u64) {
        self.held.remove(&seq);
    }

    /// Whether a row waits, or a change is held back.
    pub(crate) fn is_held(&self) -> bool {
        !self.held.is_empty() || self.delayed.is_some()
    }

    /// A change is held back; `before` is the place before it, which was reached.
    pub(crate) fn delay(&mut self, before: Head) {
        self.delayed.get_or_insert(before);
    }

    /// Whether a change is held back.
    pub(crate) fn is_delayed(&self) -> bool {
        self.delayed.is_some()
    }

    /// Goes back before the oldest change that is held back, so that the replay brings all of them (C9).
    pub(crate) fn go_back(&mut self) {
        let Some(before) = self.delayed.take() else { return };
        for place in [&mut self.at, &mut self.base] {
            if before.seq < place.seq {
                *place = before;
            }
        }
    }

    /// Where the replay would begin now: what waits is another matter.
    fn reached(&self) -> Head {
        if self.fresh.is_empty() || self.at.seq < self.base.seq { self.at } else { self.base }
    }

    /// The place that a cursor names: never past what waits or is held back, nor past what a running snapshot
    /// has to be followed by (C2, C4).
    pub(crate) fn place(&self) -> Head {
        let held = self.held.first_key_value().map(|(_, before)| *before);
        let places = [Some(self.reached()), held, self.delayed];
        places.into_iter().flatten().min_by_key(|place| place.seq).unwrap_or(self.at)
    }

    /// The cursor for everything that was sent.
    pub(crate) fn cursor(&self) -> Cursor {
        let place = self.place();
        Cursor {
            tenant: self.tenant,
            epoch: self.epoch,
            seq: place.seq,
            time_us: place.time_us,
            covered: self.covered.iter().map(|(no, hash)| (*no, *hash)).collect(),
            running: self.running(),
        }
    }

    fn running(&self) -> Option<RunningSnapshot> {
        let fresh = self.fresh.front().filter(|fresh| fresh.begun)?;
        Some(RunningSnapshot::new(fresh.no, fresh.hash, fresh.after?))
    }
}

#[cfg(test)]
mod tests;
