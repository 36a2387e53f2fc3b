//! The bare store: the statements that the hub's store runs for a group, reads too, one after the other on one
//! thread, with bodies that were made before.
//!
//! It decides nothing, decodes nothing and answers nobody. A test holds its statements against the hub's.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use uuid::Uuid;

/// The hub's settings of SQLite.
pub(crate) const PRAGMAS: &str = "
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 20000;
    PRAGMA cache_size = -16000;
    PRAGMA temp_store = MEMORY;
    PRAGMA foreign_keys = OFF;";

const COUNTER: &str = "SELECT seq, last_us, version_floor FROM tenant WHERE no = ?1";
const EPOCH: &str = "SELECT value FROM meta WHERE key = 'epoch'";
const RECORD: &str = "SELECT rid, domain, key, unit, owner, scope, version, seq, time_us, flags, deleted, writes, data FROM record WHERE tenant = ?1 AND domain = ?2 AND key = ?3";
const BATCH: &str = "SELECT hash, answer FROM batch WHERE device = ?1 AND batch_id = ?2";
const GENERATION: &str = "SELECT generation FROM device WHERE no = ?1";
const MARK: &str = "SELECT mark FROM install WHERE no = ?1";
const REFUSED: &str = "SELECT error FROM refused WHERE install = ?1 AND number = ?2";
const INSERT_RECORD: &str = "INSERT INTO record (version, seq, time_us, flags, unit, owner, writes, data,
    rid, tenant, scope, deleted, domain, key)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
const UPDATE_RECORD: &str =
    "UPDATE record SET version = ?1, seq = ?2, time_us = ?3, flags = ?4, unit = ?5, owner = ?6,
    writes = ?7, data = ?8
    WHERE rid = ?9 AND tenant = ?10 AND scope = ?11 AND deleted = ?12";
const DIGEST: &str = "INSERT INTO digest (tenant, domain, scope, count, sum) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET
    count = count + excluded.count,
    sum = (((sum >> 32) + (excluded.sum >> 32)
    + (((sum & 0xffffffff) + (excluded.sum & 0xffffffff)) >> 32)) << 32)
    | (((sum & 0xffffffff) + (excluded.sum & 0xffffffff)) & 0xffffffff)";
const INSERT_LOG: &str =
    "INSERT INTO log (tenant, seq, scope, kind, domain, rid, version, prev, time_us, install, flags, old)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
const INSERT_BATCH: &str =
    "INSERT INTO batch (device, batch_id, hash, at_us, answer) VALUES (?1, ?2, ?3, ?4, ?5)";
const RAISE_MARK: &str = "UPDATE install SET mark = ?2 WHERE no = ?1 AND mark <= ?2";
const HEAD: &str = "UPDATE tenant SET seq = ?2, last_us = ?3 WHERE no = ?1";

/// Where everything that is written belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home {
    pub(crate) tenant: i64,
    pub(crate) domain: i64,
    pub(crate) unit: i64,
}

/// A device's rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer {
    pub(crate) device: i64,
    pub(crate) user: i64,
    pub(crate) install: i64,
}

/// An entry with the bodies that it leaves.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) key: Uuid,
    pub(crate) base: i64,
    pub(crate) data: Vec<u8>,
    pub(crate) writes: Vec<u8>,
    pub(crate) old: Vec<u8>,
}

/// A batch that is ready to be written.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    pub(crate) writer: Writer,
    pub(crate) id: Uuid,
    pub(crate) first: i64,
    pub(crate) entries: Vec<Prepared>,
    pub(crate) answer: Vec<u8>,
}

/// A record as it was read.
struct Found {
    rid: i64,
    seq: i64,
    /// What the hub reads too.
    _rest: ([i64; 6], [Vec<u8>; 3], Option<i64>, bool),
}

/// The store.
#[derive(Debug)]
pub(crate) struct BareStore {
    connection: Connection,
    home: Home,
    next_record: i64,
}

impl BareStore {
    pub(crate) fn new(connection: Connection, home: Home) -> rusqlite::Result<Self> {
        connection.set_prepared_statement_cache_capacity(64);
        let last = "SELECT ifnull(max(rid), 0) FROM record";
        let next_record = connection.query_row(last, [], |row| row.get::<_, i64>(0))? + 1;
        Ok(Self { connection, home, next_record })
    }

    /// Writes a group in one transaction.
    pub(crate) fn commit(&mut self, group: &[PreparedBatch]) -> rusqlite::Result<()> {
        let Self { connection, home, next_record } = self;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (mut seq, mut time_us): (i64, i64) = transaction
            .prepare_cached(COUNTER)?
            .query_row([home.tenant], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let found = read(&transaction, *home, group)?;
        let mut log = transaction.prepare_cached(INSERT_LOG)?;
        let mut found = found.iter();
        let (mut rows, mut new) = (Vec::new(), 0);
        for (batch, entry) in
            group.iter().flat_map(|batch| batch.entries.iter().map(move |entry| (batch, entry)))
        {
            (seq, time_us) = (seq + 1, time_us + 1);
            let place = (seq, time_us);
            let (rid, prev) = if let Some(found) = found.next().and_then(Option::as_ref) {
                update(&transaction, *home, (batch, entry), found.rid, place)?;
                (found.rid, found.seq)
            } else {
                insert(&transaction, *home, (batch, entry), *next_record, place)?;
                *next_record += 1;
                new += 1;
                (*next_record - 1, 0)
            };
            rows.push((batch, entry, place, rid, prev));
        }
        let mut digest = transaction.prepare_cached(DIGEST)?;
        digest.execute(params![home.tenant, home.domain, home.unit, new, seq.wrapping_mul(0x9e37_79b9)])?;
        for (batch, entry, (seq, time_us), rid, prev) in rows {
            let kind = if prev == 0 { 1 } else { 2 };
            let (version, install) = (entry.base + 1, batch.writer.install);
            log.execute(params![
                home.tenant,
                seq,
                home.unit,
                kind,
                home.domain,
                rid,
                version,
                prev,
                time_us,
                install,
                1,
                entry.old
            ])?;
        }
        remember(&transaction, group, time_us)?;
        transaction.prepare_cached(HEAD)?.execute([home.tenant, seq, time_us])?;
        drop((log, digest));
        transaction.commit()
    }
}

/// Reads what the hub needs to know, and gives what it found of the records, in the order of the entries.
fn read(
    transaction: &Transaction<'_>,
    home: Home,
    group: &[PreparedBatch],
) -> rusqlite::Result<Vec<Option<Found>>> {
    let mut record = transaction.prepare_cached(RECORD)?;
    let mut wanted: Vec<_> = group
        .iter()
        .flat_map(|batch| &batch.entries)
        .enumerate()
        .map(|(at, entry)| (entry.key, at))
        .collect();
    wanted.sort_unstable();
    let mut found: Vec<Option<Found>> = wanted.iter().map(|_| None).collect();
    for (key, at) in wanted {
        let parameters = params![home.tenant, home.domain, &key.as_bytes()[..]];
        found[at] = record.query_row(parameters, read_record).optional()?;
    }
    let mut statements = [BATCH, GENERATION, MARK, REFUSED].map(|sql| transaction.prepare_cached(sql));
    let [Ok(stored), Ok(generation), Ok(mark), Ok(refused)] = &mut statements else {
        return Err(rusqlite::Error::InvalidQuery);
    };
    for batch in group {
        let Writer { device, install, .. } = batch.writer;
        let hash: Option<Vec<u8>> =
            stored.query_row(params![device, &batch.id.as_bytes()[..]], |row| row.get(0)).optional()?;
        let _: i64 = generation.query_row([device], |row| row.get(0))?;
        let _: i64 = mark.query_row([install], |row| row.get(0))?;
        for number in (batch.first..).take(batch.entries.len()) {
            let _: Option<Vec<u8>> = refused.query_row([install, number], |row| row.get(0)).optional()?;
        }
        debug_assert!(hash.is_none(), "no batch comes twice");
    }
    let _: i64 = transaction.prepare_cached(EPOCH)?.query_row([], |row| row.get(0))?;
    Ok(found)
}

fn read_record(row: &Row<'_>) -> rusqlite::Result<Found> {
    let numbers = [row.get(1)?, row.get(4)?, row.get(5)?, row.get(6)?, row.get(8)?, row.get(9)?];
    let rest = (numbers, [row.get(2)?, row.get(11)?, row.get(12)?], row.get(3)?, row.get(10)?);
    Ok(Found { rid: row.get(0)?, seq: row.get(7)?, _rest: rest })
}

fn insert(
    transaction: &Transaction<'_>,
    home: Home,
    (batch, entry): (&PreparedBatch, &Prepared),
    rid: i64,
    (seq, time_us): (i64, i64),
) -> rusqlite::Result<()> {
    transaction.prepare_cached(INSERT_RECORD)?.execute(params![
        entry.base + 1,
        seq,
        time_us,
        1,
        home.unit,
        batch.writer.user,
        entry.writes,
        entry.data,
        rid,
        home.tenant,
        home.unit,
        false,
        home.domain,
        &entry.key.as_bytes()[..],
    ])?;
    Ok(())
}

fn update(
    transaction: &Transaction<'_>,
    home: Home,
    (batch, entry): (&PreparedBatch, &Prepared),
    rid: i64,
    (seq, time_us): (i64, i64),
) -> rusqlite::Result<()> {
    let changed = transaction.prepare_cached(UPDATE_RECORD)?.execute(params![
        entry.base + 1,
        seq,
        time_us,
        1,
        home.unit,
        batch.writer.user,
        entry.writes,
        entry.data,
        rid,
        home.tenant,
        home.unit,
        false,
    ])?;
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}

/// The batches with their answers, and how far each install's numbers go.
fn remember(transaction: &Transaction<'_>, group: &[PreparedBatch], at_us: i64) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(INSERT_BATCH)?;
    for batch in group {
        let (id, hash) = (&batch.id.as_bytes()[..], [7_u8; 32]);
        insert.execute(params![batch.writer.device, id, &hash[..], at_us, batch.answer])?;
    }
    let mut raise = transaction.prepare_cached(RAISE_MARK)?;
    for batch in group {
        let last = (batch.first..).take(batch.entries.len()).last();
        raise.execute([batch.writer.install, last.unwrap_or(batch.first)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = concat!(
        include_str!("../../../src/store/sqlite/write.rs"),
        include_str!("../../../src/store/sqlite/load.rs"),
        include_str!("../../../src/store/sqlite/rows.rs"),
        include_str!("../../../src/store/sqlite/digests.rs"),
        include_str!("../../../src/store/sqlite/history.rs"),
        include_str!("../../../src/store/sqlite/schema.rs"),
    );

    fn squeezed(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_statements_are_those_of_the_hub() {
        let hub = squeezed(HUB);
        let (columns, rest) = RECORD.strip_prefix("SELECT ").unwrap().split_once(" FROM").unwrap();
        let rest = format!(" FROM{rest}");
        for sql in [
            PRAGMAS,
            COUNTER,
            EPOCH,
            columns,
            &rest,
            BATCH,
            GENERATION,
            MARK,
            REFUSED,
            INSERT_RECORD,
            UPDATE_RECORD,
            DIGEST,
            INSERT_LOG,
            INSERT_BATCH,
            RAISE_MARK,
            HEAD,
        ] {
            assert!(hub.contains(&squeezed(sql)), "the hub's store does not run {sql}");
        }
    }
}
