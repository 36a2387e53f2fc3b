//! The pushes of a session that may not go yet: over the user's limit, or held back by battery saver (P3).
//!
//! Places only; what a push says is read from the store when it may go.

use std::collections::VecDeque;

use synchub_protocol::Priority;
use synchub_rules::push::{PushBody, PushRow};

use super::push_reads::PLACES;

/// A push that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    seq: u64,
    /// Triggers that wait become one.
    is_trigger: bool,
    /// Battery saver does not hold it back.
    is_urgent: bool,
}

/// The pushes that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct WaitingPushes {
    queue: VecDeque<Waiting>,
    /// Whether all of them go at once, until the session has caught up (C9).
    sends_all: bool,
}

impl WaitingPushes {
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn add(&mut self, row: &PushRow) {
        let is_trigger = matches!(row.body, PushBody::SyncTrigger { .. });
        let is_urgent = row.priority >= Priority::High;
        self.queue.push_back(Waiting { seq: row.seq, is_trigger, is_urgent });
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        self.queue.iter().any(|waiting| waiting.seq == seq)
    }

    pub(super) fn remove(&mut self, seqs: &[u64]) {
        self.queue.retain(|waiting| !seqs.contains(&waiting.seq));
        if self.queue.is_empty() {
            // An idle session keeps no buffer.
            self.queue = VecDeque::new();
        }
    }

    /// Takes the oldest out if more than `most` wait.
    pub(super) fn overflow(&mut self, most: usize) -> Option<u64> {
        let oldest = if self.len() > most { self.queue.pop_front() } else { None };
        oldest.map(|oldest| oldest.seq)
    }

    /// Takes all out.
    pub(super) fn take(&mut self) -> impl Iterator<Item = u64> + use<> {
        std::mem::take(&mut self.queue).into_iter().map(|waiting| waiting.seq)
    }

    /// All that wait, and all that come until the session has caught up, go at once.
    pub(super) fn send_all(&mut self) {
        self.sends_all = true;
    }

    /// The session has caught up.
    pub(super) fn caught_up(&mut self) {
        self.sends_all = false;
    }

    pub(super) fn sends_all(&self) -> bool {
        self.sends_all
    }

    /// Whether one waits that battery saver holds back.
    pub(super) fn saves(&self) -> bool {
        self.queue.iter().any(|waiting| !waiting.is_urgent)
    }

    /// Those that go together next, when the limit lets them: one, or all triggers.
    pub(super) fn next_due(&self, saves_battery: bool) -> Vec<u64> {
        let due = || self.queue.iter().filter(|waiting| waiting.is_urgent || !saves_battery);
        let Some(first) = due().next() else { return Vec::new() };
        let with = |waiting: &&Waiting| waiting.seq == first.seq || (first.is_trigger && waiting.is_trigger);
        due().filter(with).map(|waiting| waiting.seq).collect()
    }

    /// Those that go together next when all go: all triggers, or what stands before the first.
    pub(super) fn next_of_all(&self) -> Vec<u64> {
        if self.queue.front().is_some_and(|first| first.is_trigger) {
            return self.next_due(false);
        }
        let others = self.queue.iter().take_while(|waiting| !waiting.is_trigger);
        others.take(PLACES).map(|waiting| waiting.seq).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(queue: &[(u64, bool, bool)]) -> WaitingPushes {
        let queue = queue.iter().map(|(seq, is_trigger, is_urgent)| Waiting {
            seq: *seq,
            is_trigger: *is_trigger,
            is_urgent: *is_urgent,
        });
        WaitingPushes { queue: queue.collect(), sends_all: false }
    }

    #[test]
    fn p3_battery_saver_leaves_what_is_below_high_and_triggers_go_together() {
        let pushes = waiting(&[(1, false, false), (2, true, false), (3, true, true), (4, false, true)]);
        assert_eq!((pushes.next_due(false), pushes.next_due(true)), (vec![1], vec![3]));
        let pushes = waiting(&[(2, true, false), (3, false, true), (4, true, true)]);
        assert_eq!((pushes.next_due(false), pushes.next_due(true)), (vec![2, 4], vec![3]));
        assert!(pushes.saves() && !waiting(&[(1, true, true)]).saves());
    }

    #[test]
    fn c9_all_that_wait_go_in_the_order_of_the_log_but_for_triggers() {
        let mut pushes = waiting(&[
            (1, false, false),
            (2, false, true),
            (3, true, false),
            (4, false, false),
            (5, true, true),
        ]);
        let mut went = Vec::new();
        while !pushes.is_empty() {
            let next = pushes.next_of_all();
            pushes.remove(&next);
            went.push(next);
        }
        assert_eq!(went, [vec![1, 2], vec![3, 5], vec![4]]);
    }
}
