//! The wire contract of synchub, shared by the hub and every Rust client.
//!
//! One WebSocket message is one frame: a map with a string `type`. [`codec`] turns bytes into
//! [`ClientFrame`] or [`ServerFrame`] and back, in MessagePack or JSON; [`entry`] reads the one part
//! of a frame whose faults must not sink the frame; [`close`] and [`error`] name every way in which
//! a request or a socket ends; [`digest`] adds up what two sides compare. This crate does no I/O and
//! knows neither sockets nor stores.

mod answers;
mod budget;
pub mod client;
pub mod close;
pub mod codec;
pub mod digest;
pub mod entry;
pub mod error;
pub mod gzip;
mod loose;
pub mod plain;
mod pushes;
mod requests;
mod result;
pub mod server;
pub mod time;
mod wire;

pub use client::ClientFrame;
pub use close::CloseReason;
pub use codec::{DecodeError, Encoding};
pub use digest::Digest;
pub use entry::{Entry, EntryFault, FaultKind, Operation, RawEntry};
pub use error::ErrorCode;
pub use server::ServerFrame;
pub use time::Timestamp;

/// The fields of a record, as decoded: JSON's data model, keys in order.
pub type Data = serde_json::Map<String, serde_json::Value>;

/// The largest integer that every client can hold exactly (2^53 − 1).
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The feature of a client that takes changes as the fields that changed.
pub const DELTA: &str = "delta";

/// How urgent a change or a push is.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// May wait for a better moment.
    Low,
    /// The usual.
    #[default]
    Normal,
    /// Goes through battery saver.
    High,
    /// Goes first and passes every limit on pushes.
    Critical,
}

/// What a device is; its default priority between two devices of one user hangs on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A workstation.
    Desktop,
    /// A portable computer.
    Laptop,
    /// A tablet.
    Tablet,
    /// A phone.
    Phone,
}

impl DeviceKind {
    /// The priority that a device of this kind has unless configured otherwise.
    pub fn default_priority(self) -> i64 {
        match self {
            Self::Desktop => 100,
            Self::Laptop => 80,
            Self::Tablet => 60,
            Self::Phone => 40,
        }
    }
}
