//! The outbox: edits that wait for their answer, their numbers (O2, O4, R2), and what is shown on top of the
//! copy (C7).
//!
//! It does no I/O and knows no socket: each change is noted in the [`Journal`]. An answer settles an entry
//! here and never touches the copy.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use synchub_protocol::server::{EntryResult, Status};
use synchub_protocol::{Data, Entry, Operation, Timestamp};
use uuid::Uuid;

use crate::copy::HubCopy;
use crate::storage::{Accepted, Journal, Numbering, OutboxEntry, Shows, Stored, StoredChange};

/// What the client has to do after a welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Welcomed {
    /// Send what waits.
    Send,
    /// Say hello again: the edits that wait are numbered under another install than this session's.
    HelloAgain,
}

/// An edit that waits, and since when it is as it is.
#[derive(Debug, Clone)]
struct Waiting {
    kept: OutboxEntry,
    /// The journal's revision that holds it; it is sent only when that is stored, or a restart would give
    /// its number to another edit.
    revision: u64,
}

/// The edits of this device.
#[derive(Debug)]
pub struct Outbox {
    numbering: Numbering,
    waiting: BTreeMap<u64, Waiting>,
    accepted: BTreeMap<u64, OutboxEntry>,
    /// The accepted ones that are still shown on top of the copy.
    showing: BTreeSet<u64>,
    next_local_id: u64,
    keep_accepted: Duration,
}

impl Outbox {
    /// The outbox as it was stored. `install` numbers new edits; what waits under another one keeps its
    /// numbers and goes out first (O4). Accepted entries are kept for `keep_accepted` (R2).
    pub fn load(
        stored: &mut Stored,
        install: Uuid,
        keep_accepted: Duration,
        copy: &HubCopy,
        journal: &mut Journal,
    ) -> Self {
        let numbering = match stored.numbering {
            Some(numbering) if numbering.install == install => numbering,
            _ => Numbering { install, given: 0 },
        };
        if stored.numbering != Some(numbering) {
            journal.note(StoredChange::Numbering(numbering));
        }
        let entries = std::mem::take(&mut stored.entries);
        let next_local_id = entries.last_key_value().map_or(1, |(local_id, _)| local_id + 1);
        let (accepted, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            entries.into_iter().partition(|(_, kept)| kept.answer.is_some());
        let waiting = waiting.into_iter().map(|(id, kept)| (id, Waiting { kept, revision: 0 })).collect();
        let showing = accepted.keys().copied().collect();
        let mut outbox = Self { numbering, waiting, accepted, showing, next_local_id, keep_accepted };
        outbox.settle_shown(copy);
        outbox
    }

    /// How many edits wait for their answer.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether every edit was answered.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The install under which the next session has to say hello: that of the first edit that waits.
    pub fn session_install(&self) -> Uuid {
        self.waiting.values().next().map_or(self.numbering.install, |first| first.kept.install)
    }

    /// The edits that wait, in the order in which they are sent, each with the journal's revision that has
    /// to be stored before it may go.
    pub fn waiting_after(&self, local_id: u64) -> impl Iterator<Item = (&OutboxEntry, u64)> {
        self.waiting.range(local_id + 1..).map(|(_, waiting)| (&waiting.kept, waiting.revision))
    }

    /// An edit that waits.
    pub fn get(&self, local_id: u64) -> Option<&OutboxEntry> {
        self.waiting.get(&local_id).map(|waiting| &waiting.kept)
    }

    /// Takes an edit and gives it its number for good (O2); returns its local id.
    pub fn push(&mut self, entry: Entry, journal: &mut Journal) -> u64 {
        let local_id = self.next_local_id;
        self.next_local_id += 1;
        self.numbering.given += 1;
        let Numbering { install, given: number } = self.numbering;
        journal.note(StoredChange::Numbering(self.numbering));
        let entry = Arc::new(entry);
        self.wait(OutboxEntry { local_id, install, number, entry, answer: None }, journal);
        local_id
    }

    /// The hub said how far it has decided the session's install: numbers above are given anew.
    pub fn welcomed(
        &mut self,
        session_install: Uuid,
        last_client_seq: u64,
        new_install: impl FnOnce() -> Uuid,
        journal: &mut Journal,
    ) -> Welcomed {
        let is_current = session_install == self.numbering.install;
        if is_current && last_client_seq > self.numbering.given {
            self.begin_install(new_install(), journal);
            return Welcomed::HelloAgain;
        }
        self.take_back_forgotten(session_install, last_client_seq, journal);
        let free = |kept: &OutboxEntry| kept.install == session_install && kept.number > last_client_seq;
        let again: Vec<u64> = self.waiting.iter().filter(|(_, w)| free(&w.kept)).map(|(id, _)| *id).collect();
        let top = self.number_anew(&again, session_install, last_client_seq, journal);
        if is_current && self.numbering.given != top {
            self.numbering.given = top;
            journal.note(StoredChange::Numbering(self.numbering));
        }
        Welcomed::Send
    }

    /// An answer came. Accepted entries are kept for a while and shown until the copy has them; what was
    /// refused is gone. Returns the entry, unless it was answered before.
    pub fn settle(
        &mut self,
        local_id: u64,
        result: &EntryResult,
        seq: u64,
        at: Timestamp,
        journal: &mut Journal,
    ) -> Option<Arc<Entry>> {
        let mut kept = self.waiting.remove(&local_id)?.kept;
        let entry = Arc::clone(&kept.entry);
        if is_refused(result) {
            journal.note(StoredChange::EntryDropped(local_id));
            return Some(entry);
        }
        let shows = match (&result.server_data, result.deleted) {
            (_, Some(true)) => Shows::Nothing,
            (Some(data), _) => Shows::Record(Arc::clone(data)),
            (None, _) => Shows::Edit,
        };
        kept.answer = Some(Accepted { version: result.server_version, seq, at, shows });
        journal.note(StoredChange::Entry(kept.clone()));
        self.accepted.insert(local_id, kept);
        self.showing.insert(local_id);
        Some(entry)
    }

    /// Takes an edit out that the hub will never answer, such as one larger than a frame.
    pub fn discard(&mut self, local_id: u64, journal: &mut Journal) -> Option<Arc<Entry>> {
        let waiting = self.waiting.remove(&local_id)?;
        journal.note(StoredChange::EntryDropped(local_id));
        Some(waiting.kept.entry)
    }

    /// Stops showing what the copy has by now (C7). Called after each frame that changed the copy, and
    /// after answers: the place may have come before the answer.
    pub fn settle_shown(&mut self, copy: &HubCopy) {
        let accepted = &self.accepted;
        self.showing.retain(|local_id| {
            let Some((entry, answer)) =
                accepted.get(local_id).and_then(|k| Some((&k.entry, k.answer.as_ref()?)))
            else {
                return false;
            };
            let held = copy.record(&entry.domain, entry.mobile_id).map_or(0, |record| record.version);
            let has_version = answer.version.is_some_and(|version| held >= version);
            !has_version && copy.position() < answer.seq
        });
    }

    /// Lets go of accepted entries that were kept long enough (R2).
    pub fn forget_old(&mut self, now: Timestamp, journal: &mut Journal) {
        let keep = i64::try_from(self.keep_accepted.as_micros()).unwrap_or(i64::MAX);
        while let Some((local_id, kept)) = self.accepted.first_key_value() {
            let local_id = *local_id;
            let is_young =
                kept.answer.as_ref().is_some_and(|answer| now.0.saturating_sub(answer.at.0) < keep);
            if is_young || self.showing.contains(&local_id) {
                return;
            }
            self.accepted.remove(&local_id);
            journal.note(StoredChange::EntryDropped(local_id));
        }
    }

    /// A record as the user should see it: the copy's, then answered edits that the copy lacks, then what
    /// waits.
    pub fn shown(&self, domain: &str, mobile_id: Uuid, copy: &HubCopy) -> Option<Data> {
        let is_it = |kept: &&OutboxEntry| kept.entry.mobile_id == mobile_id && kept.entry.domain == domain;
        let mut shown = copy.record(domain, mobile_id).map(|record| Data::clone(&record.data));
        for kept in self.showing.iter().filter_map(|local_id| self.accepted.get(local_id)).filter(is_it) {
            match kept.answer.as_ref().map(|answer| &answer.shows) {
                Some(Shows::Record(data)) => shown = Some(Data::clone(data)),
                Some(Shows::Nothing) => shown = None,
                Some(Shows::Edit) | None => shown = lay_over(shown, &kept.entry),
            }
        }
        let waiting = self.waiting.values().map(|waiting| &waiting.kept).filter(is_it);
        waiting.fold(shown, |shown, kept| lay_over(shown, &kept.entry))
    }

    fn wait(&mut self, kept: OutboxEntry, journal: &mut Journal) {
        journal.note(StoredChange::Entry(kept.clone()));
        self.waiting.insert(kept.local_id, Waiting { kept, revision: journal.revision() });
    }

    /// The hub knows numbers that this storage never gave: it was restored from a backup (O4). What waits
    /// takes a new install, so that its numbers collide with nothing.
    fn begin_install(&mut self, install: Uuid, journal: &mut Journal) {
        let old = self.numbering.install;
        let moved: Vec<u64> =
            self.waiting.iter().filter(|(_, w)| w.kept.install == old).map(|(id, _)| *id).collect();
        let given = self.number_anew(&moved, install, 0, journal);
        self.numbering = Numbering { install, given };
        journal.note(StoredChange::Numbering(self.numbering));
    }

    /// Accepted entries above the hub's mark: it lost them, they go first again (R2).
    fn take_back_forgotten(&mut self, install: Uuid, last_client_seq: u64, journal: &mut Journal) {
        let forgotten: Vec<u64> = self
            .accepted
            .iter()
            .filter(|(_, kept)| kept.install == install && kept.number > last_client_seq)
            .map(|(local_id, _)| *local_id)
            .collect();
        for local_id in forgotten {
            self.showing.remove(&local_id);
            if let Some(kept) = self.accepted.remove(&local_id) {
                self.wait(OutboxEntry { answer: None, ..kept }, journal);
            }
        }
    }

    fn number_anew(&mut self, local_ids: &[u64], install: Uuid, above: u64, journal: &mut Journal) -> u64 {
        let mut number = above;
        for local_id in local_ids {
            number += 1;
            let Some(waiting) = self.waiting.get(local_id) else { continue };
            if (waiting.kept.install, waiting.kept.number) != (install, number) {
                let kept = OutboxEntry { install, number, ..waiting.kept.clone() };
                self.wait(kept, journal);
            }
        }
        number
    }
}

fn is_refused(result: &EntryResult) -> bool {
    result.error.is_some() || matches!(result.status, Status::Error | Status::Unknown)
}

/// An edit's fields over a record's; `null` clears a field (E2).
fn lay_over(under: Option<Data>, entry: &Entry) -> Option<Data> {
    if entry.operation == Operation::Delete {
        return None;
    }
    let mut data = under.unwrap_or_default();
    for (field, value) in entry.data.iter() {
        if value == &Value::Null {
            data.remove(field);
        } else {
            data.insert(field.clone(), value.clone());
        }
    }
    Some(data)
}
