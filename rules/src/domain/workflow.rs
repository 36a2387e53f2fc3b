//! A domain's workflow: which state may follow which, and what a record may begin with (E8).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::violation::{Violation, shown};

/// Who makes a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Author {
    /// A device: its records begin in an initial state.
    Device,
    /// The hub itself, a publisher or an operator: their records may begin in any state.
    Trusted,
}

#[derive(Debug)]
pub(super) struct Workflow {
    pub(super) field: String,
    /// What a device may begin with; any state where the file does not say.
    pub(super) initial: Option<Vec<String>>,
    /// For each state of the field, what may follow it.
    pub(super) next: BTreeMap<String, Vec<String>>,
}

impl Workflow {
    /// Checks one step. A state that the definition no longer knows counts as none, so that a record
    /// is not stuck in it for ever. Clearing the state is no step: it would be a way around all others.
    pub(super) fn check(&self, from: Option<&Value>, to: &Value, author: Author) -> Result<(), Violation> {
        let stands = from.filter(|state| !state.is_null());
        if stands.unwrap_or(&Value::Null) == to {
            return Ok(());
        }
        let known = stands.and_then(Value::as_str).and_then(|state| self.next.get_key_value(state));
        match known {
            Some((state, next)) => self.check_step(state, next, to),
            None if author == Author::Trusted => Ok(()),
            None => self.check_beginning(to),
        }
    }

    fn check_step(&self, from: &str, next: &[String], to: &Value) -> Result<(), Violation> {
        if holds(next, to) {
            return Ok(());
        }
        let field = &self.field;
        let step = if to.is_null() {
            format!("{field} cannot be cleared")
        } else {
            format!("{field} cannot go from {from} to {}", plain(to))
        };
        let allowed = if next.is_empty() {
            format!("{from} is final")
        } else {
            format!("from {from} it can go to {}", next.join(", "))
        };
        Err(Violation::transition(field, format!("{step}; {allowed}")))
    }

    fn check_beginning(&self, to: &Value) -> Result<(), Violation> {
        let Some(initial) = self.initial.as_ref().filter(|initial| !holds(initial, to)) else {
            return Ok(());
        };
        let (field, initial) = (&self.field, initial.join(", "));
        let message = format!("{field} cannot begin as {}; it can begin as {initial}", plain(to));
        Err(Violation::transition(field, message))
    }
}

fn holds(states: &[String], state: &Value) -> bool {
    state.as_str().is_some_and(|state| states.iter().any(|known| known == state))
}

/// A state without the quotes of a JSON string.
fn plain(state: &Value) -> String {
    shown(state).replace('"', "")
}
