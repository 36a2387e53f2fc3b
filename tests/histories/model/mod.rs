//! A plain, slow model of one tenant, written from docs/semantics.md alone: every version of every record
//! is kept whole, a batch that sinks gives back a clone of everything.
//!
//! It never uses the engine's code; it knows entries and answers only as JSON.

mod batch;
mod decide;
mod definitions;
mod view;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub(crate) use batch::{Batch, Belonging, Verdict, normal};
pub(crate) use definitions::{DOMAINS, OWN_DEFINITIONS, Strategy, definition};
pub(crate) use view::{Filters, matches, sees};

/// A record's domain and id.
pub(crate) type Key = (String, String);
/// The fields of a record.
pub(crate) type Data = Map<String, Value>;

/// Who sees a record (V2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Tenant,
    Unit(String),
    User(String),
}

/// When and by whom an edit was made, in the order that compares (T2): time, device priority, install,
/// number.
pub(crate) type Stamp = (i64, i64, i64, u64);

/// A record as one version left it.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) data: Data,
    pub(crate) scope: Scope,
    pub(crate) deleted: bool,
    pub(crate) priority: usize,
    /// The time of its log row.
    pub(crate) time_us: i64,
    /// The install that wrote it.
    pub(crate) by: i64,
}

/// A record with its whole past.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) unit: Option<String>,
    pub(crate) owner: Option<String>,
    /// By version; the last one stands.
    pub(crate) images: BTreeMap<u64, Image>,
    /// For each field the writes that still count, the newest last (E4).
    writes: BTreeMap<String, Vec<(u64, Stamp)>>,
}

impl Record {
    pub(crate) fn version(&self) -> u64 {
        *self.images.last_key_value().unwrap().0
    }

    pub(crate) fn now(&self) -> &Image {
        self.images.last_key_value().unwrap().1
    }
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) time_us: i64,
    pub(crate) kind: &'static str,
    pub(crate) scope: Scope,
    pub(crate) key: Key,
    pub(crate) version: u64,
    pub(crate) install: i64,
    pub(crate) priority: usize,
    /// The changed fields with their values before.
    pub(crate) old: Data,
}

/// How many rows are kept for people (E11): resolved conflicts, open ones, refused entries, those taken
/// out of the inbox.
pub(crate) type Reviews = BTreeMap<&'static str, u64>;

/// A tenant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<Key, Record>,
    pub(crate) rows: Vec<Row>,
    last_us: i64,
    batches: BTreeMap<(String, String), batch::Remembered>,
    /// By install: the highest number decided, and the codes of those refused (O2).
    pub(crate) marks: BTreeMap<i64, (u64, BTreeMap<u64, String>)>,
    reviews: Vec<batch::Review>,
}

impl Model {
    /// The number of the newest row.
    pub(crate) fn head(&self) -> u64 {
        self.rows.last().map_or(0, |row| row.seq)
    }

    /// What a device of this user and unit holds in the end: version and data.
    pub(crate) fn copy(
        &self,
        user: &str,
        unit: Option<&str>,
        wish: &BTreeMap<String, Filters>,
    ) -> BTreeMap<Key, (u64, Value)> {
        let mut copy = BTreeMap::new();
        for (key, record) in &self.records {
            let image = record.now();
            let wanted = wish.get(&key.0).is_some_and(|filters| matches(filters, &image.data));
            if wanted && !image.deleted && sees(&image.scope, user, unit) {
                copy.insert(key.clone(), (record.version(), Value::Object(image.data.clone())));
            }
        }
        copy
    }

    /// What stands in the review tables.
    pub(crate) fn reviews(&self) -> Reviews {
        let mut counts = Reviews::new();
        for review in &self.reviews {
            *counts.entry(review.kind).or_default() += 1;
        }
        counts
    }

    /// Writes a version and its rows (V1, V2, T1).
    fn write(&mut self, key: &Key, change: decide::Change, author: &Batch, now_us: i64) {
        let before = self.records.get(key).map(|record| (record.version(), record.now().clone()));
        let version = before.as_ref().map_or(1, |(version, _)| version + 1);
        let decide::Change { data, unit, owner, changed, stamp, deleted, priority, created } = change;
        let def = definition(&key.0);
        let scope = def.scope(unit.as_deref(), owner.as_deref());
        let old: Data = changed
            .iter()
            .filter(|_| !created || before.is_some())
            .map(|field| {
                let value = before.as_ref().and_then(|(_, image)| image.data.get(field));
                (field.clone(), value.cloned().unwrap_or_default())
            })
            .collect();
        let lived = before.as_ref().filter(|(_, image)| !image.deleted);
        // For who sees only the new scope a record that moves there is new.
        let stays = lived.is_some_and(|(_, image)| image.scope == scope);
        let kind = if deleted { "delete" } else if stays { "update" } else { "create" };
        let mut row = |scope: &Scope, kind| {
            self.last_us = now_us.max(self.last_us + 1);
            self.rows.push(Row {
                seq: self.rows.last().map_or(0, |row| row.seq) + 1,
                time_us: self.last_us,
                kind,
                scope: scope.clone(),
                key: key.clone(),
                version,
                install: author.install,
                priority,
                old: old.clone(),
            });
        };
        if let Some((_, image)) = lived.filter(|(_, image)| image.scope != scope) {
            row(&image.scope, "leave");
        }
        row(&scope, kind);
        let image =
            Image { data, scope, deleted, priority, time_us: self.last_us, by: author.install };
        let record = self.records.entry(key.clone()).or_insert_with(|| Record {
            unit: None,
            owner: None,
            images: BTreeMap::new(),
            writes: BTreeMap::new(),
        });
        (record.unit, record.owner) = (unit, owner);
        record.images.insert(version, image);
        for field in changed {
            let writes = record.writes.entry(field).or_default();
            let outranks = |other: &Stamp| (other.1, *other) > (stamp.1, stamp);
            writes.retain(|(_, other)| {
                !created && def.strategy == Strategy::DevicePriority && outranks(other)
            });
            writes.push((version, stamp));
        }
    }
}
