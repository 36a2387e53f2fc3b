//! How many bytes the hub's database takes, by table and for each change.
//!
//! Whole pages are counted, indexes with their table: what a disk really gives. The file is only read.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use anyhow::{Context, Result};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

/// What a record took where the form of the store was decided: 9,910 real tickets, in bytes.
const RECORD_YARDSTICK: f64 = 441.0;
/// What a row of the log took there, for their 45,173 changes, in bytes.
const ROW_YARDSTICK: f64 = 68.0;

const PAGES: &str = "SELECT schema.tbl_name, sum(dbstat.pgsize) FROM dbstat \
     JOIN sqlite_schema AS schema ON schema.name = dbstat.name WHERE dbstat.aggregate = TRUE \
     GROUP BY schema.tbl_name";

/// What a database takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Size {
    pub(crate) records: u64,
    /// Rows of the log: changes.
    pub(crate) changes: u64,
    /// Bytes of each table with its indexes.
    pub(crate) tables: BTreeMap<String, u64>,
    pub(crate) bytes_per_record: f64,
    pub(crate) bytes_per_row: f64,
    /// Bytes of records and log for each change.
    pub(crate) bytes_per_change: f64,
    /// The same, as a multiple of the yardstick for as many records and changes.
    pub(crate) yardsticks: f64,
}

impl Size {
    /// Measures a database file.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags);
        let connection = connection.with_context(|| format!("cannot open {}", path.display()))?;
        Self::read(&connection).with_context(|| format!("cannot measure {}", path.display()))
    }

    fn read(connection: &Connection) -> Result<Self> {
        let mut statement = connection.prepare(PAGES)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, number(row, 1)?)))?;
        let tables: BTreeMap<String, u64> = rows.collect::<rusqlite::Result<_>>()?;
        let count = |sql| connection.query_row(sql, [], |row| number(row, 0));
        let records = count("SELECT count(*) FROM record")?;
        let changes = count("SELECT count(*) FROM log WHERE kind BETWEEN 1 AND 3")?;
        Ok(Self::new(records, changes, tables))
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a database are far below 2^52")]
    fn new(records: u64, changes: u64, tables: BTreeMap<String, u64>) -> Self {
        let bytes = |table: &str| tables.get(table).copied().unwrap_or(0) as f64;
        let (n_records, n_changes) = (records.max(1) as f64, changes.max(1) as f64);
        let (record, log) = (bytes("record"), bytes("log"));
        Self {
            records,
            changes,
            bytes_per_record: record / n_records,
            bytes_per_row: log / n_changes,
            bytes_per_change: (record + log) / n_changes,
            yardsticks: (record + log) / (RECORD_YARDSTICK * n_records + ROW_YARDSTICK * n_changes),
            tables,
        }
    }
}

/// A count or a sum of sizes: never below 0.
fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

impl Display for Size {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { records, changes, bytes_per_record, bytes_per_row, bytes_per_change, .. } = self;
        writeln!(
            f,
            "  database         {records} records of {bytes_per_record:.0} bytes, {changes} log rows of \
             {bytes_per_row:.0}: {bytes_per_change:.0} bytes a change, {:.2} of the yardstick",
            self.yardsticks
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_and_log_are_weighed_with_their_indexes() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE record (rid INTEGER PRIMARY KEY, body BLOB); CREATE INDEX by_body ON record (body);
                 CREATE TABLE log (seq INTEGER PRIMARY KEY, kind INTEGER);
                 INSERT INTO record VALUES (1, x'01'), (2, x'02');
                 INSERT INTO log VALUES (1, 1), (2, 2), (3, 4), (4, 3), (5, 2);",
            )
            .unwrap();
        let size = Size::read(&connection).unwrap();
        assert_eq!((size.records, size.changes), (2, 4));
        assert_eq!((size.tables["record"], size.tables["log"]), (8192, 4096));
        assert_eq!(
            (size.bytes_per_record, size.bytes_per_row, size.bytes_per_change),
            (4096.0, 1024.0, 3072.0)
        );
        assert!((size.yardsticks - 12288.0 / (882.0 + 272.0)).abs() < 1e-9);
        assert!(size.to_string().contains("3072 bytes a change"), "{size}");
    }
}
