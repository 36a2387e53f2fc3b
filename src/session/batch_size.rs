//! How many entries a batch should hold: what the client says of its network at first, then what the session
//! measures of it, a step at a time.
//!
//! A pure count of what is told to it: no clock, no socket. It keeps still where it can: a line that stays as it is
//! moves it up or down to one size, and each time that a larger size turns out to be too much, the next try waits
//! for twice as many good batches.

use synchub_protocol::client::NetworkQuality;

/// The sizes, in percent of what is configured: for a line that is poor, fair, good, excellent.
const STEPS: [u64; 4] = [10, 25, 50, 100];
/// The last of [`STEPS`].
const BEST: u8 = 3;
/// A batch that takes longer than this to come in, beside two round trips, is too large, in milliseconds: so much is
/// lost when the line breaks, and what the user does next waits behind it.
const LONG_MS: u64 = 1000;
/// The next size has to come in within this, beside one round trip, in milliseconds: far enough below
/// [`LONG_MS`] that what is tried on a steady line is kept.
const SHORT_MS: u64 = 250;
/// A round trip counts for at most so much, in milliseconds: an app that sleeps answers late, which is not the line.
const ROUND_TRIP_MOST_MS: u64 = 2000;
/// After so many slow batches in a row a smaller size is recommended: one may have been held up by chance.
const SLOW: u8 = 2;
/// After so many quick ones in a row a larger one.
const QUICK: u16 = 4;
/// How often [`QUICK`] is doubled at most.
const DOUBLED_MOST: u8 = 8;

/// What a session recommends, and what it rests on. Eight bytes: every session has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BatchSize {
    step: u8,
    /// The step that the client was told last.
    told: u8,
    /// Batches in a row that took too long.
    slow: u8,
    /// How often a step was taken back.
    falls: u8,
    /// Batches in a row that would have been quick at the next size too.
    quick: u16,
    /// The mean round trip, in milliseconds; 0: none was measured.
    round_trip_ms: u16,
}

impl BatchSize {
    /// What is recommended before anything is measured. A network of which nothing is known may be excellent.
    pub(super) fn declared(quality: Option<&NetworkQuality>) -> Self {
        let step = quality.and_then(step_of).unwrap_or(BEST);
        Self { step, told: step, slow: 0, falls: 0, quick: 0, round_trip_ms: 0 }
    }

    /// The client says that its network is another one now: what was measured was about the old one. A word that says
    /// nothing of quality changes nothing.
    pub(super) fn declare(&mut self, quality: &NetworkQuality) {
        if step_of(quality).is_some() {
            *self = Self { told: self.told, ..Self::declared(Some(quality)) };
        }
    }

    /// The size to recommend, in entries, when so many are configured for an excellent line: at least one.
    pub(super) fn entries(self, configured: usize) -> u64 {
        size(self.step, configured)
    }

    /// The same, once, when it is another one than the client was told last.
    pub(super) fn news(&mut self, configured: usize) -> Option<u64> {
        let told = std::mem::replace(&mut self.told, self.step);
        let entries = self.entries(configured);
        (entries != size(told, configured)).then_some(entries)
    }

    /// A ping was answered after so long. Each counts for an eighth, as in TCP (RFC 6298).
    pub(super) fn answered(&mut self, took_ms: u64) {
        let (mean, sample) = (u64::from(self.round_trip_ms), took_ms.clamp(1, ROUND_TRIP_MOST_MS));
        let mean = if mean == 0 { sample } else { (7 * mean + sample).div_ceil(8) };
        self.round_trip_ms = u16::try_from(mean).unwrap_or(u16::MAX);
    }

    /// A batch of so many entries came in, and so long passed between its first bytes and its last.
    pub(super) fn came(&mut self, entries: usize, took_ms: u64, configured: usize) {
        let (entries, now) = (entries.max(1) as u64, size(self.step, configured));
        // What a few entries took says little of what many would take.
        let is_full = entries * 2 >= now;
        let round_trip = u64::from(self.round_trip_ms);
        let would_take = |size: u64| if is_full { took_ms * size / entries } else { took_ms };
        let next = size((self.step + 1).min(BEST), configured);
        if would_take(now) > LONG_MS + 2 * round_trip {
            (self.slow, self.quick) = (self.slow + 1, 0);
        } else if is_full && would_take(next) <= SHORT_MS + round_trip {
            (self.slow, self.quick) = (0, self.quick.saturating_add(1));
        } else {
            (self.slow, self.quick) = (0, 0);
        }
        self.step_if_due();
    }

    fn step_if_due(&mut self) {
        let is_slow = self.slow >= SLOW;
        let is_quick = self.quick >= QUICK << self.falls;
        if is_slow {
            self.falls = (self.falls + u8::from(self.step > 0)).min(DOUBLED_MOST);
            self.step = self.step.saturating_sub(1);
        } else if is_quick {
            self.step = (self.step + 1).min(BEST);
        }
        if is_slow || is_quick {
            (self.slow, self.quick) = (0, 0);
        }
    }
}

fn step_of(quality: &NetworkQuality) -> Option<u8> {
    match quality.as_str() {
        "poor" => Some(0),
        "fair" => Some(1),
        "good" => Some(2),
        "excellent" => Some(BEST),
        _ => None,
    }
}

fn size(step: u8, configured: usize) -> u64 {
    let percent = STEPS.get(usize::from(step)).copied().unwrap_or(100);
    (configured as u64 * percent / 100).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn declared(word: &str) -> BatchSize {
        BatchSize::declared(word.parse().ok().as_ref())
    }

    /// What is recommended after each of these: entries, and how long they took.
    fn after(mut size: BatchSize, batches: &[(usize, u64)]) -> Vec<u64> {
        let each = batches.iter().map(|(entries, took_ms)| {
            size.came(*entries, *took_ms, 100);
            size.entries(100)
        });
        each.collect()
    }

    #[test]
    fn bw3_the_first_size_is_that_of_the_quality_that_was_declared() {
        let of = |configured, word: &str| declared(word).entries(configured);
        assert_eq!(["excellent", "good", "fair", "poor"].map(|word| of(100, word)), [100, 50, 25, 10]);
        assert_eq!((of(100, "unknown"), of(100, "5G")), (100, 100));
        assert_eq!(BatchSize::declared(None).entries(100), 100);
        assert_eq!((of(400, "good"), of(3, "poor")), (200, 1));
    }

    #[test]
    fn bw3_two_slow_batches_in_a_row_make_it_smaller_by_a_step_and_one_does_not() {
        assert_eq!(after(declared("excellent"), &[(100, 1001), (100, 1000), (100, 1001)]), [100; 3]);
        let slow = [(100, 1001), (100, 1001), (50, 1001), (50, 1001)];
        assert_eq!(after(declared("excellent"), &slow), [100, 50, 50, 25]);
        assert_eq!(after(declared("poor"), &[(10, 60_000); 4]), [10; 4], "one has to be sent");
        assert_eq!(after(declared("good"), &[(50, 501), (100, 2002)]), [50; 2], "one was slow");
        assert_eq!(after(declared("good"), &[(100, 2002); 2]), [50, 25], "50 of them take 1001 ms");
        assert_eq!(after(declared("good"), &[(1, 900); 9]), [50; 9], "a single one says nothing of fifty");
        assert_eq!(after(declared("good"), &[(1, 1001); 2]), [50, 25], "unless it is too much itself");
    }

    #[test]
    fn bw3_four_quick_batches_in_a_row_make_it_larger_by_a_step() {
        assert_eq!(after(declared("good"), &[(50, 125); 5]), [50, 50, 50, 100, 100]);
        assert_eq!(after(declared("good"), &[(50, 126); 9]), [50; 9], "100 of them would take too long");
        assert_eq!(after(declared("good"), &[(24, 0); 9]), [50; 9], "too few to say anything");
        assert_eq!(after(declared("good"), &[(50, 0), (50, 0), (50, 0), (50, 300), (50, 0)]), [50; 5]);
    }

    #[test]
    fn bw3_long_round_trips_are_no_narrow_line() {
        let mut far = declared("excellent");
        far.answered(600);
        assert_eq!(after(far, &[(100, 2200); 4]), [100; 4]);
        assert_eq!(after(far, &[(100, 2201); 2]), [100, 50]);
        far.answered(60_000);
        assert_eq!(far.round_trip_ms, (7 * 600 + 2000) / 8, "an app that sleeps is not the line");
        let near = (0..64).fold(far, |mut size, _| {
            size.answered(0);
            size
        });
        assert!(near.round_trip_ms <= 8, "{near:?}");
    }

    #[test]
    fn bw3_each_step_that_was_taken_back_doubles_the_wait_for_the_next() {
        let mut size = declared("excellent");
        let mut waited = Vec::new();
        for _ in 0..3 {
            (0..2).for_each(|_| size.came(100, 5000, 100));
            let wait = (1..1000).find(|_| {
                size.came(50, 0, 100);
                size.entries(100) == 100
            });
            waited.push(wait.unwrap());
        }
        assert_eq!(waited, [8, 16, 32]);
    }

    #[test]
    fn bw3_a_size_is_told_once_and_another_network_begins_anew() {
        let mut size = declared("excellent");
        assert_eq!(size.news(100), None);
        (0..2).for_each(|_| size.came(100, 5000, 100));
        assert_eq!((size.news(100), size.news(100)), (Some(50), None));
        size.declare(&"5G".parse().unwrap());
        assert_eq!(size.entries(100), 50, "a word without a meaning");
        size.declare(&"poor".parse().unwrap());
        assert_eq!((size.news(100), size.falls), (Some(10), 0));
        size.declare(&"fair".parse().unwrap());
        assert_eq!(size.news(1), None, "there is nothing less than one");
    }

    #[test]
    fn a_session_has_room_for_it() {
        assert_eq!(size_of::<BatchSize>(), 8);
    }

    proptest! {
        #[test]
        fn bw3_whatever_comes_it_moves_a_step_at_a_time_and_rarely(
            configured in 1_usize..2000,
            batches in prop::collection::vec((0_usize..2000, 0_u64..20_000, 0_u64..9000), 0..400),
        ) {
            let mut size = BatchSize::declared(None);
            let (mut rises, mut count) = (0_u32, 0_u32);
            for (entries, took_ms, round_trip_ms) in batches {
                let before = size.step;
                size.answered(round_trip_ms);
                size.came(entries, took_ms, configured);
                prop_assert!(size.step.abs_diff(before) <= 1 && size.step <= BEST);
                prop_assert!((1..=configured as u64).contains(&size.entries(configured)));
                rises += u32::from(size.step > before);
                count += 1;
            }
            // It begins at the top: the n-th rise follows n falls, and waits for 4 * 2^n batches.
            prop_assert!(rises == 0 || 4 << rises.min(20) <= 2 * count, "{rises} in {count}");
        }

        #[test]
        fn bw3_a_line_that_stays_as_it_is_moves_it_one_way_and_no_further_than_it_bears(
            configured in prop::sample::select(vec![1_usize, 10, 100, 400, 1000]),
            start in prop::sample::select(vec!["poor", "fair", "good", "excellent"]),
            bytes_per_ms in 1_u64..10_000,
            entry_bytes in 50_u64..5000,
            round_trip_ms in 1_u64..2000,
        ) {
            let mut size = declared(start);
            size.answered(round_trip_ms);
            let took = |entries: u64| entries * entry_bytes / bytes_per_ms;
            let mut sizes = vec![size.entries(configured)];
            for _ in 0..60 {
                let entries = size.entries(configured);
                size.came(usize::try_from(entries).unwrap(), took(entries), configured);
                sizes.push(size.entries(configured));
            }
            prop_assert!(sizes.is_sorted() || sizes.iter().rev().is_sorted(), "{sizes:?}");
            let last = size.entries(configured);
            prop_assert!(size.step == 0 || took(last) <= LONG_MS + 2 * round_trip_ms, "{last} is too much");
            prop_assert!(size.falls < 4 && sizes[40..].iter().all(|size| *size == last), "{sizes:?}");
        }
    }
}
