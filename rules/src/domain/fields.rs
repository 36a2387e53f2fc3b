//! One field's rule: its line of the file as JSON Schema, and the words that say what would fit.
//!
//! Null is never asked here: it clears a field (E2), and whether that is allowed is the
//! definition's to say.

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Number, Value, json};
use synchub_protocol::Timestamp;

use crate::domain::compile::Fault;
use crate::domain::file::{FieldFile, FieldType};
use crate::domain::violation::{Violation, listed, shown};

/// The format under which the schema knows what the hub takes for a time.
const TIME_FORMAT: &str = "hub-time";

/// A field that the definition names.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) kind: FieldType,
    /// The values that it may have, where the file lists them.
    pub(super) one_of: Option<Vec<Value>>,
    schema: Validator,
    expected: String,
}

impl Field {
    /// Reads a field's table; `append` says that it is an append-only list. Faults name the key.
    pub(super) fn compile(file: &FieldFile, append: bool) -> Result<Self, Fault> {
        check_keys(file)?;
        if append && file.kind != FieldType::Array {
            return Err(Fault::new("type", "must be \"array\": the field is named in `append`"));
        }
        let mut schema = schema_of(file, append);
        let validator = build(&schema)?;
        if let Some(values) = &file.one_of {
            check_values(values, &validator)?;
            schema.insert("enum".to_owned(), json!(values));
        }
        let schema = build(&schema)?;
        Ok(Self { kind: file.kind, one_of: file.one_of.clone(), schema, expected: expected(file, append) })
    }

    /// Whether a value that is not null fits.
    pub(super) fn fits(&self, value: &Value) -> bool {
        self.schema.is_valid(value)
    }

    /// What fits, as the end of a sentence: `an integer, at least 0`.
    pub(super) fn expected(&self) -> &str {
        &self.expected
    }

    /// Checks a value that is not null.
    pub(super) fn check(&self, name: &str, value: &Value) -> Result<(), Violation> {
        let Err(error) = self.schema.validate(value) else { return Ok(()) };
        let place = error.instance_path().to_string();
        let what = if place.is_empty() {
            format!("not {}", shown(value))
        } else {
            format!("which `{name}{place}` does not fit")
        };
        Err(Violation::validation(name, format!("{name} must be {}, {what}", self.expected)))
    }
}

fn build(schema: &Map<String, Value>) -> Result<Validator, Fault> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .with_pattern_options(PatternOptions::regex())
        .with_format(TIME_FORMAT, |text: &str| text.parse::<Timestamp>().is_ok())
        .should_validate_formats(true)
        .build(&Value::Object(schema.clone()))
        .map_err(|_| {
            Fault::new(
                "pattern",
                "is no regular expression that can be used (no look-around, no back-references)",
            )
        })
}

fn schema_of(file: &FieldFile, append: bool) -> Map<String, Value> {
    let (name, format) = match file.kind {
        FieldType::String => ("string", None),
        FieldType::Integer => ("integer", None),
        FieldType::Number => ("number", None),
        FieldType::Boolean => ("boolean", None),
        FieldType::Object => ("object", None),
        FieldType::Array => ("array", None),
        FieldType::Time => ("string", Some(TIME_FORMAT)),
        FieldType::Uuid => ("string", Some("uuid")),
    };
    let items = append.then(|| {
        json!({"type": "object", "required": ["id"], "properties": {"id": {"type": ["string", "number"]}}})
    });
    let keys = [
        ("type", Some(json!(name))),
        ("format", format.map(|format| json!(format))),
        ("minimum", file.minimum.as_ref().map(|bound| json!(bound))),
        ("maximum", file.maximum.as_ref().map(|bound| json!(bound))),
        ("exclusiveMinimum", file.exclusive_minimum.as_ref().map(|bound| json!(bound))),
        ("minLength", file.min_length.map(|length| json!(length))),
        ("maxLength", file.max_length.map(|length| json!(length))),
        ("pattern", file.pattern.as_ref().map(|pattern| json!(pattern))),
        ("items", items),
    ];
    keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

/// Refuses keys that mean nothing for the type, and bounds between which nothing lies.
fn check_keys(file: &FieldFile) -> Result<(), Fault> {
    let numbers = [FieldType::Integer, FieldType::Number].as_slice();
    let strings = [FieldType::String].as_slice();
    let listable = [FieldType::String, FieldType::Integer, FieldType::Number].as_slice();
    let only_for = [
        ("enum", file.one_of.is_some(), listable),
        ("minimum", file.minimum.is_some(), numbers),
        ("maximum", file.maximum.is_some(), numbers),
        ("exclusive_minimum", file.exclusive_minimum.is_some(), numbers),
        ("min_length", file.min_length.is_some(), strings),
        ("max_length", file.max_length.is_some(), strings),
        ("pattern", file.pattern.is_some(), strings),
    ];
    for (key, present, kinds) in only_for {
        if present && !kinds.contains(&file.kind) {
            let kinds: Vec<_> = kinds.iter().map(|kind| type_name(*kind)).collect();
            return Err(Fault::new(key, format!("means something for {} only", kinds.join(", "))));
        }
    }
    let number = |bound: &Option<Number>| bound.as_ref().and_then(Number::as_f64);
    let low = number(&file.minimum);
    let above = number(&file.exclusive_minimum);
    let high = number(&file.maximum);
    if low.zip(high).is_some_and(|(low, high)| low > high)
        || above.zip(high).is_some_and(|(above, high)| above >= high)
    {
        return Err(Fault::new("maximum", "must not be below the minimum: no value would fit"));
    }
    if file.min_length.zip(file.max_length).is_some_and(|(low, high)| low > high) {
        return Err(Fault::new("max_length", "must not be below min_length: no value would fit"));
    }
    Ok(())
}

fn check_values(values: &[Value], schema: &Validator) -> Result<(), Fault> {
    if values.is_empty() {
        return Err(Fault::new("enum", "must list at least one value"));
    }
    for (place, value) in values.iter().enumerate() {
        if !schema.is_valid(value) {
            let message =
                format!("{} breaks the rest of the field's rule (type, bounds, pattern)", shown(value));
            return Err(Fault::new("enum", message));
        }
        if values[..place].contains(value) {
            return Err(Fault::new("enum", format!("{} stands there twice", shown(value))));
        }
    }
    Ok(())
}

fn type_name(kind: FieldType) -> &'static str {
    match kind {
        FieldType::String => "string",
        FieldType::Integer => "integer",
        FieldType::Number => "number",
        FieldType::Boolean => "boolean",
        FieldType::Object => "object",
        FieldType::Array => "array",
        FieldType::Time => "time",
        FieldType::Uuid => "uuid",
    }
}

fn expected(file: &FieldFile, append: bool) -> String {
    if let Some(values) = &file.one_of {
        return format!("one of {}", listed(values));
    }
    let kind = match file.kind {
        FieldType::String => "a string",
        FieldType::Integer => "an integer",
        FieldType::Number => "a number",
        FieldType::Boolean => "true or false",
        FieldType::Object => "an object",
        FieldType::Array if append => "an array of objects with an `id` each (a string or a number)",
        FieldType::Array => "an array",
        FieldType::Time => "an RFC 3339 time such as 2026-11-21T10:00:00Z",
        FieldType::Uuid => "a UUID such as 5f02abba-273e-4c51-8693-648838c3619b",
    };
    let limits = [
        file.minimum.as_ref().map(|bound| format!("at least {bound}")),
        file.exclusive_minimum.as_ref().map(|bound| format!("above {bound}")),
        file.maximum.as_ref().map(|bound| format!("at most {bound}")),
        file.min_length.map(|length| format!("{length} characters or more")),
        file.max_length.map(|length| format!("{length} characters or fewer")),
        file.pattern.as_ref().map(|pattern| format!("matching {pattern}")),
    ];
    let parts: Vec<String> = std::iter::once(kind.to_owned()).chain(limits.into_iter().flatten()).collect();
    parts.join(", ")
}
