//! The strategies (E5): one field, two values, one winner.

use std::cmp::Ordering;

use serde_json::Value;
use synchub_protocol::server::Strategy;

use crate::domain::Escalation;
use crate::record::Stamp;

/// A field that an entry edits and that somebody else wrote since the version that the entry knew.
#[derive(Debug, Clone, Copy)]
pub struct Clash<'a> {
    /// The field's name.
    pub field: &'a str,
    /// What the record holds.
    pub standing: Option<&'a Value>,
    /// The stamp to beat.
    pub standing_stamp: Stamp,
    /// What the entry sends.
    pub sent: &'a Value,
    /// The entry's stamp.
    pub stamp: Stamp,
}

/// Whose value the field has afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Winner {
    /// The entry's.
    Client,
    /// The record's.
    Server,
    /// The record's until a person decides.
    Nobody,
}

impl Winner {
    /// The name that the audit log keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Nobody => "nobody",
        }
    }
}

/// What decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The strategy names the side, whatever the stamps say.
    Strategy,
    /// The higher stamp.
    Time,
    /// The higher device priority.
    Device,
    /// The record's escalation.
    Escalation,
}

impl Reason {
    /// The name that the audit log keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strategy => "strategy",
            Self::Time => "time",
            Self::Device => "device_priority",
            Self::Escalation => "escalation",
        }
    }
}

/// Who won a field, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Who.
    pub winner: Winner,
    /// Why.
    pub reason: Reason,
}

/// Decides one stale field.
pub fn resolve(strategy: Strategy, escalation: &Escalation, clash: &Clash<'_>) -> Verdict {
    let (winner, reason) = match strategy {
        Strategy::ClientWins => (Winner::Client, Reason::Strategy),
        Strategy::ServerWins | Strategy::Unknown => (Winner::Server, Reason::Strategy),
        Strategy::Manual => (Winner::Nobody, Reason::Strategy),
        Strategy::PreserveEscalation if escalation.keeps(clash.field, clash.standing, clash.sent) => {
            (Winner::Server, Reason::Escalation)
        }
        Strategy::MostRecentWins | Strategy::PreserveEscalation => (higher(clash, Stamp::cmp), Reason::Time),
        Strategy::DevicePriority => {
            let equals = clash.stamp.priority == clash.standing_stamp.priority;
            (higher(clash, by_device), if equals { Reason::Time } else { Reason::Device })
        }
    };
    Verdict { winner, reason }
}

/// The order of `device_priority`: the device's priority, between equals the stamp.
pub fn by_device(one: &Stamp, other: &Stamp) -> Ordering {
    one.priority.cmp(&other.priority).then_with(|| one.cmp(other))
}

fn higher(clash: &Clash<'_>, order: impl Fn(&Stamp, &Stamp) -> Ordering) -> Winner {
    if order(&clash.stamp, &clash.standing_stamp) == Ordering::Greater {
        Winner::Client
    } else {
        Winner::Server
    }
}
