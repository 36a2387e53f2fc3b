//! What is asked of a store about pushes that are not changes (P1–P5).

use std::sync::Arc;

use synchub_protocol::Data;
use synchub_protocol::server::{Resolution, Strategy};
use synchub_rules::push::Address;
use synchub_rules::record::{DeviceNo, PartyNo, Record, TenantNo};
use uuid::Uuid;

use super::LogPlace;

/// Asks which pushes a device is owed (P2).
#[derive(Debug, Clone, Copy)]
pub struct OwedQuery {
    /// The tenant.
    pub tenant: TenantNo,
    /// To whom they are addressed.
    pub address: Address,
    /// Only pushes after this place.
    pub after: u64,
    /// Only pushes up to this place.
    pub upto: u64,
    /// Only pushes that end later than this, in microseconds.
    pub now_us: i64,
    /// The most pushes; the newest count.
    pub most: usize,
}

/// The pushes that a device is owed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owed {
    /// The log at the moment of reading.
    pub place: LogPlace,
    /// Their places, rising.
    pub seqs: Vec<u64>,
    /// The last place of what was left out since there were too many.
    pub overflowed: Option<u64>,
    /// Whether some ended before.
    pub expired: bool,
}

/// Which conflicts are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConflictQuery {
    /// These, in any order; those that the tenant does not have are left out.
    Named(Vec<Uuid>),
    /// Those that await this user: of entries that the user's devices sent, each device's in order (P5).
    Awaiting {
        /// The user.
        user: PartyNo,
        /// Only conflicts behind this one; the first page begins behind nothing.
        after: ConflictPlace,
        /// The most.
        most: u32,
    },
}

/// Where a conflict stands among those that await a user: its device, and its number.
pub type ConflictPlace = (DeviceNo, i64);

/// A conflict with its evidence, and the record as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Its id.
    pub id: Uuid,
    /// Where it stands among those that await its user.
    pub place: ConflictPlace,
    /// The domain's name.
    pub domain: String,
    /// The record's `mobile_id`.
    pub key: Uuid,
    /// Whether it awaits a person.
    pub awaits: bool,
    /// The strategy that decided.
    pub strategy: Strategy,
    /// Who won.
    pub resolution: Resolution,
    /// The version that the entry met.
    pub met_version: u64,
    /// When it arose, in microseconds.
    pub at_us: i64,
    /// The fields that the device sent.
    pub client_data: Arc<Data>,
    /// The record, if there still is one.
    pub record: Option<Record>,
}

/// What became of a push on its way to a device, beside what the device's places say (P4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeliveryEvent {
    /// It was handed to the device's socket.
    Delivered,
    /// It waits, since the user had the most of a minute.
    Held,
    /// It waits, since the device saves battery.
    Saved,
    /// It was handed to the device's socket after it had waited.
    Released,
    /// Those that had waited were handed to the device's socket with all that it was owed.
    Owed,
    /// A later trigger says what it said.
    Merged,
    /// There were too many.
    Overflowed,
    /// Its time was over when the device came.
    Expired,
}

impl DeliveryEvent {
    /// The number that the store keeps; none: it is a place of the device, or of what waited.
    pub fn number(self) -> Option<i64> {
        match self {
            Self::Delivered | Self::Owed => None,
            Self::Held => Some(1),
            Self::Released => Some(2),
            Self::Merged => Some(3),
            Self::Overflowed => Some(4),
            Self::Expired => Some(5),
            Self::Saved => Some(6),
        }
    }
}

/// Something that happened to pushes of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryNote {
    /// The device.
    pub device: DeviceNo,
    /// The place of the first push.
    pub seq: u64,
    /// The place of the last one.
    pub upto: u64,
    /// What happened.
    pub event: DeliveryEvent,
    /// When, in microseconds.
    pub at_us: i64,
}

/// Asks for a part of the delivery log, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryQuery {
    /// The tenant's name.
    pub tenant: String,
    /// Only this user's devices.
    pub user: Option<String>,
    /// Only devices with this id.
    pub device: Option<String>,
    /// Only this push.
    pub push_id: Option<Uuid>,
    /// Only pushes after this place.
    pub after: u64,
    /// The most lines.
    pub limit: u32,
    /// The time that expiry is held against, in microseconds.
    pub now_us: i64,
}
