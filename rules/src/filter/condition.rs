//! What one field must be: one of some values, or within a range.

use std::cmp::Ordering;

use serde_json::{Number, Value, json};

/// A compiled condition on a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// One of these values: scalars in canonical order.
    OneOf(Vec<Value>),
    /// At least `gte`, below `lt`: numbers by number, strings by text.
    Range { gte: Option<Value>, lt: Option<Value> },
}

impl Condition {
    pub(super) fn holds(&self, value: Option<&Value>) -> bool {
        let value = value.unwrap_or(&Value::Null);
        match self {
            Self::OneOf(values) => values.iter().any(|wanted| equal(wanted, value)),
            Self::Range { gte, lt } => {
                let from = gte.as_ref().is_none_or(|gte| compare(value, gte).is_some_and(Ordering::is_ge));
                let to = lt.as_ref().is_none_or(|lt| compare(value, lt).is_some_and(Ordering::is_lt));
                from && to
            }
        }
    }

    /// The condition as a client would write it.
    pub(super) fn canonical(&self) -> Value {
        match self {
            Self::OneOf(values) if values.len() == 1 => values[0].clone(),
            Self::OneOf(values) => json!(values),
            Self::Range { gte, lt } => {
                let bounds = [("gte", gte), ("lt", lt)].into_iter();
                bounds.filter_map(|(name, bound)| Some((name.to_owned(), bound.clone()?))).collect()
            }
        }
    }
}

/// A number as the wire has it: one with an integral value is that integer.
#[expect(clippy::cast_possible_truncation, reason = "the range and the fraction are checked first")]
pub(super) fn normal(number: &Number) -> Number {
    /// Above it a float cannot tell neighbouring integers apart.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT => {
            Number::from(float as i64)
        }
        _ => number.clone(),
    }
}

fn equal(wanted: &Value, value: &Value) -> bool {
    compare(value, wanted).map_or_else(|| wanted == value, Ordering::is_eq)
}

/// Numbers by number, strings by text; nothing else has an order.
fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}
