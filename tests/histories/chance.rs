//! Numbers by chance, the same for the same seed; nothing else is random in a history.

use std::sync::Arc;

use synchub::entropy::{Entropy, SeededEntropy};

/// Chance that a seed repeats.
#[derive(Debug)]
pub(crate) struct Chance(Arc<SeededEntropy>);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds that follow each other begin far apart.
        Self(SeededEntropy::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    pub(crate) fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 to `limit` - 1.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.word() % limit as u64).unwrap()
    }

    /// Yes in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// A subscription's priority; most devices want everything at once (C9).
    pub(crate) fn urgency(&mut self) -> &'static str {
        ["all", "all", "all", "high", "critical"][self.below(5)]
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// From `-most` to `most`.
    pub(crate) fn around(&mut self, most: i64) -> i64 {
        let span = usize::try_from(2 * most + 1).unwrap();
        i64::try_from(self.below(span)).unwrap() - most
    }

    pub(crate) fn uuid(&mut self) -> uuid::Uuid {
        let bytes = (u128::from(self.word()) << 64) | u128::from(self.word());
        uuid::Builder::from_random_bytes(bytes.to_be_bytes()).into_uuid()
    }
}
