//! A histogram of times that many tasks fill at once without a lock.
//!
//! Two additions to numbers of its own, and nothing else: it stands where every delivery passes.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

/// How many buckets there are below that of the longest times.
const BUCKETS: usize = 16;
/// The upper bound of the first, in microseconds; each next one is twice as wide: 1 ms … 32.8 s.
const FIRST_US: u64 = 1000;

/// Times by how long they were. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Times {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By bucket; the last one has no upper bound.
    counts: [AtomicU64; BUCKETS + 1],
    sum_us: AtomicU64,
}

impl Times {
    /// Registers `name` with the unit of seconds.
    pub(super) fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let times = Self::default();
        registry.register_with_unit(name, help, Unit::Seconds, times.clone());
        times
    }

    /// Counts a time of `us` microseconds; less than none, by a clock that was set back, counts as none.
    pub fn observe(&self, us: i64) {
        let us = u64::try_from(us).unwrap_or(0);
        self.counts.counts[bucket(us)].fetch_add(1, Ordering::Relaxed);
        self.counts.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// The first bucket whose upper bound is not below `us`.
fn bucket(us: u64) -> usize {
    let wholes = us.saturating_sub(1) / FIRST_US;
    BUCKETS.min((u64::BITS - wholes.leading_zeros()) as usize)
}

impl EncodeMetric for Times {
    #[expect(clippy::cast_precision_loss, reason = "sums of times are far below 2^52 microseconds")]
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let mut buckets = Vec::with_capacity(BUCKETS + 1);
        for (index, count) in self.counts.counts.iter().enumerate() {
            let bound = if index == BUCKETS { f64::INFINITY } else { (FIRST_US << index) as f64 / 1e6 };
            buckets.push((bound, count.load(Ordering::Relaxed)));
        }
        let sum = self.counts.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_counts_in_the_first_bucket_that_it_fits() {
        for (us, expected) in [
            (0, 0),
            (1, 0),
            (1000, 0),
            (1001, 1),
            (2000, 1),
            (2001, 2),
            (32_768_000, 15),
            (32_768_001, 16),
            (u64::MAX, 16),
        ] {
            assert_eq!(bucket(us), expected, "{us}");
        }
    }

    #[test]
    fn times_add_up_and_none_is_negative() {
        let mut registry = Registry::default();
        let times = Times::register(&mut registry, "test", "Times");
        for us in [-5, 1500, 40_000_000] {
            times.clone().observe(us);
        }
        assert_eq!(times.count(), 3);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "test_seconds_sum 40.0015",
            "test_seconds_count 3",
            "test_seconds_bucket{le=\"0.001\"} 1",
            "test_seconds_bucket{le=\"0.002\"} 2",
            "test_seconds_bucket{le=\"32.768\"} 2",
            "test_seconds_bucket{le=\"+Inf\"} 3",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} in\n{text}");
        }
    }
}
