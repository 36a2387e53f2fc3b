//! Random numbers that a seed repeats (`SplitMix64`): when kills fall, ids of installs and batches.
//! Never fit for secrets.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// A source that gives the same numbers for the same seed.
#[derive(Debug)]
pub(crate) struct Chance(AtomicU64);

impl Chance {
    /// The source of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next 64 bits.
    pub(crate) fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut word = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`, which is above 0.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A part of a whole: from 0, below 1.
    pub(crate) fn part(&self) -> f64 {
        const PARTS: u32 = 1 << 20;
        f64::from(u32::try_from(self.below(PARTS.into())).unwrap_or(0)) / f64::from(PARTS)
    }

    /// A random UUID.
    pub(crate) fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(
            (u128::from(self.next()) << 64 | u128::from(self.next())).to_be_bytes(),
        )
        .into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        let ids = |seed| {
            let chance = Chance::new(seed);
            [chance.uuid(), chance.uuid()]
        };
        assert_eq!(ids(1), ids(1));
        assert_ne!(ids(1), ids(2));
        assert_ne!(ids(1)[0], ids(1)[1]);
    }
}
