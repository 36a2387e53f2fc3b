//! A storage in one `SQLite` file (WAL), which survives the app being killed at any moment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use synchub_protocol::{Data, Encoding, Entry, Operation, Priority, Timestamp};
use uuid::Uuid;

use crate::storage::{
    Accepted, CopyRecord, Domain, Numbering, OutboxEntry, Shows, Storage, StorageError, Stored, StoredChange,
};

/// The layout of the file, kept in its `user_version`.
const LAYOUT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) WITHOUT ROWID, STRICT;
    CREATE TABLE records (
        domain TEXT NOT NULL, mobile_id BLOB NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (domain, mobile_id)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE running (domain TEXT PRIMARY KEY) WITHOUT ROWID, STRICT;
    CREATE TABLE came (
        domain TEXT NOT NULL, mobile_id BLOB NOT NULL, PRIMARY KEY (domain, mobile_id)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE outbox (local_id INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
";

/// Keeps everything in one `SQLite` file. One client at a time may use it.
#[derive(Debug)]
pub struct SqliteStorage {
    connection: Connection,
}

impl SqliteStorage {
    /// Opens the file, or makes it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction()?;
        let layout: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match layout {
            0 => {
                transaction.execute_batch(TABLES)?;
                transaction.pragma_update(None, "user_version", LAYOUT)?;
            }
            LAYOUT => {}
            found => return Err(StorageError::TooNew { found, known: LAYOUT }),
        }
        transaction.commit()?;
        Ok(Self { connection })
    }

    fn meta<T: rusqlite::types::FromSql>(&self, name: &str) -> Result<Option<T>, StorageError> {
        let mut statement = self.connection.prepare("SELECT value FROM meta WHERE name = ?1")?;
        Ok(statement.query_row([name], |row| row.get::<_, Option<T>>(0)).optional()?.flatten())
    }

    fn load_entries(&self) -> Result<BTreeMap<u64, OutboxEntry>, StorageError> {
        let mut statement = self.connection.prepare("SELECT local_id, body FROM outbox")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        rows.map(|row| {
            let (local_id, body) = row?;
            let local_id = local_id.cast_unsigned();
            Ok((local_id, decode::<EntryBody>("outbox entry", &body)?.into_entry(local_id)))
        })
        .collect()
    }
}

impl Storage for SqliteStorage {
    fn load(&mut self) -> Result<Stored, StorageError> {
        let mut stored = Stored {
            cursor: self.meta("cursor")?,
            position: self.meta::<i64>("position")?.unwrap_or(0).cast_unsigned(),
            entries: self.load_entries()?,
            attempt: self.meta::<i64>("attempt")?.unwrap_or(0).cast_unsigned(),
            ..Stored::default()
        };
        if let (Some(install), Some(given)) = (self.meta::<[u8; 16]>("install")?, self.meta::<i64>("given")?)
        {
            stored.numbering =
                Some(Numbering { install: Uuid::from_bytes(install), given: given.cast_unsigned() });
        }
        for change in self.load_copy()? {
            stored.apply(change);
        }
        Ok(stored)
    }

    fn apply(&mut self, changes: &[StoredChange]) -> Result<(), StorageError> {
        let transaction = self.connection.transaction()?;
        for change in changes {
            write(&transaction, change)?;
        }
        Ok(transaction.commit()?)
    }
}

impl SqliteStorage {
    fn load_copy(&self) -> Result<Vec<StoredChange>, StorageError> {
        let mut changes = Vec::new();
        let mut statement = self.connection.prepare("SELECT domain, mobile_id, body FROM records")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body: RecordBody =
                decode("record", row.get_ref(2)?.as_blob().map_err(|error| wrong_type(&error))?)?;
            let domain = Domain::from(row.get::<_, String>(0)?);
            let record = Some(body.into_record());
            changes.push(StoredChange::Record { domain, mobile_id: Uuid::from_bytes(row.get(1)?), record });
        }
        let mut statement = self.connection.prepare("SELECT domain FROM running")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            changes.push(StoredChange::SnapshotBegun(Domain::from(row.get::<_, String>(0)?)));
        }
        let mut statement = self.connection.prepare("SELECT domain, mobile_id FROM came")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            changes.push(StoredChange::Came(
                Domain::from(row.get::<_, String>(0)?),
                Uuid::from_bytes(row.get(1)?),
            ));
        }
        Ok(changes)
    }
}

fn wrong_type(error: &rusqlite::types::FromSqlError) -> StorageError {
    StorageError::Unreadable { what: "record", reason: error.to_string() }
}

fn write(transaction: &Transaction<'_>, change: &StoredChange) -> Result<(), StorageError> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> Result<(), StorageError> {
        transaction.prepare_cached(sql)?.execute(values)?;
        Ok(())
    };
    let set_meta = |name: &str, value: &dyn rusqlite::ToSql| {
        run("INSERT OR REPLACE INTO meta (name, value) VALUES (?1, ?2)", &[&name, value])
    };
    match change {
        StoredChange::Cursor(cursor) => set_meta("cursor", cursor),
        StoredChange::Position(seq) => set_meta("position", &seq.cast_signed()),
        StoredChange::Attempt(attempt) => set_meta("attempt", &attempt.cast_signed()),
        StoredChange::Numbering(numbering) => {
            set_meta("install", numbering.install.as_bytes())?;
            set_meta("given", &numbering.given.cast_signed())
        }
        StoredChange::Record { domain, mobile_id, record: Some(record) } => run(
            "INSERT OR REPLACE INTO records (domain, mobile_id, body) VALUES (?1, ?2, ?3)",
            &[&domain.as_ref(), mobile_id.as_bytes(), &encode(&RecordBody::from(record))],
        ),
        StoredChange::Record { domain, mobile_id, record: None } => run(
            "DELETE FROM records WHERE domain = ?1 AND mobile_id = ?2",
            &[&domain.as_ref(), mobile_id.as_bytes()],
        ),
        StoredChange::DomainDropped(domain) => {
            run("DELETE FROM records WHERE domain = ?1", params![domain.as_ref()])?;
            end_snapshot(transaction, domain)
        }
        StoredChange::SnapshotBegun(domain) => {
            end_snapshot(transaction, domain)?;
            run("INSERT INTO running (domain) VALUES (?1)", params![domain.as_ref()])
        }
        StoredChange::Came(domain, mobile_id) => {
            run("INSERT OR IGNORE INTO running (domain) VALUES (?1)", params![domain.as_ref()])?;
            run(
                "INSERT OR IGNORE INTO came (domain, mobile_id) VALUES (?1, ?2)",
                &[&domain.as_ref(), mobile_id.as_bytes()],
            )
        }
        StoredChange::SnapshotEnded(domain) => end_snapshot(transaction, domain),
        StoredChange::Entry(entry) => run(
            "INSERT OR REPLACE INTO outbox (local_id, body) VALUES (?1, ?2)",
            &[&entry.local_id.cast_signed(), &encode(&EntryBody::from(entry))],
        ),
        StoredChange::EntryDropped(local_id) => {
            run("DELETE FROM outbox WHERE local_id = ?1", params![local_id.cast_signed()])
        }
    }
}

fn end_snapshot(transaction: &Transaction<'_>, domain: &Domain) -> Result<(), StorageError> {
    transaction.prepare_cached("DELETE FROM came WHERE domain = ?1")?.execute([domain.as_ref()])?;
    transaction.prepare_cached("DELETE FROM running WHERE domain = ?1")?.execute([domain.as_ref()])?;
    Ok(())
}

fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    Encoding::MessagePack.encode(body).to_vec()
}

fn decode<T: DeserializeOwned>(what: &'static str, body: &[u8]) -> Result<T, StorageError> {
    rmp_serde::from_slice(body).map_err(|error| StorageError::Unreadable { what, reason: error.to_string() })
}

#[derive(Serialize, Deserialize)]
struct RecordBody {
    version: u64,
    data: Arc<Data>,
    priority: Priority,
    time: i64,
}

impl From<&CopyRecord> for RecordBody {
    fn from(record: &CopyRecord) -> Self {
        let CopyRecord { version, data, priority, server_timestamp } = record;
        Self { version: *version, data: Arc::clone(data), priority: *priority, time: server_timestamp.0 }
    }
}

impl RecordBody {
    fn into_record(self) -> CopyRecord {
        let Self { version, data, priority, time } = self;
        CopyRecord { version, data, priority, server_timestamp: Timestamp(time) }
    }
}

#[derive(Serialize, Deserialize)]
struct EntryBody {
    install: Uuid,
    number: u64,
    domain: String,
    mobile_id: Uuid,
    version: u64,
    operation: Operation,
    data: Arc<Data>,
    delta: bool,
    time: Option<i64>,
    priority: Option<Priority>,
    corrects: Option<u64>,
    answer: Option<AnswerBody>,
}

#[derive(Serialize, Deserialize)]
struct AnswerBody {
    version: Option<u64>,
    seq: u64,
    at: i64,
    shows: ShowsBody,
}

#[derive(Serialize, Deserialize)]
enum ShowsBody {
    Edit,
    Record(Arc<Data>),
    Nothing,
}

impl From<&OutboxEntry> for EntryBody {
    fn from(kept: &OutboxEntry) -> Self {
        let entry = Entry::clone(&kept.entry);
        Self {
            install: kept.install,
            number: kept.number,
            domain: entry.domain,
            mobile_id: entry.mobile_id,
            version: entry.version,
            operation: entry.operation,
            data: entry.data,
            delta: entry.delta,
            time: entry.client_timestamp.map(|time| time.0),
            priority: entry.priority,
            corrects: entry.corrects,
            answer: kept.answer.as_ref().map(|answer| AnswerBody {
                version: answer.version,
                seq: answer.seq,
                at: answer.at.0,
                shows: match &answer.shows {
                    Shows::Edit => ShowsBody::Edit,
                    Shows::Record(data) => ShowsBody::Record(Arc::clone(data)),
                    Shows::Nothing => ShowsBody::Nothing,
                },
            }),
        }
    }
}

impl EntryBody {
    fn into_entry(self, local_id: u64) -> OutboxEntry {
        let entry = Entry {
            domain: self.domain,
            mobile_id: self.mobile_id,
            version: self.version,
            operation: self.operation,
            data: self.data,
            delta: self.delta,
            client_timestamp: self.time.map(Timestamp),
            priority: self.priority,
            corrects: self.corrects,
        };
        let answer = self.answer.map(|answer| Accepted {
            version: answer.version,
            seq: answer.seq,
            at: Timestamp(answer.at),
            shows: match answer.shows {
                ShowsBody::Edit => Shows::Edit,
                ShowsBody::Record(data) => Shows::Record(data),
                ShowsBody::Nothing => Shows::Nothing,
            },
        });
        OutboxEntry { local_id, install: self.install, number: self.number, entry: Arc::new(entry), answer }
    }
}
