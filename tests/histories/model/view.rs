//! Who sees what: scopes and filters (V2).

use std::cmp::Ordering;

use serde_json::Value;

use super::{Data, Scope};

/// The filters of a domain's subscriptions; a record is wanted if one of them matches.
pub(crate) type Filters = Vec<Value>;

/// Whether a device of this user and unit sees a scope.
pub(crate) fn sees(scope: &Scope, user: &str, unit: Option<&str>) -> bool {
    match scope {
        Scope::Tenant => true,
        Scope::Unit(of) => unit == Some(of),
        Scope::User(of) => user == of,
        Scope::Device(..) => false,
    }
}

/// Whether one of the filters matches; none of them is `null`, which lets all through, and an empty list
/// lets nothing through.
pub(crate) fn matches(filters: &[Value], data: &Data) -> bool {
    filters.iter().any(|filter| match filter {
        Value::Object(conditions) => {
            conditions.iter().all(|(field, condition)| holds(condition, data.get(field)))
        }
        _ => true,
    })
}

fn holds(condition: &Value, value: Option<&Value>) -> bool {
    let value = value.unwrap_or(&Value::Null);
    match condition {
        Value::Array(allowed) => allowed.contains(value),
        Value::Object(range) => {
            let reaches = |bound: &str, fits: fn(Ordering) -> bool| {
                range.get(bound).is_none_or(|bound| order(value, bound).is_some_and(fits))
            };
            reaches("gte", Ordering::is_ge) && reaches("lt", Ordering::is_lt)
        }
        single => single == value,
    }
}

fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}
