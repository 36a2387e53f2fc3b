//! What becomes of one entry (E1 to E9, D1, D2, T2).

use std::collections::BTreeSet;

use serde_json::Value;

use super::batch::{Batch, Belonging, time};
use super::definitions::{Definition, Kind, Strategy};
use super::{Data, Key, Model, Record, Stamp, sees};

/// An entry as it is read from its JSON.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) version: u64,
    pub(super) deletes: bool,
    pub(super) delta: bool,
    pub(super) data: Data,
    pub(super) made_us: Option<i64>,
    pub(super) priority: Option<usize>,
    pub(super) corrects: Option<u64>,
    /// The number; its place in the batch where it has none.
    pub(super) number: u64,
    pub(super) belonging: Option<Belonging>,
}

impl Entry {
    /// None for what is no entry at all.
    pub(super) fn read(entry: &Value, number: u64, belonging: Option<Belonging>) -> Option<Self> {
        let text = |field: &str| entry[field].as_str().map(str::to_owned);
        Some(Self {
            key: (text("domain")?, text("mobile_id")?),
            version: entry["version"].as_u64()?,
            deletes: entry["operation"] == "delete",
            delta: entry["delta"] == true,
            data: plain(entry["data"].as_object()?),
            made_us: entry["client_timestamp"].as_str().and_then(time),
            priority: entry["priority"].as_str().map(level),
            corrects: entry["corrects"].as_u64(),
            number,
            belonging,
        })
    }
}

/// Fields as they are decoded: a float with an integral value is that integer.
fn plain(data: &Data) -> Data {
    data.iter()
        .map(|(field, value)| {
            let whole = value.as_f64().filter(|number| value.is_f64() && number.fract() == 0.0);
            #[expect(clippy::cast_possible_truncation, reason = "the histories send small numbers")]
            let value = whole.map_or_else(|| value.clone(), |number| Value::from(number as i64));
            (field.clone(), value)
        })
        .collect()
}

fn level(name: &str) -> usize {
    ["low", "normal", "high", "critical"].iter().position(|level| *level == name).unwrap()
}

/// A new version of a record.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) data: Data,
    pub(super) unit: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) changed: BTreeSet<String>,
    pub(super) stamp: Stamp,
    pub(super) deleted: bool,
    pub(super) priority: usize,
    pub(super) created: bool,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Default)]
pub(super) struct Ruling {
    pub(super) status: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) resolution: Option<&'static str>,
    pub(super) change: Option<Change>,
    /// What is kept for people of it (E11).
    pub(super) reviews: Vec<&'static str>,
}

pub(super) fn refused(code: &'static str) -> Ruling {
    let kept = ["invalid_transition", "validation_failed", "not_found", "depends_on_failed"].contains(&code);
    let reviews = if kept { vec!["inbox"] } else { Vec::new() };
    Ruling { status: "error", code: Some(code), reviews, ..Ruling::default() }
}

fn conflict(resolution: &'static str, reviews: Vec<&'static str>) -> Ruling {
    Ruling { status: "conflict", resolution: Some(resolution), reviews, ..Ruling::default() }
}

/// Decides an entry; `create_failed`: whether its batch failed to create this record.
pub(super) fn decide(
    model: &Model,
    def: &Definition,
    entry: &Entry,
    author: &Batch,
    create_failed: bool,
) -> Ruling {
    if def.append_only && entry.deletes {
        return refused("forbidden");
    }
    let standing = model.records.get(&entry.key);
    let seen = standing.filter(|record| author.sees(record));
    let lives = seen.is_some_and(|record| !record.now().deleted);
    if create_failed && !lives && (entry.deletes || entry.delta) {
        return refused("depends_on_failed");
    }
    match (standing, seen) {
        (Some(_), None) => refused("not_found"),
        (None, _) if entry.version > 0 || entry.deletes || entry.delta => refused("not_found"),
        (None, _) => create(None, def, entry, author),
        (_, Some(_)) if def.append_only => Ruling { status: "duplicate", ..Ruling::default() },
        (_, Some(record)) if record.now().deleted => on_tombstone(record, def, entry, author),
        (_, Some(record)) if entry.deletes => delete(record, def, entry, author),
        (_, Some(record)) => edit(record, def, entry, author),
    }
}

fn base(record: &Record, entry: &Entry) -> u64 {
    entry.version.min(record.version())
}

/// T2.
fn stamp(record: Option<&Record>, entry: &Entry, author: &Batch) -> Stamp {
    let corrected = entry.made_us.map_or(author.received_us, |made| made + author.offset_us);
    let below = record.and_then(|record| record.time_of(base(record, entry)));
    let bounded = corrected.min(author.received_us);
    let time = below.map_or(bounded, |time| bounded.max(time + 1));
    (time, author.priority, author.install, entry.number)
}

/// Where the record belongs after the entry (V1).
fn home(record: Option<&Record>, entry: &Entry, author: &Batch) -> (Option<String>, Option<String>) {
    let stands = || match record {
        Some(record) => (record.unit.clone(), record.owner.clone()),
        None => (author.unit.clone(), Some(author.user.clone())),
    };
    let (unit, owner) = stands();
    let asked = entry.belonging.clone().unwrap_or_default();
    (asked.unit.unwrap_or(unit), asked.owner.unwrap_or(owner))
}

/// E12: an entry may lower it, a publisher do both.
fn priority(def: &Definition, data: &Data, entry: &Entry, author: &Batch) -> usize {
    let usual = def.level(data);
    match entry.priority {
        Some(asked) if author.trusted => asked,
        Some(asked) => asked.min(usual),
        None => usual,
    }
}

fn on_tombstone(record: &Record, def: &Definition, entry: &Entry, author: &Batch) -> Ruling {
    if entry.deletes {
        return Ruling { status: "unchanged", ..Ruling::default() };
    }
    if base(record, entry) == record.version() && !entry.delta {
        return create(Some(record), def, entry, author);
    }
    match def.strategy {
        Strategy::Manual => conflict("manual_required", vec!["manual"]),
        _ => conflict("server", vec!["inbox"]),
    }
}

fn create(tombstone: Option<&Record>, def: &Definition, entry: &Entry, author: &Batch) -> Ruling {
    let mut data = entry.data.clone();
    let missing = |field: &&str| data.get(*field).is_none_or(Value::is_null);
    if data.iter().any(|(field, value)| !def.fits(field, value)) || def.required.iter().any(missing) {
        return refused("validation_failed");
    }
    if data.iter().any(|(field, value)| !def.may_go(field, &Value::Null, value, author.trusted)) {
        return refused("invalid_transition");
    }
    if !def.is_ordered(&data) {
        return refused("validation_failed");
    }
    for (field, value) in &mut data {
        if matches!(def.kind(field), Some(Kind::Append)) {
            *value = union(&Value::Null, value);
        }
    }
    let mut changed: BTreeSet<String> = data.keys().cloned().collect();
    if let Some(record) = tombstone {
        changed.extend(record.now().data.keys().cloned());
    }
    let (unit, owner) = home(tombstone, entry, author);
    let priority = priority(def, &data, entry, author);
    let stamp = stamp(tombstone, entry, author);
    let change = Change { data, unit, owner, changed, stamp, deleted: false, priority, created: true };
    Ruling { status: "created", change: Some(change), ..Ruling::default() }
}

/// Whether somebody else wrote the record after a version.
fn is_newer(record: &Record, base: u64, install: i64) -> bool {
    if base < record.version() && !record.reaches(base) {
        return has_foreign(record, base, install);
    }
    record.images.range(base + 1..).any(|(_, image)| image.by != install)
}

/// Whether a field stands that somebody else wrote after a version.
fn has_foreign(record: &Record, base: u64, install: i64) -> bool {
    let is_foreign = |(version, stamp): &(u64, Stamp)| *version > base && stamp.2 != install;
    record.writes.values().any(|writes| writes.last().is_some_and(is_foreign))
}

fn delete(record: &Record, def: &Definition, entry: &Entry, author: &Batch) -> Ruling {
    let base = base(record, entry);
    let foreign = has_foreign(record, base, author.install);
    match def.strategy {
        Strategy::ServerWins if foreign => return conflict("server", vec!["audit"]),
        Strategy::Manual if foreign => return conflict("manual_required", vec!["manual"]),
        _ => {}
    }
    let data = record.now().data.clone();
    let change = Change {
        unit: record.unit.clone(),
        owner: record.owner.clone(),
        changed: BTreeSet::new(),
        stamp: stamp(Some(record), entry, author),
        deleted: true,
        priority: priority(def, &data, entry, author),
        created: false,
        data,
    };
    let status = if is_newer(record, base, author.install) { "merged" } else { "updated" };
    Ruling { status, change: Some(change), ..Ruling::default() }
}

fn edit(record: &Record, def: &Definition, entry: &Entry, author: &Batch) -> Ruling {
    let base = base(record, entry);
    let standing = &record.now().data;
    let holds = |field: &str| standing.get(field).cloned().unwrap_or_default();
    let newer = is_newer(record, base, author.install);
    let stamp = stamp(Some(record), entry, author);
    let (mut kept, mut won, mut lost) = (Vec::new(), 0, 0);
    for (field, sent) in &entry.data {
        if matches!(def.kind(field), Some(Kind::Append)) && def.fits(field, sent) {
            let united = union(&holds(field), sent);
            if united != holds(field) {
                kept.push((field, united, false));
            }
            continue;
        }
        let before = record.images.get(&base).and_then(|image| image.data.get(field)).cloned();
        let untouched = !entry.delta && record.reaches(base) && before.unwrap_or_default() == *sent;
        if holds(field) == *sent || untouched {
            continue;
        }
        if matches!(def.kind(field), Some(Kind::Append)) {
            kept.push((field, sent.clone(), false));
            continue;
        }
        match rival(record, def, field, base, author.install) {
            None => kept.push((field, sent.clone(), false)),
            Some(rival) if wins(def, field, (&holds(field), sent), rival, stamp) => {
                won += 1;
                kept.push((field, sent.clone(), true));
            }
            Some(_) => lost += 1,
        }
    }
    let stale = won + lost > 0;
    let mut barred = false;
    let data = loop {
        match check(def, standing, &kept, author.trusted) {
            Ok(data) => break data,
            Err((code, _)) if !newer => return refused(code),
            Err((_, place)) => {
                let (_, _, had_won) = kept.remove(place);
                won -= usize::from(had_won);
                lost += 1;
                barred = true;
            }
        }
    };
    let (unit, owner) = home(Some(record), entry, author);
    let moved = (&unit, &owner) != (&record.unit, &record.owner);
    let change = (moved || !kept.is_empty()).then(|| Change {
        unit,
        owner,
        changed: kept.iter().map(|(field, _, _)| (*field).clone()).collect(),
        stamp,
        deleted: false,
        priority: priority(def, &data, entry, author),
        created: false,
        data,
    });
    let manual = def.strategy == Strategy::Manual && stale;
    let mut ruling = if stale || barred {
        let resolution = match (manual, won, lost) {
            (true, _, _) => "manual_required",
            (_, _, 0) => "client",
            (_, 0, _) => "server",
            _ => "merged",
        };
        conflict(resolution, vec![if manual { "manual" } else { "audit" }])
    } else {
        let status = if change.is_none() {
            "unchanged"
        } else if newer {
            "merged"
        } else {
            "updated"
        };
        Ruling { status, ..Ruling::default() }
    };
    ruling.reviews.extend(barred.then_some("inbox"));
    Ruling { change, ..ruling }
}

/// The record with the edits; or why that must not be, and the place of the edit at fault.
fn check(
    def: &Definition,
    standing: &Data,
    edits: &[(&String, Value, bool)],
    trusted: bool,
) -> Result<Data, (&'static str, usize)> {
    let mut data = standing.clone();
    for (place, (field, value, _)) in edits.iter().enumerate() {
        if !def.fits(field, value) {
            return Err(("validation_failed", place));
        }
        let from = standing.get(*field).cloned().unwrap_or_default();
        if !def.may_go(field, &from, value, trusted) {
            return Err(("invalid_transition", place));
        }
        data.insert((*field).clone(), value.clone());
    }
    let (early, late) = def.before.unwrap_or_default();
    let at = |name: &str| edits.iter().position(|(field, _, _)| *field == name);
    match at(early).or(at(late)) {
        Some(place) if !def.is_ordered(&data) => Err(("validation_failed", place)),
        _ => Ok(data),
    }
}

/// The stamp that a stale edit must beat; none if it is not stale (E4). Under `device_priority` a write
/// that outranks the one that replaced it still counts, so that T3 holds.
fn rival(record: &Record, def: &Definition, field: &str, base: u64, install: i64) -> Option<Stamp> {
    let writes = record.writes.get(field)?;
    let is_rival = |(version, stamp): &&(u64, Stamp)| *version > base && stamp.2 != install;
    let last = writes.last().filter(is_rival)?;
    if def.strategy != Strategy::DevicePriority {
        return Some(last.1);
    }
    writes.iter().filter(is_rival).map(|(_, stamp)| *stamp).max_by_key(|stamp| (stamp.1, *stamp))
}

/// Whether a stale edit wins (E5).
fn wins(
    def: &Definition,
    field: &str,
    (standing, sent): (&Value, &Value),
    rival: Stamp,
    stamp: Stamp,
) -> bool {
    match def.strategy {
        Strategy::ClientWins => true,
        Strategy::ServerWins | Strategy::Manual => false,
        Strategy::MostRecentWins => stamp > rival,
        Strategy::DevicePriority => (stamp.1, stamp) > (rival.1, rival),
        Strategy::PreserveEscalation => {
            let rank = |value: &Value| {
                let (_, order) = def.keep_higher?;
                order.iter().position(|name| value == name)
            };
            let higher = def.keep_higher.is_some_and(|(of, _)| of == field) && rank(standing) > rank(sent);
            !def.keep.contains(&field) && !higher && stamp > rival
        }
    }
}

/// The union of two lists by their elements' ids (E9).
fn union(standing: &Value, sent: &Value) -> Value {
    let Some(sent) = sent.as_array() else { return standing.clone() };
    let mut list = standing.as_array().cloned().unwrap_or_default();
    for item in sent {
        if !list.iter().any(|known| known["id"] == item["id"]) {
            list.push(item.clone());
        }
    }
    Value::Array(list)
}

impl Batch {
    /// Whether the sender may see a record.
    pub(super) fn sees(&self, record: &Record) -> bool {
        self.trusted || sees(&record.now().scope, &self.user, self.unit.as_deref())
    }
}
