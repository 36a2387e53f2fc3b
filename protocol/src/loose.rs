//! Reads a value that may break the data model without failing the frame around it.
//!
//! NaN, infinity, integers out of range, bin, ext, duplicate keys, U+0000 and invalid text are
//! *faults*: the value is read to its end, the fault is noted, and null stands in its place.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};

use crate::MAX_SAFE_INTEGER;
use crate::budget::{self, Bound, Over, Spent};

/// What is said of a value beyond its bound.
pub(crate) const TOO_MUCH: &str = "too many small values; send fewer";

/// The first fault met, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    text: String,
    /// From the inside out: keys of maps, indices of arrays.
    path: Vec<String>,
}

impl Fault {
    /// A sentence that begins with the place.
    pub(crate) fn message(&self) -> String {
        if self.path.is_empty() {
            return self.text.clone();
        }
        let path: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        format!("{}: {}", path.join("."), self.text)
    }

    /// The field of an entry, or the field of its `data`, that the fault lies in.
    pub(crate) fn field(&self) -> Option<&str> {
        match self.path.as_slice() {
            [.., field, data] if data == "data" => Some(field),
            [.., field] => Some(field),
            [] => None,
        }
    }
}

/// What was met on the way through one value: the first fault, the size as MessagePack, and what it takes
/// in memory. Beyond the bound nothing is built any more: null stands for what came there.
#[derive(Debug)]
pub(crate) struct Notes {
    fault: RefCell<Option<Fault>>,
    size: Cell<usize>,
    spent: Spent,
}

impl Default for Notes {
    /// Without a bound, for what comes from a peer that is trusted.
    fn default() -> Self {
        Self::bounded(Bound::NONE)
    }
}

impl Notes {
    pub(crate) fn bounded(bound: Bound) -> Self {
        Self { fault: RefCell::default(), size: Cell::default(), spent: Spent::new(bound) }
    }

    pub(crate) fn bound(&self) -> Bound {
        self.spent.bound()
    }

    /// Which bound was met, if one was.
    pub(crate) fn over(&self) -> Option<Over> {
        self.spent.over()
    }

    /// Fails where the bound that was met is the whole request's.
    fn end_request<E: Error>(&self) -> Result<(), E> {
        if self.bound().ends_request() { Err(E::custom(TOO_MUCH)) } else { Ok(()) }
    }

    /// What the value takes in memory, about.
    pub(crate) fn heap(&self) -> usize {
        self.spent.heap()
    }

    /// Whether `bytes` more may be built.
    pub(crate) fn take(&self, bytes: usize) -> bool {
        self.spent.take(bytes, self.size())
    }

    /// Notes a fault, unless it is not the first; null stands for what is wrong.
    pub(crate) fn fault(&self, text: impl FnOnce() -> String) -> Value {
        let mut first = self.fault.borrow_mut();
        if first.is_none() {
            *first = Some(Fault { text: text(), path: Vec::new() });
        }
        Value::Null
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.fault.borrow().is_none()
    }

    /// Says that the fault lies inside a key or an index.
    pub(crate) fn within(&self, step: impl FnOnce() -> String) {
        if let Some(fault) = self.fault.borrow_mut().as_mut() {
            fault.path.push(step());
        }
    }

    pub(crate) fn into_fault(self) -> Option<Fault> {
        self.fault.into_inner()
    }

    pub(crate) fn size(&self) -> usize {
        self.size.get()
    }

    /// Notes that `bytes` more were read.
    pub(crate) fn weigh(&self, bytes: usize) {
        self.size.set(self.size.get() + bytes);
    }

    fn weigh_text(&self, length: usize) {
        self.weigh(length + text_header(length));
    }
}

/// What stands before a text.
pub(crate) fn text_header(length: usize) -> usize {
    match length {
        n if n < 32 => 1,
        n if n < 1 << 8 => 2,
        n if n < 1 << 16 => 3,
        _ => 5,
    }
}

/// What stands before an array or a map; they have no form with an 8-bit length.
pub(crate) fn container_header(length: usize) -> usize {
    match length {
        n if n < 16 => 1,
        n if n < 1 << 16 => 3,
        _ => 5,
    }
}

/// What an integer takes.
pub(crate) fn unsigned_size(value: u64) -> usize {
    match value {
        n if n < 1 << 7 => 1,
        n if n < 1 << 8 => 2,
        n if n < 1 << 16 => 3,
        n if n < 1 << 32 => 5,
        _ => 9,
    }
}

/// What a negative integer takes.
pub(crate) fn negative_size(value: i64) -> usize {
    match value {
        n if n >= -(1 << 5) => 1,
        n if n >= -(1 << 7) => 2,
        n if n >= -(1 << 15) => 3,
        n if n >= -(1 << 31) => 5,
        _ => 9,
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
        self.0.weigh(unsigned_size(value));
        if value > MAX_SAFE_INTEGER {
            return Ok(self.0.fault(|| format!("the integer {value} is beyond 2^53 - 1")));
        }
        Ok(Value::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.0.weigh(u64::try_from(value).map_or_else(|_| negative_size(value), unsigned_size));
        if value.unsigned_abs() > MAX_SAFE_INTEGER {
            return Ok(self.0.fault(|| format!("the integer {value} is beyond 2^53 - 1")));
        }
        Ok(Value::from(value))
    }

    fn visit_f32<E: Error>(self, value: f32) -> Result<Value, E> {
        let read = self.visit_f64(f64::from(value));
        self.0.size.set(self.0.size.get() - 4);
        read
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
        let built = self.0.take(budget::text(text.len()));
        Ok(if built { Value::String(text.to_owned()) } else { Value::Null })
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Value, E> {
        self.0.weigh(bytes.len());
        Ok(self.0.fault(|| "bytes, or a string that is not UTF-8; send text".to_owned()))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(self.0.fault(|| "an extension type; send text or numbers".to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let sound = self.0.is_sound();
            if self.0.over().is_some() {
                self.0.end_request()?;
                IgnoredAny.visit_seq(access)?;
                return Ok(Value::Null);
            }
            let Some(item) = access.next_element_seed(self)? else { break };
            if sound && !self.0.is_sound() {
                self.0.within(|| items.len().to_string());
            }
            if self.0.take(budget::ITEM) {
                items.push(item);
            }
        }
        self.0.weigh(container_header(items.len()));
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while self.0.over().is_none() && self.field(&mut access, &mut map)? {}
        if self.0.over().is_some() {
            self.0.end_request()?;
            IgnoredAny.visit_map(access)?;
            return Ok(Value::Null);
        }
        self.0.weigh(container_header(map.len()));
        Ok(Value::Object(map))
    }
}

impl Loose<'_> {
    /// Reads a map's next field into it; false at the end.
    fn field<'de, A: MapAccess<'de>>(
        self,
        access: &mut A,
        map: &mut Map<String, Value>,
    ) -> Result<bool, A::Error> {
        let Some(key) = access.next_key_seed(self)? else { return Ok(false) };
        let sound = self.0.is_sound();
        let value = access.next_value_seed(self)?;
        if sound && !self.0.is_sound() {
            self.0.within(|| key.as_str().unwrap_or_default().to_owned());
        }
        match key {
            Value::String(key) => {
                if map.contains_key(&key) {
                    self.0.fault(|| format!("the key `{key}` stands twice"));
                }
                if self.0.take(budget::map_field(map.len())) {
                    map.insert(key, value);
                }
            }
            key => {
                self.0.fault(|| format!("the key {key} is not a string"));
            }
        }
        Ok(true)
    }

    /// Reads a map; of one beyond the bound only the fields that `keep` names, if they are short.
    pub(crate) fn named_map<'de, A: MapAccess<'de>>(
        self,
        mut access: A,
        keep: &[&str],
    ) -> Result<Map<String, Value>, A::Error> {
        let mut map = Map::new();
        while self.0.over().is_none() && self.field(&mut access, &mut map)? {}
        if self.0.over().is_none() {
            self.0.weigh(container_header(map.len()));
            return Ok(map);
        }
        map.retain(|key, _| keep.contains(&key.as_str()));
        loop {
            let notes = Notes::bounded(Bound::NAME);
            let Some(key) = access.next_key_seed(Loose(&notes))? else { return Ok(map) };
            match key.as_str().filter(|key| keep.contains(key)) {
                Some(key) => drop(map.insert(key.to_owned(), access.next_value_seed(Loose(&notes))?)),
                None => drop(access.next_value::<IgnoredAny>()?),
            }
        }
    }
}
