//! How long things took: from an entry to its answer, and from an entry to another device.

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::{Counter, Histogram};
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

/// A minute, in microseconds: what takes longer counts as a minute.
const LONGEST_US: u64 = 60_000_000;

/// A version of a record: who sees it first is asked by it.
pub(crate) type VersionName = (String, Uuid, u64);

/// Percentiles of a duration, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p90_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// A concurrent histogram of durations.
#[derive(Debug)]
pub(crate) struct Durations(Mutex<Histogram<u64>>);

impl Default for Durations {
    fn default() -> Self {
        let histogram = Histogram::new_with_max(LONGEST_US, 3);
        Self(Mutex::new(histogram.expect("three digits up to a minute is a shape that exists")))
    }
}

impl Durations {
    /// Counts one.
    pub(crate) fn add(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US);
        self.0.lock().saturating_record(micros);
    }

    /// The percentiles of what was counted.
    pub(crate) fn percentiles(&self) -> Percentiles {
        Percentiles::of(&self.0.lock())
    }
}

impl Percentiles {
    /// The percentiles of a histogram of microseconds.
    pub(crate) fn of<C: Counter>(histogram: &Histogram<C>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most an hour")]
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let (p50_ms, p90_ms, p99_ms, max_ms) = (at(0.5), at(0.9), at(0.99), at(1.0));
        Self { count: histogram.len(), p50_ms, p90_ms, p99_ms, max_ms }
    }
}

/// One end of a change's way to another device.
#[derive(Debug, Clone, Copy)]
enum End {
    Submitted(Instant),
    Seen(Instant),
}

/// How long changes take to reach one other device of their tenant. The answer that names the
/// version and the frame that brings it come in either order.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    open: Mutex<HashMap<VersionName, End>>,
    durations: Durations,
}

impl Spread {
    /// A version was made by an entry that was submitted at `at`.
    pub(crate) fn made(&self, version: VersionName, at: Instant) {
        self.meet(version, End::Submitted(at));
    }

    /// Another device holds the version since `at`.
    pub(crate) fn seen(&self, version: VersionName, at: Instant) {
        self.meet(version, End::Seen(at));
    }

    fn meet(&self, version: VersionName, end: End) {
        let mut open = self.open.lock();
        let (submitted, seen) = match (open.remove(&version), end) {
            (Some(End::Submitted(submitted)), End::Seen(seen))
            | (Some(End::Seen(seen)), End::Submitted(submitted)) => (submitted, seen),
            (_, end) => {
                open.insert(version, end);
                return;
            }
        };
        self.durations.add(seen.saturating_duration_since(submitted));
    }

    /// The percentiles of what reached another device.
    pub(crate) fn percentiles(&self) -> Percentiles {
        self.durations.percentiles()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds_and_the_longest_is_a_minute() {
        let durations = Durations::default();
        (1..=100).for_each(|ms| durations.add(Duration::from_millis(ms)));
        let all = durations.percentiles();
        assert_eq!(all.count, 100);
        assert!((all.p50_ms - 50.0).abs() < 0.1 && (all.p99_ms - 99.0).abs() < 0.1, "{all:?}");
        durations.add(Duration::from_hours(1));
        assert!((durations.percentiles().max_ms - 60_000.0).abs() < 60.0);
    }

    #[test]
    fn a_change_is_timed_whichever_end_is_known_first() {
        let (spread, start) = (Spread::default(), Instant::now());
        let name = |version| ("t".to_owned(), Uuid::nil(), version);
        spread.made(name(1), start);
        spread.seen(name(1), start + Duration::from_millis(20));
        spread.seen(name(2), start + Duration::from_millis(40));
        assert_eq!(spread.percentiles().count, 1);
        spread.made(name(2), start);
        let all = spread.percentiles();
        assert!(all.count == 2 && (all.max_ms - 40.0).abs() < 0.1, "{all:?}");
        assert!(spread.open.lock().is_empty());
    }
}
