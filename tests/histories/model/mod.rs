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
use definitions::Kind;
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
    /// A user and a device: pushes alone have it.
    Device(String, String),
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
    /// The highest version whose row the log no longer has.
    purged: u64,
}

impl Record {
    pub(crate) fn version(&self) -> u64 {
        *self.images.last_key_value().unwrap().0
    }

    pub(crate) fn now(&self) -> &Image {
        self.images.last_key_value().unwrap().1
    }

    /// Whether the log still says how the record stood at a version (E3). The row of the last version that
    /// was purged is not needed where the next one follows it without a gap, as the first of an epoch does not.
    fn reaches(&self, version: u64) -> bool {
        let follows = |(next, _): (&u64, _)| *next == version + 1;
        let is_next = version == 0 || self.images.range(version + 1..).next().is_none_or(follows);
        let is_known = version > self.purged || version == self.purged && is_next;
        is_known && (version == 0 || self.images.contains_key(&version))
    }

    /// When a version was committed, as far as that is known (T2).
    fn time_of(&self, version: u64) -> Option<i64> {
        let known = version > self.purged || version == self.version();
        self.images.get(&version).filter(|_| known).map(|image| image.time_us)
    }
}

/// A row of the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) seq: u64,
    pub(crate) time_us: i64,
    pub(crate) kind: &'static str,
    pub(crate) scope: Scope,
    /// Of a push its id alone.
    pub(crate) key: Key,
    /// Of a push the time at which it ends.
    pub(crate) version: u64,
    pub(crate) install: i64,
    pub(crate) priority: usize,
    /// The changed fields with their values before; none of a push.
    pub(crate) old: Data,
}

/// How many rows are kept for people (E11): resolved conflicts, open ones, refused entries, those taken
/// out of the inbox.
pub(crate) type Reviews = BTreeMap<&'static str, u64>;

/// A push that is not a change, as its row of the log has it (P1).
#[derive(Debug, Clone)]
pub(crate) struct Push {
    pub(crate) id: String,
    pub(crate) scope: Scope,
    pub(crate) priority: usize,
    pub(crate) ttl_us: i64,
}

/// The codes of refused numbers, and when they were refused.
type Refused = BTreeMap<u64, (String, i64)>;

/// A tenant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) records: BTreeMap<Key, Record>,
    /// The log, as far as it was not purged.
    pub(crate) rows: Vec<Row>,
    head: u64,
    /// The store's history (R1): numbers begin anew far above those of the one before.
    pub(crate) epoch: u64,
    last_us: i64,
    /// The highest version of a tombstone that was purged (D3).
    floor: u64,
    /// Records that were purged: devices may still be told of them.
    gone: Vec<(Key, Record)>,
    batches: BTreeMap<(String, String), batch::Remembered>,
    /// By install: the highest number decided, and the codes of those refused (O2).
    pub(crate) marks: BTreeMap<i64, (u64, Refused)>,
    reviews: Vec<batch::Review>,
}

impl Model {
    /// The number of the newest row.
    pub(crate) fn head(&self) -> u64 {
        self.head
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

    /// Every version that a record had, in this life and in those before.
    pub(crate) fn images(&self, key: &Key) -> BTreeMap<u64, &Image> {
        let gone = self.gone.iter().filter(|(of, _)| of == key).map(|(_, record)| record);
        let lives = gone.chain(self.records.get(key));
        lives.flat_map(|record| record.images.iter().map(|(version, image)| (*version, image))).collect()
    }

    /// Whether the log no longer has all of a record's past.
    pub(crate) fn was_purged(&self, key: &Key) -> bool {
        let gone = self.gone.iter().any(|(of, _)| of == key);
        gone || self.records.get(key).is_some_and(|record| record.purged > 0)
    }

    /// What stands in the review tables.
    pub(crate) fn reviews(&self) -> Reviews {
        let mut counts = Reviews::new();
        for review in &self.reviews {
            *counts.entry(review.kind).or_default() += 1;
        }
        counts
    }

    /// Takes away what is past its time (D3, O1, O2): each kind of thing has its own.
    pub(crate) fn purge(&mut self, log_before: i64, batches_before: i64, reviews_before: i64) {
        let kept = self.rows.partition_point(|row| row.time_us < log_before);
        for row in self.rows.drain(..kept) {
            if let Some(record) = self.records.get_mut(&row.key) {
                record.purged = record.purged.max(row.version);
            }
        }
        let (floor, gone) = (&mut self.floor, &mut self.gone);
        self.records.retain(|key, record| {
            let goes = record.now().deleted && record.now().time_us < log_before;
            if goes {
                *floor = record.version().max(*floor);
                gone.push((key.clone(), record.clone()));
            }
            !goes
        });
        for (_, refused) in self.marks.values_mut() {
            refused.retain(|_, (_, at_us)| *at_us >= log_before);
        }
        self.batches.retain(|_, known| known.at_us >= batches_before);
        self.reviews.retain(|review| review.at_us >= reviews_before || review.is_open());
    }

    /// Writes the rows of pushes, behind those of the changes that came with them (P1).
    fn push(&mut self, pushes: &[Push], install: i64, now_us: i64) {
        for Push { id, scope, priority, ttl_us } in pushes {
            self.last_us = now_us.max(self.last_us + 1);
            self.head = self.head.max(self.epoch << 40) + 1;
            self.rows.push(Row {
                seq: self.head,
                time_us: self.last_us,
                kind: "push",
                scope: scope.clone(),
                key: (String::new(), id.clone()),
                version: u64::try_from(self.last_us + ttl_us).unwrap(),
                install,
                priority: *priority,
                old: Data::new(),
            });
        }
    }

    /// Writes a version and its rows (V1, V2, T1).
    fn write(&mut self, key: &Key, change: decide::Change, author: &Batch, now_us: i64) {
        let before = self.records.get(key).map(|record| (record.version(), record.now().clone()));
        let version = before.as_ref().map_or(self.floor, |(version, _)| *version);
        let version = version.max(self.epoch << 32) + 1;
        let decide::Change { data, unit, owner, changed, stamp, deleted, priority, created } = change;
        let def = definition(&key.0);
        let scope = def.scope(unit.as_deref(), owner.as_deref());
        let old: Data = changed
            .iter()
            .filter(|_| !created || before.is_some())
            .map(|field| {
                let value = before.as_ref().and_then(|(_, image)| image.data.get(field));
                let value = value.cloned().unwrap_or_default();
                // Of a list that only grows the log keeps no more than that it stood (E9).
                let stood = value.is_array() && matches!(def.kind(field), Some(Kind::Append)) && !created;
                (field.clone(), if stood { Value::Array(Vec::new()) } else { value })
            })
            .collect();
        let lived = before.as_ref().filter(|(_, image)| !image.deleted);
        // For who sees only the new scope a record that moves there is new.
        let stays = lived.is_some_and(|(_, image)| image.scope == scope);
        let kind = if deleted {
            "delete"
        } else if stays {
            "update"
        } else {
            "create"
        };
        let mut row = |scope: &Scope, kind| {
            self.last_us = now_us.max(self.last_us + 1);
            self.head = self.head.max(self.epoch << 40) + 1;
            self.rows.push(Row {
                seq: self.head,
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
        let image = Image { data, scope, deleted, priority, time_us: self.last_us, by: author.install };
        let record = self.records.entry(key.clone()).or_insert_with(|| Record {
            unit: None,
            owner: None,
            images: BTreeMap::new(),
            writes: BTreeMap::new(),
            purged: 0,
        });
        (record.unit, record.owner) = (unit, owner);
        record.images.insert(version, image);
        for field in changed {
            let writes = record.writes.entry(field).or_default();
            let outranks = |other: &Stamp| (other.1, *other) > (stamp.1, stamp);
            writes
                .retain(|(_, other)| !created && def.strategy == Strategy::DevicePriority && outranks(other));
            writes.push((version, stamp));
        }
    }
}
