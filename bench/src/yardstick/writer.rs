//! The bare loop: the hub's statements in groups of the hub's size, for the same work, on one thread.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bare_store::{BareStore, Home, PRAGMAS, Prepared, PreparedBatch, Writer};
use crate::frames;
use crate::process;
use crate::token;
use crate::write::work::{self, Batch, DOMAIN, Item, Size};

/// What the loop took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Took {
    /// Entries that were written.
    pub(crate) entries: usize,
    /// Time that passed, in seconds.
    pub(crate) seconds: f64,
    /// Processor time, in seconds.
    pub(crate) cpu_seconds: f64,
}

/// Writes the whole work into a copy of the hub's store, and says what it took as JSON.
pub(crate) fn run(database: &Path, size: Size, group: usize) -> Result<Took> {
    let connection = Connection::open(database)?;
    connection.execute_batch(PRAGMAS)?;
    let home = home(&connection)?;
    let prepared = prepare(&connection, size)?;
    let entries = prepared.iter().map(|batch| batch.entries.len()).sum();
    let mut store = BareStore::new(connection, home)?;
    let (own, begin) = (std::process::id(), Instant::now());
    let before = process::cpu_time(own)?;
    for group in prepared.chunks(group.max(1)) {
        store.commit(group)?;
    }
    let cpu_seconds = process::cpu_time(own)?.saturating_sub(before).as_secs_f64();
    Ok(Took { entries, seconds: begin.elapsed().as_secs_f64(), cpu_seconds })
}

fn home(connection: &Connection) -> Result<Home> {
    let one = |sql: &str, name: &str| connection.query_row(sql, [name], |row| row.get::<_, i64>(0));
    let tenant = one("SELECT no FROM tenant WHERE name = ?1", token::TENANT)?;
    let domain = one("SELECT no FROM domain WHERE name = ?1", DOMAIN)?;
    let unit = one("SELECT no FROM party WHERE kind = 1 AND name = ?1", token::UNIT)?;
    Ok(Home { tenant, domain, unit })
}

fn prepare(connection: &Connection, size: Size) -> Result<Vec<PreparedBatch>> {
    let writers = (0..size.devices).map(|device| writer(connection, device)).collect::<Result<Vec<_>>>()?;
    work::in_turns(size).iter().map(|(device, batch)| prepare_batch(writers[*device], batch)).collect()
}

fn writer(connection: &Connection, device: usize) -> Result<Writer> {
    let sql = "SELECT device.no, device.user, install.no FROM party
                 JOIN device ON device.user = party.no JOIN install ON install.device = device.no
               WHERE party.kind = 2 AND party.name = ?1 AND install.install_id = ?2";
    let (user, install) = (work::user(device), work::install(device));
    let read =
        |row: &rusqlite::Row<'_>| Ok(Writer { device: row.get(0)?, user: row.get(1)?, install: row.get(2)? });
    connection
        .query_row(sql, rusqlite::params![user, &install.as_bytes()[..]], read)
        .with_context(|| format!("the store does not know {user}"))
}

fn prepare_batch(writer: Writer, batch: &Batch) -> Result<PreparedBatch> {
    let statuses = batch.items.iter().map(|item| {
        let status = if item.base == 0 { "created" } else { "updated" };
        json!([status, item.base + 1, false, null, null])
    });
    let answer = frames::encode(&statuses.collect::<Vec<_>>());
    let numbered = (i64::try_from(batch.first)?..).zip(&batch.items);
    let entries = numbered.map(|(number, item)| prepare_entry(writer, number, item));
    let entries = entries.collect::<Result<Vec<_>>>()?;
    ensure!(!entries.is_empty(), "a batch has entries");
    Ok(PreparedBatch { writer, id: batch.id, first: i64::try_from(batch.first)?, entries, answer })
}

/// The bodies as the hub leaves them: the fields; who wrote them; of a change the three values before.
fn prepare_entry(writer: Writer, number: i64, item: &Item) -> Result<Prepared> {
    const TIME_US: i64 = 1_790_000_000_000_000;
    let base = i64::try_from(item.base)?;
    let fields = ["assignee", "group", "reassignments"];
    let created = json!([1, TIME_US, 40, writer.install, number, []]);
    let mut owners = vec![created];
    let mut old = serde_json::Map::new();
    if base > 0 {
        owners.push(json!([base + 1, TIME_US, 40, writer.install, number, fields]));
        old = fields.iter().map(|name| ((*name).to_owned(), item.data[*name].clone())).collect();
    }
    Ok(Prepared {
        key: item.key,
        base,
        data: frames::encode(&item.data),
        writes: frames::encode(&owners),
        old: frames::encode(&Value::Object(old)),
    })
}
