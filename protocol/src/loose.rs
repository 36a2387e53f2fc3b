//! Reads a value that may break the data model without failing the frame around it.
//!
//! NaN, infinity, integers out of range, bin, ext, duplicate keys, U+0000 and invalid text are
//! *faults*: the value is read to its end, the fault is noted, and null stands in its place.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use crate::MAX_SAFE_INTEGER;

/// What was met on the way through one value: the first fault, and the size as MessagePack.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) fault: RefCell<Option<String>>,
    pub(crate) size: Cell<usize>,
}

impl Notes {
    pub(crate) fn fault(&self, message: impl FnOnce() -> String) -> Value {
        let mut first = self.fault.borrow_mut();
        if first.is_none() {
            *first = Some(message());
        }
        Value::Null
    }

    fn weigh(&self, bytes: usize) {
        self.size.set(self.size.get() + bytes);
    }

    fn weigh_text(&self, length: usize) {
        self.weigh(length + header(length, 32));
    }
}

fn header(length: usize, short: usize) -> usize {
    match length {
        n if n < short => 1,
        n if n < 1 << 8 => 2,
        n if n < 1 << 16 => 3,
        _ => 5,
    }
}

/// Reads any value, keeping notes.
#[derive(Clone, Copy)]
pub(crate) struct Loose<'n>(pub(crate) &'n Notes);

impl<'de> DeserializeSeed<'de> for Loose<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Loose<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.0.weigh(1);
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.0.weigh(1);
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.0.weigh(if value < 128 { 1 } else { 9 });
        if value > MAX_SAFE_INTEGER {
            return Ok(self.0.fault(|| format!("the integer {value} is beyond 2^53 - 1")));
        }
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.0.weigh(9);
        if value.unsigned_abs() > MAX_SAFE_INTEGER {
            return Ok(self.0.fault(|| format!("the integer {value} is beyond 2^53 - 1")));
        }
        Ok(Value::from(value))
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "the range and the fraction are checked first"
    )]
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        self.0.weigh(9);
        if value.fract() == 0.0 {
            if value.abs() > MAX_SAFE_INTEGER as f64 {
                return Ok(self.0.fault(|| format!("the integer {value} is beyond 2^53 - 1")));
            }
            let integer = value as i64;
            return Ok(u64::try_from(integer).map_or_else(|_| Value::from(integer), Value::from));
        }
        Ok(Number::from_f64(value)
            .map_or_else(|| self.0.fault(|| "a number is NaN or infinite".to_owned()), Value::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        self.0.weigh_text(text.len());
        if text.contains('\0') {
            return Ok(self.0.fault(|| "a string contains U+0000".to_owned()));
        }
        Ok(Value::String(text.to_owned()))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        self.0.weigh(bytes.len());
        Ok(self.0.fault(|| "bytes, or a string that is not UTF-8; send text".to_owned()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Ok(self.0.fault(|| "an extension type; send text or numbers".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            items.push(item);
        }
        self.0.weigh(header(items.len(), 16));
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key_seed(self)? {
            let value = access.next_value_seed(self)?;
            match key {
                Value::String(key) => {
                    if map.contains_key(&key) {
                        self.0.fault(|| format!("the key `{key}` stands twice"));
                    }
                    map.insert(key, value);
                }
                key => {
                    self.0.fault(|| format!("the key {key} is not a string"));
                }
            }
        }
        self.0.weigh(header(map.len(), 16));
        Ok(Value::Object(map))
    }
}
