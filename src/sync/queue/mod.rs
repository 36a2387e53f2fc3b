//! What waits to be committed: bounded, and fair to those who send little.
//!
//! Tenants take turns. Within a tenant small batches go first, so that nobody waits for more than one large
//! batch of somebody else; a large one goes alone, and is passed over a bounded number of times. The
//! batches of one device keep their order. Nothing is committed here.

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;
use synchub_rules::group::{Decision, Submission};
use synchub_rules::record::{DeviceNo, TenantNo};
use tokio::sync::{Notify, oneshot};

use super::SubmitError;
use super::trace::Queued;
use crate::config::CommitSettings;

/// The most entries that wait to be committed on a node, about a second of work. Beyond it a batch stays
/// with its device.
const WAITING_ENTRIES: usize = 50_000;

/// The most bytes that entries which were not answered yet take in memory, about.
const WAITING_BYTES: usize = 32 * 1024 * 1024;
/// What is left of that for batches of usual size, so that large ones do not shut them out.
const KEPT_FOR_SMALL: usize = 8 * 1024 * 1024;
/// Up to which size a batch is a usual one.
const SMALL_BYTES: usize = 256 * 1024;
/// The same in entries: one or two milliseconds of work.
const SMALL_ENTRIES: usize = 128;
/// How many groups of small batches may overtake a large one.
const OVERTAKEN_MOST: u32 = 8;

/// Who waits for an answer.
#[derive(Debug)]
pub(super) struct Sender {
    pub(super) answer: oneshot::Sender<Result<Decision, SubmitError>>,
    /// The step of a traced batch that ends when its group is taken.
    pub(super) trace: Option<Box<Queued>>,
}

type Waiting = (Submission, Sender);

/// Batches that wait, by tenant.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    most: Most,
}

/// What a group may hold.
#[derive(Debug, Clone, Copy)]
struct Most {
    batches: usize,
    entries: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<TenantNo, Line>,
    /// Tenants with something waiting, each once, in the order of their turns.
    turns: VecDeque<TenantNo>,
    /// Entries of all that waits.
    entries: usize,
    /// What the entries that wait or are being committed take in memory.
    bytes: usize,
    closed: bool,
}

/// What waits for one tenant, in the order in which it came.
#[derive(Debug, Default)]
struct Line {
    batches: VecDeque<Waiting>,
    /// How many groups have overtaken the first batch, a large one.
    overtaken: u32,
}

impl State {
    fn has_room(&self, entries: usize, heap: usize) -> bool {
        let kept = if heap <= SMALL_BYTES { 0 } else { KEPT_FOR_SMALL };
        // A single batch passes whatever it takes: its frame was bounded.
        let fits = self.bytes == 0 || self.bytes + heap <= WAITING_BYTES - kept;
        fits && self.entries + entries <= WAITING_ENTRIES
    }

    fn take(&mut self, most: Most) -> Option<(TenantNo, Vec<Waiting>)> {
        let tenant = self.turns.pop_front()?;
        let mut line = self.waiting.remove(&tenant)?;
        let group = line.take(most);
        self.entries -= group.iter().map(|(submission, _)| submission.size()).sum::<usize>();
        if !line.batches.is_empty() {
            self.waiting.insert(tenant, line);
            self.turns.push_back(tenant);
        }
        Some((tenant, group))
    }
}

impl Line {
    fn take(&mut self, most: Most) -> Vec<Waiting> {
        if !self.batches.front().is_some_and(is_large) {
            return self.take_small(most);
        }
        if self.overtaken < OVERTAKEN_MOST {
            let group = self.take_small(most);
            if !group.is_empty() {
                self.overtaken += 1;
                return group;
            }
        }
        self.overtaken = 0;
        self.batches.pop_front().into_iter().collect()
    }

    /// The small batches that come first of all of their device's, as many as fit.
    fn take_small(&mut self, most: Most) -> Vec<Waiting> {
        let (mut group, mut rest, mut entries) = (Vec::new(), VecDeque::new(), 0);
        let mut passed: HashSet<DeviceNo> = HashSet::new();
        while let Some(waiting) = self.batches.pop_front() {
            let (device, count) = (waiting.0.author.device, waiting.0.size());
            if group.len() == most.batches || !group.is_empty() && entries + count > most.entries {
                rest.push_back(waiting);
                break;
            }
            if is_large(&waiting) || passed.contains(&device) {
                passed.insert(device);
                rest.push_back(waiting);
            } else {
                entries += count;
                group.push(waiting);
            }
        }
        while let Some(passed_over) = rest.pop_back() {
            self.batches.push_front(passed_over);
        }
        group
    }
}

fn is_large((submission, _): &Waiting) -> bool {
    submission.size() > SMALL_ENTRIES
}

impl Queue {
    pub(super) fn new(settings: &CommitSettings) -> Self {
        let most = Most { batches: settings.group_batches, entries: settings.group_entries };
        Self { state: Mutex::default(), wake: Notify::new(), most }
    }

    pub(super) fn push(&self, tenant: TenantNo, submission: Submission, sender: Sender) {
        let mut state = self.state.lock();
        if state.closed || !state.has_room(submission.size(), submission.heap) {
            drop(state);
            // Nobody listens any more when the receiver is gone.
            let _ = sender.answer.send(Err(SubmitError::Unavailable));
            return;
        }
        state.entries += submission.size();
        state.bytes += submission.heap;
        let line = state.waiting.entry(tenant).or_default();
        line.batches.push_back((submission, sender));
        if line.batches.len() == 1 {
            state.turns.push_back(tenant);
        }
        drop(state);
        self.wake.notify_one();
    }

    /// How much of what may wait does, in percent. What large batches may take counts for nothing: single ones
    /// fill it at once, and those of usual size have room beside it.
    pub(super) fn fill_percent(&self) -> u64 {
        let state = self.state.lock();
        let entries = state.entries * 100 / WAITING_ENTRIES;
        let beyond = state.bytes.saturating_sub(WAITING_BYTES - KEPT_FOR_SMALL);
        let bytes = if state.waiting.is_empty() { 0 } else { beyond * 100 / KEPT_FOR_SMALL };
        entries.max(bytes) as u64
    }

    /// How many entries wait, about how many bytes they take, and when the oldest batch was received.
    pub(super) fn level(&self) -> (usize, usize, Option<i64>) {
        let state = self.state.lock();
        let first = state.waiting.values().filter_map(|line| line.batches.front());
        let oldest = first.map(|(submission, _)| submission.received_us).min();
        (state.entries, state.bytes, oldest)
    }

    /// Gives back what a group took that was answered.
    pub(super) fn answered(&self, bytes: usize) {
        self.state.lock().bytes -= bytes;
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Waits for the next group; none when the queue is closed and empty.
    pub(super) async fn next(&self) -> Option<(TenantNo, Vec<Waiting>)> {
        loop {
            let closed = {
                let mut state = self.state.lock();
                if let Some(group) = state.take(self.most) {
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
}

#[cfg(test)]
mod tests;
