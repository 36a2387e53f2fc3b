//! One rate: so much a second, and some seconds' worth at once (the generic cell rate algorithm).
//!
//! What is kept of a bucket is one number, the time at which it will be full again. Nothing here asks for
//! the time.

use std::time::Duration;

const SECOND_NS: i64 = 1_000_000_000;

/// So much a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// 0 is no limit.
    pub(super) per_second: u64,
    /// How many seconds' worth may come at once.
    pub(super) burst_secs: u64,
}

impl Rate {
    /// How long `count` take at this rate, in nanoseconds: at most as long as the bucket has room for, so that
    /// what is larger passes when the bucket is full.
    fn cost(self, count: u64) -> i64 {
        let cost = u128::from(count) * 1_000_000_000 / u128::from(self.per_second.max(1));
        i64::try_from(cost).unwrap_or(i64::MAX).min(self.depth())
    }

    fn depth(self) -> i64 {
        i64::try_from(self.burst_secs).unwrap_or(i64::MAX).saturating_mul(SECOND_NS)
    }
}

/// When a bucket will be full again, in nanoseconds of the limits' own time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    full_at: i64,
}

impl Bucket {
    /// How long until `count` fit; none if they fit now.
    pub(super) fn wait(self, rate: Rate, count: u64, now: i64) -> Option<Duration> {
        if rate.per_second == 0 {
            return None;
        }
        let missing = self.full_at.max(now) - now + rate.cost(count) - rate.depth();
        u64::try_from(missing).ok().filter(|missing| *missing > 0).map(Duration::from_nanos)
    }

    /// Takes `count`, which fit.
    pub(super) fn take(&mut self, rate: Rate, count: u64, now: i64) {
        if rate.per_second > 0 {
            self.full_at = self.full_at.max(now) + rate.cost(count);
        }
    }

    /// Gives back `count` that were taken for nothing.
    pub(super) fn give_back(&mut self, rate: Rate, count: u64) {
        if rate.per_second > 0 {
            self.full_at -= rate.cost(count);
        }
    }

    /// Whether it is full: then nothing is lost by forgetting it.
    pub(super) fn is_full(self, now: i64) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 4, burst_secs: 2 };

    fn take(bucket: &mut Bucket, count: u64, now: i64) -> Option<Duration> {
        let wait = bucket.wait(RATE, count, now);
        if wait.is_none() {
            bucket.take(RATE, count, now);
        }
        wait
    }

    #[test]
    fn ws7_a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let now = 5 * SECOND_NS;
        for _ in 0..8 {
            assert_eq!(take(&mut bucket, 1, now), None);
        }
        assert_eq!(take(&mut bucket, 1, now), Some(Duration::from_millis(250)));
        assert_eq!(
            take(&mut bucket, 3, now),
            Some(Duration::from_millis(750)),
            "a refused one costs nothing"
        );
        assert_eq!(take(&mut bucket, 1, now + SECOND_NS / 4), None);
        assert!(take(&mut bucket, 1, now + SECOND_NS / 4).is_some());
        assert!(!bucket.is_full(now + 2 * SECOND_NS) && bucket.is_full(now + 3 * SECOND_NS));
    }

    #[test]
    fn ws7_what_is_larger_than_the_burst_passes_when_nothing_was_used() {
        let mut bucket = Bucket::default();
        assert_eq!(take(&mut bucket, 1_000_000, 0), None);
        assert_eq!(take(&mut bucket, 1, 0), Some(Duration::from_millis(250)));
        assert!(take(&mut bucket, u64::MAX, SECOND_NS).is_some());
        assert_eq!(take(&mut bucket, u64::MAX, 2 * SECOND_NS), None);
    }

    #[test]
    fn ws7_a_small_count_at_a_high_rate_is_not_free() {
        let rate = Rate { per_second: 64 << 20, burst_secs: 1 };
        let mut bucket = Bucket::default();
        for _ in 0..1_000_000 {
            bucket.take(rate, 1, 0);
        }
        let missing = bucket.full_at - SECOND_NS * 1_000_000 / (64 << 20);
        assert!(missing.abs() < 1_000_000, "{missing} ns off");
    }

    #[test]
    fn ws7_zero_is_no_limit() {
        let mut bucket = Bucket::default();
        let none = Rate { per_second: 0, burst_secs: 1 };
        bucket.take(none, u64::MAX, 0);
        assert_eq!(bucket.wait(none, u64::MAX, 0), None);
        assert!(bucket.is_full(0));
    }
}
