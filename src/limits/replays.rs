//! How much a tenant is sent again: records of snapshots and changes of replays, a second.
//!
//! Nothing is refused here. Who is over the rate waits, and the sessions of a tenant wait in one line, so that
//! many of them come no sooner to what the node shares out than one would. Nothing is read here.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::MutexGuard;

use super::bucket::{Bucket, Rate};
use crate::clock::SharedClock;

/// The shortest time to wait: less is lost in the timer.
const SHORTEST: Duration = Duration::from_millis(1);

/// A tenant's rate, and its line.
#[derive(Debug)]
pub struct Replays {
    rate: Rate,
    bucket: Mutex<Bucket>,
    line: tokio::sync::Mutex<()>,
    clock: SharedClock,
}

/// The first place in the line of a tenant's sessions; it is the next one's when this is dropped.
#[derive(Debug)]
#[must_use = "the turn lasts only as long as this lives"]
pub struct Turn<'a> {
    _line: MutexGuard<'a, ()>,
}

impl Replays {
    pub(super) fn new(rate: Rate, clock: SharedClock) -> Self {
        Self { rate, bucket: Mutex::default(), line: tokio::sync::Mutex::default(), clock }
    }

    /// Whether more was taken than the rate allows.
    pub fn is_over(&self) -> bool {
        self.wait().is_some()
    }

    /// Waits in the line of the tenant's sessions, then until something may be read. Safe to cancel.
    pub async fn turn(&self) -> Turn<'_> {
        let line = self.line.lock().await;
        while let Some(wait) = self.wait() {
            tokio::time::sleep(wait.max(SHORTEST)).await;
        }
        Turn { _line: line }
    }

    /// Takes what is read. It may be more than there is room for: the next one waits for it.
    pub fn take(&self, rows: usize) {
        self.bucket.lock().take(self.rate, rows as u64, self.now());
    }

    /// Takes what was read instead of what it could have been. A read that was given up keeps what it took.
    pub fn took(&self, rows: usize, instead_of: usize) {
        let mut bucket = self.bucket.lock();
        bucket.give_back(self.rate, instead_of as u64);
        bucket.take(self.rate, rows as u64, self.now());
    }

    /// Whether nothing was taken lately.
    pub(super) fn is_full(&self, now: i64) -> bool {
        self.bucket.lock().is_full(now)
    }

    /// How long until one row fits; none: it does now.
    fn wait(&self) -> Option<Duration> {
        let bucket = *self.bucket.lock();
        bucket.wait(self.rate, 1, self.now())
    }

    fn now(&self) -> i64 {
        self.clock.ticks_us().saturating_mul(1000)
    }
}
