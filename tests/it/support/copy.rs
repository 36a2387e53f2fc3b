//! What a client makes of the data lane: its copy, kept by the rules that clients have (C4, C6), and
//! strict about those that the hub has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use uuid::Uuid;

use super::Peer;

type Key = (String, String);

/// A client's copy of the hub's records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Copy {
    /// Version and data by domain and id.
    pub(crate) records: BTreeMap<Key, (u64, Value)>,
    /// By domain that a snapshot runs of: what came since `first`.
    running: HashMap<String, BTreeSet<Key>>,
    /// The cursor to store with it.
    pub(crate) cursor: Option<String>,
    /// The highest place that a `position` or `caught_up` named.
    pub(crate) seq: u64,
    /// The highest version that a change brought, of each record, on this connection.
    brought: HashMap<Key, u64>,
    /// How often a change brought a lower version than one before it.
    pub(crate) went_back: usize,
}

impl Copy {
    /// Takes frames in their order; those of the control lane are nothing to it.
    pub(crate) fn take(&mut self, frames: &[Value]) {
        for frame in frames {
            self.take_one(frame);
        }
    }

    fn take_one(&mut self, frame: &Value) {
        match frame["type"].as_str().unwrap() {
            "welcome" => self.brought.clear(),
            "snapshot" => self.snapshot(frame),
            "data_update" => self.change(frame),
            "position" | "caught_up" => {
                let seq = frame["seq"].as_u64().unwrap();
                assert!(seq >= self.seq || frame["type"] == "caught_up", "a place went back: {frame}");
                self.seq = seq;
            }
            _ => return,
        }
        if let Some(cursor) = frame["cursor"].as_str() {
            assert!(cursor.is_ascii() && cursor.len() <= 1024, "{cursor}");
            self.cursor = Some(cursor.to_owned());
        }
    }

    fn snapshot(&mut self, frame: &Value) {
        let domain = frame["domain"].as_str().unwrap().to_owned();
        if frame["first"] == true {
            self.running.insert(domain.clone(), BTreeSet::new());
        }
        let seen = self.running.get_mut(&domain).expect("a snapshot begins with `first`");
        for record in frame["records"].as_array().unwrap() {
            let key = (domain.clone(), record["mobile_id"].as_str().unwrap().to_owned());
            let version = record["version"].as_u64().unwrap();
            self.brought.insert(key.clone(), version);
            self.records.insert(key.clone(), (version, record["data"].clone()));
            seen.insert(key);
        }
        if frame["last"] == true {
            let seen = self.running.remove(&domain).unwrap();
            self.records.retain(|key, _| key.0 != domain || seen.contains(key));
        }
    }

    fn change(&mut self, frame: &Value) {
        let domain = frame["domain"].as_str().unwrap().to_owned();
        let key = (domain.clone(), frame["mobile_id"].as_str().unwrap().to_owned());
        let version = frame["version"].as_u64().unwrap();
        if let Some(seen) = self.running.get_mut(&domain) {
            seen.insert(key.clone());
        }
        let before = self.brought.insert(key.clone(), version);
        self.went_back += usize::from(before.is_some_and(|before| before > version));
        if self.records.get(&key).is_some_and(|(held, _)| *held >= version) {
            return;
        }
        match frame["operation"].as_str().unwrap() {
            "create" | "update" => {
                if let Some(data) = self.whole(&key, frame) {
                    self.records.insert(key, (version, data));
                }
            }
            "delete" | "remove" => drop(self.records.remove(&key)),
            other => panic!("unknown operation {other}"),
        }
    }

    /// The record after a change; none where a delta came after the record had left the view.
    fn whole(&self, key: &Key, frame: &Value) -> Option<Value> {
        let Some(base) = frame["base_version"].as_u64() else { return Some(frame["data"].clone()) };
        let (version, mut data) = self.records.get(key)?.clone();
        assert_eq!(version, base, "a delta on a version that was not sent: {frame}");
        let fields = data.as_object_mut().unwrap();
        for name in frame["changed"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            match frame["data"].get(name) {
                Some(value) => drop(fields.insert(name.to_owned(), value.clone())),
                None => drop(fields.remove(name)),
            }
        }
        Some(data)
    }

    /// The version that is held of a record; none if it is not.
    pub(crate) fn version(&self, domain: &str, id: Uuid) -> Option<u64> {
        self.records.get(&(domain.to_owned(), id.to_string())).map(|(version, _)| *version)
    }

    /// Reads from a peer until a `position` or `caught_up` at or past `seq` has come.
    pub(crate) async fn follow(&mut self, peer: &mut Peer, seq: u64) {
        while self.seq < seq {
            let frame = peer.next().await;
            self.take_one(&frame);
        }
    }
}
