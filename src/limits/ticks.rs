//! The limits' own time: the hub's clock, but it never goes back.
//!
//! The clock of a machine may be set back by hours. A bucket that is filled by it would then refuse for
//! hours; here such a step is no time at all.

use parking_lot::Mutex;

use crate::clock::SharedClock;

/// Time that only rises.
#[derive(Debug)]
pub(super) struct Ticks {
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    clock_us: i64,
    ticks_us: i64,
}

impl Ticks {
    pub(super) fn new(clock: SharedClock) -> Self {
        let clock_us = clock.now_us();
        Self { clock, state: Mutex::new(State { clock_us, ticks_us: 0 }) }
    }

    /// Nanoseconds since the hub started, as far as its clock went forward.
    pub(super) fn now(&self) -> i64 {
        let mut state = self.state.lock();
        let clock_us = self.clock.now_us();
        state.ticks_us += (clock_us - state.clock_us).max(0);
        state.clock_us = clock_us;
        state.ticks_us.saturating_mul(1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn ws7_a_clock_that_is_set_back_takes_no_time() {
        let clock = ManualClock::at(1_000_000);
        let ticks = Ticks::new(clock.clone());
        clock.advance(5);
        assert_eq!(ticks.now(), 5000);
        clock.set(0);
        assert_eq!(ticks.now(), 5000);
        clock.advance(7);
        assert_eq!(ticks.now(), 12_000);
    }
}
