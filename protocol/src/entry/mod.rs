//! One record change that a device or a service sends, and how a bad one is kept apart from its batch.

mod fields;
mod list;
mod published;
mod salvage;

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::budget::Bound;
use crate::wire;
use crate::{Data, Priority, Timestamp};
use fields::Fields;
use list::Item;
pub use list::MAX_ENTRIES;
pub(crate) use list::list;
pub use published::{PublishedChange, RawChange};

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
    /// The fields; with `delta` only those that were edited. Shared: what a record becomes is often just this.
    pub data: Arc<Data>,
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
            data: Arc::new(data),
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

impl Item for RawEntry {
    fn read(fields: Fields, size: usize) -> Self {
        let heap = fields.heap;
        Self { entry: fields.finish(Fields::read).map_err(|fault| *fault), size, heap }
    }
}

impl<'de> Deserialize<'de> for RawEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fields, size) = Fields::cut_out(deserializer, Bound::ENTRY)?;
        Ok(Self::read(fields, size))
    }
}
