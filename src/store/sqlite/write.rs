//! Writes what a group's plan came to, inside the group's transaction. A row that is not where the plan
//! found it makes the whole group fail.

use rusqlite::{Statement, ToSql, Transaction, params};
use synchub_rules::group::{BatchRow, RecordWrite, RefusedNumber, Review, Writes};
use synchub_rules::push::PushRow;
use synchub_rules::record::{DeviceNo, Head, InstallNo, LogRow, Record, SyncStatus, TenantNo};

use super::fault::Fault;
use super::rows::PUSH;
use super::{codec, digests};

/// The most open inbox rows of a device (E11).
const INBOX_LIMIT: i64 = 1000;

pub(super) fn write(transaction: &Transaction<'_>, tenant: TenantNo, writes: &Writes) -> Result<(), Fault> {
    write_records(transaction, tenant, &writes.records)?;
    fail::fail_point!("store::after_records");
    digests::add(transaction, tenant, &writes.digests)?;
    fail::fail_point!("store::after_digests");
    write_log(transaction, tenant, &writes.rows)?;
    write_pushes(transaction, tenant, &writes.pushes)?;
    fail::fail_point!("store::after_log");
    write_batches(transaction, &writes.batches)?;
    fail::fail_point!("store::after_batches");
    write_marks(transaction, &writes.marks)?;
    fail::fail_point!("store::after_marks");
    write_refused(transaction, &writes.refused)?;
    fail::fail_point!("store::after_refused");
    close_corrected(transaction, &writes.corrected)?;
    write_reviews(transaction, tenant, &writes.reviews)?;
    bound_inboxes(transaction, &writes.reviews)?;
    fail::fail_point!("store::after_reviews");
    let is_logged = !(writes.rows.is_empty() && writes.pushes.is_empty());
    if is_logged { write_head(transaction, tenant, writes.head) } else { Ok(()) }
}

fn expect_one(changed: usize, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if changed == 1 { Ok(()) } else { Err(Fault::Mismatch(what())) }
}

fn write_records(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    records: &[RecordWrite],
) -> Result<(), Fault> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO record (version, seq, time_us, flags, unit, owner, writes, data,
                             rid, tenant, scope, deleted, domain, key)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let mut update = transaction.prepare_cached(UPDATE_IN_PLACE)?;
    let mut bodies = Bodies::default();
    for RecordWrite { is_new, record } in records {
        bodies.encode(record);
        if *is_new {
            insert_record(&mut insert, tenant, record, &bodies)?;
        } else if update_record(&mut update, tenant, record, &bodies)? == 0 {
            let moved =
                update_record(&mut *transaction.prepare_cached(UPDATE_MOVING)?, tenant, record, &bodies)?;
            expect_one(moved, || format!("the tenant has no record number {}", record.no))?;
        }
    }
    Ok(())
}

/// What a record's row holds as bytes; the room is used for one after the other.
#[derive(Default)]
struct Bodies {
    writes: Vec<u8>,
    data: Vec<u8>,
}

impl Bodies {
    fn encode(&mut self, record: &Record) {
        codec::encode_writes_into(&mut self.writes, &record.writes);
        codec::encode_into(&mut self.data, &*record.data);
    }
}

fn insert_record(
    statement: &mut Statement<'_>,
    tenant: TenantNo,
    record: &Record,
    bodies: &Bodies,
) -> Result<(), Fault> {
    bind(statement, tenant, record, bodies)?;
    statement.raw_bind_parameter(13, record.domain)?;
    statement.raw_bind_parameter(14, &record.key.as_bytes()[..])?;
    statement.raw_execute()?;
    Ok(())
}

/// Almost every update leaves scope and deletion as they are. SQLite writes an index anew whenever the
/// statement names one of its columns, so these are only named where they change.
const UPDATE_IN_PLACE: &str =
    "UPDATE record SET version = ?1, seq = ?2, time_us = ?3, flags = ?4, unit = ?5, owner = ?6,
                       writes = ?7, data = ?8
     WHERE rid = ?9 AND tenant = ?10 AND scope = ?11 AND deleted = ?12";
const UPDATE_MOVING: &str =
    "UPDATE record SET version = ?1, seq = ?2, time_us = ?3, flags = ?4, unit = ?5, owner = ?6,
                       writes = ?7, data = ?8, scope = ?11, deleted = ?12
     WHERE rid = ?9 AND tenant = ?10";

/// Runs one of the two, and says how many rows it changed.
fn update_record(
    statement: &mut Statement<'_>,
    tenant: TenantNo,
    record: &Record,
    bodies: &Bodies,
) -> Result<usize, Fault> {
    bind(statement, tenant, record, bodies)?;
    Ok(statement.raw_execute()?)
}

/// The parameters that all statements which write a record begin with.
fn bind(
    statement: &mut Statement<'_>,
    tenant: TenantNo,
    record: &Record,
    bodies: &Bodies,
) -> Result<(), Fault> {
    let parameters: [&dyn ToSql; 12] = [
        &codec::to_db(record.version)?,
        &codec::to_db(record.seq)?,
        &record.time_us,
        &codec::flags(record.priority, record.sync_status),
        &record.unit,
        &record.owner,
        &bodies.writes,
        &bodies.data,
        &record.no,
        &tenant,
        &record.scope.number(),
        &record.deleted,
    ];
    for (number, parameter) in (1..).zip(parameters) {
        statement.raw_bind_parameter(number, parameter)?;
    }
    Ok(())
}

/// What the insert into the log names; of a push most of it is nothing.
const INSERT_LOG: &str =
    "INSERT INTO log (tenant, seq, scope, kind, domain, rid, version, prev, time_us, install, flags, old)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";

fn write_pushes(transaction: &Transaction<'_>, tenant: TenantNo, pushes: &[PushRow]) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached(INSERT_LOG)?;
    for push in pushes {
        statement.execute(params![
            tenant,
            codec::to_db(push.seq)?,
            push.scope.number(),
            PUSH,
            0,
            0,
            push.expires_us,
            0,
            push.time_us,
            push.install,
            codec::flags(push.priority, SyncStatus::Synced),
            codec::encode_push(push.id, &push.body),
        ])?;
    }
    Ok(())
}

fn write_log(transaction: &Transaction<'_>, tenant: TenantNo, rows: &[LogRow]) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached(INSERT_LOG)?;
    let mut old = Vec::new();
    for row in rows {
        codec::encode_into(&mut old, &*row.old);
        statement.execute(params![
            tenant,
            codec::to_db(row.seq)?,
            row.scope.number(),
            row.kind.number(),
            row.domain,
            row.record,
            codec::to_db(row.version)?,
            codec::to_db(row.prev)?,
            row.time_us,
            row.install,
            codec::flags(row.priority, SyncStatus::Synced),
            old,
        ])?;
    }
    Ok(())
}

fn write_batches(transaction: &Transaction<'_>, batches: &[BatchRow]) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO batch (device, batch_id, hash, at_us, answer) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for batch in batches {
        statement.execute(params![
            batch.device,
            &batch.batch_id.as_bytes()[..],
            &batch.stored.hash[..],
            batch.at_us,
            codec::encode_outcomes(&batch.stored.outcomes),
        ])?;
    }
    Ok(())
}

/// A mark never goes down (O2).
fn write_marks(transaction: &Transaction<'_>, marks: &[(InstallNo, u64)]) -> Result<(), Fault> {
    let mut statement =
        transaction.prepare_cached("UPDATE install SET mark = ?2 WHERE no = ?1 AND mark <= ?2")?;
    for &(install, mark) in marks {
        let changed = statement.execute([install, codec::to_db(mark)?])?;
        expect_one(changed, || format!("install {install} is unknown or its mark is above {mark}"))?;
    }
    Ok(())
}

fn write_refused(transaction: &Transaction<'_>, refused: &[RefusedNumber]) -> Result<(), Fault> {
    let mut statement = transaction
        .prepare_cached("INSERT INTO refused (install, number, at_us, error) VALUES (?1, ?2, ?3, ?4)")?;
    for RefusedNumber { install, number, error, at_us } in refused {
        statement.execute(params![install, codec::to_db(*number)?, at_us, codec::encode_error(error)])?;
    }
    Ok(())
}

fn close_corrected(transaction: &Transaction<'_>, corrected: &[i64]) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached("UPDATE review SET state = 2 WHERE no = ?1")?;
    for no in corrected {
        expect_one(statement.execute([no])?, || format!("there is no review {no}"))?;
    }
    Ok(())
}

fn write_reviews(transaction: &Transaction<'_>, tenant: TenantNo, reviews: &[Review]) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO review (id, tenant, domain, key, scope, kind, state, device, install, number, at_us, code,
                             strategy, resolution, base_version, server_version, entry, server, fields)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )?;
    for review in reviews {
        statement.execute(params![
            &review.id.as_bytes()[..],
            tenant,
            review.domain,
            review.key.as_ref().map(|key| &key.as_bytes()[..]),
            review.scope.number(),
            review.kind.number(),
            if review.kind.is_open() { 1 } else { 2 },
            review.device,
            review.install,
            review.number.map(codec::to_db).transpose()?,
            review.at_us,
            review.code.map(synchub_protocol::ErrorCode::number),
            review.strategy.map(codec::strategy),
            review.resolution.map(codec::resolution),
            codec::to_db(review.base_version)?,
            codec::to_db(review.server_version)?,
            codec::encode(&review.entry),
            codec::encode(&review.server),
            codec::encode(&review.fields),
        ])?;
    }
    Ok(())
}

fn bound_inboxes(transaction: &Transaction<'_>, reviews: &[Review]) -> Result<(), Fault> {
    let refused = reviews.iter().filter(|review| review.kind == synchub_rules::group::ReviewKind::Refused);
    let mut devices: Vec<DeviceNo> = refused.map(|review| review.device).collect();
    devices.sort_unstable();
    devices.dedup();
    devices.into_iter().try_for_each(|device| bound_inbox(transaction, device))
}

fn bound_inbox(transaction: &Transaction<'_>, device: DeviceNo) -> Result<(), Fault> {
    let mut statement = transaction.prepare_cached(
        "DELETE FROM review WHERE no IN (
           SELECT no FROM review WHERE device = ?1 AND state = 1 AND kind = 3
           ORDER BY no DESC LIMIT -1 OFFSET ?2)
         RETURNING id",
    )?;
    let dropped = statement.query_map([device, INBOX_LIMIT], |row| row.get::<_, Vec<u8>>(0))?;
    let dropped = dropped.collect::<rusqlite::Result<Vec<_>>>()?;
    if !dropped.is_empty() {
        let ids = dropped.iter().map(|id| codec::uuid(id)).collect::<Result<Vec<_>, _>>()?;
        tracing::warn!(device.no = device, review.ids = ?ids, "the inbox of a device is full, its oldest entries go");
    }
    Ok(())
}

fn write_head(transaction: &Transaction<'_>, tenant: TenantNo, head: Head) -> Result<(), Fault> {
    let mut statement =
        transaction.prepare_cached("UPDATE tenant SET seq = ?2, last_us = ?3 WHERE no = ?1")?;
    let changed = statement.execute([tenant, codec::to_db(head.seq)?, head.time_us])?;
    expect_one(changed, || format!("there is no tenant {tenant}"))
}
