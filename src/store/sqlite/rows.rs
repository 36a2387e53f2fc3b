//! Rows that the writer and the readers both read: one SQL text and one conversion for each, whichever
//! library runs it.

use std::sync::Arc;

use synchub_rules::record::{HISTORY_LIMIT, History, PastChange, Record, RowKind, Scope};

use super::codec::{self, Unreadable};

macro_rules! record_columns {
    () => {
        "rid, domain, key, unit, owner, scope, version, seq, time_us, flags, deleted, writes, data"
    };
}

/// A tenant's record by domain (?2) and key (?3).
pub(super) const RECORD_BY_KEY: &str =
    concat!("SELECT ", record_columns!(), " FROM record WHERE tenant = ?1 AND domain = ?2 AND key = ?3");

/// A tenant's records by number, given as a JSON array (?2). The `+` keeps SQLite from walking the whole
/// tenant instead.
pub(super) const RECORDS_BY_NUMBER: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM record WHERE rid IN (SELECT value FROM json_each(?2)) AND +tenant = ?1"
);

/// How long the bodies of such records are.
pub(super) const SIZES_BY_NUMBER: &str = "SELECT rid, length(data) FROM record
    WHERE rid IN (SELECT value FROM json_each(?2)) AND +tenant = ?1";

/// A scope's (?3) live records after a number (?4).
pub(super) const LIVE_RECORDS: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM record WHERE tenant = ?1 AND domain = ?2 AND scope = ?3 AND deleted = 0 AND rid > ?4",
    " ORDER BY rid LIMIT ?5"
);

/// All live records of a domain after a scope (?3) and number (?4).
pub(super) const LIVE_RECORDS_OF_ALL: &str = concat!(
    "SELECT ",
    record_columns!(),
    " FROM record WHERE tenant = ?1 AND domain = ?2 AND deleted = 0 AND (scope, rid) > (?3, ?4)",
    " ORDER BY scope, rid LIMIT ?5"
);

macro_rules! sums {
    () => {
        "SELECT ifnull(sum(count), 0), ifnull(sum(sum >> 32), 0), ifnull(sum(sum & 0xffffffff), 0) FROM digest"
    };
}

/// The digest of a domain: the count, and the sum in halves of 32 bits.
pub(super) const DIGEST_OF_ALL: &str = concat!(sums!(), " WHERE tenant = ?1 AND domain = ?2");

/// The same of some scopes, given as a JSON array (?3).
pub(super) const DIGEST: &str =
    concat!(sums!(), " WHERE tenant = ?1 AND domain = ?2 AND scope IN (SELECT value FROM json_each(?3))");

/// What digest and filter need of all live records of a domain.
pub(super) const LIVE_BODIES_OF_ALL: &str =
    "SELECT key, version, data FROM record WHERE tenant = ?1 AND domain = ?2 AND deleted = 0";

/// The same of some scopes, given as a JSON array (?3).
pub(super) const LIVE_BODIES: &str = "SELECT key, version, data FROM record
    WHERE tenant = ?1 AND domain = ?2 AND deleted = 0 AND scope IN (SELECT value FROM json_each(?3))";

/// The kind of a log row that is a push.
pub(super) const PUSH: i64 = 5;

/// A scope's (?2) log rows after a place (?3). Without the hint SQLite reads the rows of all scopes.
pub(super) const LOG_ROWS: &str = "SELECT seq, time_us, scope, kind, domain, rid, version, install, flags,
      CASE kind WHEN 5 THEN length(old) ELSE 0 END AS push_bytes
    FROM log INDEXED BY log_scope WHERE tenant = ?1 AND scope = ?2 AND seq > ?3 ORDER BY seq LIMIT ?4";

/// The changes of a record from its last log row (?2) back, newest first, until one that made version ?3
/// or a lower one, ?4 of them at most.
pub(super) const CHANGES: &str = "
    WITH RECURSIVE walk (version, seq, time_us, kind, scope, install, prev, old, depth) AS (
      SELECT version, seq, time_us, kind, scope, install, prev, old, 1
      FROM log WHERE tenant = ?1 AND seq = ?2
      UNION ALL
      SELECT log.version, log.seq, log.time_us, log.kind, log.scope, log.install, log.prev, log.old, walk.depth + 1
      FROM walk CROSS JOIN log
      WHERE walk.version > ?3 AND walk.depth < ?4 AND log.tenant = ?1 AND log.seq = walk.prev)
    SELECT version, seq, time_us, kind, scope, install, old, prev FROM walk";

/// The names behind installs (?1, a JSON array): a device's user and id, a publisher's name, or the hub.
pub(super) const ORIGINS: &str = "
    SELECT wanted.value, party.name, device.id FROM json_each(?1) AS wanted
      CROSS JOIN install ON install.no = wanted.value
      CROSS JOIN device ON device.no = install.device
      CROSS JOIN party ON party.no = device.user
    UNION ALL
    SELECT wanted.value, party.name, NULL FROM json_each(?1) AS wanted
      CROSS JOIN party ON party.no = -wanted.value
    UNION ALL
    SELECT wanted.value, 'hub', NULL FROM json_each(?1) AS wanted WHERE wanted.value = 0";

/// [`HISTORY_LIMIT`] as a parameter.
#[expect(clippy::cast_possible_wrap, reason = "a hundred")]
pub(super) const MAX_CHANGES: i64 = HISTORY_LIMIT as i64;

/// A row of `record`; its bodies are owned or, where the row is there, borrowed from it.
#[derive(sqlx::FromRow)]
pub(super) struct RecordRow<B = Vec<u8>> {
    pub(super) rid: i64,
    domain: i64,
    key: B,
    unit: Option<i64>,
    owner: Option<i64>,
    scope: i64,
    version: i64,
    seq: i64,
    time_us: i64,
    flags: i64,
    deleted: bool,
    writes: B,
    data: B,
}

impl<'r> RecordRow<&'r [u8]> {
    pub(super) fn read(row: &'r rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            rid: row.get(0)?,
            domain: row.get(1)?,
            key: row.get_ref(2)?.as_blob()?,
            unit: row.get(3)?,
            owner: row.get(4)?,
            scope: row.get(5)?,
            version: row.get(6)?,
            seq: row.get(7)?,
            time_us: row.get(8)?,
            flags: row.get(9)?,
            deleted: row.get(10)?,
            writes: row.get_ref(11)?.as_blob()?,
            data: row.get_ref(12)?.as_blob()?,
        })
    }
}

impl<B: AsRef<[u8]>> RecordRow<B> {
    /// How many bytes its fields take.
    pub(super) fn size(&self) -> usize {
        self.data.as_ref().len()
    }

    pub(super) fn record(self) -> Result<Record, Unreadable> {
        let (priority, sync_status) = codec::from_flags(self.flags)?;
        Ok(Record {
            no: self.rid,
            domain: self.domain,
            key: codec::uuid(self.key.as_ref())?,
            unit: self.unit,
            owner: self.owner,
            scope: Scope::from_number(self.scope),
            version: codec::from_db(self.version)?,
            seq: codec::from_db(self.seq)?,
            time_us: self.time_us,
            priority,
            sync_status,
            deleted: self.deleted,
            writes: codec::decode_writes(self.writes.as_ref())?,
            data: Arc::new(codec::decode_data("a record's data", self.data.as_ref())?),
        })
    }
}

/// A row of [`CHANGES`].
#[derive(sqlx::FromRow)]
pub(super) struct ChangeRow {
    version: i64,
    seq: i64,
    time_us: i64,
    kind: i64,
    scope: i64,
    install: i64,
    old: Vec<u8>,
    prev: i64,
}

impl ChangeRow {
    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            version: row.get(0)?,
            seq: row.get(1)?,
            time_us: row.get(2)?,
            kind: row.get(3)?,
            scope: row.get(4)?,
            install: row.get(5)?,
            old: row.get(6)?,
            prev: row.get(7)?,
        })
    }

    fn change(self) -> Result<PastChange, Unreadable> {
        Ok(PastChange {
            version: codec::from_db(self.version)?,
            seq: codec::from_db(self.seq)?,
            time_us: self.time_us,
            kind: row_kind(self.kind)?,
            scope: Scope::from_number(self.scope),
            install: self.install,
            prev: codec::from_db(self.prev)?,
            old: Arc::new(codec::decode_data("a log row's old values", &self.old)?),
        })
    }
}

pub(super) fn history(record: Record, changes: Vec<ChangeRow>) -> Result<History, Unreadable> {
    let mut changes = changes.into_iter().map(ChangeRow::change).collect::<Result<Vec<_>, _>>()?;
    changes.sort_unstable_by_key(|change| std::cmp::Reverse(change.seq));
    Ok(History { record, changes })
}

pub(super) fn row_kind(kind: i64) -> Result<RowKind, Unreadable> {
    RowKind::from_number(kind).ok_or_else(|| Unreadable::new("a log row's kind", &kind))
}

#[cfg(test)]
pub(super) mod tests {
    use rusqlite::Connection;

    use super::super::{pushes, register};
    use super::*;

    /// An empty store in memory.
    pub(in crate::store::sqlite) fn tables() -> Connection {
        let database = Connection::open_in_memory().unwrap();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/sqlite");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        for file in files {
            database.execute_batch(&std::fs::read_to_string(file).unwrap()).unwrap();
        }
        database
    }

    /// How SQLite would run a statement.
    pub(in crate::store::sqlite) fn plan(database: &Connection, sql: &str) -> String {
        let mut statement = database.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let unbound = vec![rusqlite::types::Null; statement.parameter_count()];
        let unbound = rusqlite::params_from_iter(unbound);
        let steps = statement.query_map(unbound, |row| row.get::<_, String>(3)).unwrap();
        steps.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    /// What others of a large tenant do must cost a reader nothing (V2).
    #[test]
    fn v2_every_read_goes_through_an_index_and_sorts_nothing() {
        let database = tables();
        for (sql, index) in [
            (RECORD_BY_KEY, "INDEX record_key (tenant=? AND domain=? AND key=?)"),
            (RECORDS_BY_NUMBER, "INTEGER PRIMARY KEY (rowid=?)"),
            (SIZES_BY_NUMBER, "INTEGER PRIMARY KEY (rowid=?)"),
            (LIVE_RECORDS, "INDEX record_live (tenant=? AND domain=? AND scope=? AND rowid>?)"),
            (DIGEST, "PRIMARY KEY (tenant=? AND domain=? AND scope=?)"),
            (DIGEST_OF_ALL, "PRIMARY KEY (tenant=? AND domain=?)"),
            (LIVE_BODIES, "INDEX record_live (tenant=? AND domain=? AND scope=?)"),
            (LIVE_BODIES_OF_ALL, "INDEX record_live (tenant=? AND domain=?)"),
            (LOG_ROWS, "INDEX log_scope (tenant=? AND scope=? AND seq>?)"),
            (CHANGES, "PRIMARY KEY (tenant=? AND seq=?)"),
            (pushes::OWED, "COVERING INDEX log_push (tenant=? AND scope=? AND seq>? AND seq<?)"),
            (pushes::EXPIRED, "COVERING INDEX log_push (tenant=? AND scope=? AND seq>? AND seq<?)"),
            (pushes::BY_PLACE, "PRIMARY KEY (tenant=? AND seq=?)"),
            (pushes::AWAITING, "INDEX review_manual (device=?)"),
            (register::OWES, "COVERING INDEX log_push (tenant=? AND scope=? AND seq>?)"),
            (register::OWES, "COVERING INDEX review_manual (device=?)"),
            (ORIGINS, "INTEGER PRIMARY KEY (rowid=?)"),
        ] {
            let plan = plan(&database, sql);
            assert!(plan.contains(index), "{sql}: {plan}");
            let whole =
                ["TEMP B-TREE", "SCAN record", "SCAN log", "SCAN install", "SCAN device", "SCAN party"];
            assert!(!whole.iter().any(|step| plan.contains(step)), "{sql}: {plan}");
        }
    }
}
