//! How busy the engine is: how much waits, and how long commits take. Nothing is decided here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::queue::Queue;
use crate::clock::SharedClock;

/// How long a commit that has ended says something of the next one, in microseconds. Without this a hub that
/// lets nobody in after a slow commit would never learn that its disk has recovered.
const TELLING_US: i64 = 5_000_000;
/// A time that is no time.
const NEVER: i64 = i64::MIN;

/// What the engine's load is measured by.
#[derive(Debug)]
pub(super) struct Load {
    queue: Arc<Queue>,
    clock: SharedClock,
    /// A commit that takes so long, in microseconds, is a load of 100 percent; 0: none does.
    slow_us: i64,
    /// When the running commit began; [`NEVER`]: none runs.
    began_us: AtomicI64,
    /// How long the last one took, and when it ended.
    took_us: AtomicI64,
    ended_us: AtomicI64,
}

impl Load {
    pub(super) fn new(queue: Arc<Queue>, clock: SharedClock, slow_commit_ms: u64) -> Self {
        let slow_us = i64::try_from(slow_commit_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
        let [began_us, took_us, ended_us] = [NEVER, 0, NEVER].map(AtomicI64::new);
        Self { queue, clock, slow_us, began_us, took_us, ended_us }
    }

    /// A commit begins.
    pub(super) fn begin(&self) {
        self.began_us.store(self.clock.ticks_us(), Ordering::Relaxed);
    }

    /// It has ended, whatever came of it.
    pub(super) fn end(&self) {
        let (now, began) = (self.clock.ticks_us(), self.began_us.swap(NEVER, Ordering::Relaxed));
        self.took_us.store(now - began, Ordering::Relaxed);
        self.ended_us.store(now, Ordering::Relaxed);
    }

    /// The load in percent of what the engine is to bear; may be more.
    pub(super) fn percent(&self) -> u64 {
        self.queue.fill_percent().max(self.slowness())
    }

    fn slowness(&self) -> u64 {
        if self.slow_us == 0 {
            return 0;
        }
        let now = self.clock.ticks_us();
        let began = self.began_us.load(Ordering::Relaxed);
        let running = if began == NEVER { 0 } else { now - began };
        let since = now.checked_sub(self.ended_us.load(Ordering::Relaxed));
        let is_telling = since.is_some_and(|since| (0..TELLING_US).contains(&since));
        let last = if is_telling { self.took_us.load(Ordering::Relaxed) } else { 0 };
        let percent = running.max(last).saturating_mul(100) / self.slow_us;
        u64::try_from(percent).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use crate::config::CommitSettings;

    const SECOND_US: i64 = 1_000_000;

    fn load(slow_commit_ms: u64) -> (Load, Arc<ManualClock>) {
        let clock = ManualClock::at(SECOND_US);
        let queue = Arc::new(Queue::new(&CommitSettings::default()));
        (Load::new(queue, clock.clone(), slow_commit_ms), clock)
    }

    #[test]
    fn a_slow_commit_is_load_while_it_runs_and_shortly_after() {
        let (load, clock) = load(2000);
        assert_eq!(load.percent(), 0);
        load.begin();
        clock.advance(SECOND_US);
        assert_eq!(load.percent(), 50, "it has not ended");
        clock.advance(SECOND_US);
        load.end();
        assert_eq!(load.percent(), 100);
        clock.advance(TELLING_US - 1);
        assert_eq!(load.percent(), 100);
        clock.advance(1);
        assert_eq!(load.percent(), 0, "it says nothing any more");
    }

    #[test]
    fn a_clock_that_is_set_is_no_load() {
        let (load, clock) = load(2000);
        load.begin();
        clock.set(100 * SECOND_US);
        assert_eq!(load.percent(), 0);
        load.end();
        assert_eq!(load.percent(), 0);
    }

    #[test]
    fn zero_turns_it_off() {
        let (load, clock) = load(0);
        load.begin();
        clock.advance(100 * SECOND_US);
        assert_eq!(load.percent(), 0);
    }
}
