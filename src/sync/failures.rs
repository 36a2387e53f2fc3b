//! Groups that the store could not write: a full disk may still take the small write of a health check.

use std::sync::Arc;

use parking_lot::Mutex;

/// How long a failure counts when nothing is written after it.
const RECENT_US: i64 = 10_000_000;

/// The last group that could not be written. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Failures(Arc<Mutex<Option<Failed>>>);

#[derive(Debug, Clone, Copy)]
struct Failed {
    entries: usize,
    at_us: i64,
}

impl Failures {
    pub(super) fn failed(&self, entries: usize, at_us: i64) {
        *self.0.lock() = Some(Failed { entries, at_us });
    }

    /// A group as large was written: there is room again.
    pub(super) fn succeeded(&self, entries: usize) {
        self.0.lock().take_if(|failed| failed.entries <= entries);
    }

    pub(super) fn are_recent(&self, now_us: i64) -> bool {
        self.0.lock().is_some_and(|failed| now_us - failed.at_us < RECENT_US)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_until_a_group_as_large_is_written_or_for_a_while() {
        let failures = Failures::default();
        assert!(!failures.are_recent(0));
        failures.failed(20, 5);
        failures.succeeded(19);
        assert!(failures.are_recent(10_000_004) && !failures.are_recent(10_000_005));
        failures.succeeded(20);
        assert!(!failures.are_recent(6));
    }
}
