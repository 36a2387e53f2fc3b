//! One record change that a device sends, and how a bad one is kept apart from its batch.

mod list;
mod salvage;

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

pub use list::MAX_ENTRIES;
pub(crate) use list::list;

use crate::budget::{Bound, Over};
use crate::loose::{Loose, Notes};
use crate::wire;
use crate::{Data, MAX_SAFE_INTEGER, Priority, Timestamp};

/// What an entry does to its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Creates it or changes fields of it.
    #[default]
    Upsert,
    /// Deletes it.
    Delete,
}

/// One record change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The kind of record.
    pub domain: String,
    /// The record's id, chosen by the device that created it.
    #[serde(with = "wire::id")]
    pub mobile_id: Uuid,
    /// The version that the edit starts from; 0 for a record that the device created.
    pub version: u64,
    /// Upsert or delete.
    #[serde(skip_serializing_if = "is_upsert")]
    pub operation: Operation,
    /// The fields; with `delta` only those that were edited.
    pub data: Data,
    /// Whether every field in `data` was edited.
    #[serde(skip_serializing_if = "wire::is_false")]
    pub delta: bool,
    /// When the edit was made, by the device's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_timestamp: Option<Timestamp>,
    /// A lower priority than the definition gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The number of a refused entry that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrects: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_upsert(operation: &Operation) -> bool {
    *operation == Operation::Upsert
}

impl Entry {
    /// An upsert of a record, with everything optional left out.
    pub fn upsert(domain: impl Into<String>, mobile_id: Uuid, version: u64, data: Data) -> Self {
        Self {
            domain: domain.into(),
            mobile_id,
            version,
            operation: Operation::Upsert,
            data,
            delta: false,
            client_timestamp: None,
            priority: None,
            corrects: None,
        }
    }

    /// A delete of a record.
    pub fn delete(domain: impl Into<String>, mobile_id: Uuid, version: u64) -> Self {
        Self { operation: Operation::Delete, ..Self::upsert(domain, mobile_id, version, Data::new()) }
    }
}

/// What kind of fault an entry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum FaultKind {
    /// It breaks the data model, or a field is missing or of the wrong type.
    Invalid,
    /// It would take too much memory for its size; it was not kept.
    TooLarge,
    /// The batch up to here would; neither this entry nor any after it was kept.
    BatchTooLarge,
}

/// Why an entry cannot be taken, with what could be read of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryFault {
    /// What kind of fault it is.
    pub kind: FaultKind,
    /// What is wrong, as a sentence for the client's author.
    pub message: String,
    /// The field that is wrong, where one can be named.
    pub field: Option<String>,
    /// The domain, where it could be read.
    pub domain: Option<String>,
    /// The record's id, where it could be read.
    pub mobile_id: Option<Uuid>,
    /// The entry as far as it could be decoded, null in place of what could not.
    pub partial: Value,
}

/// An entry as it came: whatever is wrong inside it is this entry's own result.
#[derive(Debug, Clone)]
pub struct RawEntry {
    /// The entry, or what is wrong with it.
    pub entry: Result<Entry, EntryFault>,
    /// How many bytes it took: as sent in JSON, in the shortest form in MessagePack; 0 where it did
    /// not come from a wire.
    pub size: usize,
    /// How many bytes it takes in memory, about; 0 where it did not come from a wire.
    pub heap: usize,
}

impl PartialEq for RawEntry {
    /// The size tells how an entry came, not what it says.
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry
    }
}

impl From<Entry> for RawEntry {
    fn from(entry: Entry) -> Self {
        Self { entry: Ok(entry), size: 0, heap: 0 }
    }
}

impl Serialize for RawEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.entry {
            Ok(entry) => entry.serialize(serializer),
            Err(fault) => fault.partial.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for RawEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bounded(Bound::ENTRY).deserialize(deserializer).map(|(entry, _)| entry)
    }
}

/// Reads an entry within a bound, and its size in the shortest form.
struct Bounded(Bound);

impl<'de> DeserializeSeed<'de> for Bounded {
    type Value = (RawEntry, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let notes = Notes::bounded(self.0);
        if !deserializer.is_human_readable() {
            let fields = deserializer.deserialize_any(EntryVisitor(&notes))?;
            let size = notes.size();
            return Ok((fields.finish(notes, size), size));
        }
        // JSON finds some faults only while it unescapes a string or scales a number, too late to
        // read on: each entry is cut out first, then read alone.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if let Ok(fields) = serde_json::Deserializer::from_str(raw).deserialize_any(EntryVisitor(&notes)) {
            let size = notes.size();
            return Ok((fields.finish(notes, raw.len()), size));
        }
        let notes = Notes::bounded(self.0);
        let fields = match salvage::salvage(raw, &notes) {
            Value::Object(map) => Fields::from(map),
            _ => Fields::default(),
        };
        let size = notes.size();
        Ok((fields.finish(notes, raw.len()), size))
    }
}

/// An entry's fields as they come, before their types are checked.
#[derive(Default)]
struct Fields {
    map: Data,
    data: Option<Value>,
}

impl From<Data> for Fields {
    fn from(mut map: Data) -> Self {
        let data = map.remove("data");
        Self { map, data }
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

impl Fields {
    fn finish(mut self, notes: Notes, size: usize) -> RawEntry {
        if let Some(over) = notes.over() {
            return RawEntry { entry: Err(self.too_large(over)), size, heap: 0 };
        }
        let heap = notes.heap();
        let read = match notes.into_fault() {
            Some(fault) => Err((fault.field().map(str::to_owned), fault.message())),
            None => self.read().map_err(|(field, message)| (Some(field.to_owned()), message)),
        };
        let entry = read.map_err(|(field, message)| self.fault(field, message));
        RawEntry { entry, size, heap }
    }

    /// The fault of an entry that was not kept.
    fn too_large(mut self, over: Over) -> EntryFault {
        self.data = None;
        let (kind, what) = match over {
            Over::Value => (FaultKind::TooLarge, "the entry holds too many small values; send fewer"),
            Over::Frame => (FaultKind::BatchTooLarge, "the batch holds too many small values; split it"),
        };
        EntryFault { kind, ..self.fault(None, what.to_owned()) }
    }

    fn read(&mut self) -> Result<Entry, (&'static str, String)> {
        let operation = match self.text("operation")? {
            None | Some("upsert") => Operation::Upsert,
            Some("delete") => Operation::Delete,
            Some(other) => return Err(("operation", format!("`{other}` is neither upsert nor delete"))),
        };
        let domain = self.text("domain")?.ok_or_else(|| missing("domain"))?.to_owned();
        let mobile_id = self.mobile_id()?;
        let version = self.uint("version")?.ok_or_else(|| missing("version"))?;
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
        Ok(Entry { domain, mobile_id, version, operation, data, delta, client_timestamp, priority, corrects })
    }

    fn text(&self, field: &'static str) -> Result<Option<&str>, (&'static str, String)> {
        match self.map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err((field, format!("{field} is a string"))),
        }
    }

    fn parsed<T: std::str::FromStr>(
        &self,
        field: &'static str,
        what: &str,
    ) -> Result<Option<T>, (&'static str, String)> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| (field, format!("`{text}` is not {what}")))
    }

    fn priority(&self) -> Result<Option<Priority>, (&'static str, String)> {
        let Some(text) = self.text("priority")? else { return Ok(None) };
        let read = Priority::deserialize(StrDeserializer::<serde::de::value::Error>::new(text));
        read.map(Some).map_err(|_| ("priority", format!("`{text}` is not low, normal, high or critical")))
    }

    fn mobile_id(&self) -> Result<Uuid, (&'static str, String)> {
        self.parsed("mobile_id", "a UUID")?.ok_or_else(|| missing("mobile_id"))
    }

    fn uint(&self, field: &'static str) -> Result<Option<u64>, (&'static str, String)> {
        match self.map.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if number <= MAX_SAFE_INTEGER => Ok(Some(number)),
                _ => Err((field, format!("{field} is an integer from 0 to 2^53 - 1"))),
            },
        }
    }

    fn fault(self, field: Option<String>, message: String) -> EntryFault {
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

fn missing(field: &'static str) -> (&'static str, String) {
    (field, format!("{field} is missing"))
}
