//! The one source of randomness.
//!
//! Everything that needs chance takes an [`Entropy`], so that a test can repeat it. Keys and ids
//! come from the operating system; [`SeededEntropy`] is for tests and never fit for secrets.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::{Builder, Uuid};

/// Gives random bytes.
pub trait Entropy: Debug + Send + Sync {
    /// Fills the whole of `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// A random number of 64 bits.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number from 0 to `bound` − 1, each as likely as the others; 0 when `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Numbers above the last whole multiple of `bound` would favour the low results.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let number = self.next_u64();
            if number < limit {
                return number % bound;
            }
        }
    }

    /// A UUID of version 4: random throughout.
    fn uuid_v4(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A UUID of version 7: `now_us` (microseconds since 1970) to the millisecond, then random.
    fn uuid_v7(&self, now_us: i64) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        let millis = u64::try_from(now_us / 1000).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }
}

/// A source of randomness that every part of the hub can hold.
pub type SharedEntropy = Arc<dyn Entropy>;

/// The operating system's random numbers; fit for keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl OsEntropy {
    /// The operating system's randomness, ready to hand out.
    pub fn shared() -> SharedEntropy {
        Arc::new(Self)
    }
}

impl Entropy for OsEntropy {
    /// # Panics
    /// When the system has no randomness to give: no id or key could be trusted then.
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives no random bytes");
    }
}

/// The same bytes for the same seed (`SplitMix64`), for tests.
#[derive(Debug)]
pub struct SeededEntropy {
    state: AtomicU64,
}

impl SeededEntropy {
    /// A source that repeats itself for the same `seed`.
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { state: AtomicU64::new(seed) })
    }

    fn next_word(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut word = self.state.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_word().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        let words = |seed| {
            let source = SeededEntropy::new(seed);
            (0..4).map(|_| source.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(words(1), words(1));
        assert_ne!(words(1), words(2));
        assert_eq!(words(0)[0], 0xe220_a839_7b1d_cdaf, "the published first number of SplitMix64");
    }

    #[test]
    fn fill_reaches_every_byte() {
        for source in [SeededEntropy::new(7) as SharedEntropy, OsEntropy::shared()] {
            let mut seen = [0_u8; 21];
            for _ in 0..8 {
                let mut bytes = [0; 21];
                source.fill(&mut bytes);
                seen.iter_mut().zip(bytes).for_each(|(all, byte)| *all |= byte);
            }
            assert!(seen.iter().all(|byte| *byte != 0), "{source:?}");
        }
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let source = SeededEntropy::new(3);
        let mut counts = [0; 5];
        for _ in 0..5000 {
            counts[usize::try_from(source.below(5)).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        assert_eq!((source.below(0), source.below(1)), (0, 0));
        assert!(source.below(u64::MAX) < u64::MAX);
    }

    #[test]
    fn uuids_say_their_version_and_v7_rises_with_time() {
        let source = SeededEntropy::new(9);
        let (early, late) = (source.uuid_v7(1_700_000_000_000_000), source.uuid_v7(1_700_000_000_001_000));
        assert_eq!((early.get_version_num(), source.uuid_v4().get_version_num()), (7, 4));
        assert!(early < late);
        assert_eq!(late.get_timestamp().unwrap().to_unix(), (1_700_000_000, 1_000_000));
        assert_ne!(source.uuid_v4(), source.uuid_v4());
        assert_eq!(source.uuid_v7(-1).get_version_num(), 7);
    }
}
