//! An edit of a record that stands: which of its fields are edits, which of them are stale, who wins,
//! and what the definition allows (E3 to E9).

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Value, json};
use synchub_protocol::server::{EntryError, Resolution, Status, Strategy};
use synchub_protocol::{Data, ErrorCode};

use crate::conflict::{self, Clash, Winner, owners};
use crate::domain::{Definition, Violation};
use crate::group::ReviewKind;
use crate::plan::entry::{Case, Dispute, Ruling};
use crate::plan::slot::Slot;
use crate::plan::write::Change;
use crate::record::{self, PastChange, RowKind, Stamp};

/// A field that the entry changes.
#[derive(Debug)]
struct Edit<'a> {
    field: &'a str,
    value: Cow<'a, Value>,
    /// Whether it was stale and won.
    won: bool,
}

/// What an entry's fields come to.
#[derive(Debug, Default)]
struct Merge<'a> {
    edits: Vec<Edit<'a>>,
    /// How many fields were sent as they stand.
    n_kept: usize,
    /// For each contested field who won and why.
    fields: Data,
    n_lost: usize,
    n_open: usize,
    /// The first edit that the definition does not allow.
    barred: Option<Violation>,
}

/// Decides an edit of a live record that the sender may see.
pub(super) fn decide(slot: &Slot, case: &Case<'_>) -> Ruling {
    let standing = &slot.record;
    let definition = &*case.domain.definition;
    let newer = slot.is_newer(case.base(standing), case.author.install);
    let home = match case.home(Some(standing)) {
        Ok(home) => home,
        Err(error) => return Ruling::refused(error),
    };
    let stamp = case.stamp(Some(slot));
    let mut merge = contest(slot, case, stamp);
    let (data, old) = loop {
        let violation = match check(slot, case, &merge) {
            Ok(result) => break result,
            Err(violation) => violation,
        };
        let barred = merge.edits.iter().position(|edit| violation.field.as_deref() == Some(edit.field));
        match barred.filter(|_| newer) {
            Some(place) => merge.bar(place, violation),
            None => return Ruling::refused(violation.into()),
        }
    };
    if record::weight(&data) > record::MAX_WEIGHT.max(record::weight(&standing.data)) {
        return Ruling::refused(too_large());
    }
    let moved = (standing.unit, standing.owner) != (home.unit, home.owner);
    let change = (moved || !merge.edits.is_empty()).then(|| {
        let priority = case.priority(&data);
        Change { kind: RowKind::Update, data, old: Arc::new(old), home, stamp, priority }
    });
    match (merge.dispute(definition.strategy()), change) {
        (Some(dispute), change) => Ruling::disputed(change, dispute),
        (None, None) => Ruling::plain(Status::Unchanged),
        (None, Some(change)) => Ruling::changed(if newer { Status::Merged } else { Status::Updated }, change),
    }
}

/// A record that would grow beyond what is kept; what stands may shrink.
fn too_large() -> EntryError {
    let message =
        format!("the record would take more than {} bytes; take fields out first", record::MAX_WEIGHT);
    EntryError { code: ErrorCode::TooLarge, message, field: None }
}

/// An edit that meets a tombstone without naming it: the delete stands (D1, D2).
pub(super) fn lost_to_delete(case: &Case<'_>) -> Ruling {
    let strategy = case.domain.definition.strategy();
    let (resolution, kind) = match strategy {
        Strategy::Manual => (Resolution::ManualRequired, ReviewKind::Manual),
        _ => (Resolution::Server, ReviewKind::Refused),
    };
    Ruling::disputed(None, Dispute { strategy, resolution, kind, fields: Data::new(), barred: None })
}

/// Sorts an entry's fields into edits, losers, and what is no edit at all.
fn contest<'a>(slot: &'a Slot, case: &Case<'a>, stamp: Stamp) -> Merge<'a> {
    let (record, definition) = (&slot.record, &*case.domain.definition);
    let base = case.base(record);
    let since = if case.entry.delta { None } else { slot.since(base) };
    let mut merge = Merge::default();
    for (field, sent) in case.entry.data.iter() {
        let standing = record.data.get(field);
        if is_append(definition, field) {
            // What is no such list stays as it is, to be refused by the check.
            let fits = definition.check_value(field, sent).is_ok();
            let value =
                if fits { Cow::Owned(definition.merge_append(standing, sent)) } else { Cow::Borrowed(sent) };
            if !same(standing, &value) {
                merge.edits.push(Edit { field, value, won: false });
            }
            continue;
        }
        if same(standing, sent) {
            merge.n_kept += usize::from(standing.is_some());
            continue;
        }
        if since.is_some_and(|since| same(value_at(since, base, field, standing), sent)) {
            continue;
        }
        let from = (base, case.author.install);
        let strategy = definition.strategy();
        let Some(rival) = owners::rival(&record.writes, &record.data, field, from, strategy) else {
            merge.edits.push(Edit { field, value: Cow::Borrowed(sent), won: false });
            continue;
        };
        let clash = Clash { field, standing, standing_stamp: rival, sent, stamp };
        let verdict = conflict::resolve(strategy, definition.escalation(), &clash);
        merge.note(field, verdict.winner, verdict.reason.as_str());
        match verdict.winner {
            Winner::Client => merge.edits.push(Edit { field, value: Cow::Borrowed(sent), won: true }),
            Winner::Server => merge.n_lost += 1,
            Winner::Nobody => merge.n_open += 1,
        }
    }
    merge
}

/// A field's value in the base version: what the first change since found, else what stands (E3).
fn value_at<'a>(
    since: &'a [PastChange],
    base: u64,
    field: &str,
    standing: Option<&'a Value>,
) -> Option<&'a Value> {
    if base == 0 {
        return None;
    }
    since.iter().find_map(|change| change.old.get(field)).or(standing)
}

fn is_append(definition: &Definition, field: &str) -> bool {
    definition.append_fields().iter().any(|append| append == field)
}

/// Whether two values are equal; absent and null are.
fn same(standing: Option<&Value>, value: &Value) -> bool {
    standing.unwrap_or(&Value::Null) == value
}

/// The record as the edits would leave it, and the values that they replace, if the definition allows
/// it. A violation names one of the edits.
fn check(slot: &Slot, case: &Case<'_>, merge: &Merge<'_>) -> Result<(Arc<Data>, Data), Violation> {
    let definition = &*case.domain.definition;
    for Edit { field, value, .. } in &merge.edits {
        definition.check_value(field, value)?;
        if definition.workflow_field() == Some(field) {
            definition.check_transition(slot.record.data.get(*field), value, case.hand())?;
        }
    }
    let standing = &slot.record.data;
    let data = apply(standing, &case.entry.data, merge);
    definition.check_record(&data, merge.edits.iter().map(|edit| edit.field))?;
    Ok((data, replaced(definition, standing, &merge.edits)))
}

/// The record's fields with the edits. What was sent is kept as it is where it comes to the same, as an edit of
/// a whole record mostly does: a copy of every field would cost more than all of the decision.
fn apply(standing: &Arc<Data>, sent: &Arc<Data>, merge: &Merge<'_>) -> Arc<Data> {
    let edits = &merge.edits;
    let replaced = edits.iter().filter(|edit| standing.contains_key(edit.field)).count();
    let as_sent = edits.iter().all(|edit| matches!(edit.value, Cow::Borrowed(_)))
        && merge.n_kept + edits.len() == sent.len()
        && merge.n_kept + replaced == standing.len();
    if as_sent {
        return Arc::clone(sent);
    }
    let mut data = Arc::clone(standing);
    for Edit { field, value, .. } in edits {
        Arc::make_mut(&mut data).insert((*field).to_owned(), Value::clone(value));
    }
    data
}

/// The values that edits replace. Of an append-only list only that it stood: to keep the whole list with each
/// element that joins it would cost its square.
fn replaced(definition: &Definition, standing: &Data, edits: &[Edit<'_>]) -> Data {
    let before = |field: &str| match standing.get(field) {
        Some(Value::Array(_)) if is_append(definition, field) => Value::Array(Vec::new()),
        before => before.cloned().unwrap_or_default(),
    };
    edits.iter().map(|edit| (edit.field.to_owned(), before(edit.field))).collect()
}

impl Merge<'_> {
    fn note(&mut self, field: &str, winner: Winner, why: &str) {
        self.fields.insert(field.to_owned(), json!({ "winner": winner.as_str(), "why": why }));
    }

    /// Takes out an edit that is not allowed: the record keeps its value (E8).
    fn bar(&mut self, place: usize, violation: Violation) {
        let edit = self.edits.swap_remove(place);
        self.n_lost += 1;
        self.note(edit.field, Winner::Server, violation.code.as_str());
        self.barred.get_or_insert(violation);
    }

    fn dispute(self, strategy: Strategy) -> Option<Dispute> {
        if self.fields.is_empty() {
            return None;
        }
        let n_won = self.edits.iter().filter(|edit| edit.won).count();
        let resolution = match (self.n_open, n_won, self.n_lost) {
            (1.., _, _) => Resolution::ManualRequired,
            (_, _, 0) => Resolution::Client,
            (_, 0, _) => Resolution::Server,
            _ => Resolution::Merged,
        };
        let manual = resolution == Resolution::ManualRequired;
        let kind = if manual { ReviewKind::Manual } else { ReviewKind::Resolved };
        Some(Dispute { strategy, resolution, kind, fields: self.fields, barred: self.barred })
    }
}
