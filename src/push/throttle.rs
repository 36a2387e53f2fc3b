//! How many pushes a user is sent in a minute (P3), over all sessions of the user on this node.
//!
//! A push counts once, however many devices of the user it goes to, and whichever session asks first: so all
//! of them show it at the same time. Bounded: who was sent nothing for a minute is forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use synchub_rules::record::{PartyNo, TenantNo};

/// What the limit is about: a minute.
const WINDOW_US: i64 = 60_000_000;

/// The pushes of the last minute, by user. Clones share them.
#[derive(Debug, Clone)]
pub struct Throttle {
    most: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The places of pushes that were let through, and when.
    passed: HashMap<(TenantNo, PartyNo), VecDeque<(u64, i64)>>,
    swept_us: i64,
}

impl Throttle {
    /// Lets so many pushes a minute through to each user.
    pub fn new(most: usize) -> Self {
        Self { most, state: Arc::default() }
    }

    /// Whether a push, by its place, may go to a user now. One that was let through is let through again.
    pub fn admits(&self, user: (TenantNo, PartyNo), seq: u64, now_us: i64) -> bool {
        let mut state = self.state.lock();
        state.sweep(now_us);
        let passed = state.passed.entry(user).or_default();
        forget(passed, now_us);
        if passed.iter().any(|(known, _)| *known == seq) {
            return true;
        }
        let admits = passed.len() < self.most;
        passed.extend(admits.then_some((seq, now_us)));
        admits
    }

    /// How long until the next push may go to a user, in microseconds; 0: now.
    pub fn left_us(&self, user: (TenantNo, PartyNo), now_us: i64) -> i64 {
        let mut state = self.state.lock();
        let Some(passed) = state.passed.get_mut(&user) else { return 0 };
        forget(passed, now_us);
        let oldest = passed.front().filter(|_| passed.len() >= self.most);
        oldest.map_or(0, |(_, at_us)| (at_us + WINDOW_US - now_us).max(0))
    }
}

impl State {
    /// Once a minute, forgets users whose pushes are all older.
    fn sweep(&mut self, now_us: i64) {
        if (self.swept_us..self.swept_us + WINDOW_US).contains(&now_us) {
            return;
        }
        self.swept_us = now_us;
        self.passed.retain(|_, passed| {
            forget(passed, now_us);
            !passed.is_empty()
        });
    }
}

/// After a clock was put back what passed before counts as of this moment: nobody waits longer than a minute.
fn forget(passed: &mut VecDeque<(u64, i64)>, now_us: i64) {
    for (_, at_us) in passed.iter_mut() {
        *at_us = now_us.min(*at_us);
    }
    while passed.front().is_some_and(|(_, at_us)| now_us >= at_us + WINDOW_US) {
        passed.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_a_user_is_let_through_so_many_a_minute_and_each_push_counts_once() {
        let throttle = Throttle::new(2);
        assert!(throttle.admits((1, 1), 5, 0) && throttle.admits((1, 1), 5, 1), "another device of the user");
        assert!(throttle.admits((1, 1), 6, 10));
        assert!(!throttle.admits((1, 1), 7, 20), "the third");
        assert!(throttle.admits((1, 2), 7, 20) && throttle.admits((2, 1), 7, 20), "others");
        assert_eq!(throttle.left_us((1, 1), 20), WINDOW_US - 20);
        assert!(!throttle.admits((1, 1), 7, WINDOW_US - 1) && throttle.admits((1, 1), 7, WINDOW_US));
        assert_eq!((throttle.left_us((1, 1), WINDOW_US), throttle.left_us((3, 3), 0)), (10, 0));
    }

    #[test]
    fn p3_a_clock_that_is_put_back_makes_nobody_wait_longer_than_a_minute() {
        let (throttle, day_us) = (Throttle::new(1), 86_400_000_000);
        assert!(throttle.admits((1, 1), 5, day_us));
        assert!(!throttle.admits((1, 1), 6, 0));
        assert_eq!(throttle.left_us((1, 1), 0), WINDOW_US);
        assert!(throttle.admits((1, 1), 6, WINDOW_US));
    }

    #[test]
    fn p3_who_was_sent_nothing_for_a_minute_takes_no_memory() {
        let throttle = Throttle::new(10);
        for user in 0..100 {
            assert!(throttle.admits((1, user), 1, 0));
        }
        assert!(throttle.admits((1, 7), 2, WINDOW_US));
        assert_eq!(throttle.state.lock().passed.len(), 1);
    }
}
