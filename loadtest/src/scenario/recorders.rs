//! Durations by device: each device counts into a histogram of its own, so that none waits for another;
//! they are joined when they are read.

use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::survey::DeviceIndex;
use crate::timing::Percentiles;

/// An hour, in microseconds: what takes longer counts as an hour.
const LONGEST_US: u64 = 3_600_000_000;
/// Significant digits: within a percent, so that ten thousand histograms take 130 MB at most.
const DIGITS: u8 = 2;

/// A histogram for each device; one that counts nothing takes no room.
#[derive(Debug)]
pub(crate) struct Recorders(Vec<Mutex<Option<Histogram<u32>>>>);

impl Recorders {
    /// Empty histograms of so many devices.
    pub(crate) fn new(devices: usize) -> Self {
        Self((0..devices).map(|_| Mutex::default()).collect())
    }

    /// Counts a duration of a device.
    pub(crate) fn add(&self, device: DeviceIndex, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US);
        self.0[device].lock().get_or_insert_with(empty).saturating_record(micros);
    }

    /// The percentiles of all that these devices counted; none if nothing was.
    pub(crate) fn percentiles(&self, of: impl Fn(DeviceIndex) -> bool) -> Option<Percentiles> {
        let mut all = empty();
        for (_, recorder) in self.0.iter().enumerate().filter(|(device, _)| of(*device)) {
            if let Some(histogram) = &*recorder.lock() {
                all.add(histogram).expect("all have one shape");
            }
        }
        (!all.is_empty()).then(|| Percentiles::of(&all))
    }
}

fn empty() -> Histogram<u32> {
    Histogram::new_with_max(LONGEST_US, DIGITS).expect("two digits up to an hour is a shape that exists")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_devices_count_apart_is_read_as_one() {
        let recorders = Recorders::new(3);
        assert_eq!(recorders.percentiles(|_| true), None);
        for ms in 1..=100 {
            recorders.add(usize::from(ms > 50), Duration::from_millis(ms));
        }
        recorders.add(2, Duration::from_hours(9));
        let of = |device| recorders.percentiles(|other| other <= device).unwrap();
        assert_eq!((of(0).count, of(1).count, of(2).count), (50, 100, 101));
        assert!((of(1).p99_ms - 99.0).abs() < 1.0 && (of(2).max_ms - 3_600_000.0).abs() < 36_000.0);
    }
}
