//! Group commit: what waits for one tenant becomes one transaction.
//!
//! While a group commits, the next one gathers in `queue`. A group that the store refuses is tried again batch by
//! batch, so that only the guilty one fails; a store that cannot write fails all of them at once.

use std::sync::Arc;

use synchub_rules::group::{Decision, Plan, Submission};
use synchub_rules::plan;
use synchub_rules::push::{Logged, PushBody};
use synchub_rules::record::{Head, TenantNo};

use super::SubmitError;
use super::failures::Failures;
use super::load::Load;
use super::queue::Queue;
use super::trace::{GroupTrace, rows_of};
use crate::bus::{Bus, Update};
use crate::clock::SharedClock;
use crate::observe::{CommitFailure, Metrics, PushKind, SpanPlace};
use crate::recorder::Recorder;
use crate::store::{CommitError, Committed, Group, Store};

/// The task that commits.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) queue: Arc<Queue>,
    pub(super) load: Arc<Load>,
    pub(super) store: Arc<dyn Store>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) recorder: Recorder,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
    pub(super) failures: Failures,
}

impl Committer {
    /// Commits group after group until the queue is closed and empty.
    pub(super) async fn run(self) {
        while let Some((tenant, group)) = self.queue.next().await {
            let (submissions, mut senders): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let bytes = submissions.iter().map(|submission: &Submission| submission.heap).sum();
            let entries = submissions.iter().map(|submission| submission.entries.len()).sum();
            let trace = GroupTrace::begin(&mut senders, entries);
            self.load.begin();
            let answers = self.decide(tenant, submissions, &trace.places()).await;
            self.load.end();
            self.queue.answered(bytes);
            trace.end(&answers);
            fail::fail_point!("engine::before_answer");
            for (sender, answer) in senders.into_iter().zip(answers) {
                // A session that went away finds its answer under the same batch_id later.
                let _ = sender.answer.send(answer);
            }
        }
    }

    /// Decides a group; `commits` has the span of each traced batch, or is empty.
    async fn decide(
        &self,
        tenant: TenantNo,
        group: Vec<Submission>,
        commits: &[Option<SpanPlace>],
    ) -> Vec<Result<Decision, SubmitError>> {
        let entries = group.iter().map(|batch| batch.entries.len()).sum();
        let (count, group) = (group.len(), Arc::new(group));
        match self.commit(tenant, Arc::clone(&group), commits).await {
            Ok(decisions) => decisions.into_iter().map(Ok).collect(),
            Err(CommitError::Unavailable(cause)) => {
                self.metrics.commit_failures.of(CommitFailure::Unavailable).inc();
                tracing::error!(
                    tenant.no = tenant,
                    batches = count,
                    cause,
                    "the store cannot write; the batches stay with the devices"
                );
                self.failures.failed(entries, self.clock.ticks_us());
                vec![Err(SubmitError::Unavailable); count]
            }
            Err(CommitError::Refused(_)) if count > 1 => {
                self.metrics.commit_failures.of(CommitFailure::Refused).inc();
                let group = Arc::try_unwrap(group).unwrap_or_else(|shared| (*shared).clone());
                self.decide_alone(tenant, group, commits).await
            }
            Err(CommitError::Refused(cause)) => {
                self.metrics.commit_failures.of(CommitFailure::Refused).inc();
                let batch_id = group.first().map(|batch| batch.batch_id.to_string());
                tracing::error!(tenant.no = tenant, batch_id, cause, "the store refused a batch");
                vec![Err(SubmitError::Internal)]
            }
        }
    }

    async fn decide_alone(
        &self,
        tenant: TenantNo,
        group: Vec<Submission>,
        commits: &[Option<SpanPlace>],
    ) -> Vec<Result<Decision, SubmitError>> {
        let mut answers = Vec::with_capacity(group.len());
        for (index, submission) in group.into_iter().enumerate() {
            let commits = commits.get(index..=index).unwrap_or_default();
            answers.extend(Box::pin(self.decide(tenant, vec![submission], commits)).await);
        }
        answers
    }

    async fn commit(
        &self,
        tenant: TenantNo,
        group: Arc<Vec<Submission>>,
        commits: &[Option<SpanPlace>],
    ) -> Result<Vec<Decision>, CommitError> {
        let (batches, entries) = (group.len(), group.iter().map(|batch| batch.entries.len()).sum::<usize>());
        let reads = plan::reads(&group);
        let (started, ticks) = (self.clock.now_us(), self.clock.ticks_us());
        let planned = Arc::clone(&group);
        let decide = Box::new(move |loaded| write_twice_on_purpose(plan::plan(started, loaded, &planned)));
        let committed = self.store.commit(Group { tenant, reads, plan: decide }).await?;
        self.failures.succeeded(entries);
        let us = self.clock.ticks_us() - ticks;
        self.metrics.commit(batches, entries, us);
        let seq = committed.head.seq;
        tracing::debug!(tenant.no = tenant, batches, entries, us, seq, "a group was committed");
        self.recorder.took(tenant, &group, &committed.decisions, &committed.rows);
        Ok(self.announce(tenant, committed, commits))
    }

    /// Tells the bus what is durable now; of rows that cannot be routed only that they are there.
    fn announce(
        &self,
        tenant: TenantNo,
        committed: Committed,
        commits: &[Option<SpanPlace>],
    ) -> Vec<Decision> {
        let Committed { decisions, rows, pushes, rows_are_bare, epoch, head } = committed;
        if !(rows.is_empty() && pushes.is_empty()) {
            for push in &pushes {
                self.metrics.pushes.of(kind_of(&push.body)).inc();
            }
            let changes = rows.into_iter().map(|row| Logged::Change(Arc::new(row)));
            let pushes = pushes.into_iter().map(|row| Logged::Push(Arc::new(row)));
            let mut rows: Vec<_> = changes.chain(pushes).filter(|_| !rows_are_bare).collect();
            rows.sort_by_key(Logged::seq);
            let before = rows.first().map_or(head.seq, |first| first.seq() - 1);
            let traces = rows_of(&decisions, commits, before);
            self.bus.publish(Update { tenant, epoch, rows: rows.into(), head, traces });
        }
        decisions
    }
}

fn kind_of(body: &PushBody) -> PushKind {
    match body {
        PushBody::Message { .. } => PushKind::Message,
        PushBody::SyncTrigger { .. } => PushKind::SyncTrigger,
        PushBody::ConflictAlert { .. } => PushKind::ConflictAlert,
        PushBody::EntrySettled { .. } => PushKind::EntrySettled,
    }
}

/// Logs the last change of a group twice when a test asks for it, to prove that the double is found.
fn write_twice_on_purpose(mut plan: Plan) -> Plan {
    let writes = &mut plan.writes;
    let last = writes.rows.last().filter(|_| writes_twice()).cloned();
    let written = last.as_ref().and_then(|row| {
        writes
            .records
            .iter_mut()
            .find(|written| written.record.no == row.record)
            .map(|written| &mut written.record)
    });
    if let (Some(mut row), Some(record)) = (last, written) {
        (row.prev, row.seq, row.version, row.time_us) =
            (row.seq, row.seq + 1, row.version + 1, row.time_us + 1);
        (record.seq, record.version, record.time_us) = (row.seq, row.version, row.time_us);
        writes.head = Head { seq: row.seq, time_us: row.time_us };
        writes.rows.push(row);
    }
    plan
}

fn writes_twice() -> bool {
    fail::fail_point!("engine::write_twice", |_| true);
    false
}
