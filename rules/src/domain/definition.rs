//! A compiled definition: what a domain is, and the checks that its records must pass.
//!
//! It never changes after it was made, so that sessions and the planner share one. Every check is a
//! pure function of its arguments.

use std::collections::BTreeMap;

use serde_json::Value;
use synchub_protocol::server::Strategy;
use synchub_protocol::{Data, Priority, Timestamp};

use crate::domain::fields::Field;
use crate::domain::file::Visibility;
use crate::domain::priority::PriorityRule;
use crate::domain::violation::Violation;
use crate::domain::workflow::{Author, Workflow};
use crate::domain::{Escalation, append, priority};

/// A domain, as its definition file says; made by [`Definition::parse`].
#[derive(Debug)]
pub struct Definition {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) path: String,
    pub(super) strategy: Strategy,
    pub(super) visibility: Visibility,
    pub(super) feed: bool,
    pub(super) append_only: bool,
    pub(super) keeps_unknown: bool,
    pub(super) required: Vec<String>,
    pub(super) date_field: Option<String>,
    pub(super) append: Vec<String>,
    pub(super) fields: BTreeMap<String, Field>,
    /// Pairs of time fields, the first of which is the earlier.
    pub(super) before: Vec<[String; 2]>,
    pub(super) workflow: Option<Workflow>,
    pub(super) escalation: Escalation,
    pub(super) priority: Vec<PriorityRule>,
    pub(super) fingerprint: [u8; 8],
}

impl Definition {
    /// The domain's name, as entries and subscriptions give it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name for people.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The last part of the domain's address over HTTP.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What decides a stale edit, where a tenant has no policy of its own (E5).
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Who sees its records (V2).
    pub fn visibility(&self) -> Visibility {
        self.visibility
    }

    /// Whether changes go into the log and can be subscribed to.
    pub fn feed(&self) -> bool {
        self.feed
    }

    /// Whether its records are made once and never changed (E9).
    pub fn is_append_only(&self) -> bool {
        self.append_only
    }

    /// The fields that are append-only lists (E9).
    pub fn append_fields(&self) -> &[String] {
        &self.append
    }

    /// The time field that a query by date looks at.
    pub fn date_field(&self) -> Option<&str> {
        self.date_field.as_deref()
    }

    /// The field whose changes [`Definition::check_transition`] checks.
    pub fn workflow_field(&self) -> Option<&str> {
        self.workflow.as_ref().map(|workflow| workflow.field.as_str())
    }

    /// The fields that `preserve_escalation` keeps.
    pub fn escalation(&self) -> &Escalation {
        &self.escalation
    }

    /// A hash of what decides which records a device is sent; a cursor names it (C1). Rules for
    /// fields, workflow and strategy are not in it: they decide what is accepted, not who sees it.
    pub fn fingerprint(&self) -> [u8; 8] {
        self.fingerprint
    }

    /// Checks one edited field: its rule, whether it may be cleared, whether it is known at all.
    pub fn check_value(&self, field: &str, value: &Value) -> Result<(), Violation> {
        let Some(rule) = self.fields.get(field) else {
            return if self.keeps_unknown { Ok(()) } else { Err(self.unknown(field)) };
        };
        if !value.is_null() {
            return rule.check(field, value);
        }
        if self.is_required(field) {
            let message =
                format!("{field} cannot be cleared, it is required; it must be {}", rule.expected());
            return Err(Violation::validation(field, message));
        }
        Ok(())
    }

    /// Checks that a new record has what it must have.
    pub fn check_create(&self, data: &Data) -> Result<(), Violation> {
        let missing = self.required.iter().find(|field| data.get(*field).is_none_or(Value::is_null));
        let Some(field) = missing else { return Ok(()) };
        let expected = self.fields.get(field).map_or("present", Field::expected);
        let message = format!("{field} is missing; a new {} needs it: it must be {expected}", self.name);
        Err(Violation::validation(field, message))
    }

    /// Checks what fields must hold together, as far as a changed field is part of it. The field
    /// that is named is a changed one.
    pub fn check_record<'a>(
        &self,
        data: &Data,
        changed: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Violation> {
        if self.before.is_empty() {
            return Ok(());
        }
        let changed: Vec<&str> = changed.into_iter().collect();
        for [earlier, later] in &self.before {
            let Some(field) = [earlier, later].into_iter().find(|field| changed.contains(&field.as_str()))
            else {
                continue;
            };
            let (Some(start), Some(end)) = (time(data, earlier), time(data, later)) else { continue };
            if start >= end {
                let message = format!("{earlier} ({start}) must be earlier than {later} ({end})");
                return Err(Violation::validation(field, message));
            }
        }
        Ok(())
    }

    /// Checks a change of the workflow's field; `from` is what stands, absent for a new record. What
    /// stays as it is, and any change in a domain without a workflow, is allowed.
    pub fn check_transition(
        &self,
        from: Option<&Value>,
        to: &Value,
        author: Author,
    ) -> Result<(), Violation> {
        self.workflow.as_ref().map_or(Ok(()), |workflow| workflow.check(from, to, author))
    }

    /// How urgent a change is that leaves the record like this (E12).
    pub fn priority_of(&self, data: &Data) -> Priority {
        priority::of(&self.priority, data)
    }

    /// The union of an append-only list and what an entry sends for it: by id, the first content
    /// stays, nothing is removed (E9). `sent` has passed [`Definition::check_value`]; null and an
    /// empty list add nothing.
    pub fn merge_append(&self, standing: Option<&Value>, sent: &Value) -> Value {
        append::merge(standing, sent)
    }

    fn is_required(&self, field: &str) -> bool {
        self.required.iter().any(|required| required == field)
    }

    fn unknown(&self, field: &str) -> Violation {
        let known: Vec<&str> = self.fields.keys().map(String::as_str).collect();
        let message = format!("{} has no field {field:?}; its fields are {}", self.name, known.join(", "));
        Violation::validation(field, message)
    }
}

/// A field's time; absent where the field is, or holds something that came before the definition.
fn time(data: &Data, field: &str) -> Option<Timestamp> {
    data.get(field)?.as_str()?.parse().ok()
}
