//! What becomes of a batch: once (O1, O2), in order (E7), whole or not at all (E10), and what is kept of
//! it for people (E11).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use synchub_protocol::Timestamp;

use super::decide::{Entry, Ruling, decide, refused};
use super::definitions::known;
use super::{Key, Model, Push};

/// A batch as it reaches the hub.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The device, by any name that is its own.
    pub(crate) device: String,
    pub(crate) install: i64,
    pub(crate) user: String,
    pub(crate) unit: Option<String>,
    pub(crate) priority: i64,
    /// What its clock is behind the hub's.
    pub(crate) offset_us: i64,
    pub(crate) received_us: i64,
    pub(crate) id: String,
    pub(crate) first: Option<u64>,
    pub(crate) atomic: bool,
    pub(crate) entries: Vec<Value>,
    /// A publisher: sees and may do everything.
    pub(crate) trusted: bool,
    pub(crate) belonging: Option<Belonging>,
    /// What a service pushes behind its changes.
    pub(crate) pushes: Vec<Push>,
}

impl Batch {
    /// What somebody trusted asks for, with no contents yet.
    pub(crate) fn of_service(install: i64, received_us: i64, id: String) -> Self {
        Self {
            device: "service".to_owned(),
            install,
            user: "service".to_owned(),
            unit: None,
            priority: 0,
            offset_us: 0,
            received_us,
            id,
            first: None,
            atomic: false,
            entries: Vec::new(),
            trusted: true,
            belonging: Some(Belonging::default()),
            pushes: Vec::new(),
        }
    }
}

/// A unit or a user; none: nobody.
type Party = Option<String>;

/// What a publisher makes a record belong to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Belonging {
    pub(crate) unit: Option<Party>,
    pub(crate) owner: Option<Party>,
}

/// What a batch is answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    Answered { results: Vec<Value>, seq: u64, repeated: bool },
    Error(&'static str),
}

#[derive(Debug, Clone)]
pub(super) struct Remembered {
    entries: Vec<Value>,
    atomic: bool,
    results: Vec<Value>,
    pub(super) at_us: i64,
}

#[derive(Debug, Clone)]
pub(super) struct Review {
    pub(super) kind: &'static str,
    pub(super) at_us: i64,
    install: i64,
    number: Option<u64>,
}

impl Review {
    pub(super) fn is_open(&self) -> bool {
        ["inbox", "manual"].contains(&self.kind)
    }
}

/// A batch while it is decided.
struct Run<'a> {
    batch: &'a Batch,
    mark: u64,
    failed: BTreeSet<Key>,
    corrected: Vec<u64>,
}

/// Microseconds of an RFC 3339 time.
pub(super) fn time(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|time| time.0)
}

/// What a result says that the model knows too: no ids of conflicts, no sentences.
pub(crate) fn normal(result: &Value) -> Value {
    let mut plain = result.as_object().unwrap().clone();
    if let Some(conflict) = plain.get_mut("conflict").and_then(Value::as_object_mut) {
        conflict.remove("conflict_id");
    }
    if let Some(error) = plain.get_mut("error") {
        *error = error["code"].clone();
    }
    plain.retain(|_, value| !value.is_null());
    Value::Object(plain)
}

impl Model {
    /// Decides a batch.
    pub(crate) fn submit(&mut self, batch: &Batch) -> Verdict {
        let id = (batch.device.clone(), batch.id.clone());
        if let Some(known) = self.batches.get(&id) {
            if (&known.entries, known.atomic) != (&batch.entries, batch.atomic) {
                return Verdict::Error("idempotency_key_reused");
            }
            let results = self.shown(batch, known.results.clone());
            return Verdict::Answered { results, seq: self.head(), repeated: true };
        }
        let mark = self.marks.get(&batch.install).map_or(0, |(mark, _)| *mark);
        if batch.first.is_some_and(|first| first > mark + 1) {
            return Verdict::Error("out_of_order");
        }
        let mut run = Run { batch, mark, failed: BTreeSet::new(), corrected: Vec::new() };
        let results = run.decide(self);
        run.note(self, &results);
        self.push(&batch.pushes, batch.install, batch.received_us);
        let remembered = Remembered {
            entries: batch.entries.clone(),
            atomic: batch.atomic,
            results: results.clone(),
            at_us: batch.received_us,
        };
        self.batches.insert(id, remembered);
        let results = self.shown(batch, results);
        Verdict::Answered { results, seq: self.head(), repeated: false }
    }

    /// Adds the records as they stand now to the results that show them (V3).
    fn shown(&self, batch: &Batch, mut results: Vec<Value>) -> Vec<Value> {
        for (entry, result) in batch.entries.iter().zip(&mut results) {
            if result["status"] == "conflict" || result["status"] == "merged" {
                let record = self.visible(batch, entry).filter(|record| !record.now().deleted);
                if let Some(record) = record {
                    result["server_data"] = Value::Object(record.now().data.clone());
                }
            }
        }
        results
    }

    /// Whether a batch was decided.
    pub(crate) fn knows(&self, device: &str, id: &str) -> bool {
        self.batches.contains_key(&(device.to_owned(), id.to_owned()))
    }

    fn visible(&self, batch: &Batch, entry: &Value) -> Option<&super::Record> {
        self.records.get(&key(entry)?).filter(|record| batch.sees(record))
    }

    /// A result with the record as it stands, if the sender may know of it.
    fn result(&self, batch: &Batch, entry: &Value, status: &str, code: Option<&str>) -> Value {
        let mut result = Map::new();
        if entry["mobile_id"].is_string() {
            result.insert("mobile_id".to_owned(), entry["mobile_id"].clone());
        }
        result.insert("status".to_owned(), json!(status));
        if let Some(record) = self.visible(batch, entry) {
            result.insert("server_version".to_owned(), json!(record.version()));
            if record.now().deleted {
                result.insert("deleted".to_owned(), json!(true));
            }
        }
        if let Some(code) = code {
            result.insert("error".to_owned(), json!(code));
        }
        Value::Object(result)
    }
}

fn key(entry: &Value) -> Option<Key> {
    Some((entry["domain"].as_str()?.to_owned(), entry["mobile_id"].as_str()?.to_owned()))
}

impl Run<'_> {
    fn number(&self, place: usize) -> Option<u64> {
        self.batch.first.map(|first| first + place as u64)
    }

    fn was_decided(&self, place: usize) -> bool {
        self.number(place).is_some_and(|number| number <= self.mark)
    }

    fn decide(&mut self, model: &mut Model) -> Vec<Value> {
        let before = model.clone();
        let mut results = Vec::new();
        for place in 0..self.batch.entries.len() {
            let n_reviews = model.reviews.len();
            let result = self.one(model, place);
            let resolution = &result["conflict"]["resolution"];
            let bad = result["status"] == "error"
                || result["status"] == "conflict" && resolution != "client" && resolution != "merged";
            if self.batch.atomic && bad && !self.was_decided(place) {
                let audit: Vec<_> =
                    model.reviews.drain(n_reviews..).filter(|review| review.kind == "audit").collect();
                *model = before;
                model.reviews.extend(audit);
                self.corrected.clear();
                return self.sunk(model, place, &result);
            }
            results.push(result);
        }
        results
    }

    /// E10: every other entry is answered `not_applied`.
    fn sunk(&self, model: &Model, sinker: usize, result: &Value) -> Vec<Value> {
        let entries = self.batch.entries.iter().enumerate();
        let results = entries.map(|(place, entry)| {
            if self.was_decided(place) {
                return self.duplicate(model, place);
            }
            let mut plain = model.result(self.batch, entry, "error", Some("not_applied"));
            if place == sinker {
                let stands = plain.as_object_mut().unwrap();
                stands.remove("error");
                for field in ["status", "error", "conflict"] {
                    if !result[field].is_null() {
                        stands.insert(field.to_owned(), result[field].clone());
                    }
                }
            }
            plain
        });
        results.collect()
    }

    fn duplicate(&self, model: &Model, place: usize) -> Value {
        let number = self.number(place).unwrap_or(0);
        let refused = model.marks.get(&self.batch.install).and_then(|(_, refused)| refused.get(&number));
        let code = refused.map(|(code, _)| code.as_str());
        model.result(self.batch, &self.batch.entries[place], "duplicate", code)
    }

    fn one(&mut self, model: &mut Model, place: usize) -> Value {
        let raw = &self.batch.entries[place];
        let known_domain = raw["domain"].as_str().and_then(known);
        let number = self.number(place).unwrap_or(place as u64 + 1);
        let entry = Entry::read(raw, number, self.batch.belonging.clone());
        let result = if self.was_decided(place) {
            self.duplicate(model, place)
        } else {
            let ruling = match (&entry, known_domain) {
                (Some(_), None) => refused("unknown_domain"),
                (None, None) => Ruling { reviews: Vec::new(), ..refused("validation_failed") },
                (None, Some(_)) => refused("validation_failed"),
                (Some(entry), Some(def)) => {
                    // A number that is not before its own is no refused one (the hub was restored).
                    let earlier = |corrects: &u64| self.batch.first.is_none() || *corrects < number;
                    self.corrected.extend(entry.corrects.filter(earlier));
                    let failed = self.failed.contains(&entry.key);
                    decide(model, def, entry, self.batch, failed)
                }
            };
            self.carry_out(model, place, raw, ruling)
        };
        let creates = entry.as_ref().is_none_or(|entry| {
            let seen = model.visible(self.batch, raw).is_some();
            !entry.deletes && !entry.delta && (entry.version == 0 || seen)
        });
        let lives = model.visible(self.batch, raw).is_some_and(|record| !record.now().deleted);
        if let Some(key) = key(raw).filter(|_| creates && !lives && !result["error"].is_null()) {
            self.failed.insert(key);
        }
        result
    }

    fn carry_out(&self, model: &mut Model, place: usize, raw: &Value, ruling: Ruling) -> Value {
        let (install, number) = (self.batch.install, self.number(place));
        let rows =
            ruling.reviews.iter().map(|kind| Review { kind, at_us: self.batch.received_us, install, number });
        model.reviews.extend(rows);
        if let (Some(change), Some(key)) = (ruling.change, key(raw)) {
            model.write(&key, change, self.batch, self.batch.received_us);
        }
        let mut result = model.result(self.batch, raw, ruling.status, ruling.code);
        if let (Some(resolution), Some(def)) = (ruling.resolution, raw["domain"].as_str().and_then(known)) {
            result["conflict"] = json!({"strategy": def.strategy.name(), "resolution": resolution});
        }
        result
    }

    /// Keeps the numbers, the refused ones, and takes corrected entries out of the inbox.
    fn note(&self, model: &mut Model, results: &[Value]) {
        for review in &mut model.reviews {
            let corrected = review.number.is_some_and(|number| self.corrected.contains(&number));
            if review.kind == "inbox" && review.install == self.batch.install && corrected {
                review.kind = "closed";
            }
        }
        let Some(first) = self.batch.first else { return };
        let (mark, refused) = model.marks.entry(self.batch.install).or_default();
        for (place, result) in results.iter().enumerate().filter(|(place, _)| !self.was_decided(*place)) {
            if let Some(code) = result["error"].as_str() {
                refused.insert(first + place as u64, (code.to_owned(), self.batch.received_us));
            }
        }
        *mark = (*mark).max(first + results.len() as u64 - 1);
    }
}
