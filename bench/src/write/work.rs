//! What devices write: half new records, half changes of random old ones. The same numbers give the same work,
//! so that a hub and a yardstick in other processes do the same.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::chance::Chance;
use crate::frames;

/// The domain of what is written: one that is built in, with types to check.
pub(crate) const DOMAIN: &str = "ticket";
/// Entries of a batch.
pub(crate) const BATCH: usize = 100;
/// Bytes of a record's data.
const BODY_BYTES: usize = 300;

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    /// Devices that write.
    pub(crate) devices: usize,
    /// Records that each has before.
    pub(crate) preloaded: usize,
    /// Batches of each.
    pub(crate) batches: usize,
}

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// The record.
    pub(crate) key: Uuid,
    /// The version that it goes on; 0: a new one.
    pub(crate) base: u64,
    /// All of its data.
    pub(crate) data: Value,
}

/// A batch of a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    /// Its id.
    pub(crate) id: Uuid,
    /// The number of its first entry.
    pub(crate) first: u64,
    /// Its entries.
    pub(crate) items: Vec<Item>,
}

impl Batch {
    /// The frame that sends it.
    pub(crate) fn frame(&self, id: u64) -> Vec<u8> {
        let entry = |item: &Item| frames::entry(DOMAIN, item.key, item.base, &item.data);
        let entries: Vec<_> = self.items.iter().map(entry).collect();
        frames::sync(id, self.id, Some(self.first), &entries)
    }
}

/// The user of a device.
pub(crate) fn user(device: usize) -> String {
    format!("writer-{device}")
}

/// The install of a device.
pub(crate) fn install(device: usize) -> Uuid {
    Chance::new(1_000_000 + device as u64).uuid()
}

/// What a device has before anything is measured, in batches of at most so many.
pub(crate) fn preload(device: usize, size: Size, most: usize) -> Vec<Batch> {
    let mut chance = Chance::new(2_000_000 + device as u64);
    let numbers: Vec<usize> = (0..size.preloaded).collect();
    let batch = |numbers: &[usize]| Batch {
        id: chance.uuid(),
        first: numbers[0] as u64 + 1,
        items: numbers.iter().map(|number| item(device, *number, 0)).collect(),
    };
    numbers.chunks(most).map(batch).collect()
}

/// What a device writes while it is measured.
pub(crate) fn measured(device: usize, size: Size) -> Vec<Batch> {
    let mut chance = Chance::new(3_000_000 + device as u64);
    let mut versions = vec![1_u64; size.preloaded];
    let mut batches = Vec::with_capacity(size.batches);
    for number in 0..size.batches {
        let old = versions.len();
        let mut items = Vec::with_capacity(BATCH);
        let mut changed = BTreeSet::new();
        while items.len() < BATCH {
            if items.len().is_multiple_of(2) {
                items.push(item(device, versions.len(), 0));
                versions.push(1);
            } else {
                let at = chance.below(old);
                if changed.insert(at) {
                    items.push(item(device, at, versions[at]));
                    versions[at] += 1;
                }
            }
        }
        let first = (size.preloaded + number * BATCH) as u64 + 1;
        batches.push(Batch { id: chance.uuid(), first, items });
    }
    batches
}

/// All batches in the order in which they come when every device waits for its answers: in turns.
pub(crate) fn in_turns(size: Size) -> Vec<(usize, Batch)> {
    let mut all: Vec<_> = (0..size.devices).map(|device| measured(device, size).into_iter()).collect();
    let mut turns = Vec::new();
    for _ in 0..size.batches {
        for (device, batches) in all.iter_mut().enumerate() {
            turns.extend(batches.next().map(|batch| (device, batch)));
        }
    }
    turns
}

fn item(device: usize, number: usize, base: u64) -> Item {
    let key = Chance::new(((device as u64) << 32) | number as u64).uuid();
    Item { key, base, data: data(number, base) }
}

/// A record's data; a change gives three of its fields another value.
fn data(number: usize, base: u64) -> Value {
    let mut data = json!({
        "subject": format!("The lift on the west side has stopped {number:08}"),
        "description": "",
        "status": "NEW",
        "priority": "LOW",
        "category": "building",
        "location": format!("floor {:02}", number % 40),
        "caller": format!("caller-{:06}", number % 1_000_000),
        "assignee": format!("assignee-{base:04}"),
        "group": format!("group-{base:04}"),
        "reassignments": base % 100,
    });
    let fill = BODY_BYTES.saturating_sub(frames::encode(&data).len() + 1);
    let text: String = "it makes a noise and people wait. ".chars().cycle().take(fill).collect();
    data["description"] = Value::String(text);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { devices: 3, preloaded: 150, batches: 2 };

    #[test]
    fn the_same_size_gives_the_same_work() {
        assert_eq!(in_turns(SIZE), in_turns(SIZE));
        let order: Vec<_> = in_turns(SIZE).iter().map(|(device, _)| *device).collect();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn half_of_a_batch_is_new_and_changes_go_on_what_stands() {
        let before: BTreeSet<Uuid> =
            preload(1, SIZE, 40).iter().flat_map(|batch| &batch.items).map(|item| item.key).collect();
        assert_eq!(before.len(), 150);
        let mut versions = std::collections::HashMap::new();
        let mut next = 151;
        for batch in measured(1, SIZE) {
            assert_eq!((batch.first, batch.items.len()), (next, BATCH));
            next += BATCH as u64;
            assert_eq!(batch.items.iter().filter(|item| item.base == 0).count(), BATCH / 2);
            for item in batch.items {
                let stands = versions.entry(item.key).or_insert(u64::from(before.contains(&item.key)));
                assert_eq!(item.base, *stands);
                *stands += 1;
            }
        }
    }

    #[test]
    fn a_body_has_its_size() {
        let sizes: BTreeSet<_> =
            measured(0, SIZE)[1].items.iter().map(|item| frames::encode(&item.data).len()).collect();
        assert!(sizes.iter().all(|size| size.abs_diff(BODY_BYTES) <= 2), "{sizes:?}");
    }
}
