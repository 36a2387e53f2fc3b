//! One record change that a device sends, and how a bad one is kept apart from its batch.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

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

/// Why an entry cannot be taken, with what could be read of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntryFault {
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
}

impl PartialEq for RawEntry {
    /// The size tells how an entry came, not what it says.
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry
    }
}

impl From<Entry> for RawEntry {
    fn from(entry: Entry) -> Self {
        Self { entry: Ok(entry), size: 0 }
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
        let notes = Notes::default();
        if !deserializer.is_human_readable() {
            let fields = deserializer.deserialize_any(EntryVisitor(&notes))?;
            let size = notes.size();
            return Ok(fields.finish(notes, size));
        }
        // JSON finds some faults only while it unescapes a string or scales a number, too late to
        // read on: each entry is cut out first, then read alone.
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        if let Ok(fields) = serde_json::Deserializer::from_str(raw).deserialize_any(EntryVisitor(&notes)) {
            return Ok(fields.finish(notes, raw.len()));
        }
        let notes = Notes::default();
        let fields = match salvage(raw, SALVAGED_LEVELS, &notes) {
            Value::Object(map) => Fields::from(map),
            _ => Fields::default(),
        };
        Ok(fields.finish(notes, raw.len()))
    }
}

/// The entry's own fields and those of its `data`.
const SALVAGED_LEVELS: usize = 2;

/// Reads what can be read of JSON text that cannot be decoded as a whole.
fn salvage(raw: &str, levels: usize, notes: &Notes) -> Value {
    let attempt = Notes::default();
    let error = match serde_json::Deserializer::from_str(raw).deserialize_any(Loose(&attempt)) {
        Ok(value) => {
            if let Some(fault) = attempt.into_fault() {
                notes.fault(|| fault.message());
            }
            return value;
        }
        Err(error) => error,
    };
    let parts = (levels > 0).then(|| serde_json::from_str::<BTreeMap<String, &RawValue>>(raw));
    let Some(Ok(parts)) = parts else {
        return notes.fault(|| format!("cannot be decoded: {error}"));
    };
    let mut map = Data::new();
    for (key, part) in parts {
        let sound = notes.is_sound();
        let value = salvage(part.get(), levels - 1, notes);
        if sound && !notes.is_sound() {
            notes.within(|| key.clone());
        }
        map.insert(key, value);
    }
    Value::Object(map)
}

/// The most entries of one frame that are kept; a batch limit lies at or below it.
pub const MAX_ENTRIES: usize = 10_000;

/// Reads a batch. What is kept is bounded, since an entry of one byte takes hundreds once decoded.
pub(crate) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RawEntry>, D::Error> {
    deserializer.deserialize_seq(ListVisitor)
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = Vec<RawEntry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while entries.len() <= MAX_ENTRIES {
            let Some(entry) = access.next_element()? else { return Ok(entries) };
            entries.push(entry);
        }
        while access.next_element::<IgnoredAny>()?.is_some() {}
        Ok(entries)
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
        match Loose(self.0).visit_map(access)? {
            Value::Object(map) => Ok(Fields::from(map)),
            _ => Ok(Fields::default()),
        }
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
        let read = match notes.into_fault() {
            Some(fault) => Err((fault.field().map(str::to_owned), fault.message())),
            None => self.read().map_err(|(field, message)| (Some(field.to_owned()), message)),
        };
        let entry = read.map_err(|(field, message)| self.fault(field, message));
        RawEntry { entry, size }
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
