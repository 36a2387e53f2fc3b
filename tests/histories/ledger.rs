//! What was sent to the hub and what came of it, and the judgement: the batches go through the model in the
//! order in which the hub committed them, and everything that was answered, stored or sent is compared.
//!
//! The order is read from the answers' `seq` and the store's log. It never asks the engine.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use crate::conflicts::Shown;
use crate::device::Wish;
use crate::host::{Host, LogRow, Stored};
use crate::model::{Batch, Image, Key, Model, Verdict, matches, normal, sees};
use crate::numbers::{Numbers, epoch_of};
use crate::post::Post;

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
    /// Whether the store was made to refuse while it was on the way: only then may nothing be decided.
    pub(crate) may_fail: bool,
    /// The epoch that the sender knew.
    pub(crate) epoch: u64,
    /// The edits that the numbers name; empty where numbers prove nothing.
    pub(crate) uids: Vec<u64>,
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
    pub(crate) judged: usize,
    pub(crate) sightings: Vec<Sighting>,
    pub(crate) shown: Vec<Shown>,
    /// How often each thing happened: what no history reaches, no history tests.
    pub(crate) tally: BTreeMap<String, u64>,
    pub(crate) numbers: Numbers,
    pub(crate) post: Post,
    /// What users were pushed live by a hub that runs, by push when it was published (P3).
    pub(crate) told: BTreeMap<String, BTreeMap<String, i64>>,
}

impl Ledger {
    pub(crate) fn new(tenant: String) -> Self {
        Self {
            tenant,
            model: Model::default(),
            events: Vec::new(),
            judged: 0,
            sightings: Vec::new(),
            shown: Vec::new(),
            tally: BTreeMap::new(),
            numbers: Numbers::default(),
            post: Post::default(),
            told: BTreeMap::new(),
        }
    }

    /// Counts something that happened.
    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.tally.entry(what.into()).or_default() += 1;
    }

    fn count_verdict(&mut self, verdict: &Verdict, fate: &Fate) {
        match verdict {
            Verdict::Error(code) => self.count(format!("batch refused: {code}")),
            Verdict::Answered { repeated: true, .. } => self.count("batch repeated"),
            Verdict::Answered { results, .. } => {
                self.count(if matches!(fate, Fate::Stored(_)) {
                    "batch lost after its commit"
                } else {
                    "batch"
                });
                for result in results {
                    let part = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
                    let conflict = &result["conflict"];
                    let strategy = conflict["strategy"].as_str().unwrap_or_default();
                    let resolution = conflict["resolution"].as_str().unwrap_or_default();
                    let deleted = if result["deleted"] == true { " deleted" } else { "" };
                    self.count(format!(
                        "{} {}{strategy} {resolution}{deleted}",
                        part("status"),
                        part("error")
                    ));
                }
            }
        }
    }

    /// How many batches were sent.
    pub(crate) fn sent(&self) -> usize {
        self.events.len()
    }

    /// Whether something may still be decided of which nobody knows.
    pub(crate) fn is_open(&self) -> bool {
        self.events[self.judged..].iter().any(|event| event.fate == Fate::Open)
    }

    /// What is on the way may meet a store that refuses.
    pub(crate) fn may_fail(&mut self) {
        for event in self.events.iter_mut().filter(|event| event.fate == Fate::Open) {
            event.may_fail = true;
        }
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
            let Batch { install, id, .. } = &event.batch;
            let known = self.model.knows(&event.batch.device, id)
                || self.events[self.judged..at].iter().any(|earlier| {
                    earlier.batch.device == event.batch.device
                        && earlier.batch.id == *id
                        && matches!(earlier.fate, Fate::Answered(_) | Fate::Stored(_))
                });
            // The id may have come again with other contents.
            let is_its = |outcomes: &Vec<Value>| !known && outcomes.len() == event.batch.entries.len();
            let stored = host.batch(*install, id).filter(is_its);
            if stored.is_none() {
                *self.tally.entry("batch lost before its commit".into()).or_default() += 1;
            }
            self.events[at].fate = stored.map_or(Fate::Dropped, Fate::Stored);
        }
    }

    /// Brings the model to where the hub is and compares everything. Nothing may be open.
    pub(crate) fn judge(&mut self, host: &Host) {
        assert!(!self.is_open(), "judged too early");
        let before = self.model.head();
        let log = host.log(&self.tenant, before);
        self.numbers.give(&log);
        let fresh: Vec<Event> = self.events.drain(self.judged..).collect();
        let last = writers(&fresh, &log);
        let anchor = |at: usize, event: &Event| -> Option<(u64, bool)> {
            let seq = match &event.fate {
                Fate::Answered(frame) => frame["seq"].as_u64().unwrap(),
                _ => *last.get(&at)?,
            };
            // Of two that name the same row its writer came first.
            let row = log.binary_search_by_key(&seq, |row| row.seq).ok().map(|at| &log[at]);
            Some((seq, row.is_none_or(|row| row.install != event.batch.install)))
        };
        let mut anchored: Vec<(usize, (u64, bool))> = Vec::new();
        let mut floating: BTreeMap<Option<usize>, VecDeque<usize>> = BTreeMap::new();
        for (at, event) in fresh.iter().enumerate() {
            match anchor(at, event) {
                Some(place) => anchored.push((at, place)),
                None if event.fate != Fate::Dropped => {
                    floating.entry(event.device).or_default().push_back(at);
                }
                None => {}
            }
        }
        anchored.sort_by_key(|(at, place)| (*place, *at));
        let mut waiting: VecDeque<usize> = anchored.into_iter().map(|(at, _)| at).collect();
        loop {
            // What a device sent is decided in the order in which it was sent.
            let next = waiting.pop_front();
            for (device, queue) in &mut floating {
                let later = next.iter().chain(&waiting).filter(|at| fresh[**at].device == *device).min();
                let must = next.filter(|at| fresh[*at].device == *device);
                let must = if next.is_none() { usize::MAX } else { must.unwrap_or(0) };
                self.float(&fresh, queue, later.copied().unwrap_or(usize::MAX), must);
            }
            let Some(at) = next else { break };
            if let Some(seq) = last.get(&at).copied().or_else(|| fresh[at].pushed_upto()) {
                self.enter(epoch_of(seq), &fresh[at]);
            }
            self.apply(&fresh[at]);
        }
        self.events.extend(fresh);
        self.judged = self.events.len();
        self.compare(host, &log);
        self.look();
        self.look_at_alerts();
    }

    /// Applies batches that changed nothing and whose place nobody knows, as soon as the model agrees with
    /// what is known of them: those before `end`; those before `must` now or never.
    fn float(&mut self, events: &[Event], queue: &mut VecDeque<usize>, end: usize, must: usize) {
        while let Some(&at) = queue.front().filter(|at| **at < end) {
            let must = at < must;
            let mut trial = self.model.clone();
            let verdict = trial.submit(&events[at].batch);
            let agrees = agree(&verdict, &events[at].fate) && trial.head() == self.model.head();
            assert!(agrees || !must, "{}\nthe model: {verdict:?}", said(&events[at]));
            if !agrees {
                return;
            }
            self.model = trial;
            self.count_verdict(&verdict, &events[at].fate);
            self.numbers.settle(&events[at], &verdict);
            queue.pop_front();
        }
    }

    fn apply(&mut self, event: &Event) {
        let verdict = self.model.submit(&event.batch);
        self.count_verdict(&verdict, &event.fate);
        assert!(agree(&verdict, &event.fate), "{}\nthe model: {verdict:?}", said(event));
        self.numbers.settle(event, &verdict);
    }

    fn compare(&self, host: &Host, log: &[LogRow]) {
        let tenant = &self.tenant;
        let rows = &self.model.rows[self.model.rows.len().saturating_sub(log.len())..];
        let from = log.first().map_or(0, |row| row.seq);
        for (ours, theirs) in rows.iter().zip(log) {
            let as_row = LogRow {
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
            let ours = Stored {
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
        // What is corrected within the group that refused it has no row, in another one it has a closed one.
        let open = |mut counts: crate::model::Reviews| {
            counts.remove("closed");
            counts
        };
        assert_eq!(
            open(host.reviews(tenant)),
            open(self.model.reviews()),
            "E11: what is kept of {tenant} for people, and the model's"
        );
    }

    /// Looks at everything that was sent since the last time: that it is what a version of the record was,
    /// and that its receiver might see it (V2, V3, C5).
    fn look(&mut self) {
        for seen in std::mem::take(&mut self.sightings) {
            let images = self.model.images(&seen.key);
            let who = &seen.by;
            let may_see = |image: &Image| {
                let wanted =
                    |set: &Wish| set.get(&seen.key.0).is_some_and(|filters| matches(filters, &image.data));
                !image.deleted
                    && sees(&image.scope, &seen.user, seen.unit.as_deref())
                    && seen.sets.iter().any(wanted)
            };
            let Some(data) = &seen.data else {
                // Where the log no longer says how a record stood, a `remove` is said in doubt (C5, D3).
                let in_doubt = |image: &&Image| {
                    self.model.was_purged(&seen.key) && sees(&image.scope, &seen.user, seen.unit.as_deref())
                };
                let ever = images.values().any(|image| may_see(image) || in_doubt(image));
                assert!(ever, "V3: {who} is told of what it never saw: {seen:?}");
                let newest = images.last_key_value().map_or(0, |(version, _)| *version);
                assert!(seen.version <= newest, "{who} is told a version that never was: {seen:?}");
                continue;
            };
            let image = images.get(&seen.version);
            let image = image.unwrap_or_else(|| panic!("{who} is sent a version that never was: {seen:?}"));
            assert_eq!(*data, Value::Object(image.data.clone()), "not what that version was: {seen:?}");
            assert!(may_see(image), "V2: {who} is sent what it may not see: {seen:?}");
            let name = ["low", "normal", "high", "critical"][image.priority];
            assert_eq!(seen.priority, json!(name), "E12: {seen:?}");
        }
    }
}

/// The last row that each batch wrote, by its place among the events: a row belongs to the first batch of its
/// install that names its version, since nobody can name a version before it is there.
fn writers(events: &[Event], log: &[LogRow]) -> BTreeMap<usize, u64> {
    let row = |row: &LogRow| ((row.install, row.key.clone(), row.version), row.seq);
    let mut rows: BTreeMap<_, u64> = log.iter().map(row).collect();
    let mut last = BTreeMap::new();
    for (at, event) in events.iter().enumerate() {
        for (entry, status, version) in event.named() {
            let key = (
                entry["domain"].as_str().unwrap_or_default(),
                entry["mobile_id"].as_str().unwrap_or_default(),
            );
            let name = (event.batch.install, (key.0.to_owned(), key.1.to_owned()), version);
            let writes = ["created", "updated", "merged", "conflict"].contains(&status);
            if let Some(seq) = writes.then(|| rows.remove(&name)).flatten() {
                let known = last.entry(at).or_insert(seq);
                *known = seq.max(*known);
            }
        }
    }
    last
}

impl Event {
    /// Each entry with its status and the version that its answer names.
    fn named(&self) -> Vec<(&Value, &str, u64)> {
        let pairs: Vec<(&Value, &Value)> = match &self.fate {
            Fate::Answered(frame) => {
                let results = frame["results"].as_array().unwrap().iter();
                results.map(|result| (&result["status"], &result["server_version"])).collect()
            }
            Fate::Stored(outcomes) => outcomes.iter().map(|outcome| (&outcome[0], &outcome[1])).collect(),
            _ => Vec::new(),
        };
        let entries = self.batch.entries.iter().zip(pairs);
        entries
            .map(|(entry, (status, version))| {
                (entry, status.as_str().unwrap(), version.as_u64().unwrap_or(0))
            })
            .collect()
    }
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
                        && ours["error"] == outcome[4]
                })
        }
        _ => false,
    }
}

fn said(event: &Event) -> String {
    format!("a divergence about {:#?}\nthe hub:   {:?}", event.batch, event.fate)
}
