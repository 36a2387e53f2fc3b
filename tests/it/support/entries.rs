//! Entries as clients send them.

use serde_json::{Value, json};
use uuid::Uuid;

/// A new ticket with this subject.
pub(crate) fn ticket(id: Uuid, subject: &str) -> Value {
    edit("ticket", id, 0, &json!({"subject": subject, "status": "NEW"}))
}

/// A new journal entry.
pub(crate) fn journal(id: Uuid, content: &str) -> Value {
    edit("journal", id, 0, &json!({"content": content}))
}

/// An edit of a record from a version.
pub(crate) fn edit(domain: &str, id: Uuid, version: u64, data: &Value) -> Value {
    json!({"domain": domain, "mobile_id": id, "version": version, "data": data})
}

/// A delete of a record from a version.
pub(crate) fn delete(domain: &str, id: Uuid, version: u64) -> Value {
    json!({"domain": domain, "mobile_id": id, "version": version, "operation": "delete", "data": {}})
}

/// That many new tickets, and their ids.
pub(crate) fn tickets(count: usize) -> (Value, Vec<Uuid>) {
    many(count, |id| ticket(id, "fire"))
}

/// That many new journal entries, and their ids.
pub(crate) fn journals(count: usize) -> (Value, Vec<Uuid>) {
    many(count, |id| journal(id, "rain"))
}

fn many(count: usize, make: impl Fn(Uuid) -> Value) -> (Value, Vec<Uuid>) {
    let ids: Vec<_> = (0..count).map(|_| Uuid::now_v7()).collect();
    (ids.iter().map(|id| make(*id)).collect(), ids)
}
