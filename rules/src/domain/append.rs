//! Append-only lists inside a record (E9): the union of two lists by their elements' ids.

use std::collections::HashSet;

use serde_json::Value;

/// What stands, then the elements of `sent` whose id is new, each in its order. Of one id the first
/// content stays. What is no list adds nothing, nor does an element without an id: a repeat of it
/// could not be known.
pub(super) fn merge(standing: Option<&Value>, sent: &Value) -> Value {
    let Some(sent) = sent.as_array() else {
        return standing.cloned().unwrap_or_default();
    };
    let standing = standing.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut known: HashSet<&Value> = standing.iter().filter_map(id).collect();
    let fresh = sent.iter().filter(|element| id(element).is_some_and(|id| known.insert(id)));
    Value::Array(standing.iter().chain(fresh).cloned().collect())
}

fn id(element: &Value) -> Option<&Value> {
    element.get("id").filter(|id| id.is_string() || id.is_number())
}
