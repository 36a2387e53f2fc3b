//! From a filter as it was sent to conditions, within bounds that keep asking it cheap.

use serde_json::{Map, Value};
use synchub_protocol::Data;

use crate::filter::Filter;
use crate::filter::condition::{Condition, normal};

/// The most fields that a filter may name.
const MAX_FIELDS: usize = 32;
/// The most values that a list may hold.
const MAX_VALUES: usize = 256;
/// The longest canonical text, in bytes.
const MAX_BYTES: usize = 8192;

/// Why a filter cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A field's condition is none.
    #[error("filter field `{field}`: {message}")]
    Condition {
        /// The field.
        field: String,
        /// What is wrong and what would be right.
        message: &'static str,
    },
    /// Too many fields.
    #[error("a filter names at most {MAX_FIELDS} fields, not {0}")]
    TooManyFields(usize),
    /// Too long altogether.
    #[error("a filter takes at most {MAX_BYTES} bytes as JSON, not {0}")]
    TooLong(usize),
}

impl Filter {
    /// Compiles what a subscription sends: fields of `data`, each with a value, a list of allowed
    /// values, or `{gte?, lt?}`.
    pub fn compile(fields: &Map<String, Value>) -> Result<Self, FilterError> {
        if fields.len() > MAX_FIELDS {
            return Err(FilterError::TooManyFields(fields.len()));
        }
        let mut conditions = Vec::with_capacity(fields.len());
        let mut canonical = Data::new();
        for (field, condition) in fields {
            let condition = condition_of(condition)
                .map_err(|message| FilterError::Condition { field: field.clone(), message })?;
            canonical.insert(field.clone(), condition.canonical());
            conditions.push((field.clone(), condition));
        }
        let canonical = Value::Object(canonical).to_string();
        if canonical.len() > MAX_BYTES {
            return Err(FilterError::TooLong(canonical.len()));
        }
        Ok(Self { conditions, canonical })
    }

    pub(super) fn everything() -> Self {
        Self { conditions: Vec::new(), canonical: "{}".to_owned() }
    }
}

fn condition_of(condition: &Value) -> Result<Condition, &'static str> {
    match condition {
        Value::Array(values) if values.len() > MAX_VALUES => {
            Err("a list holds at most 256 values; ask for a range, or filter by another field")
        }
        Value::Array(values) => {
            let mut values = values.iter().map(scalar).collect::<Result<Vec<_>, _>>()?;
            values.sort_by_cached_key(Value::to_string);
            values.dedup();
            Ok(Condition::OneOf(values))
        }
        Value::Object(range) => range_of(range),
        value => Ok(Condition::OneOf(vec![scalar(value)?])),
    }
}

fn scalar(value: &Value) -> Result<Value, &'static str> {
    match value {
        Value::Number(number) => Ok(Value::Number(normal(number))),
        Value::Array(_) | Value::Object(_) => {
            Err("an allowed value is null, true, false, a number or a string")
        }
        scalar => Ok(scalar.clone()),
    }
}

fn range_of(range: &Map<String, Value>) -> Result<Condition, &'static str> {
    if range.is_empty() || range.keys().any(|key| key != "gte" && key != "lt") {
        return Err("a range is {gte, lt}, one of them or both");
    }
    let bound = |name: &str| range.get(name).map(scalar).transpose();
    let (gte, lt) = (bound("gte")?, bound("lt")?);
    let bounds: Vec<&Value> = gte.iter().chain(&lt).collect();
    if bounds.iter().all(|bound| bound.is_number()) || bounds.iter().all(|bound| bound.is_string()) {
        return Ok(Condition::Range { gte, lt });
    }
    Err("the bounds of a range are numbers, or both strings")
}
