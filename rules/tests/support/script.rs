//! Short ways to say who sends what.

use std::sync::Arc;

use serde_json::{Value, json};
use synchub_protocol::{Data, Entry, EntryFault, ErrorCode, FaultKind, Priority, Timestamp};
use synchub_rules::group::{Author, Belonging, Submission, SubmittedEntry};
use synchub_rules::record::{PartyNo, Scope, Sight};
use uuid::Uuid;

use crate::support::domain;

/// A device `no` of the user `no / 10`, of the unit 900: devices 11 and 12 are the same user's. Its
/// install has its number.
pub fn device(no: i64) -> Author {
    let user = 100 + no / 10;
    Author {
        device: no,
        generation: None,
        install: no,
        user,
        unit: Some(900),
        sight: Sight::Scopes(vec![Scope::Tenant, Scope::Party(900), Scope::Party(user)]),
        priority: 50,
        clock_offset_us: 0,
        trusted: false,
        origin: Arc::default(),
    }
}

/// A publisher, who sees and may do everything.
pub fn publisher() -> Author {
    Author { install: -7, sight: Sight::Everything, trusted: true, ..device(70) }
}

pub fn key(id: u128) -> Uuid {
    Uuid::from_u128(id)
}

/// A map from `json!({ … })`.
pub fn data(value: Value) -> Data {
    match value {
        Value::Object(data) => data,
        other => panic!("{other} is no map"),
    }
}

/// An entry that is being written.
#[derive(Debug, Clone)]
pub struct Sent(pub SubmittedEntry);

fn sent(name: &str, entry: Entry) -> Sent {
    Sent(SubmittedEntry::Entry { entry, domain: domain(name), belonging: None })
}

pub fn create(name: &str, id: u128, fields: Value) -> Sent {
    edit(name, id, 0, fields)
}

/// A whole edit: what equals the base version is no edit.
pub fn edit(name: &str, id: u128, version: u64, fields: Value) -> Sent {
    sent(name, Entry::upsert(name, key(id), version, data(fields)))
}

pub fn delta(name: &str, id: u128, version: u64, fields: Value) -> Sent {
    edit(name, id, version, fields).with(|entry| entry.delta = true)
}

pub fn delete(name: &str, id: u128, version: u64) -> Sent {
    sent(name, Entry::delete(name, key(id), version))
}

/// An entry that could not be read.
pub fn fault(name: Option<&str>, id: u128, code: ErrorCode) -> Sent {
    let fault = EntryFault {
        kind: FaultKind::Invalid,
        message: "broken".to_owned(),
        field: Some("version".to_owned()),
        domain: name.map(str::to_owned),
        mobile_id: Some(key(id)),
        partial: json!({ "mobile_id": key(id), "data": { "a": 1 } }),
    };
    Sent(SubmittedEntry::Fault { fault, code, domain: name.map(domain) })
}

impl Sent {
    pub fn with(mut self, change: impl FnOnce(&mut Entry)) -> Self {
        if let SubmittedEntry::Entry { entry, .. } = &mut self.0 {
            change(entry);
        }
        self
    }

    /// Made at this time by the device's clock.
    pub fn made(self, time_us: i64) -> Self {
        self.with(|entry| entry.client_timestamp = Some(Timestamp(time_us)))
    }

    pub fn priority(self, priority: Priority) -> Self {
        self.with(|entry| entry.priority = Some(priority))
    }

    pub fn corrects(self, number: u64) -> Self {
        self.with(|entry| entry.corrects = Some(number))
    }

    pub fn unit(self, unit: Option<PartyNo>) -> Self {
        self.belongs(|belonging| belonging.unit = Some(unit))
    }

    pub fn owner(self, owner: Option<PartyNo>) -> Self {
        self.belongs(|belonging| belonging.owner = Some(owner))
    }

    fn belongs(mut self, change: impl FnOnce(&mut Belonging)) -> Self {
        if let SubmittedEntry::Entry { belonging, .. } = &mut self.0 {
            change(belonging.get_or_insert_default());
        }
        self
    }
}

/// A batch that is being written.
#[derive(Debug, Clone)]
pub struct Batch {
    author: Author,
    entries: Vec<SubmittedEntry>,
    id: Option<u128>,
    hash: u8,
    first: Option<u64>,
    atomic: bool,
}

pub fn batch(author: &Author, entries: impl IntoIterator<Item = Sent>) -> Batch {
    let entries = entries.into_iter().map(|Sent(entry)| entry).collect();
    Batch { author: author.clone(), entries, id: None, hash: 0, first: None, atomic: false }
}

impl Batch {
    pub fn id(self, id: u128) -> Self {
        Self { id: Some(id), ..self }
    }

    pub fn hash(self, hash: u8) -> Self {
        Self { hash, ..self }
    }

    /// The number of its first entry.
    pub fn from(self, first: u64) -> Self {
        Self { first: Some(first), ..self }
    }

    pub fn atomic(self) -> Self {
        Self { atomic: true, ..self }
    }

    pub fn submission(self, next_id: u128, received_us: i64) -> Submission {
        Submission {
            author: self.author,
            batch_id: Uuid::from_u128(self.id.unwrap_or(next_id << 64)),
            hash: [self.hash; 32],
            first_number: self.first,
            atomic: self.atomic,
            entries: self.entries,
            pushes: Vec::new(),
            heap: 0,
            received_us,
        }
    }
}
