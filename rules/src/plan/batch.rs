//! One batch: whether it is to be decided at all, its entries in order, and what is remembered of it.
//!
//! What an entry does to its record is decided elsewhere; here its ruling is carried out.

use std::borrow::Cow;
use std::collections::HashSet;

use synchub_protocol::server::{EntryError, Status};
use synchub_protocol::{Data, Entry, EntryFault, ErrorCode, Operation};
use uuid::Uuid;

use crate::group::{
    AS_IT_STANDS, BatchAnswer, BatchRow, Belonging, Decision, Domain, Outcome, ReviewKind, StoredBatch,
    StoredOutcome, Submission, SubmittedEntry,
};
use crate::plan::answer::{self, answer, is_sinking, mark_status, mobile_id, not_applied, record_key, show};
use crate::plan::entry::{self, Case, Ruling};
use crate::plan::overlay::{Overlay, RecordKey, Start};
use crate::plan::review::{self, Subject};
use crate::push::PushBody;
use crate::record::Record;

/// Decides a batch, unless it was decided before or must not be.
pub(super) fn decide(overlay: &mut Overlay, submission: &Submission) -> Decision {
    let Submission { author, batch_id, .. } = submission;
    if !overlay.is_current(author.device, author.generation) {
        return Decision::Replaced;
    }
    if let Some(stored) = overlay.batch(author.device, *batch_id) {
        if stored.hash != submission.hash {
            return Decision::KeyReused;
        }
        return Decision::Answered(repeat(overlay, submission, &stored.outcomes));
    }
    if let Some(id) = unknown_conflict(overlay, submission) {
        return Decision::UnknownConflict(id);
    }
    let mark = overlay.mark(author.install);
    if submission.first_number.is_some_and(|first| first > mark + 1) {
        return Decision::OutOfOrder;
    }
    let start = overlay.begin(submission.atomic);
    let batch = Batch { submission, mark, start, failed: HashSet::new(), corrected: Vec::new() };
    Decision::Answered(batch.run(overlay))
}

/// A conflict that a push tells of and that is none of the tenant's.
fn unknown_conflict(overlay: &Overlay, submission: &Submission) -> Option<Uuid> {
    submission.pushes.iter().find_map(|push| match push.body {
        PushBody::ConflictAlert { conflict_id } if !overlay.has_conflict(conflict_id) => Some(conflict_id),
        _ => None,
    })
}

fn repeat(overlay: &Overlay, submission: &Submission, stored: &[StoredOutcome]) -> BatchAnswer {
    let entries = submission.entries.iter().zip(stored);
    let mut outcomes: Vec<Outcome> = entries
        .map(|(entry, stored)| Outcome {
            mobile_id: mobile_id(entry),
            stored: stored.clone(),
            server_data: None,
        })
        .collect();
    show(overlay, submission, &mut outcomes);
    BatchAnswer { outcomes, seq: overlay.writes.head.seq, repeated: true }
}

/// A batch that is being decided.
struct Batch<'a> {
    submission: &'a Submission,
    /// The install's mark before it.
    mark: u64,
    start: Start,
    /// Records that it failed to create (E7).
    failed: HashSet<RecordKey>,
    /// Refused numbers that entries of it correct (E11).
    corrected: Vec<u64>,
}

impl Batch<'_> {
    fn run(mut self, overlay: &mut Overlay) -> BatchAnswer {
        let n_entries = self.submission.entries.len();
        let mut outcomes = Vec::with_capacity(n_entries);
        for place in 0..n_entries {
            let outcome = self.outcome(overlay, place);
            let sinks = self.submission.atomic && !self.was_decided(place) && is_sinking(&outcome.stored);
            outcomes.push(outcome);
            if sinks {
                self.sink(overlay, &mut outcomes);
                break;
            }
        }
        for push in &self.submission.pushes {
            overlay.log_push(&self.submission.author, push);
        }
        self.remember(overlay, outcomes)
    }

    fn outcome(&mut self, overlay: &mut Overlay, place: usize) -> Outcome {
        let entry = &self.submission.entries[place];
        let stored = if self.was_decided(place) {
            self.duplicate(overlay, place)
        } else {
            match entry {
                SubmittedEntry::Entry { entry, domain, belonging } => {
                    self.entry(overlay, place, (entry, domain, belonging.as_ref()))
                }
                SubmittedEntry::Fault { fault, code, domain } => {
                    self.fault(overlay, place, (fault, *code, domain.as_deref()))
                }
            }
        };
        self.note_failed_create(overlay, entry, &stored);
        Outcome { mobile_id: mobile_id(entry), stored, server_data: None }
    }

    /// The number of an entry, where the install counts its entries.
    fn number(&self, place: usize) -> Option<u64> {
        self.submission.first_number.map(|first| first.saturating_add(place as u64))
    }

    /// Whether an entry's number lies at or below the mark (O2).
    fn was_decided(&self, place: usize) -> bool {
        self.number(place).is_some_and(|number| number <= self.mark)
    }

    fn duplicate(&self, overlay: &Overlay, place: usize) -> StoredOutcome {
        let number = self.number(place);
        let install = self.submission.author.install;
        let error = number.and_then(|number| overlay.refused(install, number)).cloned();
        let record = self.visible(overlay, &self.submission.entries[place]);
        StoredOutcome { error, ..answer(Status::Duplicate, record) }
    }

    fn fault(
        &self,
        overlay: &mut Overlay,
        place: usize,
        (fault, code, domain): (&EntryFault, ErrorCode, Option<&Domain>),
    ) -> StoredOutcome {
        let met = self.visible(overlay, &self.submission.entries[place]);
        let review = domain.filter(|_| review::is_kept(code)).map(|domain| {
            let data = fault.partial.get("data").and_then(serde_json::Value::as_object);
            let subject = self.subject(overlay, place, (domain, fault.mobile_id, 0, data));
            subject.refusal(code, fault.partial.clone(), met)
        });
        let stored = answer(Status::Error, met);
        overlay.writes.reviews.extend(review);
        let error = EntryError { code, message: fault.message.clone(), field: fault.field.clone() };
        StoredOutcome { error: Some(error), ..stored }
    }

    fn entry(
        &mut self,
        overlay: &mut Overlay,
        place: usize,
        (entry, domain, belonging): (&Entry, &Domain, Option<&Belonging>),
    ) -> StoredOutcome {
        let author = &self.submission.author;
        let key = (domain.no, entry.mobile_id);
        let entry = &*on_what_stands(overlay, key, entry);
        // A client that numbers anew what a restored hub forgot may name a number that is not refused yet.
        let own = self.number(place).unwrap_or(u64::MAX);
        if let Some(number) = entry.corrects.filter(|corrects| *corrects < own) {
            if overlay.correction(author.install, number).is_some_and(|review| review.applied) {
                return answer(Status::Duplicate, self.visible(overlay, &self.submission.entries[place]));
            }
            self.corrected.push(number);
        }
        let case = Case {
            author,
            entry,
            domain,
            belonging,
            number: self.number(place).unwrap_or(place as u64 + 1),
            received_us: self.submission.received_us,
            create_failed: self.failed.contains(&key),
        };
        let Ruling { status, error, change, dispute } = entry::decide(overlay.slot(key), &case);
        let subject =
            self.subject(overlay, place, (domain, Some(entry.mobile_id), entry.version, Some(&entry.data)));
        let met = self.visible(overlay, &self.submission.entries[place]);
        let conflict = dispute.as_ref().map(|dispute| subject.conflict(dispute));
        let mut reviews = Vec::new();
        if let Some(error) = error.as_ref().filter(|error| review::is_kept(error.code)) {
            reviews.push(subject.refusal(error.code, as_sent(entry), met));
        }
        if let (Some(dispute), Some(met)) = (dispute, met) {
            reviews.extend(subject.conflict_rows(dispute, as_sent(entry), met));
        }
        overlay.writes.reviews.extend(reviews);
        if let Some(change) = change {
            overlay.apply(author, domain, key, change);
        }
        let after = self.visible(overlay, &self.submission.entries[place]);
        let stored = StoredOutcome { conflict, error, ..answer(status, after) };
        if after.is_some() {
            mark_status(overlay, key, &stored);
        }
        stored
    }

    fn subject<'b>(
        &self,
        overlay: &Overlay,
        place: usize,
        (domain, key, base, sent): (&'b Domain, Option<Uuid>, u64, Option<&'b Data>),
    ) -> Subject<'b>
    where
        Self: 'b,
    {
        Subject {
            submission: self.submission,
            place,
            number: self.number(place),
            domain,
            key,
            base,
            sent,
            now_us: overlay.now_us,
        }
    }

    /// The record that an entry names, if its sender may see it.
    fn visible<'o>(&self, overlay: &'o Overlay, entry: &SubmittedEntry) -> Option<&'o Record> {
        answer::visible(overlay, self.submission, entry)
    }

    fn note_failed_create(&mut self, overlay: &Overlay, entry: &SubmittedEntry, stored: &StoredOutcome) {
        let Some(key) = record_key(entry).filter(|_| stored.error.is_some()) else { return };
        let record = self.visible(overlay, entry);
        let creates = match entry {
            SubmittedEntry::Entry { entry, .. } => {
                entry.operation == Operation::Upsert
                    && !entry.delta
                    && (entry.version == 0 || record.is_some())
            }
            SubmittedEntry::Fault { .. } => true,
        };
        if creates && record.is_none_or(|record| record.deleted) {
            self.failed.insert(key);
        }
    }

    /// Takes everything back that an atomic batch did, but for the answer of the entry that sank it
    /// and the audit of its conflict (E10).
    fn sink(&mut self, overlay: &mut Overlay, outcomes: &mut Vec<Outcome>) {
        let Some(sinker) = outcomes.pop() else { return };
        let at = outcomes.len();
        let conflict = sinker.stored.conflict.as_ref().map(|conflict| conflict.conflict_id);
        let mut reviews = overlay.writes.reviews.drain(self.start.n_reviews..);
        let audit = reviews.find(|row| row.kind == ReviewKind::Resolved && Some(row.id) == conflict);
        drop(reviews);
        overlay.roll_back(self.start);
        overlay.writes.reviews.extend(audit);
        self.corrected.clear();
        let entries = self.submission.entries.iter().enumerate();
        *outcomes = entries
            .map(|(place, entry)| {
                let record = self.visible(overlay, entry);
                let stored = if self.was_decided(place) {
                    self.duplicate(overlay, place)
                } else if place == at {
                    let StoredOutcome { version, deleted, .. } = answer(Status::Error, record);
                    StoredOutcome { version, deleted, ..sinker.stored.clone() }
                } else {
                    StoredOutcome { error: Some(not_applied()), ..answer(Status::Error, record) }
                };
                Outcome { mobile_id: mobile_id(entry), stored, server_data: None }
            })
            .collect();
    }

    fn remember(self, overlay: &mut Overlay, mut outcomes: Vec<Outcome>) -> BatchAnswer {
        let Submission { author, batch_id, hash, .. } = self.submission;
        for (place, outcome) in outcomes.iter().enumerate().filter(|(place, _)| !self.was_decided(*place)) {
            if let (Some(number), Some(error)) = (self.number(place), &outcome.stored.error) {
                overlay.refuse(author.install, number, error.clone());
            }
        }
        for number in &self.corrected {
            overlay.close_review(author.install, *number);
        }
        if let Some(last) = self.number(outcomes.len()).map(|next| next.saturating_sub(1)) {
            overlay.raise_mark(author.install, last);
        }
        let remembered = outcomes.iter().map(|outcome| outcome.stored.clone()).collect();
        overlay.remember_batch(BatchRow {
            device: author.device,
            batch_id: *batch_id,
            stored: StoredBatch { hash: *hash, outcomes: remembered },
            at_us: overlay.now_us,
        });
        show(overlay, self.submission, &mut outcomes);
        BatchAnswer { outcomes, seq: overlay.writes.head.seq, repeated: false }
    }
}

/// The entry with the version of the record as it stands, where it goes on that one.
fn on_what_stands<'e>(overlay: &Overlay, key: RecordKey, entry: &'e Entry) -> Cow<'e, Entry> {
    if entry.version != AS_IT_STANDS {
        return Cow::Borrowed(entry);
    }
    let version = overlay.slot(key).map_or(0, |slot| slot.record.version);
    Cow::Owned(Entry { version, ..entry.clone() })
}

fn as_sent(entry: &Entry) -> serde_json::Value {
    serde_json::to_value(entry).unwrap_or_default()
}
