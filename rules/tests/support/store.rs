//! The store's part, in memory: it loads and writes what the real one promises to, and no more.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use synchub_protocol::Data;
use synchub_protocol::digest::part;
use synchub_protocol::server::EntryError;
use synchub_rules::group::{
    DigestChange, Loaded, Reads, Review, ReviewKind, StoredBatch, StoredReview, Writes,
};
use synchub_rules::record::{
    DeviceNo, DomainNo, HISTORY_LIMIT, Head, History, InstallNo, LogRow, NOT_LOGGED, PastChange, Record,
    RecordNo, RowKind, Scope,
};
use uuid::Uuid;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Store {
    pub records: BTreeMap<(DomainNo, Uuid), Record>,
    pub rows: Vec<LogRow>,
    pub head: Head,
    pub epoch: u64,
    pub version_floor: u64,
    /// Rows at or below it are gone.
    pub horizon: u64,
    pub batches: HashMap<(DeviceNo, Uuid), StoredBatch>,
    pub generations: HashMap<DeviceNo, u64>,
    pub marks: HashMap<InstallNo, u64>,
    pub refused: BTreeMap<(InstallNo, u64), EntryError>,
    pub reviews: BTreeMap<i64, Review>,
    /// Count and sum of the live records of each domain and scope that has any.
    pub digests: BTreeMap<(DomainNo, Scope), (i64, u64)>,
    /// Numbers whose inbox entry was applied by a person.
    pub applied: Vec<(InstallNo, u64)>,
    n_numbers: i64,
    n_reviews: i64,
}

impl Store {
    pub fn load(&mut self, reads: &Reads) -> Loaded {
        let mut loaded = Loaded {
            head: self.head,
            epoch: self.epoch,
            version_floor: self.version_floor,
            generations: pick(&reads.devices, |device| self.generations.get(device).copied()),
            batches: pick(&reads.batches, |id| self.batches.get(id).cloned()),
            marks: pick(&reads.installs, |install| self.marks.get(install).copied()),
            refused: pick(&reads.numbers, |number| self.refused.get(number).cloned()),
            corrections: pick(&reads.corrections, |number| self.review_of(*number)),
            ..Loaded::default()
        };
        for (domain, key, base) in &reads.records {
            if let Some(record) = self.records.get(&(*domain, *key)) {
                let history = self.history(record, *base);
                loaded.records.insert((*domain, *key), history);
            } else {
                self.n_numbers += 1;
                loaded.free_numbers.push(self.n_numbers);
            }
        }
        loaded
    }

    /// A record with its changes down to and including the first at or below a version.
    pub fn history(&self, record: &Record, base: u64) -> History {
        let mut changes = Vec::new();
        let mut place = record.seq;
        while record.version > base
            && place > self.horizon
            && place != NOT_LOGGED
            && changes.len() < HISTORY_LIMIT
        {
            let row = self.row(place);
            changes.push(past(row));
            place = row.prev;
            if row.version <= base {
                break;
            }
        }
        History { record: record.clone(), changes }
    }

    /// The store as it looks from outside: the numbers that it has given out are its own.
    pub fn unnumbered(self) -> Self {
        Self { n_numbers: 0, ..self }
    }

    fn row(&self, seq: u64) -> &LogRow {
        let place = self.rows.binary_search_by_key(&seq, |row| row.seq);
        &self.rows[place.expect("`prev` names a row")]
    }

    fn review_of(&self, (install, number): (InstallNo, u64)) -> Option<StoredReview> {
        let applied = self.applied.contains(&(install, number));
        let mut reviews = self.reviews.iter();
        let found = reviews.find(|(_, review)| {
            review.kind == ReviewKind::Refused && review.install == install && review.number == Some(number)
        });
        found.map(|(no, _)| StoredReview { no: *no, applied })
    }

    /// Writes a plan, and checks what must hold for every plan.
    pub fn write(&mut self, now_us: i64, writes: Writes) {
        self.check_rows(now_us, &writes);
        self.add_digests(&writes.digests);
        let n_records = writes.records.len();
        for write in writes.records {
            let key = (write.record.domain, write.record.key);
            let before = self.records.insert(key, write.record);
            assert_eq!(before.is_none(), write.is_new, "is_new says whether the store has the record");
        }
        let mut keys: Vec<_> = writes.rows.iter().map(|row| (row.domain, row.key)).collect();
        keys.sort_unstable();
        keys.dedup();
        assert!(keys.len() <= n_records, "what the log names is written");
        self.rows.extend(writes.rows);
        self.head = writes.head;
        for row in writes.batches {
            let before = self.batches.insert((row.device, row.batch_id), row.stored);
            assert!(before.is_none(), "a batch is decided once");
        }
        for (install, mark) in writes.marks {
            let before = self.marks.insert(install, mark);
            assert!(before.unwrap_or(0) < mark, "marks only rise");
        }
        for row in writes.refused {
            self.refused.insert((row.install, row.number), row.error);
        }
        for no in writes.corrected {
            assert!(self.reviews.remove(&no).is_some(), "what is corrected stood in the inbox");
        }
        for review in writes.reviews {
            assert!(self.reviews.values().all(|known| known.id != review.id), "ids are used once");
            self.n_reviews += 1;
            self.reviews.insert(self.n_reviews, review);
        }
        assert_eq!(self.digests, self.recounted(), "the digests say what a recount says");
    }

    fn add_digests(&mut self, changes: &[DigestChange]) {
        for DigestChange { domain, scope, count, sum } in changes {
            let digest = self.digests.entry((*domain, *scope)).or_default();
            *digest = (digest.0 + count, digest.1.wrapping_add(*sum));
        }
        self.digests.retain(|_, digest| *digest != (0, 0));
    }

    pub fn recounted(&self) -> BTreeMap<(DomainNo, Scope), (i64, u64)> {
        let mut digests: BTreeMap<_, (i64, u64)> = BTreeMap::new();
        for record in self.records.values().filter(|record| !record.deleted) {
            let digest = digests.entry((record.domain, record.scope)).or_default();
            *digest = (digest.0 + 1, digest.1.wrapping_add(part(record.key, record.version)));
        }
        digests
    }

    /// Invariant 3, T1 and V4 for the rows of a plan.
    fn check_rows(&self, now_us: i64, writes: &Writes) {
        let mut head = self.head;
        let mut standing: HashMap<RecordNo, Standing> =
            self.records.values().map(|record| (record.no, standing(record))).collect();
        for row in &writes.rows {
            assert_eq!(row.seq, head.seq.max(self.epoch << 40) + 1, "places follow each other");
            assert_eq!(row.time_us, now_us.max(head.time_us + 1), "times rise with places");
            head = Head { seq: row.seq, time_us: row.time_us };
            check_row(row, standing.get(&row.record), writes.rows_are_bare);
            if row.kind != RowKind::Leave {
                standing.insert(row.record, (row.after, Arc::clone(&row.data)));
            }
        }
        assert_eq!(head, writes.head, "the head is the last row's");
        for write in &writes.records {
            let record = &write.record;
            let last = writes.rows.iter().rev().find(|row| row.record == record.no);
            if let Some(row) = last {
                assert_eq!((row.version, row.seq, row.time_us), (record.version, record.seq, record.time_us));
                if !writes.rows_are_bare {
                    let shown = (row.after, Arc::clone(&row.data));
                    assert_eq!(shown, self::standing(record), "the last row shows the record");
                }
                assert_eq!(row.scope, record.scope);
            }
        }
    }
}

/// A record's scope, if it lives, and its fields.
type Standing = (Option<Scope>, Arc<Data>);

fn standing(record: &Record) -> Standing {
    ((!record.deleted).then_some(record.scope), Arc::clone(&record.data))
}

fn check_row(row: &LogRow, stood: Option<&Standing>, bare: bool) {
    assert_eq!(row.before, stood.and_then(|(scope, _)| *scope), "where the record was before");
    if bare {
        assert!(row.data.is_empty(), "a bare row shows nothing");
    } else if let Some((Some(_), before)) = stood {
        let mut back = row.data.as_ref().clone();
        back.extend(Data::clone(&row.old));
        for field in before.keys().chain(back.keys()) {
            assert_eq!(row.field_before(field), back.get(field));
        }
        back.extend(lists_that_grew(row, before));
        back.retain(|_, value| !value.is_null());
        let mut stood = before.as_ref().clone();
        stood.retain(|_, value| !value.is_null());
        assert_eq!(back, stood, "the old values put back give the record before");
    }
    let shown = match row.kind {
        RowKind::Leave | RowKind::Delete => row.before,
        RowKind::Create | RowKind::Update => row.after,
    };
    assert_eq!(shown, Some(row.scope), "a row stands in the scope that it concerns");
}

/// The lists of which a row says only that they stood: what they held is the beginning of what they hold.
fn lists_that_grew(row: &LogRow, before: &Data) -> Data {
    let grown = row.old.iter().filter(|(_, old)| old.as_array().is_some_and(Vec::is_empty));
    let grown = grown.filter_map(|(field, _)| {
        let (stood, stands) = (before.get(field)?.as_array()?, row.data.get(field)?.as_array()?);
        assert!(stands.starts_with(stood), "nothing is taken out of {field}");
        Some((field.clone(), Value::Array(stood.clone())))
    });
    grown.collect()
}

fn past(row: &LogRow) -> PastChange {
    PastChange {
        version: row.version,
        seq: row.seq,
        prev: row.prev,
        time_us: row.time_us,
        kind: row.kind,
        scope: row.scope,
        install: row.install,
        old: row.old.clone(),
    }
}

fn pick<K: Clone + Eq + std::hash::Hash, V>(keys: &[K], find: impl Fn(&K) -> Option<V>) -> HashMap<K, V> {
    keys.iter().filter_map(|key| Some((key.clone(), find(key)?))).collect()
}
