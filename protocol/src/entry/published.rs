//! One record change that a service publishes: an entry that may leave its version out and may say
//! what only the hub decides for a device.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::fields::{Fields, Wrong};
use super::list::Item;
use super::{Entry, EntryFault, Operation, is_upsert};
use crate::budget::Bound;
use crate::wire;
use crate::{Data, Priority, Timestamp};

/// One record change of a `publish`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PublishedChange {
    /// The kind of record.
    pub domain: String,
    /// The record's id.
    #[serde(with = "wire::id")]
    pub mobile_id: Uuid,
    /// The version that the change starts from; without it the record as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Upsert or delete.
    #[serde(skip_serializing_if = "is_upsert")]
    pub operation: Operation,
    /// The fields; with `delta` only those that were edited.
    pub data: Arc<Data>,
    /// Whether every field in `data` was edited.
    #[serde(skip_serializing_if = "wire::is_false")]
    pub delta: bool,
    /// When the change was made, by the service's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_timestamp: Option<Timestamp>,
    /// Another priority than the definition gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The number of a refused entry that this one replaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrects: Option<u64>,
    /// The unit that the record belongs to from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The user that the record belongs to from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The service's own name for the change, returned nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl PublishedChange {
    fn read(fields: &mut Fields) -> Result<Self, Wrong> {
        let version = fields.uint("version")?;
        let own = |field| Ok::<_, Wrong>(fields.text(field)?.map(str::to_owned));
        let (unit, owner, key) = (own("unit")?, own("owner")?, own("key")?);
        let entry = fields.read_without_version()?;
        let Entry { domain, mobile_id, operation, data, delta, client_timestamp, priority, corrects, .. } =
            entry;
        Ok(Self {
            domain,
            mobile_id,
            version,
            operation,
            data,
            delta,
            client_timestamp,
            priority,
            corrects,
            unit,
            owner,
            key,
        })
    }
}

/// A published change as it came: whatever is wrong inside it is this change's own result.
#[derive(Debug, Clone)]
pub struct RawChange {
    /// The change, or what is wrong with it.
    pub change: Result<PublishedChange, EntryFault>,
    /// How many bytes it took, as in [`super::RawEntry`].
    pub size: usize,
}

impl PartialEq for RawChange {
    /// The size tells how a change came, not what it says.
    fn eq(&self, other: &Self) -> bool {
        self.change == other.change
    }
}

impl From<PublishedChange> for RawChange {
    fn from(change: PublishedChange) -> Self {
        Self { change: Ok(change), size: 0 }
    }
}

impl Serialize for RawChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.change {
            Ok(change) => change.serialize(serializer),
            Err(fault) => fault.partial.serialize(serializer),
        }
    }
}

impl Item for RawChange {
    fn read(fields: Fields, size: usize) -> Self {
        Self { change: fields.finish(PublishedChange::read).map_err(|fault| *fault), size }
    }
}

impl<'de> Deserialize<'de> for RawChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (fields, size) = Fields::cut_out(deserializer, Bound::ENTRY)?;
        Ok(Self::read(fields, size))
    }
}
