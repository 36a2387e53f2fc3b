//! How urgent a change is, by what the record holds after it (E12).

use serde_json::Value;
use synchub_protocol::{Data, Priority};

/// A level, and what must hold for it: each named field has one of its values.
#[derive(Debug)]
pub(super) struct PriorityRule {
    pub(super) level: Priority,
    pub(super) when: Vec<(String, Vec<Value>)>,
}

/// The level of the first rule that holds, else the usual one.
pub(super) fn of(rules: &[PriorityRule], data: &Data) -> Priority {
    rules.iter().find(|rule| rule.holds(data)).map_or_else(Priority::default, |rule| rule.level)
}

impl PriorityRule {
    fn holds(&self, data: &Data) -> bool {
        self.when.iter().all(|(field, values)| data.get(field).is_some_and(|value| values.contains(value)))
    }
}
