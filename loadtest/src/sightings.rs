//! What the devices of a replay were given on the way, held against each other and against what was sent.
//!
//! Wrong data that is soon followed by a right version leaves no trace in the copies at the end. So the
//! newest version of each record that any device was given is kept, and the newest one whose content is
//! known because an entry made it that met nothing newer.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use synchub_protocol::Data;
use uuid::Uuid;

use crate::survey::DeviceIndex;
use crate::verdict::sightings::{Jump, Mismatch};

/// How many notes of a kind are kept. Jumps are usual after a reconnect, so there must be room for many.
const KEPT: usize = 2_000_000;

/// A record by tenant, domain and id.
pub(crate) type RecordKey = (Arc<str>, Arc<str>, Uuid);

/// A version with its data.
type Version = (u64, Arc<Data>);

/// What is known of a record's newest versions.
#[derive(Debug, Default)]
struct Known {
    /// As some device was given it.
    given: Option<Version>,
    /// As its entry sent it, laid over what was known of the version before.
    sent: Option<Version>,
    /// Whether `sent` is the whole record: every version up to it is known.
    whole: bool,
}

/// What the devices have noted.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    jumps: Mutex<Vec<Jump>>,
    mismatches: Mutex<Vec<Mismatch>>,
    known: Mutex<HashMap<RecordKey, Known>>,
}

impl Sightings {
    /// Whether some notes were not kept.
    pub(crate) fn is_full(&self) -> bool {
        self.jumps.lock().len() == KEPT
    }

    /// All jumps and mismatches so far.
    pub(crate) fn read(&self) -> (Vec<Jump>, Vec<Mismatch>) {
        (self.jumps.lock().clone(), self.mismatches.lock().clone())
    }

    /// Notes that a copy went over versions.
    pub(crate) fn jumped(&self, jump: Jump) {
        keep(&self.jumps, jump);
    }

    /// A device was given a version.
    pub(crate) fn saw(&self, device: DeviceIndex, key: RecordKey, version: u64, data: &Arc<Data>) {
        let (domain, id) = (Arc::clone(&key.1), key.2);
        let wrong = {
            let mut known = self.known.lock();
            let known = known.entry(key).or_default();
            let differs = of(known.given.as_ref(), version).is_some_and(|given| **given != **data);
            let strays = known.strays(version, data);
            if known.given.as_ref().is_none_or(|(newest, _)| *newest < version) {
                known.given = Some((version, Arc::clone(data)));
            }
            differs || strays
        };
        if wrong {
            keep(&self.mismatches, Mismatch { device: Some(device), domain, id, version });
        }
    }

    /// An entry that met nothing newer made a version: the record now carries the fields that it sent.
    pub(crate) fn sent(&self, key: RecordKey, version: u64, data: Arc<Data>) {
        let (domain, id) = (Arc::clone(&key.1), key.2);
        let wrong = {
            let mut known = self.known.lock();
            let known = known.entry(key).or_default();
            known.note_sent(version, data);
            known.given.clone().is_some_and(|(given, data)| given == version && known.strays(version, &data))
        };
        if wrong {
            keep(&self.mismatches, Mismatch { device: None, domain, id, version });
        }
    }
}

impl Known {
    /// Lays a newer version over the one before; what is older than the known one tells nothing.
    fn note_sent(&mut self, version: u64, mut data: Arc<Data>) {
        let before = self.sent.take();
        if before.as_ref().is_some_and(|(newest, _)| *newest >= version) {
            self.sent = before;
            return;
        }
        self.whole = version == 1 || (self.whole && of(before.as_ref(), version - 1).is_some());
        if let (true, Some((_, under))) = (self.whole, before) {
            let mut over = (*under).clone();
            over.extend(data.iter().map(|(field, value)| (field.clone(), value.clone())));
            data = Arc::new(over);
        }
        self.sent = Some((version, data));
    }

    /// Whether a device was given this version with other content than was sent.
    fn strays(&self, version: u64, given: &Data) -> bool {
        of(self.sent.as_ref(), version)
            .is_some_and(|sent| !carries(given, sent) || (self.whole && !carries(sent, given)))
    }
}

fn of(known: Option<&Version>, version: u64) -> Option<&Arc<Data>> {
    known.filter(|(newest, _)| *newest == version).map(|(_, data)| data)
}

/// Whether a record holds what was sent. Lists may be append-only, so they are not compared.
fn carries(record: &Data, sent: &Data) -> bool {
    sent.iter().all(|(field, value)| match (value, record.get(field)) {
        (Value::Array(_), _) => true,
        (Value::Null, held) => held.is_none_or(Value::is_null),
        (Value::Number(value), Some(Value::Number(held))) => value.as_f64() == held.as_f64(),
        (value, held) => held == Some(value),
    })
}

fn keep<T>(notes: &Mutex<Vec<T>>, note: T) {
    let mut notes = notes.lock();
    if notes.len() < KEPT {
        notes.push(note);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(tenant: &str) -> RecordKey {
        (tenant.into(), "ticket".into(), Uuid::from_u128(7))
    }

    fn data(value: Value) -> Arc<Data> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn wrong(sightings: &Sightings) -> Vec<(Option<DeviceIndex>, u64)> {
        sightings.read().1.iter().map(|mismatch| (mismatch.device, mismatch.version)).collect()
    }

    #[test]
    fn other_data_under_one_version_is_noted_even_when_a_newer_one_follows() {
        let sightings = Sightings::default();
        let saw = |device, tenant, version, status| {
            sightings.saw(device, key(tenant), version, &data(json!({"status": status})));
        };
        saw(0, "t", 1, "a");
        saw(0, "t", 2, "b");
        saw(1, "t", 1, "too old to tell");
        saw(1, "t", 2, "WRONG");
        saw(1, "t", 3, "c");
        saw(0, "t", 3, "c");
        saw(2, "other", 3, "elsewhere");
        assert_eq!(wrong(&sightings), [(Some(1), 2)]);
    }

    #[test]
    fn data_that_is_not_what_its_entry_sent_is_noted_whichever_is_known_first() {
        let sightings = Sightings::default();
        sightings.saw(0, key("t"), 1, &data(json!({"status": "WRONG"})));
        sightings.sent(key("t"), 1, data(json!({"status": "a"})));
        sightings.sent(key("t"), 2, data(json!({"status": "b"})));
        sightings.saw(0, key("t"), 2, &data(json!({"status": "WRONG"})));
        sightings.sent(key("t"), 3, data(json!({"status": "c"})));
        sightings.saw(0, key("t"), 3, &data(json!({"status": "c"})));
        assert_eq!(wrong(&sightings), [(None, 1), (Some(0), 2)]);
    }

    #[test]
    fn a_field_that_nobody_sent_is_noted_where_all_versions_are_known() {
        let sightings = Sightings::default();
        sightings.sent(key("t"), 1, data(json!({"status": "a", "group": "g"})));
        sightings.sent(key("t"), 2, data(json!({"status": "b"})));
        sightings.saw(0, key("t"), 2, &data(json!({"status": "b", "group": "g"})));
        sightings.saw(1, key("t"), 2, &data(json!({"status": "b", "group": "g", "lie": true})));
        sightings.sent(key("t"), 4, data(json!({"status": "c"})));
        sightings.saw(0, key("t"), 4, &data(json!({"status": "c", "group": "of the unseen version 3"})));
        assert_eq!(wrong(&sightings), [(Some(1), 2)]);
    }

    #[test]
    fn a_record_carries_what_was_sent_in_whatever_form() {
        let carries = |record, sent| carries(&data(record), &data(sent));
        assert!(carries(json!({"n": 2.0, "l": [1, 2]}), json!({"n": 2, "l": [2], "x": null})));
        assert!(carries(json!({"x": null, "y": 1}), json!({"x": null})));
        assert!(!carries(json!({"x": 1}), json!({"x": null})));
        assert!(!carries(json!({}), json!({"n": 2})));
        assert!(!carries(json!({"n": 2.5}), json!({"n": 2})));
    }
}
