//! What the store holds, as JSON for people. Never on the way of a session.

use std::path::Path;

use serde_json::{Value, json};
use synchub_protocol::server::DigestSum;
use synchub_protocol::{Data, Timestamp};
use synchub_rules::record::{Scope, SyncStatus, TenantNo, Write};
use uuid::Uuid;

use super::codec;
use super::origins::Found;
use super::reader::Reader;
use super::rows::{self, RecordRow};
use crate::store::{DeliveryQuery, StoreError};

/// Looks into a store without becoming its hub: for people, while a hub may be running on it.
#[derive(Debug)]
pub struct Inspector(Reader);

impl Inspector {
    /// Opens the database file for reading; it must be there.
    pub fn open(path: &Path) -> Self {
        Self(Reader::new(path, 1))
    }

    /// One record.
    pub async fn record(&self, tenant: &str, domain: &str, key: Uuid) -> Result<Option<Value>, StoreError> {
        self.0.find_record(tenant, domain, key).await
    }

    /// Devices of a tenant; of one user or one id where given.
    pub async fn devices(
        &self,
        tenant: &str,
        user: Option<&str>,
        device: Option<&str>,
    ) -> Result<Vec<Value>, StoreError> {
        self.0.find_devices(tenant, user, device).await
    }

    /// At most `limit` rows of a tenant's log after a place.
    pub async fn log(&self, tenant: &str, after: u64, limit: u32) -> Result<Vec<Value>, StoreError> {
        self.0.find_log(tenant, after, limit).await
    }

    /// A part of the delivery log.
    pub async fn deliveries(&self, query: DeliveryQuery) -> Result<Vec<Value>, StoreError> {
        self.0.find_deliveries(query).await
    }

    /// The digests of a tenant's domains; of one domain where given, then each scope's too.
    pub async fn digests(&self, tenant: &str, domain: Option<&str>) -> Result<Vec<Value>, StoreError> {
        self.0.find_digests(tenant, domain).await
    }
}

impl Reader {
    pub(super) async fn find_record(
        &self,
        tenant: &str,
        domain: &str,
        key: Uuid,
    ) -> Result<Option<Value>, StoreError> {
        let Some(no) = self.number("SELECT no FROM tenant WHERE name = ?1", tenant).await? else {
            return Ok(None);
        };
        let Some(domain_no) = self.number("SELECT no FROM domain WHERE name = ?1", domain).await? else {
            return Ok(None);
        };
        let row: Option<RecordRow> = sqlx::query_as(rows::RECORD_BY_KEY)
            .bind(no)
            .bind(domain_no)
            .bind(&key.as_bytes()[..])
            .fetch_optional(&self.pool)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let record = row.record()?;
        Ok(Some(json!({
            "tenant": tenant,
            "domain": domain,
            "mobile_id": key,
            "version": record.version,
            "deleted": record.deleted,
            "sync_status": sync_status(record.sync_status),
            "priority": record.priority,
            "scope": self.scope(record.scope).await?,
            "unit": self.party(record.unit).await?,
            "owner": self.party(record.owner).await?,
            "seq": record.seq,
            "time": Timestamp(record.time_us),
            "writes": record.writes.iter().map(write).collect::<Vec<_>>(),
            "data": record.data,
        })))
    }

    pub(super) async fn find_devices(
        &self,
        tenant: &str,
        user: Option<&str>,
        device: Option<&str>,
    ) -> Result<Vec<Value>, StoreError> {
        let sql = "SELECT device.no, party.name AS user, device.id, device.kind, priority, generation, acked,
                          profile, seen_us, deactivated_us, tenant.seq AS head
                   FROM tenant
                     JOIN device ON device.tenant = tenant.no
                     JOIN party ON party.no = device.user
                   WHERE tenant.name = ?1 AND (?2 IS NULL OR party.name = ?2) AND (?3 IS NULL OR device.id = ?3)
                   ORDER BY user, device.id";
        let found: Vec<DeviceFound> =
            sqlx::query_as(sql).bind(tenant).bind(user).bind(device).fetch_all(&self.pool).await?;
        let mut devices = Vec::with_capacity(found.len());
        for device in found {
            let installs = self.installs(device.no).await?;
            devices.push(device.json(&installs));
        }
        Ok(devices)
    }

    async fn installs(&self, device: i64) -> Result<Vec<Value>, StoreError> {
        let rows: Vec<(Vec<u8>, i64)> =
            sqlx::query_as("SELECT install_id, mark FROM install WHERE device = ?1 ORDER BY no")
                .bind(device)
                .fetch_all(&self.pool)
                .await?;
        let install =
            |(id, mark): (Vec<u8>, i64)| json!({"install_id": Uuid::from_slice(&id).ok(), "mark": mark});
        Ok(rows.into_iter().map(install).collect())
    }

    pub(super) async fn find_log(
        &self,
        tenant: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Value>, StoreError> {
        let Some(no) = self.number("SELECT no FROM tenant WHERE name = ?1", tenant).await? else {
            return Ok(Vec::new());
        };
        let found = self.log_rows(no, after, limit).await?;
        let mut read = self.pool.begin().await?;
        let origins = self.origins.find(&mut read, found.iter().map(|row| row.install)).await?;
        read.commit().await?;
        let mut rows = Vec::with_capacity(found.len());
        for row in found {
            if row.kind == rows::PUSH {
                rows.push(self.push_row(row, &origins).await?);
                continue;
            }
            rows.push(json!({
                "seq": row.seq,
                "time": Timestamp(row.time_us),
                "scope": self.scope(Scope::from_number(row.scope)).await?,
                "kind": format!("{:?}", rows::row_kind(row.kind)?).to_lowercase(),
                "domain": row.domain,
                "mobile_id": row.key.as_deref().map(codec::uuid).transpose()?,
                "version": row.version,
                "prev": row.prev,
                "origin": origins.get(row.install)?,
                "priority": codec::from_flags(row.flags)?.0,
                "old": codec::decode::<Data>("a log row's old values", &row.old)?,
            }));
        }
        Ok(rows)
    }

    async fn push_row(&self, row: LogFound, origins: &Found) -> Result<Value, StoreError> {
        let (id, body) = codec::decode_push(&row.old)?;
        Ok(json!({
            "seq": row.seq,
            "time": Timestamp(row.time_us),
            "scope": self.scope(Scope::from_number(row.scope)).await?,
            "kind": "push",
            "push_id": id,
            "says": body,
            "expires": Timestamp(row.version),
            "origin": origins.get(row.install)?,
            "priority": codec::from_flags(row.flags)?.0,
        }))
    }

    pub(super) async fn find_digests(
        &self,
        tenant: &str,
        domain: Option<&str>,
    ) -> Result<Vec<Value>, StoreError> {
        let sql = "SELECT tenant.seq, domain.name AS domain, digest.scope, digest.count, digest.sum
                   FROM tenant
                     JOIN digest ON digest.tenant = tenant.no
                     JOIN domain ON domain.no = digest.domain
                   WHERE tenant.name = ?1 AND (?2 IS NULL OR domain.name = ?2)
                     AND (digest.count, digest.sum) <> (0, 0)
                   ORDER BY domain.name, digest.scope";
        let found: Vec<DigestFound> =
            sqlx::query_as(sql).bind(tenant).bind(domain).fetch_all(&self.pool).await?;
        let mut lines = Vec::new();
        for of_domain in found.chunk_by(|a, b| a.domain == b.domain) {
            let (count, sum) = of_domain.iter().fold((0_i64, 0_i64), |(count, sum), part| {
                (count.wrapping_add(part.count), sum.wrapping_add(part.sum))
            });
            lines.push(of_domain[0].json(&json!("all"), (count, sum)));
            for part in of_domain.iter().filter(|_| domain.is_some()) {
                let scope = self.scope(Scope::from_number(part.scope)).await?;
                lines.push(part.json(&scope, (part.count, part.sum)));
            }
        }
        Ok(lines)
    }

    async fn log_rows(&self, tenant: TenantNo, after: u64, limit: u32) -> Result<Vec<LogFound>, StoreError> {
        let sql =
            "SELECT log.seq, log.time_us, log.scope, kind, domain.name AS domain, record.key, log.version,
                          prev, install, log.flags, old
                   FROM log
                     LEFT JOIN domain ON domain.no = log.domain
                     LEFT JOIN record ON record.rid = log.rid
                   WHERE log.tenant = ?1 AND log.seq > ?2 ORDER BY log.seq LIMIT ?3";
        let rows =
            sqlx::query_as(sql).bind(tenant).bind(codec::to_db(after)?).bind(limit).fetch_all(&self.pool);
        Ok(rows.await?)
    }

    async fn number(&self, sql: &'static str, name: &str) -> Result<Option<i64>, StoreError> {
        Ok(sqlx::query_scalar(sql).bind(name).fetch_optional(&self.pool).await?)
    }

    async fn party(&self, no: Option<i64>) -> Result<Option<String>, StoreError> {
        let Some(no) = no else { return Ok(None) };
        let name = sqlx::query_scalar("SELECT name FROM party WHERE no = ?1").bind(no);
        Ok(name.fetch_optional(&self.pool).await?)
    }

    async fn scope(&self, scope: Scope) -> Result<Value, StoreError> {
        let (sql, no) = match scope {
            Scope::Tenant => return Ok(json!("tenant")),
            Scope::Party(no) => {
                ("SELECT CASE kind WHEN 1 THEN 'unit' ELSE 'user' END, name FROM party WHERE no = ?1", no)
            }
            Scope::Device(no) => ("SELECT 'device', id FROM device WHERE no = ?1", no),
        };
        let found: Option<(String, String)> = sqlx::query_as(sql).bind(no).fetch_optional(&self.pool).await?;
        let (kind, name) = found.unwrap_or_default();
        Ok(json!({ kind: name }))
    }
}

#[derive(sqlx::FromRow)]
struct DeviceFound {
    no: i64,
    user: String,
    id: String,
    kind: i64,
    priority: i64,
    generation: i64,
    acked: i64,
    profile: Vec<u8>,
    seen_us: i64,
    deactivated_us: Option<i64>,
    head: i64,
}

impl DeviceFound {
    fn json(self, installs: &[Value]) -> Value {
        let kinds = [None, Some("desktop"), Some("laptop"), Some("tablet"), Some("phone")];
        let kind = usize::try_from(self.kind).ok().and_then(|kind| kinds.get(kind).copied().flatten());
        json!({
            "user": self.user,
            "device": self.id,
            "kind": kind,
            "priority": self.priority,
            "generation": self.generation,
            "acked": self.acked,
            "head": self.head,
            "profile": rmp_serde::from_slice::<Value>(&self.profile).ok(),
            "seen": Timestamp(self.seen_us),
            "deactivated": self.deactivated_us.map(Timestamp),
            "installs": installs,
        })
    }
}

#[derive(sqlx::FromRow)]
struct LogFound {
    seq: i64,
    time_us: i64,
    scope: i64,
    kind: i64,
    domain: Option<String>,
    key: Option<Vec<u8>>,
    version: i64,
    prev: i64,
    install: i64,
    flags: i64,
    old: Vec<u8>,
}

#[derive(sqlx::FromRow)]
struct DigestFound {
    seq: i64,
    domain: String,
    scope: i64,
    count: i64,
    sum: i64,
}

impl DigestFound {
    fn json(&self, scope: &Value, (count, sum): (i64, i64)) -> Value {
        let digest = DigestSum(sum.cast_unsigned());
        json!({"domain": self.domain, "scope": scope, "seq": self.seq, "count": count, "digest": digest})
    }
}

fn sync_status(status: SyncStatus) -> &'static str {
    match status {
        SyncStatus::Synced => "synced",
        SyncStatus::PendingSync => "pending_sync",
        SyncStatus::SyncError => "sync_error",
        SyncStatus::Conflict => "conflict",
    }
}

fn write(write: &Write) -> Value {
    json!({
        "version": write.version,
        "time": Timestamp(write.stamp.time_us),
        "priority": write.stamp.priority,
        "install": write.stamp.install,
        "number": write.stamp.number,
        "fields": write.fields,
    })
}
