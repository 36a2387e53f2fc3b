//! The steps of traced batches between their session and the bus: the wait in the queue, and the commit.
//!
//! A group holds batches of many traces. Each traced one has a commit of its own, linked to the others.

use synchub_rules::group::Decision;

use super::SubmitError;
use super::queue::Sender;
use crate::bus::RowsTrace;
use crate::observe::{Span, SpanPlace};

/// A traced batch that waits.
#[derive(Debug)]
pub(super) struct Queued(Span);

impl Queued {
    /// The batch waits from now on.
    pub(super) fn begin(batch: &Span) -> Self {
        Self(batch.child("queue"))
    }
}

/// The commits of a group's traced batches; they end when this is dropped.
#[derive(Debug, Default)]
pub(super) struct GroupTrace {
    /// One for each batch in order; empty where none is traced.
    commits: Vec<Option<Span>>,
}

impl GroupTrace {
    /// The group was taken from the queue: who waited waits no more.
    pub(super) fn begin(senders: &mut [Sender], entries: usize) -> Self {
        if senders.iter().all(|sender| sender.trace.is_none()) {
            return Self::default();
        }
        let batches = i64::try_from(senders.len()).unwrap_or(i64::MAX);
        let waited = senders.iter_mut().map(|sender| sender.trace.take());
        let mut commits: Vec<_> = waited.map(|queued| Some(queued?.0.then("commit"))).collect();
        let places: Vec<_> = commits.iter().flatten().map(Span::place).collect();
        for commit in commits.iter_mut().flatten() {
            commit.set("synchub.group.batches", batches);
            commit.set("synchub.group.entries", i64::try_from(entries).unwrap_or(i64::MAX));
            let own = commit.place();
            places.iter().filter(|place| **place != own).for_each(|place| commit.link(*place));
        }
        Self { commits }
    }

    /// The places of the commits, for what comes of them.
    pub(super) fn places(&self) -> Vec<Option<SpanPlace>> {
        self.commits.iter().map(|commit| commit.as_ref().map(Span::place)).collect()
    }

    /// The group was decided.
    pub(super) fn end(self, answers: &[Result<Decision, SubmitError>]) {
        for (mut commit, answer) in self.commits.into_iter().zip(answers) {
            let failed = answer.is_err();
            if let Some(commit) = commit.as_mut().filter(|_| failed) {
                commit.fail("not committed");
            }
        }
    }
}

/// Which of the rows after a place of the log are of traced batches: a batch's rows follow those of the
/// batch before it.
pub(super) fn rows_of(decisions: &[Decision], places: &[Option<SpanPlace>], before: u64) -> Vec<RowsTrace> {
    let (mut after, mut traces) = (before, Vec::new());
    for (decision, place) in decisions.iter().zip(places) {
        let Decision::Answered(answer) = decision else { continue };
        if answer.repeated || answer.seq <= after {
            continue;
        }
        traces.extend(place.map(|place| RowsTrace { after, through: answer.seq, place }));
        after = answer.seq;
    }
    traces
}
