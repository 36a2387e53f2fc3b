//! A copy kept by the rules that every client follows (C4, C6), and nothing more.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What names a record: its domain and its id.
pub(crate) type Key = (String, String);

/// What a client holds: each record's version and fields.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copy {
    records: BTreeMap<Key, (u64, Value)>,
    /// For each domain whose snapshot runs, the records that came since it began.
    came: BTreeMap<String, BTreeSet<Key>>,
}

impl Copy {
    /// Takes a frame; those that carry no records change nothing.
    pub(crate) fn apply(&mut self, frame: &Value) {
        match frame["type"].as_str() {
            Some("snapshot") => self.adopt(frame),
            Some("data_update") => self.update(frame),
            _ => {}
        }
    }

    /// Takes frames in their order.
    pub(crate) fn apply_all<'f>(&mut self, frames: impl IntoIterator<Item = &'f Value>) {
        frames.into_iter().for_each(|frame| self.apply(frame));
    }

    /// What is held of a record: its version and fields.
    pub(crate) fn get(&self, domain: &str, id: &str) -> Option<(u64, Value)> {
        self.records.get(&(domain.to_owned(), id.to_owned())).cloned()
    }

    /// How many records are held.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    fn adopt(&mut self, frame: &Value) {
        let domain = text(&frame["domain"]);
        if frame["first"] == true {
            self.came.insert(domain.clone(), BTreeSet::new());
        }
        for record in frame["records"].as_array().unwrap() {
            let key = (domain.clone(), text(&record["mobile_id"]));
            self.note(&key);
            self.records.insert(key, (record["version"].as_u64().unwrap(), record["data"].clone()));
        }
        if frame["last"] == true {
            let came = self.came.remove(&domain).unwrap();
            self.records.retain(|key, _| key.0 != domain || came.contains(key));
        }
    }

    fn update(&mut self, frame: &Value) {
        let key = (text(&frame["domain"]), text(&frame["mobile_id"]));
        let version = frame["version"].as_u64().unwrap();
        let held = self.records.get(&key).map(|(version, _)| *version);
        self.note(&key);
        match text(&frame["operation"]).as_str() {
            "create" | "update" if held.is_none_or(|held| version > held) => {
                self.records.insert(key, (version, frame["data"].clone()));
            }
            "delete" | "remove" if held.is_some_and(|held| version > held) => {
                self.records.remove(&key);
            }
            _ => {}
        }
    }

    fn note(&mut self, key: &Key) {
        if let Some(came) = self.came.get_mut(&key.0) {
            came.insert(key.clone());
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
