//! What happens to pushes on their way to devices: noted in memory, written for all devices together (P4).
//!
//! Losing some costs nothing but their lines in the delivery log: what a device is sent never follows from
//! them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use synchub_rules::record::DeviceNo;
use tokio_util::sync::CancellationToken;

use crate::store::{DeliveryEvent, DeliveryNote, Store};

/// How many notes one transaction writes.
const TOGETHER: usize = 1000;
/// How many notes may wait; beyond, while the store cannot write, new ones are not taken.
const WAITING: usize = 100_000;

/// Notes that are not written yet.
#[derive(Debug, Clone, Default)]
pub struct Deliveries {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The last push that was handed to each device's socket, with its time.
    reached: HashMap<DeviceNo, DeliveryNote>,
    others: Vec<DeliveryNote>,
}

impl Deliveries {
    /// Notes what happened.
    pub fn note(&self, note: DeliveryNote) {
        let mut waiting = self.waiting.lock();
        if note.event == DeliveryEvent::Delivered {
            let reached = waiting.reached.entry(note.device).or_insert(note);
            if reached.upto < note.upto {
                *reached = note;
            }
        } else if waiting.others.len() < WAITING {
            waiting.others.push(note);
        }
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

    /// Writes what waits now.
    pub async fn flush(&self, store: &dyn Store) {
        let Waiting { reached, others } = std::mem::take(&mut *self.waiting.lock());
        let notes: Vec<_> = others.into_iter().chain(reached.into_values()).collect();
        let mut parts = notes.chunks(TOGETHER);
        while let Some(part) = parts.next() {
            if let Err(error) = store.note_deliveries(part.to_vec()).await {
                tracing::warn!(%error, "what happened to pushes was not written; trying again");
                for note in part.iter().chain(parts.flatten()) {
                    self.note(*note);
                }
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p4_of_what_a_device_was_sent_only_the_last_place_is_written() {
        let deliveries = Deliveries::default();
        let note = |seq, event| DeliveryNote { device: 1, seq, upto: seq, event, at_us: 0 };
        for seq in [3, 9, 5] {
            deliveries.note(note(seq, DeliveryEvent::Delivered));
        }
        deliveries.note(note(7, DeliveryEvent::Held));
        let waiting = deliveries.waiting.lock();
        assert_eq!(waiting.reached[&1].upto, 9);
        assert_eq!(waiting.others, [note(7, DeliveryEvent::Held)]);
    }
}
