//! Reads what the plan of a group needs, inside the group's transaction, each kind in sorted order.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{OptionalExtension as _, Transaction, params};
use synchub_protocol::server::EntryError;
use synchub_rules::group::{Loaded, Reads, StoredBatch, StoredReview};
use synchub_rules::record::{DeviceNo, DomainNo, Head, History, InstallNo, RecordNo, TenantNo};
use uuid::Uuid;

use super::codec;
use super::fault::Fault;
use super::rows::{self, ChangeRow, RecordRow};

/// Fills everything but the epoch. `next_record` is the first number that no record has.
pub(super) fn load(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    reads: &Reads,
    next_record: RecordNo,
) -> Result<Loaded, Fault> {
    let counter = "SELECT seq, last_us, version_floor FROM tenant WHERE no = ?1";
    let counter: Option<(i64, i64, i64)> = transaction
        .prepare_cached(counter)?
        .query_row([tenant], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (seq, time_us, floor) =
        counter.ok_or_else(|| Fault::Mismatch(format!("there is no tenant {tenant}")))?;
    let wanted = lowest_versions(&reads.records);
    let records = load_records(transaction, tenant, &wanted)?;
    Ok(Loaded {
        head: Head { seq: codec::from_db(seq)?, time_us },
        epoch: 0,
        version_floor: codec::from_db(floor)?,
        batches: load_batches(transaction, &reads.batches)?,
        generations: load_numbers(
            transaction,
            "SELECT generation FROM device WHERE no = ?1",
            &reads.devices,
        )?,
        marks: load_numbers(transaction, "SELECT mark FROM install WHERE no = ?1", &reads.installs)?,
        refused: load_refused(transaction, &reads.numbers)?,
        corrections: load_corrections(transaction, &reads.corrections)?,
        conflicts: load_conflicts(transaction, tenant, &reads.conflicts)?,
        free_numbers: (next_record..).take(wanted.len() - records.len()).collect(),
        records,
    })
}

fn sorted<T: Ord + Copy>(keys: &[T]) -> Vec<T> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn load_batches(
    transaction: &Transaction<'_>,
    keys: &[(DeviceNo, Uuid)],
) -> Result<HashMap<(DeviceNo, Uuid), StoredBatch>, Fault> {
    let mut statement =
        transaction.prepare_cached("SELECT hash, answer FROM batch WHERE device = ?1 AND batch_id = ?2")?;
    let mut batches = HashMap::new();
    for (device, id) in sorted(keys) {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found: Option<(Vec<u8>, Vec<u8>)> =
            statement.query_row(params![device, &id.as_bytes()[..]], read).optional()?;
        let Some((hash, answer)) = found else { continue };
        let hash = codec::array("a batch's hash", &hash)?;
        batches.insert((device, id), StoredBatch { hash, outcomes: codec::decode_outcomes(&answer)? });
    }
    Ok(batches)
}

fn load_numbers(transaction: &Transaction<'_>, sql: &str, keys: &[i64]) -> Result<HashMap<i64, u64>, Fault> {
    let mut statement = transaction.prepare_cached(sql)?;
    let mut numbers = HashMap::new();
    for key in sorted(keys) {
        if let Some(number) = statement.query_row([key], |row| row.get(0)).optional()? {
            numbers.insert(key, codec::from_db(number)?);
        }
    }
    Ok(numbers)
}

fn load_refused(
    transaction: &Transaction<'_>,
    keys: &[(InstallNo, u64)],
) -> Result<HashMap<(InstallNo, u64), EntryError>, Fault> {
    let mut statement =
        transaction.prepare_cached("SELECT error FROM refused WHERE install = ?1 AND number = ?2")?;
    let mut refused = HashMap::new();
    for (install, number) in sorted(keys) {
        let found: Option<Vec<u8>> =
            statement.query_row([install, codec::to_db(number)?], |row| row.get(0)).optional()?;
        if let Some(error) = found {
            refused.insert((install, number), codec::decode_error(&error)?);
        }
    }
    Ok(refused)
}

fn load_corrections(
    transaction: &Transaction<'_>,
    keys: &[(InstallNo, u64)],
) -> Result<HashMap<(InstallNo, u64), StoredReview>, Fault> {
    let mut statement = transaction.prepare_cached(
        "SELECT no, state = 3 FROM review
         WHERE install = ?1 AND number = ?2 AND kind = 3 ORDER BY no DESC LIMIT 1",
    )?;
    let mut corrections = HashMap::new();
    for (install, number) in sorted(keys) {
        let read = |row: &rusqlite::Row<'_>| Ok(StoredReview { no: row.get(0)?, applied: row.get(1)? });
        let found = statement.query_row([install, codec::to_db(number)?], read).optional()?;
        corrections.extend(found.map(|review| ((install, number), review)));
    }
    Ok(corrections)
}

/// The conflicts that are the tenant's, and whether each awaits a person.
fn load_conflicts(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    ids: &[Uuid],
) -> Result<HashMap<Uuid, bool>, Fault> {
    let mut statement = transaction.prepare_cached(
        "SELECT kind = 2 AND state = 1 FROM review WHERE id = ?1 AND tenant = ?2 AND kind < 3 AND key IS NOT NULL",
    )?;
    let mut conflicts = HashMap::new();
    for id in sorted(ids) {
        let found = statement.query_row(params![&id.as_bytes()[..], tenant], |row| row.get(0)).optional()?;
        conflicts.extend(found.map(|awaits: bool| (id, awaits)));
    }
    Ok(conflicts)
}

/// Each record once, with the lowest version that was asked for.
fn lowest_versions(wanted: &[(DomainNo, Uuid, u64)]) -> BTreeMap<(DomainNo, Uuid), u64> {
    let mut lowest = BTreeMap::new();
    for &(domain, key, version) in wanted {
        let lowest = lowest.entry((domain, key)).or_insert(version);
        *lowest = version.min(*lowest);
    }
    lowest
}

fn load_records(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    wanted: &BTreeMap<(DomainNo, Uuid), u64>,
) -> Result<HashMap<(DomainNo, Uuid), History>, Fault> {
    let mut by_key = transaction.prepare_cached(rows::RECORD_BY_KEY)?;
    let mut records = HashMap::with_capacity(wanted.len());
    for (&(domain, key), &since) in wanted {
        let parameters = params![tenant, domain, &key.as_bytes()[..]];
        let mut rows = by_key.query(parameters)?;
        let Some(row) = rows.next()? else { continue };
        let record = RecordRow::read(row)?.record()?;
        drop(rows);
        let changes = if record.version > since {
            load_changes(transaction, tenant, record.seq, since)?
        } else {
            Vec::new()
        };
        records.insert((domain, key), rows::history(record, changes)?);
    }
    Ok(records)
}

fn load_changes(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    last: u64,
    since: u64,
) -> Result<Vec<ChangeRow>, Fault> {
    let mut statement = transaction.prepare_cached(rows::CHANGES)?;
    let parameters = [tenant, codec::to_db(last)?, codec::to_db(since)?, rows::MAX_CHANGES];
    let changes = statement.query_map(parameters, ChangeRow::read)?;
    Ok(changes.collect::<rusqlite::Result<_>>()?)
}
