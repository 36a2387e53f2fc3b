//! Reads outside a commit, on a pool of read-only connections. Every answer is from one moment: its
//! statements share one read transaction, and a page of the log never reaches beyond the counter read in
//! it (invariant 4).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqlitePool, Transaction};
use synchub_rules::record::{Head, History, Record, RecordNo, Scope, TenantNo};

use super::codec;
use super::origins::Origins;
use super::rows::{self, ChangeRow, RecordRow};
use super::schema::BUSY_TIMEOUT;
use crate::store::{LogPage, LogPlace, LogQuery, PageRow, SnapshotPage, SnapshotQuery, StoreError};

/// How long a read waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) pool: SqlitePool,
    pub(super) epoch: u64,
    pub(super) origins: Origins,
}

type Read = Transaction<'static, Sqlite>;

impl Reader {
    pub(super) fn new(path: &Path, connections: u32, epoch: u64) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("cache_size", "-16000")
            .pragma("temp_store", "MEMORY");
        let pool = SqlitePoolOptions::new()
            .max_connections(connections.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self { pool, epoch, origins: Origins::default() }
    }

    pub(super) async fn check(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM meta").fetch_optional(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn place(&self, tenant: TenantNo) -> Result<LogPlace, StoreError> {
        let mut read = self.pool.begin().await?;
        let place = self.place_in(&mut read, tenant).await?;
        read.commit().await?;
        Ok(place)
    }

    async fn place_in(&self, read: &mut Read, tenant: TenantNo) -> Result<LogPlace, StoreError> {
        let row: Option<(i64, i64, i64)> =
            sqlx::query_as("SELECT seq, last_us, horizon FROM tenant WHERE no = ?1")
                .bind(tenant)
                .fetch_optional(&mut **read)
                .await?;
        let (seq, time_us, horizon) = row.unwrap_or_default();
        let head = Head { seq: codec::from_db(seq)?, time_us };
        Ok(LogPlace { epoch: self.epoch, head, horizon: codec::from_db(horizon)? })
    }

    pub(super) async fn log_page(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let mut read = self.pool.begin().await?;
        let place = self.place_in(&mut read, query.tenant).await?;
        let limit = query.limit.max(1);
        let mut found = Vec::new();
        for scope in distinct(&query.scopes) {
            found.extend(log_rows(&mut read, &query, scope, limit).await?);
        }
        found.sort_unstable_by_key(|row| row.seq);
        found.truncate(limit);
        let records: Vec<RecordNo> = found.iter().map(|row| row.rid).collect();
        let records = records_by_number(&mut read, query.tenant, records).await?;
        let origins = self.origins.find(&mut read, found.iter().map(|row| row.install)).await?;
        read.commit().await?;
        let is_full = found.len() == limit;
        let rows = found.into_iter().map(|row| row.page_row(&origins)).collect::<Result<Vec<_>, _>>()?;
        let end = rows.last().filter(|_| is_full).map(|row| Head { seq: row.seq, time_us: row.time_us });
        Ok(LogPage { place, end: end.unwrap_or(place.head), rows, records })
    }

    pub(super) async fn snapshot_page(&self, query: SnapshotQuery) -> Result<SnapshotPage, StoreError> {
        let mut read = self.pool.begin().await?;
        let total = match query.after {
            Some(_) => None,
            None => Some(count_live(&mut read, &query).await?),
        };
        let limit = query.limit.max(1);
        let mut found: Vec<RecordRow> = Vec::new();
        for (scope, after) in remaining(&query) {
            // One more than asked for tells whether anything follows.
            let room = limit + 1 - found.len();
            found.extend(live_records(&mut read, &query, scope, (after, room)).await?);
            if found.len() > limit {
                break;
            }
        }
        read.commit().await?;
        let is_last = found.len() <= limit;
        found.truncate(limit);
        let records = found.into_iter().map(RecordRow::record).collect::<Result<_, _>>()?;
        Ok(SnapshotPage { records, is_last, total })
    }

    pub(super) async fn histories(
        &self,
        tenant: TenantNo,
        wanted: Vec<(RecordNo, u64)>,
    ) -> Result<HashMap<RecordNo, History>, StoreError> {
        let mut read = self.pool.begin().await?;
        let numbers = wanted.iter().map(|(record, _)| *record).collect();
        let records = records_by_number(&mut read, tenant, numbers).await?;
        let mut lowest: HashMap<RecordNo, u64> = HashMap::new();
        for (record, version) in wanted {
            let lowest = lowest.entry(record).or_insert(version);
            *lowest = version.min(*lowest);
        }
        let mut histories = HashMap::with_capacity(records.len());
        for (no, record) in records {
            let since = lowest.get(&no).copied().unwrap_or(record.version);
            let changes = changes(&mut read, tenant, &record, since).await?;
            histories.insert(no, rows::history(record, changes)?);
        }
        read.commit().await?;
        Ok(histories)
    }
}

fn distinct(scopes: &[Scope]) -> HashSet<Scope> {
    scopes.iter().copied().collect()
}

fn limit_parameter(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[derive(sqlx::FromRow)]
struct LogRowFound {
    seq: i64,
    time_us: i64,
    scope: i64,
    kind: i64,
    domain: i64,
    rid: i64,
    version: i64,
    install: i64,
    flags: i64,
}

impl LogRowFound {
    fn page_row(self, origins: &super::origins::Found) -> Result<PageRow, StoreError> {
        Ok(PageRow {
            seq: codec::from_db(self.seq)?,
            time_us: self.time_us,
            scope: Scope::from_number(self.scope),
            kind: rows::row_kind(self.kind)?,
            domain: self.domain,
            record: self.rid,
            version: codec::from_db(self.version)?,
            origin: origins.get(self.install)?,
            priority: codec::from_flags(self.flags)?.0,
        })
    }
}

async fn log_rows(
    read: &mut Read,
    query: &LogQuery,
    scope: Scope,
    limit: usize,
) -> Result<Vec<LogRowFound>, StoreError> {
    let rows = sqlx::query_as(rows::LOG_ROWS)
        .bind(query.tenant)
        .bind(scope.number())
        .bind(codec::to_db(query.after)?)
        .bind(limit_parameter(limit))
        .fetch_all(&mut **read);
    Ok(rows.await?)
}

/// A JSON array as a parameter: one statement whatever the number of numbers.
pub(super) fn json_numbers(mut numbers: Vec<i64>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    serde_json::Value::from(numbers).to_string()
}

async fn records_by_number(
    read: &mut Read,
    tenant: TenantNo,
    numbers: Vec<RecordNo>,
) -> Result<HashMap<RecordNo, Record>, StoreError> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<RecordRow> = sqlx::query_as(rows::RECORDS_BY_NUMBER)
        .bind(tenant)
        .bind(json_numbers(numbers))
        .fetch_all(&mut **read)
        .await?;
    rows.into_iter().map(|row| Ok((row.rid, row.record()?))).collect()
}

async fn changes(
    read: &mut Read,
    tenant: TenantNo,
    record: &Record,
    since: u64,
) -> Result<Vec<ChangeRow>, StoreError> {
    if record.version <= since {
        return Ok(Vec::new());
    }
    let rows = sqlx::query_as(rows::CHANGES)
        .bind(tenant)
        .bind(codec::to_db(record.seq)?)
        .bind(codec::to_db(since)?)
        .bind(rows::MAX_CHANGES)
        .fetch_all(&mut **read);
    Ok(rows.await?)
}

/// The scopes that a page still has to walk, each with the number after which it goes on.
fn remaining(query: &SnapshotQuery) -> Vec<(Scope, RecordNo)> {
    let Some((at, after)) = query.after else {
        return query.scopes.iter().map(|scope| (*scope, 0)).collect();
    };
    let rest = query.scopes.iter().filter(|scope| **scope >= at);
    rest.map(|scope| (*scope, if *scope == at { after } else { 0 })).collect()
}

async fn live_records(
    read: &mut Read,
    query: &SnapshotQuery,
    scope: Scope,
    (after, room): (RecordNo, usize),
) -> Result<Vec<RecordRow>, StoreError> {
    let rows = sqlx::query_as(rows::LIVE_RECORDS)
        .bind(query.tenant)
        .bind(query.domain)
        .bind(scope.number())
        .bind(after)
        .bind(limit_parameter(room))
        .fetch_all(&mut **read);
    Ok(rows.await?)
}

async fn count_live(read: &mut Read, query: &SnapshotQuery) -> Result<u64, StoreError> {
    let scopes = query.scopes.iter().map(|scope| scope.number()).collect();
    let count: i64 = sqlx::query_scalar(rows::COUNT_LIVE)
        .bind(query.tenant)
        .bind(query.domain)
        .bind(json_numbers(scopes))
        .fetch_one(&mut **read)
        .await?;
    Ok(codec::from_db(count)?)
}
