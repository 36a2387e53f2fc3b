//! What one device, user or tenant may send: frames, entries and bytes.

use std::time::Duration;

use parking_lot::Mutex;

use super::bucket::{Bucket, Rate};

/// What is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) frames: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
}

impl Amount {
    fn counts(self) -> [u64; 3] {
        [self.frames, self.entries, self.bytes]
    }
}

/// The rates of one level, and what is left of them.
#[derive(Debug)]
pub(super) struct Meter {
    /// Of frames, entries and bytes, each a second.
    per_second: [u64; 3],
    burst_secs: u64,
    buckets: Mutex<[Bucket; 3]>,
}

impl Meter {
    pub(super) fn new(per_second: [u64; 3], burst_secs: u64) -> Self {
        Self { per_second, burst_secs, buckets: Mutex::default() }
    }

    /// How long until the amount fits; none if it fits now.
    pub(super) fn wait(&self, amount: Amount, now: i64) -> Option<Duration> {
        let buckets = *self.buckets.lock();
        let parts = buckets.iter().zip(self.rates()).zip(amount.counts());
        parts.filter_map(|((bucket, rate), count)| bucket.wait(rate, count, now)).max()
    }

    /// Takes an amount, which fits.
    pub(super) fn take(&self, amount: Amount, now: i64) {
        let mut buckets = self.buckets.lock();
        for ((bucket, rate), count) in buckets.iter_mut().zip(self.rates()).zip(amount.counts()) {
            bucket.take(rate, count, now);
        }
    }

    /// Gives back an amount that was taken for nothing.
    pub(super) fn give_back(&self, amount: Amount) {
        let mut buckets = self.buckets.lock();
        for ((bucket, rate), count) in buckets.iter_mut().zip(self.rates()).zip(amount.counts()) {
            bucket.give_back(rate, count);
        }
    }

    /// Whether nothing is used: then nothing is lost by forgetting it.
    pub(super) fn is_full(&self, now: i64) -> bool {
        self.buckets.lock().iter().all(|bucket| bucket.is_full(now))
    }

    fn rates(&self) -> [Rate; 3] {
        self.per_second.map(|per_second| Rate { per_second, burst_secs: self.burst_secs })
    }
}
