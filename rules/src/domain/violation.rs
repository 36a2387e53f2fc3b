//! What a definition answers when something breaks it, and how values are shown in that answer.

use serde_json::Value;
use synchub_protocol::ErrorCode;
use synchub_protocol::server::EntryError;

/// How many characters of a string that does not fit are shown to its sender.
const SHOWN_CHARS: usize = 40;

/// Something that a definition does not allow, said so that a client's author can put it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `validation_failed` or `invalid_transition`.
    pub code: ErrorCode,
    /// The field at fault; without the change of this field the rule would not have been broken.
    pub field: Option<String>,
    /// A sentence that says what is wrong and what would be right.
    pub message: String,
}

impl Violation {
    pub(super) fn validation(field: &str, message: String) -> Self {
        Self { code: ErrorCode::ValidationFailed, field: Some(field.to_owned()), message }
    }

    pub(super) fn transition(field: &str, message: String) -> Self {
        Self { code: ErrorCode::InvalidTransition, field: Some(field.to_owned()), message }
    }
}

impl From<Violation> for EntryError {
    fn from(violation: Violation) -> Self {
        Self { code: violation.code, message: violation.message, field: violation.field }
    }
}

/// A value as an error shows it: short, whatever was sent.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > SHOWN_CHARS => {
            let start: String = text.chars().take(SHOWN_CHARS).collect();
            format!("{start:?}…")
        }
        Value::Array(_) => "this array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => scalar.to_string(),
    }
}

/// Values as a list for people: `A, B, C`, strings without quotes.
pub(super) fn listed<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let texts: Vec<String> = values
        .into_iter()
        .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        .collect();
    texts.join(", ")
}
