//! Acknowledged places: kept in memory, written for all devices together every few seconds (C10).
//!
//! Losing some costs nothing: they tell how far a device is, and never what it is sent next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use synchub_rules::record::DeviceNo;
use tokio_util::sync::CancellationToken;

use crate::store::Store;

/// Acknowledged places that are not written yet.
#[derive(Debug, Clone, Default)]
pub struct Acks {
    places: Arc<Mutex<HashMap<DeviceNo, u64>>>,
}

impl Acks {
    /// Notes how far a device is; a place never goes back.
    pub fn note(&self, device: DeviceNo, seq: u64) {
        let mut places = self.places.lock();
        let place = places.entry(device).or_default();
        *place = seq.max(*place);
    }

    /// The place that was noted and is not written yet; 0 if there is none.
    pub fn noted(&self, device: DeviceNo) -> u64 {
        self.places.lock().get(&device).copied().unwrap_or(0)
    }

    /// Writes every `interval`, and once more at the end.
    pub async fn run(self, store: Arc<dyn Store>, interval: Duration, stop: CancellationToken) {
        loop {
            let stopped = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(interval) => false,
            };
            self.flush(store.as_ref()).await;
            if stopped {
                return;
            }
        }
    }

    async fn flush(&self, store: &dyn Store) {
        let places: Vec<_> = self.places.lock().drain().collect();
        if places.is_empty() {
            return;
        }
        if let Err(error) = store.save_acks(places.clone()).await {
            tracing::warn!(%error, devices = places.len(), "acknowledged places were not written; trying again");
            for (device, seq) in places {
                self.note(device, seq);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_a_place_never_goes_back() {
        let acks = Acks::default();
        for seq in [3, 7, 5] {
            acks.note(1, seq);
        }
        assert_eq!(*acks.places.lock(), HashMap::from([(1, 7)]));
    }
}
