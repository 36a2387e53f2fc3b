//! What was sent to the hub and what came of it, and the judgement: the batches go through the model in the
//! order in which the hub committed them, and everything that was answered, stored or sent is compared.
//!
//! The order is read from the answers' `seq` and the store's log. It never asks the engine.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::device::Wish;
use crate::host::Host;
use crate::model::{Batch, Key, Model, Verdict, matches, normal, sees};

/// What is known of a batch that was sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fate {
    /// On the wire, or lost with its socket.
    Open,
    /// Its `sync_result`.
    Answered(Value),
    /// The code of its `error` frame.
    Refused(String),
    /// Nobody was told; the store remembers it: status, version, deleted of each entry.
    Stored(Vec<Value>),
    /// It never reached the committer, or was refused there.
    Dropped,
}

#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// The device's place in the world; none for a publisher.
    pub(crate) device: Option<usize>,
    pub(crate) batch: Batch,
    pub(crate) fate: Fate,
}

/// A record as a device was sent it.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) by: String,
    pub(crate) user: String,
    pub(crate) unit: Option<String>,
    pub(crate) sets: Vec<Wish>,
    pub(crate) key: Key,
    pub(crate) version: u64,
    /// None for `delete` and `remove`.
    pub(crate) data: Option<Value>,
    pub(crate) priority: Value,
}

/// One tenant: its model and what was not judged yet.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) tenant: String,
    pub(crate) model: Model,
    pub(crate) events: Vec<Event>,
    judged: usize,
    pub(crate) sightings: Vec<Sighting>,
}

impl Ledger {
    pub(crate) fn new(tenant: String) -> Self {
        Self { tenant, model: Model::default(), events: Vec::new(), judged: 0, sightings: Vec::new() }
    }

    /// How many batches were sent.
    pub(crate) fn sent(&self) -> usize {
        self.events.len()
    }

    /// Whether something may still be decided of which nobody knows.
    pub(crate) fn is_open(&self) -> bool {
        self.events[self.judged..].iter().any(|event| event.fate == Fate::Open)
    }

    /// The devices with batches of which nobody knows yet.
    pub(crate) fn open_devices(&self) -> Vec<usize> {
        let open = self.events[self.judged..].iter().filter(|event| event.fate == Fate::Open);
        let mut devices: Vec<_> = open.filter_map(|event| event.device).collect();
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// Says what became of a device's lost batches: no socket of it can decide anything any more (C11).
    pub(crate) fn resolve(&mut self, host: &Host, device: usize) {
        for at in self.judged..self.events.len() {
            let event = &self.events[at];
            if event.device != Some(device) || event.fate != Fate::Open {
                continue;
            }
            let Batch { install, batch_id, .. } = &event.batch;
            let known = self.model.knows(&event.batch.device, batch_id)
                || self.events[self.judged..at].iter().any(|earlier| {
                    earlier.batch.device == event.batch.device
                        && earlier.batch.batch_id == *batch_id
                        && matches!(earlier.fate, Fate::Answered(_) | Fate::Stored(_))
                });
            let stored = host.batch(*install, batch_id).filter(|_| !known);
            self.events[at].fate = stored.map_or(Fate::Dropped, Fate::Stored);
        }
    }

    /// Brings the model to where the hub is and compares everything. Nothing may be open.
    pub(crate) fn judge(&mut self, host: &Host) {
        assert!(!self.is_open(), "judged too early");
        let before = self.model.head();
        let log = host.log(&self.tenant, before);
        let anchor = |event: &Event| -> Option<(u64, bool)> {
            let seq = match &event.fate {
                Fate::Answered(frame) => frame["seq"].as_u64().unwrap(),
                Fate::Stored(outcomes) => last_row(&event.batch, outcomes, &log)?,
                _ => return None,
            };
            // Of two that name the same row its writer came first.
            let row = seq.checked_sub(before + 1).and_then(|at| log.get(usize::try_from(at).unwrap()));
            Some((seq, row.is_none_or(|row| row.install != event.batch.install)))
        };
        let fresh: Vec<Event> = self.events.drain(self.judged..).collect();
        let mut anchored: Vec<(usize, (u64, bool))> = Vec::new();
        let mut floating: BTreeMap<Option<usize>, VecDeque<usize>> = BTreeMap::new();
        for (at, event) in fresh.iter().enumerate() {
            match anchor(event) {
                Some(place) => anchored.push((at, place)),
                None if event.fate != Fate::Dropped => floating.entry(event.device).or_default().push_back(at),
                None => {}
            }
        }
        anchored.sort_by_key(|(at, place)| (*place, *at));
        for (at, _) in anchored {
            // What the same device sent before has been decided before.
            let device = fresh[at].device;
            self.float(&fresh, floating.entry(device).or_default(), Some(at));
            self.apply(&fresh[at]);
            for queue in floating.values_mut() {
                self.float(&fresh, queue, None);
            }
        }
        for queue in floating.values_mut() {
            self.float(&fresh, queue, Some(usize::MAX));
        }
        self.events.extend(fresh);
        self.judged = self.events.len();
        self.compare(host, &log);
        self.look();
    }

    /// Applies batches that changed nothing and whose place nobody knows: as soon as the model agrees with
    /// what is known of them, and at the latest before `limit`.
    fn float(&mut self, events: &[Event], queue: &mut VecDeque<usize>, limit: Option<usize>) {
        while let Some(&at) = queue.front() {
            let must = limit.is_some_and(|limit| at < limit);
            let mut trial = self.model.clone();
            let verdict = trial.submit(&events[at].batch);
            let agrees = agree(&verdict, &events[at].fate) && trial.head() == self.model.head();
            if !agrees && must {
                panic!("{}\nthe hub: {:?}\nthe model: {verdict:?}", said(&events[at]), events[at].fate);
            }
            if !agrees {
                return;
            }
            self.model = trial;
            queue.pop_front();
        }
    }

    fn apply(&mut self, event: &Event) {
        let verdict = self.model.submit(&event.batch);
        if !agree(&verdict, &event.fate) {
            panic!("{}\nthe hub:   {:?}\nthe model: {verdict:?}", said(event), event.fate);
        }
    }

    fn compare(&self, host: &Host, log: &[crate::host::LogRow]) {
        let tenant = &self.tenant;
        let rows = &self.model.rows[self.model.rows.len().saturating_sub(log.len())..];
        let from = log.first().map_or(0, |row| row.seq);
        for (ours, theirs) in rows.iter().zip(log) {
            let as_row = crate::host::LogRow {
                seq: ours.seq,
                time_us: ours.time_us,
                kind: ours.kind,
                scope: ours.scope.clone(),
                key: ours.key.clone(),
                version: ours.version,
                install: ours.install,
                priority: ours.priority,
                old: ours.old.clone(),
            };
            assert_eq!(*theirs, as_row, "the store's log of {tenant} and the model's (right) differ");
        }
        assert_eq!(host.head(tenant), self.model.head(), "the number of log rows of {tenant} (from {from})");
        let stored = host.records(tenant);
        assert_eq!(stored.len(), self.model.records.len(), "the number of records of {tenant}");
        for (theirs, (key, record)) in stored.iter().zip(&self.model.records) {
            let image = record.now();
            let ours = crate::host::Stored {
                key: key.clone(),
                version: record.version(),
                scope: image.scope.clone(),
                deleted: image.deleted,
                data: image.data.clone(),
            };
            assert_eq!(*theirs, ours, "a record of {tenant} and the model's (right) differ");
        }
        let marks: Vec<_> = self.model.marks.iter().map(|(no, (mark, _))| (*no, *mark)).collect();
        assert_eq!(host.marks(tenant), marks, "O2: the marks of {tenant} and the model's (right) differ");
        let reviews = self.model.reviews();
        assert_eq!(host.reviews(tenant), reviews, "E11: what is kept of {tenant} for people, and the model's");
    }

    /// Looks at everything that was sent since the last time: that it is what a version of the record was,
    /// and that its receiver might see it (V2, V3, C5).
    fn look(&mut self) {
        for seen in std::mem::take(&mut self.sightings) {
            let record = self.model.records.get(&seen.key).unwrap_or_else(|| panic!("no such record: {seen:?}"));
            let may_see = |image: &crate::model::Image| {
                let wanted = |set: &Wish| {
                    set.get(&seen.key.0).is_some_and(|filters| matches(filters, &image.data))
                };
                !image.deleted
                    && sees(&image.scope, &seen.user, seen.unit.as_deref())
                    && seen.sets.iter().any(wanted)
            };
            let Some(data) = &seen.data else {
                let ever = record.images.values().any(may_see);
                assert!(ever, "V3: told of a record that was never in view: {seen:?}");
                assert!(seen.version <= record.version(), "a version that never was: {seen:?}");
                continue;
            };
            let image = record.images.get(&seen.version);
            let image = image.unwrap_or_else(|| panic!("a version that never was: {seen:?}"));
            assert_eq!(*data, Value::Object(image.data.clone()), "not what that version was: {seen:?}");
            assert!(may_see(image), "V2: sent to who may not see it: {seen:?}");
            let name = ["low", "normal", "high", "critical"][image.priority];
            assert_eq!(seen.priority, json!(name), "E12: {seen:?}");
        }
    }
}

/// The last row that a batch of which only its outcomes are known wrote.
fn last_row(batch: &Batch, outcomes: &[Value], log: &[crate::host::LogRow]) -> Option<u64> {
    let wrote = |row: &&crate::host::LogRow| {
        row.install == batch.install
            && batch.entries.iter().zip(outcomes).any(|(entry, outcome)| {
                let changes = ["created", "updated", "merged", "conflict"];
                changes.contains(&outcome[0].as_str().unwrap_or_default())
                    && (&entry["domain"], &entry["mobile_id"]) == (&json!(row.key.0), &json!(row.key.1))
                    && outcome[1] == row.version
            })
    };
    log.iter().filter(wrote).map(|row| row.seq).max()
}

fn agree(verdict: &Verdict, fate: &Fate) -> bool {
    match (verdict, fate) {
        (Verdict::Error(ours), Fate::Refused(theirs)) => ours == theirs,
        (Verdict::Answered { results, seq, repeated }, Fate::Answered(frame)) => {
            let theirs: Vec<_> = frame["results"].as_array().unwrap().iter().map(normal).collect();
            *results == theirs && frame["seq"] == *seq && frame["repeated"] == *repeated
        }
        (Verdict::Answered { results, .. }, Fate::Stored(outcomes)) => {
            results.len() == outcomes.len()
                && results.iter().zip(outcomes).all(|(ours, outcome)| {
                    ours["status"] == outcome[0]
                        && ours["server_version"] == outcome[1]
                        && ours["conflict"]["resolution"] == outcome[3]
                        && ours["error"].is_null() == outcome[4].is_null()
                })
        }
        _ => false,
    }
}

fn said(event: &Event) -> String {
    format!("a divergence about {:#?}", event.batch)
}
