//! Reads of pushes: what a device is owed, pushes by place, conflicts with their evidence, and whom a name
//! stands for. Each from one moment.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;
use synchub_protocol::Data;
use synchub_rules::push::PushRow;
use synchub_rules::record::{Scope, TenantNo};

use super::codec::{self, Unreadable};
use super::reader::{Read, Reader, json_numbers, limit_parameter, place_in};
use super::rows::{RECORD_BY_KEY, RecordRow};
use crate::store::{Conflict, ConflictQuery, Owed, OwedQuery, StoreError};

/// A scope's (?2) newest pushes after a place (?3), up to another (?4), that end later than ?5.
pub(super) const OWED: &str = "SELECT seq FROM log INDEXED BY log_push
    WHERE tenant = ?1 AND scope = ?2 AND kind = 5 AND seq > ?3 AND seq <= ?4 AND version > ?5
    ORDER BY seq DESC LIMIT ?6";

/// Whether one of them ends earlier.
pub(super) const EXPIRED: &str = "SELECT 1 FROM log INDEXED BY log_push
    WHERE tenant = ?1 AND scope = ?2 AND kind = 5 AND seq > ?3 AND seq <= ?4 AND version <= ?5 LIMIT 1";

/// Pushes at places (?2, a JSON array).
pub(super) const BY_PLACE: &str = "SELECT seq, time_us, scope, install, flags, version, old
    FROM json_each(?2) AS wanted CROSS JOIN log
    WHERE log.tenant = ?1 AND log.seq = wanted.value AND log.kind = 5";

/// How many devices a tenant has that pushes are for; ?2 is 0.
const DEVICES_OF_TENANT: &str = "SELECT count(*) FROM device INDEXED BY device_alive
    WHERE tenant = ?1 AND ?2 = 0 AND deactivated_us IS NULL AND id <> ''";
/// The same of a user (?2).
const DEVICES_OF_USER: &str = "SELECT count(*) FROM device INDEXED BY device_alive
    WHERE tenant = ?1 AND user = ?2 AND deactivated_us IS NULL AND id <> ''";
/// The same of one device (?2).
const DEVICE_ALONE: &str =
    "SELECT count(*) FROM device WHERE tenant = ?1 AND no = ?2 AND deactivated_us IS NULL AND id <> ''";

macro_rules! conflict_columns {
    () => {
        "SELECT review.device, review.no, review.id, domain.name, review.domain, review.key,
                review.kind = 2 AND review.state = 1 AS awaits, review.strategy, review.resolution,
                review.server_version, review.at_us, review.entry"
    };
}

/// A tenant's conflict.
const CONFLICT: &str = concat!(
    conflict_columns!(),
    " FROM review JOIN domain ON domain.no = review.domain
      WHERE review.id = ?2 AND review.tenant = ?1 AND review.kind < 3 AND review.key IS NOT NULL"
);

/// The conflicts that await a user (?2), those of each device in order.
pub(super) const AWAITING: &str = concat!(
    conflict_columns!(),
    " FROM device INDEXED BY device_alive
        CROSS JOIN review INDEXED BY review_manual
        CROSS JOIN domain ON domain.no = review.domain
      WHERE device.tenant = ?1 AND device.user = ?2 AND device.deactivated_us IS NULL AND device.id <> '' AND review.device = device.no AND review.state = 1
        AND review.kind = 2 AND review.key IS NOT NULL AND device.no >= ?3 AND (device.no, review.no) > (?3, ?4)
      ORDER BY device.no, review.no LIMIT ?5"
);

impl Reader {
    pub(super) async fn owed(&self, query: OwedQuery) -> Result<Owed, StoreError> {
        let mut read = self.pool.begin().await?;
        let place = place_in(&mut read, query.tenant).await?;
        let (after, upto) = (codec::to_db(query.after)?, codec::to_db(query.upto)?);
        let (mut seqs, mut expired) = (BTreeSet::new(), false);
        for scope in query.address.scopes() {
            let found: Vec<i64> = sqlx::query_scalar(OWED)
                .bind(query.tenant)
                .bind(scope.number())
                .bind(after)
                .bind(upto)
                .bind(query.now_us)
                .bind(limit_parameter(query.most + 1))
                .fetch_all(&mut *read)
                .await?;
            seqs.extend(found);
            let ended: Option<i64> = sqlx::query_scalar(EXPIRED)
                .bind(query.tenant)
                .bind(scope.number())
                .bind(after)
                .bind(upto)
                .bind(query.now_us)
                .fetch_optional(&mut *read)
                .await?;
            expired |= ended.is_some();
        }
        read.commit().await?;
        let mut overflowed = None;
        while seqs.len() > query.most {
            overflowed = seqs.pop_first();
        }
        let overflowed = overflowed.map(codec::from_db).transpose()?;
        let seqs = seqs.into_iter().map(codec::from_db).collect::<Result<_, _>>()?;
        Ok(Owed { place, seqs, overflowed, expired })
    }

    pub(super) async fn pushes(
        &self,
        tenant: TenantNo,
        seqs: &[u64],
        bytes: usize,
    ) -> Result<(Vec<PushRow>, usize), StoreError> {
        let mut read = self.pool.begin().await?;
        let seqs = seqs.iter().map(|seq| codec::to_db(*seq)).collect::<Result<Vec<_>, _>>()?;
        let covered = fitting(&mut read, tenant, &seqs, bytes).await?;
        let rows = at_places(&mut read, tenant, seqs[..covered].iter().copied()).await?;
        read.commit().await?;
        Ok((rows, covered))
    }

    pub(super) async fn conflicts(
        &self,
        tenant: TenantNo,
        query: ConflictQuery,
    ) -> Result<Vec<Conflict>, StoreError> {
        let mut read = self.pool.begin().await?;
        let mut found: Vec<ConflictFound> = Vec::new();
        match query {
            ConflictQuery::Awaiting { user, after: (device, no), most } => {
                let query = sqlx::query_as(AWAITING).bind(tenant).bind(user).bind(device).bind(no).bind(most);
                found = query.fetch_all(&mut *read).await?;
            }
            ConflictQuery::Named(ids) => {
                for id in ids {
                    let one = sqlx::query_as(CONFLICT).bind(tenant).bind(&id.as_bytes()[..]);
                    found.extend(one.fetch_optional(&mut *read).await?);
                }
            }
        }
        let mut conflicts = Vec::with_capacity(found.len());
        for one in found {
            let record: Option<RecordRow> = sqlx::query_as(RECORD_BY_KEY)
                .bind(tenant)
                .bind(one.domain)
                .bind(&one.key)
                .fetch_optional(&mut *read)
                .await?;
            conflicts.push(one.conflict(record)?);
        }
        read.commit().await?;
        Ok(conflicts)
    }

    pub(super) async fn recipients(
        &self,
        tenant: TenantNo,
        names: &[(String, Option<String>)],
    ) -> Result<Vec<Option<Scope>>, StoreError> {
        let user = "SELECT no FROM party WHERE tenant = ?1 AND kind = 2 AND name = ?2";
        let device = "SELECT device.no FROM party JOIN device ON device.tenant = party.tenant AND device.user = party.no
                      WHERE party.tenant = ?1 AND party.kind = 2 AND party.name = ?2 AND device.id = ?3
                        AND device.id <> ''";
        let mut read = self.pool.begin().await?;
        let mut scopes = Vec::with_capacity(names.len());
        for (name, id) in names {
            let query = sqlx::query_scalar(if id.is_some() { device } else { user }).bind(tenant).bind(name);
            let query = if let Some(id) = id { query.bind(id) } else { query };
            let found: Option<i64> = query.fetch_optional(&mut *read).await?;
            scopes.push(found.map(|no| if id.is_some() { Scope::Device(no) } else { Scope::Party(no) }));
        }
        read.commit().await?;
        Ok(scopes)
    }

    pub(super) async fn count_devices(
        &self,
        tenant: TenantNo,
        scopes: &[Scope],
    ) -> Result<Vec<u64>, StoreError> {
        let mut read = self.pool.begin().await?;
        let (mut known, mut counts) = (HashMap::new(), Vec::with_capacity(scopes.len()));
        for scope in scopes {
            if !known.contains_key(scope) {
                let (sql, number) = match scope {
                    Scope::Tenant => (DEVICES_OF_TENANT, 0),
                    Scope::Party(user) => (DEVICES_OF_USER, *user),
                    Scope::Device(device) => (DEVICE_ALONE, *device),
                };
                let query = sqlx::query_scalar(sql).bind(tenant).bind(number);
                let count: i64 = query.fetch_one(&mut *read).await?;
                known.insert(*scope, codec::from_db(count)?);
            }
            counts.push(known[scope]);
        }
        read.commit().await?;
        Ok(counts)
    }
}

/// How many of the places hold pushes that fit together; one at least.
async fn fitting(read: &mut Read, tenant: TenantNo, seqs: &[i64], most: usize) -> Result<usize, StoreError> {
    let sql = "SELECT seq, length(old) FROM json_each(?2) AS wanted CROSS JOIN log
               WHERE log.tenant = ?1 AND log.seq = wanted.value AND log.kind = 5";
    let sizes: Vec<(i64, i64)> =
        sqlx::query_as(sql).bind(tenant).bind(json_numbers(seqs.to_vec())).fetch_all(&mut **read).await?;
    let sizes: HashMap<i64, i64> = sizes.into_iter().collect();
    let mut bytes = 0_usize;
    let over = seqs.iter().position(|seq| {
        let size = sizes.get(seq).copied().unwrap_or(0);
        bytes = bytes.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        bytes > most
    });
    Ok(over.map_or(seqs.len(), |over| over.max(1)))
}

/// The pushes at places, in order.
pub(super) async fn at_places(
    read: &mut Read,
    tenant: TenantNo,
    seqs: impl Iterator<Item = i64>,
) -> Result<Vec<PushRow>, StoreError> {
    let seqs: Vec<_> = seqs.collect();
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let found: Vec<PushFound> =
        sqlx::query_as(BY_PLACE).bind(tenant).bind(json_numbers(seqs)).fetch_all(&mut **read).await?;
    let mut rows = found.into_iter().map(PushFound::row).collect::<Result<Vec<_>, _>>()?;
    rows.sort_unstable_by_key(|row| row.seq);
    Ok(rows)
}

#[derive(sqlx::FromRow)]
struct PushFound {
    seq: i64,
    time_us: i64,
    scope: i64,
    install: i64,
    flags: i64,
    version: i64,
    old: Vec<u8>,
}

impl PushFound {
    fn row(self) -> Result<PushRow, Unreadable> {
        let (id, body) = codec::decode_push(&self.old)?;
        Ok(PushRow {
            seq: codec::from_db(self.seq)?,
            time_us: self.time_us,
            scope: Scope::from_number(self.scope),
            id,
            priority: codec::from_flags(self.flags)?.0,
            install: self.install,
            expires_us: self.version,
            body,
        })
    }
}

#[derive(sqlx::FromRow)]
struct ConflictFound {
    device: i64,
    no: i64,
    id: Vec<u8>,
    name: String,
    domain: i64,
    key: Vec<u8>,
    awaits: bool,
    strategy: Option<i64>,
    resolution: Option<i64>,
    server_version: i64,
    at_us: i64,
    entry: Vec<u8>,
}

impl ConflictFound {
    fn conflict(self, record: Option<RecordRow>) -> Result<Conflict, Unreadable> {
        let entry: Value = codec::decode("a conflict's entry", &self.entry)?;
        let sent = entry.get("data").and_then(Value::as_object).cloned();
        let client_data: Data = sent.unwrap_or_default();
        Ok(Conflict {
            id: codec::uuid(&self.id)?,
            place: (self.device, self.no),
            domain: self.name,
            key: codec::uuid(&self.key)?,
            awaits: self.awaits,
            strategy: codec::from_strategy(self.strategy),
            resolution: codec::from_resolution(self.resolution),
            met_version: codec::from_db(self.server_version)?,
            at_us: self.at_us,
            client_data: Arc::new(client_data),
            record: record.map(RecordRow::record).transpose()?,
        })
    }
}
