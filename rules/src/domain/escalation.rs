//! Which stale fields `preserve_escalation` keeps as the record has them (E5).

use serde_json::Value;

/// A definition's escalation fields. Empty where it names none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Escalation {
    pub(super) keep: Vec<String>,
    pub(super) keep_higher: Vec<KeepHigher>,
}

/// A field that is kept where the record's value ranks above the one sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeepHigher {
    pub(super) field: String,
    /// From the lowest to the highest.
    pub(super) order: Vec<String>,
}

impl Escalation {
    /// Whether a stale edit of `field` leaves the record's value, whatever the stamps say. A value
    /// that is absent, null or not in the field's order ranks below all that are.
    pub fn keeps(&self, field: &str, standing: Option<&Value>, sent: &Value) -> bool {
        self.keep.iter().any(|kept| kept == field)
            || self
                .keep_higher
                .iter()
                .any(|rule| rule.field == field && rule.rank(standing) > rule.rank(Some(sent)))
    }
}

impl KeepHigher {
    fn rank(&self, value: Option<&Value>) -> Option<usize> {
        let name = value?.as_str()?;
        self.order.iter().position(|ranked| ranked == name)
    }
}
