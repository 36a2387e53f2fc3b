//! A hub with one plain domain for each strategy, people with devices on it, and a look at what the
//! store keeps of entries that did not land whole.

use rusqlite::Connection;
use serde_json::{Value, json};
use synchub::config::Settings;
use synchub_protocol::ErrorCode;
use synchub_protocol::Timestamp;
use uuid::Uuid;

use crate::support::{Hello, Hub, NOW_US, Peer};

/// The strategies, each also the name of a domain that has it.
pub(super) const STRATEGIES: [&str; 5] =
    ["client_wins", "server_wins", "most_recent_wins", "device_priority", "manual"];

/// A hub with a domain for each strategy, an append-only one, and one that refuses unknown fields.
pub(super) async fn hub() -> Hub {
    hub_with(|_| {}).await
}

pub(super) async fn hub_with(change: impl FnOnce(&mut Settings)) -> Hub {
    let mut builder = Hub::with(change);
    for name in STRATEGIES {
        let text = format!("name = \"{name}\"\nstrategy = \"{name}\"\nvisibility = \"tenant\"\n");
        builder = builder.definition(&format!("{name}.toml"), &text);
    }
    let photo = "name = \"photo\"\nstrategy = \"server_wins\"\nvisibility = \"tenant\"\nappend_only = true\n";
    let strict = "name = \"strict\"\nstrategy = \"client_wins\"\nvisibility = \"tenant\"\n\
                  unknown_fields = \"refuse\"\nrequired = [\"n\"]\n[fields.n]\ntype = \"integer\"\n";
    builder.definition("photo.toml", photo).definition("strict.toml", strict).start().await
}

/// A device of this kind, live, without subscriptions.
pub(super) async fn device(hub: &Hub, user: &str, kind: &str) -> Peer {
    let hello = Hello::of(user, "d1").with(json!({"device": {"kind": kind}}));
    Peer::live(hub, &hello).await.0
}

/// Alice and Bob, each with a phone.
pub(super) async fn two(hub: &Hub) -> (Peer, Peer) {
    (device(hub, "alice", "phone").await, device(hub, "bob", "phone").await)
}

/// An entry that edits or creates.
pub(super) fn put(domain: &str, id: Uuid, version: u64, data: &Value) -> Value {
    json!({"domain": domain, "mobile_id": id, "version": version, "data": data})
}

/// The same, of which every field was edited.
pub(super) fn delta(domain: &str, id: Uuid, version: u64, data: &Value) -> Value {
    with(put(domain, id, version, data), &json!({"delta": true}))
}

pub(super) fn delete(domain: &str, id: Uuid, version: u64) -> Value {
    with(put(domain, id, version, &json!({})), &json!({"operation": "delete"}))
}

/// The entry with more keys.
pub(super) fn with(mut entry: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        entry[key] = value.clone();
    }
    entry
}

/// The time that many seconds after the hub's first.
pub(super) fn at(secs: i64) -> Value {
    serde_json::to_value(Timestamp(NOW_US + secs * 1_000_000)).unwrap()
}

/// Sends one entry and takes its result.
pub(super) async fn send(peer: &mut Peer, entry: Value) -> Value {
    peer.sync(json!([entry])).await.remove(0)
}

/// Sends one entry, checks its status and returns its result.
pub(super) async fn expect(peer: &mut Peer, entry: Value, status: &str) -> Value {
    let result = send(peer, entry).await;
    assert_eq!(result["status"], status, "{result}");
    result
}

/// The code of a refusal.
pub(super) fn code(result: &Value) -> &str {
    assert_eq!(result["status"], "error", "{result}");
    result["error"]["code"].as_str().unwrap()
}

/// A record as the store has it: version, data, and whether it is deleted.
pub(super) fn record(hub: &Hub, id: Uuid) -> Option<(u32, Value, bool)> {
    let database = Connection::open(hub.database()).unwrap();
    let sql = "SELECT version, data, deleted FROM record WHERE key = ?1";
    let row = database.query_row(sql, [&id.as_bytes()[..]], |row| {
        Ok((row.get::<_, u32>(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?))
    });
    let (version, data, deleted) = match row {
        Ok(row) => row,
        Err(rusqlite::Error::QueryReturnedNoRows) => return None,
        Err(error) => panic!("{error}"),
    };
    Some((version, rmp_serde::from_slice(&data).unwrap(), deleted))
}

/// What is in the store of a record: its fields.
pub(super) fn data(hub: &Hub, id: Uuid) -> Value {
    record(hub, id).unwrap().1
}

/// The number of rows of a table.
pub(super) fn rows(hub: &Hub, table: &str) -> u32 {
    let database = Connection::open(hub.database()).unwrap();
    database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

/// As the store numbers them, from 1 on.
const RESOLUTIONS: [&str; 4] = ["client", "server", "merged", "manual_required"];

/// A row of the review table.
#[derive(Debug)]
pub(super) struct Review {
    pub(super) id: Uuid,
    /// `audit`, `manual` or `inbox`.
    pub(super) kind: &'static str,
    pub(super) open: bool,
    pub(super) code: Option<Value>,
    pub(super) resolution: Option<&'static str>,
    pub(super) versions: (u32, u32),
    pub(super) entry: Value,
    pub(super) server: Value,
    pub(super) fields: Value,
}

/// What is kept of the entries of a record, in the order in which it came.
pub(super) fn reviews(hub: &Hub, id: Uuid) -> Vec<Review> {
    let database = Connection::open(hub.database()).unwrap();
    let sql = "SELECT id, kind, state, code, resolution, base_version, server_version, entry, server, fields
               FROM review WHERE key = ?1 ORDER BY no";
    let mut statement = database.prepare(sql).unwrap();
    let body = |row: &rusqlite::Row<'_>, index| -> rusqlite::Result<Value> {
        Ok(rmp_serde::from_slice(&row.get::<_, Vec<u8>>(index)?).unwrap())
    };
    let read = |row: &rusqlite::Row<'_>| {
        let code = row.get::<_, Option<_>>(3)?.map(ErrorCode::from_number);
        Ok(Review {
            id: Uuid::from_slice(&row.get::<_, Vec<u8>>(0)?).unwrap(),
            kind: ["audit", "manual", "inbox"][usize::from(row.get::<_, u8>(1)?) - 1],
            open: row.get::<_, i64>(2)? == 1,
            code: code.map(|code| serde_json::to_value(code).unwrap()),
            resolution: row.get::<_, Option<u8>>(4)?.map(|number| RESOLUTIONS[usize::from(number) - 1]),
            versions: (row.get(5)?, row.get(6)?),
            entry: body(row, 7)?,
            server: body(row, 8)?,
            fields: body(row, 9)?,
        })
    };
    let found = statement.query_map([&id.as_bytes()[..]], read).unwrap();
    found.map(Result::unwrap).collect()
}
