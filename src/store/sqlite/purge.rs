//! Removes what is past its time, a bounded number of rows in one short transaction (D3).
//!
//! Each step finds its rows through an index, oldest first, so it reads what it removes and no more. The
//! horizon and the version floor move in the transaction that removes what they speak of.

use rusqlite::{Transaction, params};
use synchub_rules::record::TenantNo;

use super::codec;
use super::fault::Fault;
use super::writer::Writer;
use crate::store::{PurgeQuery, Purgeable, Purged};

/// Tenants after a number (?1) with something older than ?2, ?3 of them at most: two seeks a tenant.
pub(super) const TENANTS: &str = "SELECT no FROM tenant WHERE no > ?1 AND (
      (SELECT time_us FROM log WHERE log.tenant = tenant.no AND seq > horizon ORDER BY seq LIMIT 1) < ?2
      OR EXISTS (SELECT 1 FROM record INDEXED BY record_dead
                 WHERE record.tenant = tenant.no AND deleted = 1 AND time_us < ?2))
    ORDER BY no LIMIT ?3";

/// The last of a tenant's (?1) first ?4 rows after a place (?2) that is older than ?3, and how many are.
/// The limit stands inside: times rise with places, so nothing behind it has to be looked at.
const LOG: &str = "SELECT ifnull(max(seq), 0), count(*) FROM
      (SELECT seq, time_us FROM log WHERE tenant = ?1 AND seq > ?2 ORDER BY seq LIMIT ?4)
    WHERE time_us < ?3";

const DELETE_LOG: &str = "DELETE FROM log WHERE tenant = ?1 AND seq <= ?2";

/// A tenant's (?1) tombstones older than ?2 whose last row lies at or below the horizon (?3).
const DELETE_TOMBSTONES: &str = "DELETE FROM record WHERE rid IN
      (SELECT rid FROM record INDEXED BY record_dead
       WHERE tenant = ?1 AND deleted = 1 AND time_us < ?2 AND seq <= ?3 ORDER BY time_us LIMIT ?4)
    RETURNING version";

const DELETE_BATCHES: &str = "DELETE FROM batch WHERE (device, batch_id) IN
    (SELECT device, batch_id FROM batch WHERE at_us < ?1 ORDER BY at_us LIMIT ?2)";

const DELETE_REFUSED: &str = "DELETE FROM refused WHERE (install, number) IN
    (SELECT install, number FROM refused WHERE at_us < ?1 ORDER BY at_us LIMIT ?2)";

const DELETE_REVIEWS: &str = "DELETE FROM review WHERE no IN
    (SELECT no FROM review INDEXED BY review_closed WHERE state <> 1 AND at_us < ?1 ORDER BY at_us LIMIT ?2)";

const DELETE_DELIVERIES: &str = "DELETE FROM push_exception WHERE (device, seq, what) IN
    (SELECT device, seq, what FROM push_exception WHERE at_us < ?1 ORDER BY at_us LIMIT ?2)";

pub(super) fn purge(writer: &mut Writer, query: &PurgeQuery) -> Result<Purged, Fault> {
    let limit = query.limit.max(1);
    let purged = writer.transact(|transaction| {
        fail::fail_point!("purge::after_begin");
        let purged = match query.what {
            Purgeable::Log(tenant) => purge_log(transaction, tenant, query.before_us, limit)?,
            Purgeable::Batches => purge_rows(transaction, DELETE_BATCHES, query.before_us, limit)?,
            Purgeable::Refused => purge_rows(transaction, DELETE_REFUSED, query.before_us, limit)?,
            Purgeable::Reviews => purge_rows(transaction, DELETE_REVIEWS, query.before_us, limit)?,
            Purgeable::Deliveries => purge_rows(transaction, DELETE_DELIVERIES, query.before_us, limit)?,
        };
        fail::fail_point!("purge::before_commit");
        Ok(purged)
    })?;
    fail::fail_point!("purge::after_commit");
    Ok(purged)
}

fn purge_rows(transaction: &Transaction<'_>, sql: &str, before_us: i64, limit: u32) -> Result<Purged, Fault> {
    let rows = transaction.prepare_cached(sql)?.execute(params![before_us, limit])? as u64;
    Ok(Purged { rows, more: rows == u64::from(limit), ..Purged::default() })
}

fn purge_log(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    before_us: i64,
    limit: u32,
) -> Result<Purged, Fault> {
    let found = "SELECT horizon FROM tenant WHERE no = ?1";
    let horizon: i64 = transaction.prepare_cached(found)?.query_row([tenant], |row| row.get(0))?;
    let counted = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let parameters = params![tenant, horizon, before_us, limit];
    let (last, rows): (i64, u32) = transaction.prepare_cached(LOG)?.query_row(parameters, counted)?;
    if rows > 0 {
        move_horizon(transaction, tenant, last)?;
        transaction.prepare_cached(DELETE_LOG)?.execute([tenant, last])?;
    }
    fail::fail_point!("purge::after_log");
    let horizon = horizon.max(last);
    // While rows are left, tombstones wait: those that are old enough lie at or below the horizon only then.
    let room = limit - rows;
    let tombstones =
        if room > 0 { purge_tombstones(transaction, tenant, (before_us, horizon), room)? } else { 0 };
    fail::fail_point!("purge::after_tombstones");
    Ok(Purged {
        rows: rows.into(),
        tombstones,
        more: tombstones == u64::from(room),
        horizon: codec::from_db(horizon)?,
    })
}

/// The row's time is kept with its place before it goes.
fn move_horizon(transaction: &Transaction<'_>, tenant: TenantNo, to: i64) -> Result<(), Fault> {
    let sql = "UPDATE tenant SET horizon = ?2, horizon_us =
                 (SELECT time_us FROM log WHERE log.tenant = ?1 AND log.seq = ?2) WHERE no = ?1";
    transaction.prepare_cached(sql)?.execute([tenant, to])?;
    Ok(())
}

fn purge_tombstones(
    transaction: &Transaction<'_>,
    tenant: TenantNo,
    (before_us, horizon): (i64, i64),
    limit: u32,
) -> Result<u64, Fault> {
    let mut statement = transaction.prepare_cached(DELETE_TOMBSTONES)?;
    let versions =
        statement.query_map(params![tenant, before_us, horizon, limit], |row| row.get::<_, i64>(0))?;
    let versions = versions.collect::<rusqlite::Result<Vec<_>>>()?;
    if let Some(highest) = versions.iter().max() {
        let raise = "UPDATE tenant SET version_floor = max(version_floor, ?2) WHERE no = ?1";
        transaction.prepare_cached(raise)?.execute([tenant, *highest])?;
    }
    Ok(versions.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::super::rows::tests::{plan, tables};
    use super::*;

    /// What is young must cost a purge nothing (D3).
    #[test]
    fn d3_every_step_of_a_purge_goes_through_an_index_and_sorts_nothing() {
        let database = tables();
        for (sql, indexes) in [
            (
                TENANTS,
                &["PRIMARY KEY (tenant=? AND seq>?)", "INDEX record_dead (tenant=? AND time_us<?)"][..],
            ),
            (LOG, &["PRIMARY KEY (tenant=? AND seq>?)"]),
            (DELETE_LOG, &["PRIMARY KEY (tenant=? AND seq<?)"]),
            (DELETE_TOMBSTONES, &["PRIMARY KEY (rowid=?)", "INDEX record_dead (tenant=? AND time_us<?)"]),
            (DELETE_BATCHES, &["PRIMARY KEY (device=? AND batch_id=?)", "COVERING INDEX batch_at (at_us<?)"]),
            (
                DELETE_REFUSED,
                &["PRIMARY KEY (install=? AND number=?)", "COVERING INDEX refused_at (at_us<?)"],
            ),
            (DELETE_REVIEWS, &["PRIMARY KEY (rowid=?)", "INDEX review_closed (at_us<?)"]),
            (
                DELETE_DELIVERIES,
                &[
                    "PRIMARY KEY (device=? AND seq=? AND what=?)",
                    "COVERING INDEX push_exception_at (at_us<?)",
                ],
            ),
        ] {
            let plan = plan(&database, sql);
            assert!(indexes.iter().all(|index| plan.contains(index)), "{sql}: {plan}");
            let whole =
                ["TEMP B-TREE", "SCAN record", "SCAN log", "SCAN batch", "SCAN refused", "SCAN review"];
            assert!(!whole.iter().any(|step| plan.contains(step)), "{sql}: {plan}");
        }
    }
}
