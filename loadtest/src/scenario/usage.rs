//! What a process takes while the load runs: resident memory and processor time, looked at ten times a
//! second. Linux only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::process::Process;

/// How often is looked.
const EVERY: Duration = Duration::from_millis(100);
/// A tick of the system's clock in seconds.
const TICK_SECS: f64 = 0.01;

/// What a process took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// Before the devices connected, in MiB.
    pub(crate) rss_empty_mib: f64,
    /// When all were connected and had their records.
    pub(crate) rss_before_mib: f64,
    /// The most while the load ran, as far as looked at.
    pub(crate) rss_peak_mib: f64,
    /// At its end.
    pub(crate) rss_after_mib: f64,
    /// Processor time from the first to the last entry.
    pub(crate) cpu_seconds: f64,
}

/// Watches a process, whose number may change when it is started again.
#[derive(Debug)]
pub(crate) struct Watch {
    number: Arc<AtomicU32>,
    empty_kib: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    before_kib: u64,
    peak_kib: u64,
    last_kib: u64,
    ticks: u64,
    /// The process that was seen last, and its ticks then.
    last: (u32, u64),
}

impl Watch {
    /// Watches the process of this number; 0: none for now.
    pub(crate) fn new(number: Arc<AtomicU32>) -> Self {
        let watch = Self { number, empty_kib: AtomicU64::new(0), seen: Mutex::default() };
        if let Some((_, kib, _)) = watch.look() {
            watch.empty_kib.store(kib, Ordering::Relaxed);
        }
        watch
    }

    /// Whether the process can be watched.
    pub(crate) fn can_look(&self) -> bool {
        self.look().is_some()
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident_mib(&self) -> Option<f64> {
        self.look().map(|(_, kib, _)| mib(kib))
    }

    /// The load begins.
    pub(crate) fn begin(&self) {
        if let Some((number, kib, ticks)) = self.look() {
            let (before_kib, peak_kib, last_kib) = (kib, kib, kib);
            *self.seen.lock() = Seen { before_kib, peak_kib, last_kib, ticks: 0, last: (number, ticks) };
        }
    }

    /// Looks on and on. Never ends.
    pub(crate) async fn run(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.take();
        }
    }

    /// The load is over: a last look.
    pub(crate) fn end(&self) {
        self.take();
    }

    /// What was seen; none of a process that cannot be watched.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let seen = self.seen.lock();
        #[expect(clippy::cast_precision_loss, reason = "ticks of a run")]
        let cpu_seconds = seen.ticks as f64 * TICK_SECS;
        (seen.last_kib > 0).then(|| Usage {
            rss_empty_mib: mib(self.empty_kib.load(Ordering::Relaxed)),
            rss_before_mib: mib(seen.before_kib),
            rss_peak_mib: mib(seen.peak_kib),
            rss_after_mib: mib(seen.last_kib),
            cpu_seconds,
        })
    }

    fn take(&self) {
        let Some((number, kib, ticks)) = self.look() else { return };
        let mut seen = self.seen.lock();
        // A process that was started again has counted from zero.
        let before = if seen.last.0 == number { seen.last.1 } else { 0 };
        seen.ticks += ticks.saturating_sub(before);
        seen.last = (number, ticks);
        seen.last_kib = kib;
        seen.peak_kib = seen.peak_kib.max(kib);
    }

    fn look(&self) -> Option<(u32, u64, u64)> {
        let number = self.number.load(Ordering::Relaxed);
        let process = Process(number);
        (number > 0).then_some(())?;
        Some((number, process.resident_kib().ok()?, process.ticks().ok()?))
    }
}

fn mib(kib: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "memory of a process")]
    let kib = kib as f64;
    kib / 1024.0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_and_one_that_does_not_run_is_not() {
        let watch = Watch::new(Arc::new(AtomicU32::new(std::process::id())));
        watch.begin();
        watch.end();
        let usage = watch.usage().unwrap();
        assert!(usage.rss_empty_mib > 0.1 && usage.rss_peak_mib >= usage.rss_before_mib, "{usage:?}");
        let none = Watch::new(Arc::default());
        none.begin();
        assert!(none.usage().is_none() && !none.can_look());
    }
}
