//! Pushes that are not changes (P1): what is asked for, the log row that it becomes, and who is sent it.
//!
//! Plain data. A push is a row of the tenant's log like a change, but it belongs to no record: the two are
//! types of their own, and [`Logged`] is what stands at a place.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use synchub_protocol::server::{Outcome, TriggerReason};
use synchub_protocol::{Data, Priority};
use uuid::Uuid;

use crate::record::{DeviceNo, InstallNo, LogRow, PartyNo, Scope};

/// What a push says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PushBody {
    /// A service's own.
    Message {
        /// What it is about.
        topic: Option<String>,
        /// What it says.
        data: Arc<Data>,
    },
    /// Asks the app to sync.
    SyncTrigger {
        /// The domains; none: all that the app syncs.
        domains: Vec<String>,
        /// Why.
        reason: TriggerReason,
    },
    /// Tells of a conflict. What it shows is read when it is sent, for who may see it then (V3).
    ConflictAlert {
        /// The conflict.
        conflict_id: Uuid,
    },
    /// How a refused entry ended in the review inbox.
    EntrySettled {
        /// The entry's number, where it had one.
        client_seq: Option<u64>,
        /// The entry's record.
        mobile_id: Uuid,
        /// How it ended.
        outcome: Outcome,
        /// The record's version, where it was applied.
        server_version: Option<u64>,
    },
}

impl PushBody {
    /// Whether the limit of pushes a minute counts it (P3).
    pub fn is_limited(&self) -> bool {
        !matches!(self, Self::EntrySettled { .. })
    }
}

/// A push that is to be logged.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmittedPush {
    /// Its name, the same whenever it is sent.
    pub id: Uuid,
    /// To whom it goes: the tenant, a user or a device.
    pub scope: Scope,
    /// How urgent it is; none: normal. That of an alert follows from its conflict (P3).
    pub priority: Option<Priority>,
    /// How long it is kept for who is away, in microseconds.
    pub ttl_us: i64,
    /// What it says.
    pub body: PushBody,
}

/// A push in a tenant's log.
#[derive(Debug, Clone, PartialEq)]
pub struct PushRow {
    /// Its place.
    pub seq: u64,
    /// Its time, in microseconds; rises strictly with places (T1).
    pub time_us: i64,
    /// To whom it goes.
    pub scope: Scope,
    /// Its name, the same whenever it is sent.
    pub id: Uuid,
    /// How urgent it is.
    pub priority: Priority,
    /// Who asked for it.
    pub install: InstallNo,
    /// From when on it is sent to nobody any more, in microseconds.
    pub expires_us: i64,
    /// What it says.
    pub body: PushBody,
}

/// What stands at a place of a tenant's log.
#[derive(Debug, Clone, PartialEq)]
pub enum Logged {
    /// A change of a record.
    Change(Arc<LogRow>),
    /// A push.
    Push(Arc<PushRow>),
}

impl Logged {
    /// Its place.
    pub fn seq(&self) -> u64 {
        match self {
            Self::Change(row) => row.seq,
            Self::Push(row) => row.seq,
        }
    }
}

/// Which pushes somebody is sent, whatever he subscribes to: the tenant's, his own, his device's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The user.
    pub user: PartyNo,
    /// The device; publishers and operators have none.
    pub device: Option<DeviceNo>,
}

impl Address {
    /// The scopes of the pushes.
    pub fn scopes(self) -> impl Iterator<Item = Scope> {
        let own = [Scope::Tenant, Scope::Party(self.user)];
        own.into_iter().chain(self.device.map(Scope::Device))
    }

    /// Whether a push of this scope is among them.
    pub fn covers(self, scope: Scope) -> bool {
        self.scopes().any(|own| own == scope)
    }
}
