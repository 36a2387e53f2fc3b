//! When a line goes out, and the time that it claims to have been made at.
//!
//! At a speed, the trace's clock runs that many times faster than the wall's. At full speed nothing
//! is paced: lines wait only for what they rest on.

use std::sync::Arc;
use std::time::Duration;

use synchub_protocol::Timestamp;
use tokio::time::Instant;

/// Tells the time in microseconds since 1970.
pub(crate) type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// How fast the trace's clock runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// As fast as causality allows.
    Max,
    /// This many times as fast as it was.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "max" => Ok(Self::Max),
            Ok(times) if times > 0.0 && f64::is_finite(times) => Ok(Self::Times(times)),
            _ => Err("say `max`, or how many times as fast as it was, such as 1000".to_owned()),
        }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Max => f.write_str("max"),
            Self::Times(times) => write!(f, "{times}"),
        }
    }
}

/// The trace's clock, started.
pub(crate) struct Pace {
    speed: Speed,
    start: Instant,
    start_us: i64,
    wall: WallClock,
}

impl Pace {
    /// Starts the trace's clock now.
    pub(crate) fn start(speed: Speed, wall: WallClock) -> Self {
        Self { speed, start: Instant::now(), start_us: wall(), wall }
    }

    /// Whether nothing is paced.
    pub(crate) fn is_max(&self) -> bool {
        self.speed == Speed::Max
    }

    /// Waits for the time of a line.
    pub(crate) async fn until(&self, t_ms: u64) {
        if let Some(offset) = self.offset(t_ms) {
            tokio::time::sleep_until(self.start + offset).await;
        }
    }

    /// The time that an entry claims: never one that has not come yet, which the hub would cut (T2).
    pub(crate) fn stamp(&self, t_ms: u64) -> Timestamp {
        let now = (self.wall)();
        let offset = self.offset(t_ms).map(|offset| i64::try_from(offset.as_micros()).unwrap_or(i64::MAX));
        Timestamp(offset.map_or(now, |offset| self.start_us.saturating_add(offset).min(now)))
    }

    fn offset(&self, t_ms: u64) -> Option<Duration> {
        match self.speed {
            Speed::Max => None,
            Speed::Times(times) => Some(Duration::from_millis(t_ms).div_f64(times)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    fn clock(at: i64) -> (Arc<AtomicI64>, WallClock) {
        let now = Arc::new(AtomicI64::new(at));
        let read = Arc::clone(&now);
        (now, Arc::new(move || read.load(Ordering::SeqCst)))
    }

    #[test]
    fn t2_stamps_follow_the_trace_and_never_lie_ahead() {
        let (now, wall) = clock(1_000_000);
        let pace = Pace::start(Speed::Times(100.0), wall);
        now.store(9_000_000, Ordering::SeqCst);
        assert_eq!(pace.stamp(300_000), Timestamp(4_000_000));
        assert_eq!(pace.stamp(3_000_000), Timestamp(9_000_000));
    }

    #[test]
    fn at_full_speed_the_stamp_is_the_time_of_sending() {
        let (now, wall) = clock(1);
        let pace = Pace::start(Speed::Max, wall);
        now.store(7, Ordering::SeqCst);
        assert_eq!((pace.stamp(5000), pace.is_max()), (Timestamp(7), true));
    }

    #[tokio::test]
    async fn lines_wait_for_their_time() {
        let (_, wall) = clock(0);
        let pace = Pace::start(Speed::Times(10.0), wall);
        pace.until(500).await;
        assert!(pace.start.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn a_speed_is_max_or_a_positive_number() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        for wrong in ["0", "-1", "fast", "inf", "nan", ""] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }
}
