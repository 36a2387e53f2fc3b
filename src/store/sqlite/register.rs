//! Sessions that open, names that get numbers, and places that devices acknowledged.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, Transaction, params};
use synchub_rules::record::{DeviceNo, DomainNo, Head, InstallNo, PartyNo, TenantNo};

use super::codec;
use super::fault::Fault;
use super::history;
use super::writer::Writer;
use crate::store::{LogPlace, PartyKind, Registered, RegisteredDevice, Registration};

pub(super) fn register(
    writer: &mut Writer,
    registrations: &[Registration],
) -> Result<Vec<Registered>, Fault> {
    let known = Arc::clone(&writer.known);
    let transaction = writer.begin()?;
    let epoch = history::stored_epoch(&transaction)?;
    let mut registered = Vec::with_capacity(registrations.len());
    let mut losses = Vec::new();
    for registration in registrations {
        let mut one = register_one(&transaction, epoch, registration)?;
        let loss = history::find_loss(&transaction, &known, one.tenant, one.place, registration.witness)?;
        one.lost = loss.is_some();
        losses.extend(loss);
        registered.push(one);
    }
    let epoch = history::raise(&transaction, epoch, &losses)?;
    transaction.commit()?;
    known.enter(epoch, &losses);
    for one in &mut registered {
        one.place.epoch = epoch;
        known.saw(one.tenant, one.place.head);
    }
    Ok(registered)
}

fn register_one(
    transaction: &Transaction<'_>,
    epoch: u64,
    registration: &Registration,
) -> Result<Registered, Fault> {
    let (tenant, place) = intern_tenant(transaction, epoch, &registration.tenant)?;
    let user = intern_party(transaction, tenant, PartyKind::User, &registration.user)?;
    let unit = registration.unit.as_deref();
    let unit = unit.map(|unit| intern_party(transaction, tenant, PartyKind::Unit, unit)).transpose()?;
    let device = register_device(transaction, (tenant, user), place.head, registration)?;
    let (install, mark) = match &registration.device {
        None => (-user, 0),
        Some(sent) => intern_install(transaction, device.no, sent)?,
    };
    let owes = registration.device.is_some() && owes(transaction, (tenant, user), &device)?;
    Ok(Registered {
        tenant,
        user,
        unit,
        device: device.no,
        generation: codec::from_db(device.generation)?,
        install,
        mark,
        priority: device.priority,
        acked: codec::from_db(device.acked)?,
        owes,
        deactivated: device.deactivated,
        place,
        lost: false,
    })
}

fn intern_tenant(
    transaction: &Transaction<'_>,
    epoch: u64,
    name: &str,
) -> Result<(TenantNo, LogPlace), Fault> {
    let mut found =
        transaction.prepare_cached("SELECT no, seq, last_us, horizon FROM tenant WHERE name = ?1")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let row: Option<(i64, i64, i64, i64)> = found.query_row([name], read).optional()?;
    let place = LogPlace { epoch, ..LogPlace::default() };
    let Some((no, seq, time_us, horizon)) = row else {
        transaction.prepare_cached("INSERT INTO tenant (name) VALUES (?1)")?.execute([name])?;
        return Ok((transaction.last_insert_rowid(), place));
    };
    let head = Head { seq: codec::from_db(seq)?, time_us };
    Ok((no, LogPlace { head, horizon: codec::from_db(horizon)?, ..place }))
}

/// The number of a unit or user, given out where it is new.
pub(super) fn intern_party(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    kind: PartyKind,
    name: &str,
) -> Result<PartyNo, Fault> {
    let kind = match kind {
        PartyKind::Unit => 1,
        PartyKind::User => 2,
    };
    let key = params![tenant, kind, name];
    let mut found =
        transaction.prepare_cached("SELECT no FROM party WHERE tenant = ?1 AND kind = ?2 AND name = ?3")?;
    if let Some(no) = found.query_row(key, |row| row.get(0)).optional()? {
        return Ok(no);
    }
    transaction.prepare_cached("INSERT INTO party (tenant, kind, name) VALUES (?1, ?2, ?3)")?.execute(key)?;
    Ok(transaction.last_insert_rowid())
}

/// Whether a push for a device (?3) lies after a place (?4), or a conflict awaits its user (?2).
pub(super) const OWES: &str = "SELECT EXISTS (
      SELECT 1 FROM log INDEXED BY log_push
      WHERE tenant = ?1 AND scope IN (0, ?2, -?3) AND kind = 5 AND seq > ?4)
    OR EXISTS (
      SELECT 1 FROM device INDEXED BY device_alive CROSS JOIN review INDEXED BY review_manual
      WHERE device.tenant = ?1 AND device.user = ?2 AND device.deactivated_us IS NULL AND device.id <> ''
        AND review.device = device.no AND review.state = 1 AND review.kind = 2)";

/// A few seeks, so that a hello of a device that missed no push reads nothing else for it.
fn owes(
    transaction: &Transaction<'_>,
    (tenant, user): (TenantNo, PartyNo),
    device: &DeviceRow,
) -> Result<bool, Fault> {
    let mut statement = transaction.prepare_cached(OWES)?;
    Ok(statement.query_row([tenant, user, device.no, device.acked], |row| row.get(0))?)
}

struct DeviceRow {
    no: DeviceNo,
    generation: i64,
    priority: i64,
    acked: i64,
    deactivated: bool,
}

fn register_device(
    transaction: &Transaction<'_>,
    (tenant, user): (TenantNo, PartyNo),
    head: Head,
    registration: &Registration,
) -> Result<DeviceRow, Fault> {
    let sent = registration.device.as_ref();
    let id = sent.map_or("", |device| device.id.as_str());
    let found = find_device(transaction, (tenant, user), id)?;
    let Some(row) = found else { return insert_device(transaction, (tenant, user), head, registration) };
    if row.deactivated {
        return Ok(row);
    }
    let row = DeviceRow { generation: row.generation + 1, ..row };
    let update = "UPDATE device SET generation = ?2, kind = ?3, profile = ?4, seen_us = ?5 WHERE no = ?1";
    transaction.prepare_cached(update)?.execute(params![
        row.no,
        row.generation,
        sent.map_or(0, |device| codec::device_kind(device.kind)),
        sent.map_or(&[][..], |device| &device.profile),
        registration.at_us,
    ])?;
    Ok(row)
}

fn find_device(
    transaction: &Transaction<'_>,
    (tenant, user): (TenantNo, PartyNo),
    id: &str,
) -> Result<Option<DeviceRow>, Fault> {
    let mut statement = transaction.prepare_cached(
        "SELECT no, generation, priority, acked, deactivated_us IS NOT NULL FROM device
         WHERE tenant = ?1 AND user = ?2 AND id = ?3",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(DeviceRow {
            no: row.get(0)?,
            generation: row.get(1)?,
            priority: row.get(2)?,
            acked: row.get(3)?,
            deactivated: row.get(4)?,
        })
    };
    Ok(statement.query_row(params![tenant, user, id], read).optional()?)
}

/// A new device starts from the head: nothing before it was meant for it (P2).
fn insert_device(
    transaction: &Transaction<'_>,
    (tenant, user): (TenantNo, PartyNo),
    head: Head,
    registration: &Registration,
) -> Result<DeviceRow, Fault> {
    let sent = registration.device.as_ref();
    let priority = sent.map_or(0, |device| device.priority);
    let acked = codec::to_db(head.seq)?;
    let mut statement = transaction.prepare_cached(
        "INSERT INTO device (tenant, user, id, kind, priority, generation, acked, first, profile, seen_us)
         VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?6, ?7, ?8)",
    )?;
    statement.execute(params![
        tenant,
        user,
        sent.map_or("", |device| device.id.as_str()),
        sent.map_or(0, |device| codec::device_kind(device.kind)),
        priority,
        acked,
        sent.map_or(&[][..], |device| &device.profile),
        registration.at_us,
    ])?;
    let no = transaction.last_insert_rowid();
    Ok(DeviceRow { no, generation: 1, priority, acked, deactivated: false })
}

/// The install and its mark; a device that names no install has a row without an id, and no mark.
fn intern_install(
    transaction: &Transaction<'_>,
    device: DeviceNo,
    sent: &RegisteredDevice,
) -> Result<(InstallNo, u64), Fault> {
    let id = sent.install_id.as_ref().map_or(&[][..], |id| &id.as_bytes()[..]);
    let mut found =
        transaction.prepare_cached("SELECT no, mark FROM install WHERE device = ?1 AND install_id = ?2")?;
    let row = found.query_row(params![device, id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let Some((no, mark)) = row {
        return Ok((no, codec::from_db(mark)?));
    }
    let insert = "INSERT INTO install (device, install_id) VALUES (?1, ?2)";
    transaction.prepare_cached(insert)?.execute(params![device, id])?;
    Ok((transaction.last_insert_rowid(), 0))
}

pub(super) fn domains(writer: &mut Writer, names: &[String]) -> Result<Vec<DomainNo>, Fault> {
    writer.transact(|transaction| names.iter().map(|name| intern_domain(transaction, name)).collect())
}

fn intern_domain(transaction: &Transaction<'_>, name: &str) -> Result<DomainNo, Fault> {
    let mut found = transaction.prepare_cached("SELECT no FROM domain WHERE name = ?1")?;
    if let Some(no) = found.query_row([name], |row| row.get(0)).optional()? {
        return Ok(no);
    }
    transaction.prepare_cached("INSERT INTO domain (name) VALUES (?1)")?.execute([name])?;
    Ok(transaction.last_insert_rowid())
}

/// Places only move forward (C10).
pub(super) fn save_acks(writer: &mut Writer, acks: &[(DeviceNo, u64)]) -> Result<(), Fault> {
    writer.transact(|transaction| {
        let mut statement =
            transaction.prepare_cached("UPDATE device SET acked = ?2 WHERE no = ?1 AND acked < ?2")?;
        for &(device, acked) in acks {
            statement.execute([device, codec::to_db(acked)?])?;
        }
        Ok(())
    })
}

/// Writes a row, so that a full or failing disk shows.
pub(super) fn check(writer: &mut Writer) -> Result<(), Fault> {
    writer.transact(|transaction| {
        let write = "INSERT INTO meta (key, value) VALUES ('checked', 1)
                     ON CONFLICT (key) DO UPDATE SET value = 1 - value";
        transaction.prepare_cached(write)?.execute([])?;
        Ok(())
    })
}
