//! An entry's fields as they come: read to their end first, their types checked after.
//!
//! What is wrong inside an entry never fails the frame around it; the first fault is kept with what
//! could be read. Nothing here knows what an entry does.

use std::fmt;
use std::sync::Arc;

use serde::de::value::StrDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Entry, EntryFault, FaultKind, Operation, salvage};
use crate::budget::{Bound, Over};
use crate::loose::{Fault, Loose, Notes};
use crate::wire;
use crate::{Data, MAX_SAFE_INTEGER, Priority};

/// An entry's fields as they come, before their types are checked.
#[derive(Default)]
pub(super) struct Fields {
    map: Data,
    data: Option<Value>,
    fault: Option<Fault>,
    /// The bound that was met; then only what names the entry was kept.
    pub(super) over: Option<Over>,
    /// What it takes in memory, about.
    pub(super) heap: usize,
    /// Its size in the shortest form.
    pub(super) packed: usize,
}

impl From<Data> for Fields {
    fn from(mut map: Data) -> Self {
        let data = map.remove("data");
        Self { map, data, ..Self::default() }
    }
}

struct EntryVisitor<'n>(&'n Notes);

impl<'de> Visitor<'de> for EntryVisitor<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entry")
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Fields, A::Error> {
        Loose(self.0).named_map(access, &["domain", "mobile_id"]).map(Fields::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Fields, A::Error> {
        IgnoredAny.visit_seq(access)?;
        Ok(self.no_map())
    }

    fn visit_unit<E>(self) -> Result<Fields, E> {
        Ok(self.no_map())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Fields, E> {
        Ok(self.no_map())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Fields, E> {
        Ok(self.no_map())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Fields, E> {
        Ok(self.no_map())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Fields, E> {
        Ok(self.no_map())
    }

    fn visit_str<E>(self, _: &str) -> Result<Fields, E> {
        Ok(self.no_map())
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Fields, E> {
        Ok(self.no_map())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        IgnoredAny::deserialize(deserializer)?;
        Ok(self.no_map())
    }
}

impl EntryVisitor<'_> {
    fn no_map(&self) -> Fields {
        self.0.fault(|| "an entry is a map".to_owned());
        Fields::default()
    }
}

/// The field that is wrong, and what would be right.
pub(super) type Wrong = (&'static str, String);

impl Fields {
    /// Reads an entry to its end, whatever is wrong inside it, with its size as [`super::RawEntry`] says.
    pub(super) fn cut_out<'de, D: Deserializer<'de>>(
        deserializer: D,
        bound: Bound,
    ) -> Result<(Self, usize), D::Error> {
        let notes = Notes::bounded(bound);
        if !deserializer.is_human_readable() {
            let fields: Self = deserializer.deserialize_any(EntryVisitor(&notes))?;
            let size = notes.size();
            return Ok((fields.noting(notes), size));
        }
        // JSON finds some faults only while it unescapes a string or scales a number, too late to
        // read on: each entry is cut out first, then read alone.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if let Ok(fields) = serde_json::Deserializer::from_str(raw).deserialize_any(EntryVisitor(&notes)) {
            return Ok((fields.noting(notes), raw.len()));
        }
        let notes = Notes::bounded(bound);
        let fields = match salvage::salvage(raw, &notes) {
            Value::Object(map) => Self::from(map),
            _ => Self::default(),
        };
        Ok((fields.noting(notes), raw.len()))
    }

    fn noting(mut self, notes: Notes) -> Self {
        self.over = notes.over();
        self.heap = if self.over.is_none() { notes.heap() } else { 0 };
        self.packed = notes.size();
        self.fault = notes.into_fault();
        self
    }

    /// What `read` makes of sound fields, or what is wrong with them.
    pub(super) fn finish<T>(
        mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Wrong>,
    ) -> Result<T, Box<EntryFault>> {
        if let Some(over) = self.over {
            return Err(Box::new(self.too_large(over)));
        }
        let read = match self.fault.take() {
            Some(fault) => Err((fault.field().map(str::to_owned), fault.message())),
            None => read(&mut self).map_err(|(field, message)| (Some(field.to_owned()), message)),
        };
        read.map_err(|(field, message)| Box::new(self.into_fault(field, message)))
    }

    /// The fault of an entry that was not kept.
    fn too_large(mut self, over: Over) -> EntryFault {
        self.data = None;
        let (kind, what) = match over {
            Over::Value => (FaultKind::TooLarge, "the entry holds too many small values; send fewer"),
            Over::Frame => (FaultKind::BatchTooLarge, "the batch holds too many small values; split it"),
        };
        EntryFault { kind, ..self.into_fault(None, what.to_owned()) }
    }

    /// The fields of a device's entry.
    pub(super) fn read(&mut self) -> Result<Entry, Wrong> {
        let version = self.uint("version")?;
        let entry = self.read_without_version()?;
        Ok(Entry { version: version.ok_or_else(|| missing("version"))?, ..entry })
    }

    /// The same with version 0, whatever `version` is.
    pub(super) fn read_without_version(&mut self) -> Result<Entry, Wrong> {
        let operation = match self.text("operation")? {
            None | Some("upsert") => Operation::Upsert,
            Some("delete") => Operation::Delete,
            Some(other) => return Err(("operation", format!("`{other}` is neither upsert nor delete"))),
        };
        let domain = self.text("domain")?.ok_or_else(|| missing("domain"))?.to_owned();
        let mobile_id = self.mobile_id()?;
        let delta = match self.map.get("delta") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(delta)) => *delta,
            Some(_) => return Err(("delta", "delta is true or false".to_owned())),
        };
        let client_timestamp = self.parsed("client_timestamp", "an RFC 3339 time")?;
        let priority = self.priority()?;
        let corrects = self.uint("corrects")?;
        let data = match self.data.take() {
            Some(Value::Object(data)) => data,
            None | Some(Value::Null) if operation == Operation::Delete => Data::new(),
            None | Some(Value::Null) => return Err(missing("data")),
            other => {
                self.data = other;
                return Err(("data", "data is a map of fields".to_owned()));
            }
        };
        Ok(Entry {
            domain,
            mobile_id,
            version: 0,
            operation,
            data: Arc::new(data),
            delta,
            client_timestamp,
            priority,
            corrects,
        })
    }

    pub(super) fn text(&self, field: &'static str) -> Result<Option<&str>, Wrong> {
        match self.map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err((field, format!("{field} is a string"))),
        }
    }

    fn parsed<T: std::str::FromStr>(&self, field: &'static str, what: &str) -> Result<Option<T>, Wrong> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| (field, format!("`{text}` is not {what}")))
    }

    fn priority(&self) -> Result<Option<Priority>, Wrong> {
        let Some(text) = self.text("priority")? else { return Ok(None) };
        let read = Priority::deserialize(StrDeserializer::<serde::de::value::Error>::new(text));
        read.map(Some).map_err(|_| ("priority", format!("`{text}` is not low, normal, high or critical")))
    }

    fn mobile_id(&self) -> Result<Uuid, Wrong> {
        self.parsed("mobile_id", "a UUID")?.ok_or_else(|| missing("mobile_id"))
    }

    pub(super) fn uint(&self, field: &'static str) -> Result<Option<u64>, Wrong> {
        match self.map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if number <= MAX_SAFE_INTEGER => Ok(Some(number)),
                _ => Err((field, format!("{field} is an integer from 0 to 2^53 - 1"))),
            },
        }
    }

    fn into_fault(self, field: Option<String>, message: String) -> EntryFault {
        let domain = self.text("domain").ok().flatten().map(str::to_owned);
        let mobile_id = self.mobile_id().ok();
        let mut partial = self.map;
        if let Some(data) = self.data {
            partial.insert("data".to_owned(), data);
        }
        EntryFault {
            kind: FaultKind::Invalid,
            message: wire::shorten(message),
            field: field.map(wire::shorten),
            domain,
            mobile_id,
            partial: Value::Object(partial),
        }
    }
}

fn missing(field: &'static str) -> Wrong {
    (field, format!("{field} is missing"))
}
