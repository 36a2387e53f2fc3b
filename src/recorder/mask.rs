//! Replaces the contents of records by nonsense of the same shape, so that a recording can leave the house.
//!
//! Equal values become equal nonsense within a recording, by a key that is forgotten with it. Names of fields,
//! ids and times stay; so do values for which the definition admits no other, such as those of an enum.

use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};
use synchub_protocol::{Data, Timestamp};
use synchub_rules::domain::Definition;
use uuid::Uuid;

use crate::entropy::Entropy;

/// The largest integer of the data model.
const SAFE: i64 = (1 << 53) - 1;

/// Masks values with a key.
pub(super) struct Mask([u8; 32]);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// A mask with a key of its own.
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut key = [0; 32];
        entropy.fill(&mut key);
        Self(key)
    }

    /// The same fields with other values.
    pub(super) fn data(&self, definition: &Definition, data: &Data) -> Data {
        let field = |(name, value): (&String, &Value)| {
            let masked = self.value(value);
            let stays =
                definition.workflow_field() == Some(name) || definition.check_value(name, &masked).is_err();
            (name.clone(), if stays { value.clone() } else { masked })
        };
        data.iter().map(field).collect()
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::Null => Value::Null,
            Value::Bool(flag) => Value::Bool(flag ^ (self.0[0] & 1 == 1)),
            Value::Number(number) => Value::Number(self.number(number)),
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => Value::Array(items.iter().map(|item| self.value(item)).collect()),
            Value::Object(map) => Value::Object(self.map(map)),
        }
    }

    fn map(&self, map: &Map<String, Value>) -> Map<String, Value> {
        let inner = |(name, value): (&String, &Value)| {
            (name.clone(), if name == "id" { value.clone() } else { self.value(value) })
        };
        map.iter().map(inner).collect()
    }

    fn text(&self, text: &str) -> String {
        if text.parse::<Timestamp>().is_ok() || text.parse::<Uuid>().is_ok() {
            return text.to_owned();
        }
        let mut noise = self.noise(text);
        text.chars().map(|char| other(char, noise.next().unwrap_or(0))).collect()
    }

    /// A number of as many digits; the sign and the point stay where they are.
    fn number(&self, number: &Number) -> Number {
        let text = number.to_string();
        let mut noise = self.noise(&text);
        let mut is_first = true;
        let digit = |char: char| {
            if !char.is_ascii_digit() {
                return char;
            }
            let noise = noise.next().unwrap_or(0);
            let leads = std::mem::replace(&mut is_first, false) && text.trim_start_matches('-').len() > 1;
            char::from(if leads { b'1' + noise % 9 } else { b'0' + noise % 10 })
        };
        let masked: String = text.chars().map(digit).collect();
        let parsed: Option<Number> = serde_json::from_str(&masked).ok();
        parsed
            .filter(|masked| masked.as_i64().is_none_or(|masked| masked.abs() <= SAFE))
            .unwrap_or(number.clone())
    }

    /// Bytes that this key and this text always give.
    fn noise(&self, text: &str) -> impl Iterator<Item = u8> {
        let seed: [u8; 32] = Sha256::new().chain_update(self.0).chain_update(text).finalize().into();
        (0_u64..).flat_map(move |block| {
            let bytes: [u8; 32] =
                Sha256::new().chain_update(seed).chain_update(block.to_le_bytes()).finalize().into();
            bytes
        })
    }
}

/// A character of the same kind and the same length in UTF-8; what is neither letter nor digit stays.
fn other(char: char, noise: u8) -> char {
    let from = |first: char, count: u32| {
        char::from_u32(u32::from(first) + u32::from(noise) % count).unwrap_or(first)
    };
    match char {
        '0'..='9' => from('0', 10),
        'a'..='z' => from('a', 26),
        'A'..='Z' => from('A', 26),
        char if !char.is_alphanumeric() => char,
        char => match char.len_utf8() {
            2 => from('а', 32),
            3 => from('一', 256),
            _ => from('𠀀', 256),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use synchub_rules::domain::Catalog;

    use super::*;
    use crate::entropy::SeededEntropy;

    fn mask(seed: u64) -> Mask {
        Mask::new(&*SeededEntropy::new(seed))
    }

    #[test]
    fn nonsense_has_the_same_type_and_length_and_is_the_same_for_the_same() {
        for value in [
            json!("Straße 12, Łódź 日本"),
            json!(4711),
            json!(-12.5),
            json!("x@example.com"),
            json!(["a", {"b": "cd"}]),
        ] {
            let masked = mask(1).value(&value);
            assert_ne!(masked, value);
            assert_eq!(masked, mask(1).value(&value));
            assert_eq!(masked.to_string().len(), value.to_string().len(), "{value} became {masked}");
            assert_ne!(masked, mask(2).value(&value), "{value}: the key must matter");
        }
        assert_eq!(mask(1).value(&json!(null)), json!(null));
        assert_ne!(mask(1).value(&json!(true)), mask(1).value(&json!(false)));
    }

    #[test]
    fn ids_and_times_stay() {
        let id = "01980f0e-7c1a-7bbb-8000-00000000002a";
        let value = json!({"id": "note 7", "by": id, "at": "2026-11-21T10:00:00Z", "text": "secret"});
        let masked = mask(1).value(&value);
        assert_eq!((&masked["id"], &masked["by"], &masked["at"]), (&value["id"], &value["by"], &value["at"]));
        assert_ne!(masked["text"], value["text"]);
    }

    #[test]
    fn what_the_definition_does_not_admit_otherwise_stays() {
        let catalog = Catalog::builtin();
        let ticket = catalog.of("acme").find(|domain| domain.name() == "ticket").unwrap();
        let value =
            json!({"status": "NEW", "priority": "LOW", "subject": "The lift is stuck", "other": "secret"});
        let data: Data = serde_json::from_value(value).unwrap();
        let masked = mask(1).data(ticket, &data);
        assert_eq!((&masked["status"], &masked["priority"]), (&data["status"], &data["priority"]));
        assert!(masked["subject"] != data["subject"] && masked["other"] != data["other"], "{masked:?}");
        assert!(ticket.check_create(&masked).is_ok());
    }

    #[test]
    fn numbers_stay_within_the_data_model() {
        for number in [SAFE, -SAFE, 0, 10, 1_000_000] {
            for seed in 0..50 {
                let masked = mask(seed).value(&json!(number)).as_i64().unwrap();
                assert!(masked.abs() <= SAFE, "{number} became {masked}");
                assert!(masked != number || number != 1_000_000, "it stayed");
                assert_eq!(masked.unsigned_abs().to_string().len(), number.unsigned_abs().to_string().len());
            }
        }
    }
}
