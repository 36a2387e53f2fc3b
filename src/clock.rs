//! The one source of the present time.
//!
//! Everything that asks for the time takes a [`Clock`], so that a test can hold it. Nothing here
//! sleeps: waiting goes through tokio's timers, which tests can pause.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Debug + Send + Sync {
    /// Microseconds since 1970-01-01T00:00:00Z. May go back when the system's clock is set.
    fn now_us(&self) -> i64;
    /// Microseconds of a clock that nobody sets and that never goes back; only differences mean something.
    fn ticks_us(&self) -> i64;
}

/// A clock that every part of the hub can hold.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The system's clock, ready to hand out.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is where the Clock takes its time from")]
        let now = SystemTime::now();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
    }

    fn ticks_us(&self) -> i64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        i64::try_from(START.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until it is moved, for tests.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_us: AtomicI64,
    ticks_us: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at `now_us` microseconds since 1970.
    pub fn at(now_us: i64) -> Arc<Self> {
        Arc::new(Self { now_us: AtomicI64::new(now_us), ticks_us: AtomicI64::new(0) })
    }

    /// Sets the clock to `now_us` microseconds since 1970, back as well as forward: no time passes.
    pub fn set(&self, now_us: i64) {
        self.now_us.store(now_us, Ordering::SeqCst);
    }

    /// Lets `us` microseconds pass and returns the new time.
    pub fn advance(&self, us: i64) -> i64 {
        self.ticks_us.fetch_add(us, Ordering::SeqCst);
        self.now_us.fetch_add(us, Ordering::SeqCst) + us
    }
}

impl Clock for ManualClock {
    fn now_us(&self) -> i64 {
        self.now_us.load(Ordering::SeqCst)
    }

    fn ticks_us(&self) -> i64 {
        self.ticks_us.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(5);
        assert_eq!((clock.now_us(), clock.now_us()), (5, 5));
        assert_eq!(clock.advance(10), 15);
        clock.set(3);
        assert_eq!((clock.now_us(), clock.ticks_us()), (3, 10));
    }

    #[test]
    fn the_system_clock_counts_microseconds() {
        let (first, year_2020, year_2200) =
            (SystemClock.now_us(), 1_577_836_800_000_000, 7_258_118_400_000_000);
        assert!((year_2020..year_2200).contains(&first));
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(SystemClock.now_us() >= first + 1000);
    }
}
