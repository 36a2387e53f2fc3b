//! Which history the store is in, and what proves that a part of it was lost (R1, invariant 11).
//!
//! A node remembers how far it knew each log. A log that is shorter than that, or than an authentic cursor
//! says, was put back: the epoch rises, durably, in the transaction that found it.

use dashmap::DashMap;
use rusqlite::{OptionalExtension as _, Transaction};
use synchub_rules::record::{Head, TenantNo};
use tokio::sync::watch;

use super::codec;
use super::fault::Fault;
use super::writer::Writer;
use crate::store::{LogPlace, Witness};

/// The highest epoch: places begin at the epoch times 2^40 and stay below 2^53.
pub(super) const LAST_EPOCH: u64 = (1 << 13) - 1;

/// What this node knows of the store's history. Only the writer's thread changes it.
#[derive(Debug)]
pub(super) struct Known {
    epoch: watch::Sender<u64>,
    heads: DashMap<TenantNo, Head>,
}

impl Known {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch: watch::Sender::new(epoch), heads: DashMap::new() }
    }

    pub(super) fn epoch(&self) -> u64 {
        *self.epoch.borrow()
    }

    pub(super) fn epochs(&self) -> watch::Receiver<u64> {
        self.epoch.subscribe()
    }

    /// How far a log was known to go.
    pub(super) fn of(&self, tenant: TenantNo) -> LogPlace {
        let head = self.heads.get(&tenant).map(|head| *head).unwrap_or_default();
        LogPlace { epoch: self.epoch(), head, horizon: 0 }
    }

    /// A log goes as far as this, durably.
    pub(super) fn saw(&self, tenant: TenantNo, head: Head) {
        self.heads.insert(tenant, head);
    }

    /// The store is in this epoch, durably. In a later one nothing counts that was known of the one before.
    pub(super) fn enter(&self, epoch: u64, losses: &[Loss]) {
        if epoch == self.epoch() {
            return;
        }
        for loss in losses {
            tracing::error!(
                tenant = loss.tenant,
                epoch.old = self.epoch(),
                epoch.new = epoch,
                known.epoch = loss.named.epoch,
                known.seq = loss.named.head.seq,
                store.epoch = loss.found.epoch,
                store.seq = loss.found.head.seq,
                "HISTORY WAS LOST: {} The store was put back to an older state. All devices are told to come \
                 back and load everything anew; edits that they still have from the last 24 hours come again \
                 by themselves. If nobody put the store back on purpose, look for what did, and compare with \
                 the newest backup: `synchub restore`",
                loss.what
            );
        }
        if losses.is_empty() {
            tracing::warn!(epoch.old = self.epoch(), epoch.new = epoch, "the store is in a new epoch");
        }
        self.heads.clear();
        self.epoch.send_replace(epoch);
    }
}

/// A proof that history was lost.
#[derive(Debug)]
pub(super) struct Loss {
    tenant: String,
    what: &'static str,
    /// What was known, by this node or by a cursor.
    named: LogPlace,
    /// What stands in the store.
    found: LogPlace,
}

/// Whether a log is not what it was known to be. What was known of an older epoch says nothing of this one.
pub(super) fn is_behind(known: LogPlace, found: LogPlace) -> bool {
    if found.epoch != known.epoch {
        return found.epoch < known.epoch;
    }
    let other_row = found.head.seq == known.head.seq && found.head.time_us != known.head.time_us;
    found.head.seq < known.head.seq || (known.head.seq > 0 && other_row)
}

/// Looks for a proof in what the node knew, and in what a cursor of the tenant says.
pub(super) fn find_loss(
    transaction: &Transaction<'_>,
    known: &Known,
    tenant: TenantNo,
    found: LogPlace,
    witness: Option<Witness>,
) -> Result<Option<Loss>, Fault> {
    let mut named = known.of(tenant);
    let mut what = None;
    if is_behind(named, found) {
        named.epoch = named.epoch.max(witness.map_or(0, |witness| witness.epoch));
        what = Some("this hub knew a later place of the tenant's log.");
    } else if let Some(witness) = witness {
        named = LogPlace { epoch: witness.epoch, head: witness.place, horizon: 0 };
        what = contradiction(transaction, (tenant, found), witness)?;
    }
    let Some(what) = what else { return Ok(None) };
    let mut statement = transaction.prepare_cached("SELECT name FROM tenant WHERE no = ?1")?;
    let tenant = statement.query_row([tenant], |row| row.get(0)).optional()?.unwrap_or_default();
    Ok(Some(Loss { tenant, what, named, found }))
}

/// What a cursor of the tenant says that is not so. One of an older epoch says nothing of this one.
fn contradiction(
    transaction: &Transaction<'_>,
    (tenant, found): (TenantNo, LogPlace),
    Witness { tenant: named, epoch, place }: Witness,
) -> Result<Option<&'static str>, Fault> {
    if epoch < found.epoch {
        return Ok(None);
    }
    if epoch > found.epoch {
        return Ok(Some("a device holds a cursor of a later epoch."));
    }
    if named != tenant {
        return Ok(Some("a device holds a cursor from when the tenant had another number."));
    }
    if place.seq > found.head.seq {
        return Ok(Some("a device holds a cursor ahead of the tenant's log."));
    }
    // The empty log has no row, and those up to the horizon may be gone: they prove nothing.
    if place.seq == 0 || (place.seq <= found.horizon && place.seq < found.head.seq) {
        return Ok(None);
    }
    let time_us = match place.seq {
        seq if seq == found.head.seq => Some(found.head.time_us),
        seq => row_time(transaction, tenant, seq)?,
    };
    let is_same = time_us == Some(place.time_us);
    Ok((!is_same).then_some("a device holds a cursor that names another row than the one in the log."))
}

fn row_time(transaction: &Transaction<'_>, tenant: TenantNo, seq: u64) -> Result<Option<i64>, Fault> {
    let mut statement =
        transaction.prepare_cached("SELECT time_us FROM log WHERE tenant = ?1 AND seq = ?2")?;
    Ok(statement.query_row([tenant, codec::to_db(seq)?], |row| row.get(0)).optional()?)
}

/// The epoch as it stands in the store.
pub(super) fn stored_epoch(transaction: &Transaction<'_>) -> Result<u64, Fault> {
    let mut statement = transaction.prepare_cached("SELECT value FROM meta WHERE key = 'epoch'")?;
    Ok(codec::from_db(statement.query_row([], |row| row.get(0))?)?)
}

/// Writes the epoch that follows from the losses: one above every epoch that anybody named. Without a
/// loss, the one that stands.
pub(super) fn raise(transaction: &Transaction<'_>, stored: u64, losses: &[Loss]) -> Result<u64, Fault> {
    let Some(named) = losses.iter().map(|loss| loss.named.epoch.max(loss.found.epoch)).max() else {
        return Ok(stored);
    };
    let epoch = stored.max(named) + 1;
    write_epoch(transaction, epoch)?;
    Ok(epoch)
}

/// Writes the epoch of a store.
pub(super) fn write_epoch(connection: &rusqlite::Connection, epoch: u64) -> Result<(), Fault> {
    if epoch > LAST_EPOCH {
        return Err(Fault::Stopped("the store has had all its epochs; begin a new store"));
    }
    let mut statement = connection.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'epoch'")?;
    statement.execute([codec::to_db(epoch)?])?;
    Ok(())
}

/// Holds what the node, and a cursor where there is one, know of a log against the log; returns the epoch,
/// risen where they differ.
pub(super) fn examine(writer: &mut Writer, tenant: TenantNo, witness: Option<Witness>) -> Result<u64, Fault> {
    let known = std::sync::Arc::clone(&writer.known);
    let transaction = writer.begin()?;
    let found = place(&transaction, tenant)?;
    let losses: Vec<_> = find_loss(&transaction, &known, tenant, found, witness)?.into_iter().collect();
    let epoch = raise(&transaction, found.epoch, &losses)?;
    transaction.commit()?;
    known.enter(epoch, &losses);
    Ok(epoch)
}

fn place(transaction: &Transaction<'_>, tenant: TenantNo) -> Result<LogPlace, Fault> {
    let mut statement =
        transaction.prepare_cached("SELECT seq, last_us, horizon FROM tenant WHERE no = ?1")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let row: Option<(i64, i64, i64)> = statement.query_row([tenant], read).optional()?;
    let (seq, time_us, horizon) = row.unwrap_or_default();
    let head = Head { seq: codec::from_db(seq)?, time_us };
    Ok(LogPlace { epoch: stored_epoch(transaction)?, head, horizon: codec::from_db(horizon)? })
}
