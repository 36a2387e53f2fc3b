//! Reads what the verdict needs from the hub's database file. The only file that knows its tables.
//!
//! The file is opened read-only and read in one transaction, so that it is one moment even while a
//! hub has it open.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OpenFlags, Row};
use synchub_protocol::Data;
use uuid::Uuid;

use crate::fingerprint::Fingerprint;
use crate::verdict::{LogRow, StoredRecord, TenantStore};

const TENANTS: &str = "SELECT no, name, seq, horizon FROM tenant";
const PARTIES: &str = "SELECT tenant, kind, name, no FROM party";
const RECORDS: &str = "SELECT record.tenant, domain.name, record.key, record.version, record.deleted, \
     record.scope, record.data FROM record JOIN domain ON domain.no = record.domain";
// Kind 4 says that a record left a scope; the row that follows it makes the version.
const LOG: &str = "SELECT log.tenant, domain.name, record.key, log.version, install.install_id, log.kind, log.seq \
     FROM log LEFT JOIN record ON record.rid = log.rid LEFT JOIN domain ON domain.no = log.domain \
     LEFT JOIN install ON install.no = log.install ORDER BY log.tenant, log.seq";
const MARKS: &str = "SELECT device.tenant, install.install_id, install.mark \
     FROM install JOIN device ON device.no = install.device WHERE length(install.install_id) = 16";

/// Everything that the hub has stored, by tenant.
pub(crate) fn read(path: &Path) -> Result<HashMap<String, TenantStore>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)
        .with_context(|| format!("cannot open the hub's database {}", path.display()))?;
    read_from(&mut connection).with_context(|| format!("cannot read the hub's database {}", path.display()))
}

fn read_from(connection: &mut Connection) -> Result<HashMap<String, TenantStore>> {
    let transaction = connection.transaction()?;
    let mut names = HashMap::new();
    let mut stores: HashMap<i64, TenantStore> = HashMap::new();
    each(&transaction, TENANTS, |row| {
        let no: i64 = row.get(0)?;
        names.insert(no, row.get::<_, String>(1)?);
        let (head, horizon) = (number(row, 2)?, number(row, 3)?);
        stores.insert(no, TenantStore { head, horizon, ..TenantStore::default() });
        Ok(())
    })?;
    each(&transaction, PARTIES, |row| {
        let store = of_tenant(&mut stores, row)?;
        let (kind, name, no): (i64, String, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        if kind == 1 {
            store.units.insert(name, no)
        } else {
            store.users.insert(name, no)
        };
        Ok(())
    })?;
    each(&transaction, RECORDS, |row| read_record(of_tenant(&mut stores, row)?, row))?;
    each(&transaction, LOG, |row| read_log(of_tenant(&mut stores, row)?, row))?;
    each(&transaction, MARKS, |row| {
        let store = of_tenant(&mut stores, row)?;
        store.marks.insert(id(row, 1)?, number(row, 2)?);
        Ok(())
    })?;
    Ok(stores.into_iter().filter_map(|(no, store)| Some((names.remove(&no)?, store))).collect())
}

fn read_record(store: &mut TenantStore, row: &Row<'_>) -> Result<()> {
    let (domain, id): (String, Uuid) = (row.get(1)?, id(row, 2)?);
    let body: Vec<u8> = row.get(6)?;
    let data: Data = rmp_serde::from_slice(&body)
        .with_context(|| format!("the data of {domain}/{id} cannot be decoded"))?;
    let record = StoredRecord {
        version: number(row, 3)?,
        deleted: row.get(4)?,
        scope: row.get(5)?,
        fingerprint: Fingerprint::of(&data),
    };
    store.records.entry(domain).or_default().insert(id, record);
    Ok(())
}

fn read_log(store: &mut TenantStore, row: &Row<'_>) -> Result<()> {
    store.rows += 1;
    let kind: i64 = row.get(5)?;
    if !(1..=3).contains(&kind) {
        return Ok(());
    }
    let (Some(domain), Some(key)) = (row.get::<_, Option<String>>(1)?, row.get::<_, Option<Vec<u8>>>(2)?)
    else {
        bail!("a row of the log names a record that is not stored");
    };
    let install = row.get::<_, Option<Vec<u8>>>(4)?.and_then(|bytes| Uuid::from_slice(&bytes).ok());
    let rows = store.log.entry(domain).or_default().entry(Uuid::from_slice(&key)?).or_default();
    rows.push(LogRow { seq: number(row, 6)?, version: number(row, 3)?, install });
    Ok(())
}

fn each(connection: &Connection, sql: &str, mut read: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        read(row)?;
    }
    Ok(())
}

/// The first column of every query but the first is the tenant.
fn of_tenant<'s>(stores: &'s mut HashMap<i64, TenantStore>, row: &Row<'_>) -> Result<&'s mut TenantStore> {
    let no: i64 = row.get(0)?;
    stores.get_mut(&no).with_context(|| format!("a row names tenant {no}, which does not exist"))
}

fn id(row: &Row<'_>, column: usize) -> Result<Uuid> {
    let bytes: Vec<u8> = row.get(column)?;
    Uuid::from_slice(&bytes).context("an id is not 16 bytes long")
}

fn number(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).with_context(|| format!("{value} stands where no negative number can"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "
        CREATE TABLE tenant (no INTEGER PRIMARY KEY, name TEXT, seq INTEGER, horizon INTEGER);
        CREATE TABLE party (no INTEGER PRIMARY KEY, tenant INTEGER, kind INTEGER, name TEXT);
        CREATE TABLE domain (no INTEGER PRIMARY KEY, name TEXT);
        CREATE TABLE record (rid INTEGER PRIMARY KEY, tenant, domain, key, version, deleted, scope, data);
        CREATE TABLE log (tenant, seq, kind, domain, rid, version, install);
        CREATE TABLE device (no INTEGER PRIMARY KEY, tenant);
        CREATE TABLE install (no INTEGER PRIMARY KEY, device, install_id BLOB, mark);
        INSERT INTO tenant VALUES (1, 'acme', 3, 0), (2, 'other', 0, 0);
        INSERT INTO party VALUES (5, 1, 1, 'north'), (6, 1, 2, 'ann');
        INSERT INTO domain VALUES (4, 'ticket');
        INSERT INTO record VALUES (9, 1, 4, x'00000000000000000000000000000007', 2, 1, 5, x'81a16101');
        INSERT INTO log VALUES (1, 1, 1, 4, 9, 1, 3), (1, 3, 3, 4, 9, 2, 0), (1, 2, 4, 4, 9, 2, 0);
        INSERT INTO device VALUES (8, 1);
        INSERT INTO install VALUES (3, 8, x'000000000000000000000000000000aa', 12), (4, 8, x'', 0);";

    #[test]
    fn all_that_the_verdict_needs_is_read() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(TABLES).unwrap();
        let stores = read_from(&mut connection).unwrap();
        let (acme, id) = (&stores["acme"], Uuid::from_u128(7));
        assert_eq!((acme.units["north"], acme.users["ann"]), (5, 6));
        let data = serde_json::from_str(r#"{"a":1}"#).unwrap();
        let record =
            StoredRecord { version: 2, deleted: true, scope: 5, fingerprint: Fingerprint::of(&data) };
        assert_eq!(acme.records["ticket"][&id], record);
        let rows = [Some(Uuid::from_u128(0xaa)), None].into_iter().zip([1, 2]);
        let rows: Vec<LogRow> =
            rows.map(|(install, version)| LogRow { seq: version * 2 - 1, version, install }).collect();
        assert_eq!(acme.log["ticket"][&id], rows);
        assert_eq!(acme.marks, HashMap::from([(Uuid::from_u128(0xaa), 12)]));
        assert_eq!((acme.head, acme.rows, acme.horizon), (3, 3, 0));
        assert_eq!(stores["other"].rows, 0);
    }

    #[test]
    fn a_file_that_is_no_database_of_a_hub_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("synchub.db");
        assert!(format!("{:#}", read(&path).unwrap_err()).contains("synchub.db"));
    }
}
