//! One entry against the record as it stands: the way to the rule that decides it.
//!
//! Nothing here changes the overlay; what an entry does is handed back as a [`Ruling`].

use std::sync::Arc;

use serde_json::Value;
use synchub_protocol::server::{EntryError, Resolution, Status, Strategy};
use synchub_protocol::{Data, Entry, ErrorCode, Operation, Priority};

use crate::domain::{Author as Hand, Definition, Violation};
use crate::group::{Author, Belonging, Domain, ReviewKind};
use crate::plan::slot::Slot;
use crate::plan::write::{Change, Home, scope_of};
use crate::plan::{delete, edit};
use crate::record::{Record, RowKind, Stamp};

/// An entry with all that its decision depends on, but for the record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) author: &'a Author,
    pub(super) entry: &'a Entry,
    pub(super) domain: &'a Domain,
    pub(super) belonging: Option<&'a Belonging>,
    /// The entry's number; its place in the batch, from 1 on, where it has none.
    pub(super) number: u64,
    pub(super) received_us: i64,
    /// Whether the batch failed to create this record.
    pub(super) create_failed: bool,
}

/// What becomes of an entry.
#[derive(Debug)]
pub(super) struct Ruling {
    pub(super) status: Status,
    pub(super) error: Option<EntryError>,
    pub(super) change: Option<Change>,
    pub(super) dispute: Option<Dispute>,
}

/// A conflict and its evidence.
#[derive(Debug)]
pub(super) struct Dispute {
    pub(super) strategy: Strategy,
    pub(super) resolution: Resolution,
    pub(super) kind: ReviewKind,
    /// For each contested field who won and why.
    pub(super) fields: Data,
    /// Why some edits were not allowed: they go to the inbox besides.
    pub(super) barred: Option<Violation>,
}

impl Ruling {
    pub(super) fn plain(status: Status) -> Self {
        Self { status, error: None, change: None, dispute: None }
    }

    pub(super) fn refused(error: EntryError) -> Self {
        Self { error: Some(error), ..Self::plain(Status::Error) }
    }

    pub(super) fn changed(status: Status, change: Change) -> Self {
        Self { change: Some(change), ..Self::plain(status) }
    }

    pub(super) fn disputed(change: Option<Change>, dispute: Dispute) -> Self {
        Self { change, dispute: Some(dispute), ..Self::plain(Status::Conflict) }
    }
}

/// Decides an entry.
pub(super) fn decide(slot: Option<&Slot>, case: &Case<'_>) -> Ruling {
    let Case { entry, domain, .. } = case;
    let deletes = entry.operation == Operation::Delete;
    if deletes && domain.definition.is_append_only() {
        return Ruling::refused(forbidden(domain));
    }
    let visible = slot.filter(|slot| case.author.sight.covers(slot.record.scope));
    let lives = visible.is_some_and(|slot| !slot.record.deleted);
    if case.create_failed && !lives && (deletes || entry.delta) {
        return Ruling::refused(depends_on_failed());
    }
    match visible {
        None if slot.is_some() || deletes || entry.delta || entry.version > 0 => Ruling::refused(not_found()),
        None => create(None, case),
        Some(_) if domain.definition.is_append_only() => Ruling::plain(Status::Duplicate),
        Some(slot) if deletes => delete::decide(slot, case),
        Some(slot) if lives => edit::decide(slot, case),
        Some(slot) if case.base(&slot.record) == slot.record.version && !entry.delta => {
            create(Some(slot), case)
        }
        Some(_) => edit::lost_to_delete(case),
    }
}

/// Makes a record, or makes one anew in place of its tombstone (D2).
fn create(tombstone: Option<&Slot>, case: &Case<'_>) -> Ruling {
    let definition = &*case.domain.definition;
    let standing = tombstone.map(|slot| &slot.record);
    let home = match case.home(standing) {
        Ok(home) => home,
        Err(error) => return Ruling::refused(error),
    };
    if let Err(violation) = check_new(definition, &case.entry.data, case.hand()) {
        return Ruling::refused(violation.into());
    }
    let data = with_merged_lists(definition, &case.entry.data);
    let priority = case.priority(&data);
    let old = standing.map(|record| all_touched(&record.data, &data)).unwrap_or_default();
    let stamp = case.stamp(tombstone);
    let change = Change { kind: RowKind::Create, data, old: Arc::new(old), home, stamp, priority };
    Ruling::changed(Status::Created, change)
}

/// What was sent, each append-only list without its repeats.
fn with_merged_lists(definition: &Definition, sent: &Arc<Data>) -> Arc<Data> {
    let mut data = Arc::clone(sent);
    for field in definition.append_fields() {
        if let Some(list) = sent.get(field) {
            Arc::make_mut(&mut data).insert(field.clone(), definition.merge_append(None, list));
        }
    }
    data
}

fn check_new(definition: &Definition, data: &Data, hand: Hand) -> Result<(), Violation> {
    data.iter().try_for_each(|(field, value)| definition.check_value(field, value))?;
    definition.check_create(data)?;
    if let Some(state) = definition.workflow_field().and_then(|field| data.get(field)) {
        definition.check_transition(None, state, hand)?;
    }
    definition.check_record(data, data.keys().map(String::as_str))
}

/// Every field of a tombstone and of the record made in its place, with its value before.
fn all_touched(before: &Data, after: &Data) -> Data {
    let new = after.keys().filter(|field| !before.contains_key(*field));
    let mut touched = before.clone();
    touched.extend(new.map(|field| (field.clone(), Value::Null)));
    touched
}

impl Case<'_> {
    /// The version that the entry starts from; one above the record's counts as the record's own (E1).
    pub(super) fn base(&self, record: &Record) -> u64 {
        self.entry.version.min(record.version)
    }

    /// When and by whom the edit was made (T2).
    pub(super) fn stamp(&self, slot: Option<&Slot>) -> Stamp {
        let author = self.author;
        let made = self.entry.client_timestamp;
        let corrected = made.map_or(self.received_us, |made| made.0.saturating_add(author.clock_offset_us));
        let floor =
            slot.and_then(|slot| slot.time_of(self.base(&slot.record))).map_or(i64::MIN, |time| time + 1);
        Stamp {
            time_us: corrected.min(self.received_us).max(floor),
            priority: author.priority,
            install: author.install,
            number: self.number,
        }
    }

    /// How urgent the change is (E12).
    pub(super) fn priority(&self, data: &Data) -> Priority {
        let usual = self.domain.definition.priority_of(data);
        match self.entry.priority {
            Some(asked) if self.author.trusted => asked,
            Some(asked) => asked.min(usual),
            None => usual,
        }
    }

    pub(super) fn hand(&self) -> Hand {
        if self.author.trusted { Hand::Trusted } else { Hand::Device }
    }

    /// Where the record belongs after the entry (V1): to whom it did, or to its creator, unless a
    /// publisher says otherwise.
    pub(super) fn home(&self, standing: Option<&Record>) -> Result<Home, EntryError> {
        let asked = self.belonging.filter(|_| self.author.trusted);
        let unit = asked.and_then(|belonging| belonging.unit);
        let owner = asked.and_then(|belonging| belonging.owner);
        let unit = unit.unwrap_or(standing.map_or(self.author.unit, |record| record.unit));
        let owner = owner.unwrap_or(standing.map_or(Some(self.author.user), |record| record.owner));
        let scope = scope_of(self.domain.definition.visibility(), unit, owner);
        let stays = standing.filter(|record| record.owner == owner).map(|record| record.scope);
        let scope = scope.or(stays).ok_or_else(|| ownerless(self.domain))?;
        Ok(Home { unit, owner, scope })
    }
}

fn forbidden(domain: &Domain) -> EntryError {
    let message = format!("a {} is never deleted; the domain only takes new ones", domain.name);
    EntryError { code: ErrorCode::Forbidden, message, field: None }
}

fn not_found() -> EntryError {
    let message = "there is no such record that you may see; a new one is sent whole, without `delta`, \
                   with version 0 and a mobile_id of its own"
        .to_owned();
    EntryError { code: ErrorCode::NotFound, message, field: None }
}

fn depends_on_failed() -> EntryError {
    let message = "the entry of this batch that was to create the record was refused; correct that one, \
                   then send this one again"
        .to_owned();
    EntryError { code: ErrorCode::DependsOnFailed, message, field: None }
}

fn ownerless(domain: &Domain) -> EntryError {
    let message = format!("only its owner sees a {}; it cannot be without one", domain.name);
    EntryError { code: ErrorCode::ValidationFailed, message, field: Some("owner".to_owned()) }
}
