//! Group commit: what waits for one tenant becomes one transaction, tenants take turns.
//!
//! While a group commits, the next one gathers. A group that the store refuses is tried again batch by
//! batch, so that only the guilty one fails; a store that cannot write fails all of them at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use synchub_rules::group::{Decision, Plan, Submission};
use synchub_rules::plan;
use synchub_rules::push::{Logged, PushBody};
use synchub_rules::record::{Head, TenantNo};
use tokio::sync::{Notify, oneshot};

use super::SubmitError;
use crate::bus::{Bus, Update};
use crate::clock::SharedClock;
use crate::config::CommitSettings;
use crate::observe::{Metrics, PushKind};
use crate::store::{CommitError, Committed, Group, Store};

/// The most entries that wait to be committed on a node, about a second of work. Beyond it a batch stays
/// with its device.
const WAITING_ENTRIES: usize = 50_000;

/// The most bytes that entries which were not answered yet take in memory, about.
const WAITING_BYTES: usize = 16 * 1024 * 1024;
/// What is left of that for batches of usual size, so that large ones do not shut them out.
const KEPT_FOR_SMALL: usize = 4 * 1024 * 1024;
/// Up to which size a batch is a usual one.
const SMALL_BYTES: usize = 256 * 1024;

type Sender = oneshot::Sender<Result<Decision, SubmitError>>;

/// Batches that wait, by tenant.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    group_batches: usize,
    group_entries: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<TenantNo, VecDeque<(Submission, Sender)>>,
    /// Tenants with something waiting, each once, in the order of their turns.
    turns: VecDeque<TenantNo>,
    /// Entries of all that waits.
    entries: usize,
    /// What the entries that wait or are being committed take in memory.
    bytes: usize,
    closed: bool,
}

impl State {
    fn has_room(&self, entries: usize, heap: usize) -> bool {
        let kept = if heap <= SMALL_BYTES { 0 } else { KEPT_FOR_SMALL };
        // A single batch passes whatever it takes: its frame was bounded.
        let fits = self.bytes == 0 || self.bytes + heap <= WAITING_BYTES - kept;
        fits && self.entries + entries <= WAITING_ENTRIES
    }
}

impl Queue {
    pub(super) fn new(settings: &CommitSettings) -> Self {
        Self {
            state: Mutex::default(),
            wake: Notify::new(),
            group_batches: settings.group_batches,
            group_entries: settings.group_entries,
        }
    }

    pub(super) fn push(&self, tenant: TenantNo, submission: Submission, sender: Sender) {
        let mut state = self.state.lock();
        if state.closed || !state.has_room(submission.size(), submission.heap) {
            drop(state);
            // Nobody listens any more when the receiver is gone.
            let _ = sender.send(Err(SubmitError::Unavailable));
            return;
        }
        state.entries += submission.size();
        state.bytes += submission.heap;
        let waiting = state.waiting.entry(tenant).or_default();
        waiting.push_back((submission, sender));
        if waiting.len() == 1 {
            state.turns.push_back(tenant);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Gives back what a group took that was answered.
    fn answered(&self, bytes: usize) {
        self.state.lock().bytes -= bytes;
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits for the next group; none when the queue is closed and empty.
    async fn next(&self) -> Option<(TenantNo, Vec<(Submission, Sender)>)> {
        loop {
            let closed = {
                let mut state = self.state.lock();
                if let Some(group) = self.take(&mut state) {
                    return Some(group);
                }
                state.closed
            };
            if closed {
                return None;
            }
            self.wake.notified().await;
        }
    }

    fn take(&self, state: &mut State) -> Option<(TenantNo, Vec<(Submission, Sender)>)> {
        let tenant = state.turns.pop_front()?;
        let mut waiting = state.waiting.remove(&tenant)?;
        let (mut group, mut entries) = (Vec::new(), 0);
        while let Some((submission, _)) = waiting.front() {
            entries += submission.size();
            if !group.is_empty() && (entries > self.group_entries || group.len() == self.group_batches) {
                break;
            }
            group.extend(waiting.pop_front());
        }
        state.entries -= group.iter().map(|(submission, _)| submission.size()).sum::<usize>();
        if !waiting.is_empty() {
            state.waiting.insert(tenant, waiting);
            state.turns.push_back(tenant);
        }
        Some((tenant, group))
    }
}

/// The task that commits.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) queue: Arc<Queue>,
    pub(super) store: Arc<dyn Store>,
    pub(super) bus: Arc<dyn Bus>,
    pub(super) clock: SharedClock,
    pub(super) metrics: Metrics,
}

impl Committer {
    /// Commits group after group until the queue is closed and empty.
    pub(super) async fn run(self) {
        while let Some((tenant, group)) = self.queue.next().await {
            let (submissions, senders): (Vec<_>, Vec<_>) = group.into_iter().unzip();
            let bytes = submissions.iter().map(|submission: &Submission| submission.heap).sum();
            let answers = self.decide(tenant, submissions).await;
            self.queue.answered(bytes);
            for (sender, answer) in senders.into_iter().zip(answers) {
                // A session that went away finds its answer under the same batch_id later.
                let _ = sender.send(answer);
            }
        }
    }

    async fn decide(&self, tenant: TenantNo, group: Vec<Submission>) -> Vec<Result<Decision, SubmitError>> {
        let (count, group) = (group.len(), Arc::new(group));
        match self.commit(tenant, Arc::clone(&group)).await {
            Ok(decisions) => decisions.into_iter().map(Ok).collect(),
            Err(CommitError::Unavailable(cause)) => {
                tracing::error!(
                    tenant,
                    batches = count,
                    cause,
                    "the store cannot write; the batches stay with the devices"
                );
                vec![Err(SubmitError::Unavailable); count]
            }
            Err(CommitError::Refused(_)) if count > 1 => {
                self.metrics.commit_failures.inc();
                let group = Arc::try_unwrap(group).unwrap_or_else(|shared| (*shared).clone());
                self.decide_alone(tenant, group).await
            }
            Err(CommitError::Refused(cause)) => {
                self.metrics.commit_failures.inc();
                tracing::error!(tenant, cause, "the store refused a batch");
                vec![Err(SubmitError::Internal)]
            }
        }
    }

    async fn decide_alone(
        &self,
        tenant: TenantNo,
        group: Vec<Submission>,
    ) -> Vec<Result<Decision, SubmitError>> {
        let mut answers = Vec::with_capacity(group.len());
        for submission in group {
            answers.extend(Box::pin(self.decide(tenant, vec![submission])).await);
        }
        answers
    }

    async fn commit(
        &self,
        tenant: TenantNo,
        group: Arc<Vec<Submission>>,
    ) -> Result<Vec<Decision>, CommitError> {
        let (batches, entries) = (group.len(), group.iter().map(|batch| batch.entries.len()).sum::<usize>());
        let reads = plan::reads(&group);
        let started = self.clock.now_us();
        let decide = Box::new(move |loaded| write_twice_on_purpose(plan::plan(started, loaded, &group)));
        let committed = self.store.commit(Group { tenant, reads, plan: decide }).await?;
        self.metrics.commit(batches, entries, self.clock.now_us() - started);
        Ok(self.announce(tenant, committed))
    }

    /// Tells the bus what is durable now; of rows that cannot be routed only that they are there.
    fn announce(&self, tenant: TenantNo, committed: Committed) -> Vec<Decision> {
        let Committed { decisions, rows, pushes, rows_are_bare, epoch, head } = committed;
        if !(rows.is_empty() && pushes.is_empty()) {
            for push in &pushes {
                self.metrics.pushes.of(kind_of(&push.body)).inc();
            }
            let changes = rows.into_iter().map(|row| Logged::Change(Arc::new(row)));
            let pushes = pushes.into_iter().map(|row| Logged::Push(Arc::new(row)));
            let mut rows: Vec<_> = changes.chain(pushes).filter(|_| !rows_are_bare).collect();
            rows.sort_by_key(Logged::seq);
            self.bus.publish(Update { tenant, epoch, rows: rows.into(), head });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inv5_what_waits_is_bounded_in_bytes_and_large_batches_leave_room_for_small_ones() {
        let state = |bytes| State { bytes, ..State::default() };
        let large_most = WAITING_BYTES - KEPT_FOR_SMALL;
        assert!(state(0).has_room(1, 10 * WAITING_BYTES), "a batch that is alone passes");
        assert!(state(1).has_room(1, large_most - 1) && !state(2).has_room(1, large_most - 1));
        assert!(state(WAITING_BYTES - SMALL_BYTES).has_room(1, SMALL_BYTES));
        assert!(!state(WAITING_BYTES - SMALL_BYTES + 1).has_room(1, SMALL_BYTES));
        assert!(!state(0).has_room(WAITING_ENTRIES + 1, 0));
    }
}
