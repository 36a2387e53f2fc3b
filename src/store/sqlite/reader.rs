//! Reads outside a commit, on a pool of read-only connections. Every answer is from one moment: its
//! statements share one read transaction, and a page of the log never reaches beyond the counter read in
//! it (invariant 4).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqlitePool, Transaction};
use synchub_rules::push::Address;
use synchub_rules::record::{Head, History, Record, RecordNo, Scope, Sight, TenantNo};

use super::origins::Origins;
use super::purge;
use super::rows::{self, ChangeRow, RecordRow};
use super::schema::BUSY_TIMEOUT;
use super::{codec, digests};
use crate::store::{
    DigestQuery, DigestView, Digests, LogPage, LogPlace, LogQuery, PageRow, SnapshotPage, SnapshotQuery,
    StoreError,
};

/// How long a read waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) pool: SqlitePool,
    pub(super) origins: Origins,
}

pub(super) type Read = Transaction<'static, Sqlite>;

impl Reader {
    pub(super) fn new(path: &Path, connections: u32) -> Self {
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
        Self { pool, origins: Origins::default() }
    }

    /// Opens all connections now, with the files that they need: later no file descriptor may be left for them.
    pub(super) async fn open_all(&self) -> Result<(), sqlx::Error> {
        let mut opened = Vec::new();
        for _ in 0..self.pool.options().get_max_connections() {
            let mut connection = self.pool.acquire().await?;
            sqlx::query("SELECT 1 FROM meta").fetch_optional(&mut *connection).await?;
            opened.push(connection);
        }
        Ok(())
    }

    pub(super) async fn check(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1 FROM meta").fetch_optional(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn place(&self, tenant: TenantNo) -> Result<LogPlace, StoreError> {
        let mut read = self.pool.begin().await?;
        let place = place_in(&mut read, tenant).await?;
        read.commit().await?;
        Ok(place)
    }

    pub(super) async fn tenants_to_purge(
        &self,
        after: TenantNo,
        before_us: i64,
        limit: u32,
    ) -> Result<Vec<TenantNo>, StoreError> {
        let query = sqlx::query_scalar(purge::TENANTS).bind(after).bind(before_us).bind(limit);
        Ok(query.fetch_all(&self.pool).await?)
    }

    pub(super) async fn log_page(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        let mut read = self.pool.begin().await?;
        let place = place_in(&mut read, query.tenant).await?;
        let limit = query.limit.max(1);
        let mut found = Vec::new();
        match &query.sight {
            Sight::Everything => found = all_log_rows(&mut read, &query, limit).await?,
            Sight::Scopes(scopes) => {
                for scope in distinct(scopes, query.address) {
                    found.extend(log_rows(&mut read, &query, scope, limit).await?);
                }
            }
        }
        found.sort_unstable_by_key(|row| row.seq);
        found.truncate(limit);
        let fitting = fitting(&mut read, &query, &found).await?;
        let is_full = found.len() == limit || fitting < found.len();
        found.truncate(fitting);
        let end = found.last().filter(|_| is_full).map(LogRowFound::place).transpose()?;
        let (pushes, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|row| row.kind == rows::PUSH);
        let found: Vec<_> = found.into_iter().filter(|row| query.sight.covers(row.scope())).collect();
        let pushes = pushes.iter().filter(|row| query.address.is_some_and(|own| own.covers(row.scope())));
        let pushes = super::pushes::at_places(&mut read, query.tenant, pushes.map(|row| row.seq)).await?;
        let records: Vec<RecordNo> = found.iter().map(|row| row.rid).collect();
        let records = records_by_number(&mut read, query.tenant, records).await?;
        let records = records.into_iter().map(|(no, record)| (no, Arc::new(record))).collect();
        let origins = self.origins.find(&mut read, found.iter().map(|row| row.install)).await?;
        read.commit().await?;
        let rows = found.into_iter().map(|row| row.page_row(&origins)).collect::<Result<Vec<_>, _>>()?;
        Ok(LogPage { place, end: end.unwrap_or(place.head), rows, pushes, records })
    }

    pub(super) async fn snapshot_page(&self, query: SnapshotQuery) -> Result<SnapshotPage, StoreError> {
        let mut read = self.pool.begin().await?;
        let place = place_in(&mut read, query.tenant).await?;
        let total = match query.after {
            Some(_) => None,
            None => {
                Some(digests::of_scopes(&mut read, query.tenant, query.domain, &query.sight).await?.count)
            }
        };
        let mut found = Found { rows: Vec::new(), bytes: 0, is_full: false };
        for (scope, after) in remaining(&query) {
            live_records(&mut read, &query, (scope, after), &mut found).await?;
            if found.is_full {
                break;
            }
        }
        read.commit().await?;
        let records = found.rows.into_iter().map(RecordRow::record).collect::<Result<_, _>>()?;
        Ok(SnapshotPage { place, records, is_last: !found.is_full, total })
    }

    pub(super) async fn digest(&self, query: DigestQuery) -> Result<Digests, StoreError> {
        let mut read = self.pool.begin().await?;
        let place = place_in(&mut read, query.tenant).await?;
        let mut digests = Vec::with_capacity(query.views.len());
        for DigestView { domain, filters } in &query.views {
            let digest = match filters {
                None => digests::of_scopes(&mut read, query.tenant, *domain, &query.sight).await?,
                Some(filters) => {
                    let view = (&query.sight, filters.as_ref());
                    digests::of_matching(&mut read, query.tenant, *domain, view).await?
                }
            };
            digests.push(digest);
        }
        read.commit().await?;
        Ok(Digests { place, digests })
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

/// The epoch is read with the head: both are from one moment.
pub(super) async fn place_in(read: &mut Read, tenant: TenantNo) -> Result<LogPlace, StoreError> {
    let sql = "SELECT CAST(value AS INTEGER), ifnull(seq, 0), ifnull(last_us, 0), ifnull(horizon, 0)
               FROM meta LEFT JOIN tenant ON no = ?1 WHERE key = 'epoch'";
    let row: Option<(i64, i64, i64, i64)> =
        sqlx::query_as(sql).bind(tenant).fetch_optional(&mut **read).await?;
    let (epoch, seq, time_us, horizon) = row.unwrap_or_default();
    let head = Head { seq: codec::from_db(seq)?, time_us };
    Ok(LogPlace { epoch: codec::from_db(epoch)?, head, horizon: codec::from_db(horizon)? })
}

fn distinct(scopes: &[Scope], address: Option<Address>) -> HashSet<Scope> {
    let addressed = address.into_iter().flat_map(Address::scopes);
    scopes.iter().copied().chain(addressed).collect()
}

pub(super) fn limit_parameter(limit: usize) -> i64 {
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
    /// What a push takes.
    push_bytes: i64,
}

impl LogRowFound {
    fn scope(&self) -> Scope {
        Scope::from_number(self.scope)
    }

    fn place(&self) -> Result<Head, StoreError> {
        Ok(Head { seq: codec::from_db(self.seq)?, time_us: self.time_us })
    }

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

/// The same whatever the scope: for who sees the whole tenant.
async fn all_log_rows(
    read: &mut Read,
    query: &LogQuery,
    limit: usize,
) -> Result<Vec<LogRowFound>, StoreError> {
    let sql = "SELECT seq, time_us, scope, kind, domain, rid, version, install, flags,
                 CASE kind WHEN 5 THEN length(old) ELSE 0 END AS push_bytes FROM log
               WHERE tenant = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3";
    let rows = sqlx::query_as(sql)
        .bind(query.tenant)
        .bind(codec::to_db(query.after)?)
        .bind(limit_parameter(limit))
        .fetch_all(&mut **read);
    Ok(rows.await?)
}

/// How many of the rows have records that fit into the page together; the first one always does.
async fn fitting(read: &mut Read, query: &LogQuery, rows: &[LogRowFound]) -> Result<usize, StoreError> {
    let numbers = json_numbers(rows.iter().map(|row| row.rid).collect());
    let sizes: Vec<(i64, i64)> =
        sqlx::query_as(rows::SIZES_BY_NUMBER).bind(query.tenant).bind(numbers).fetch_all(&mut **read).await?;
    let mut sizes: HashMap<i64, usize> =
        sizes.into_iter().map(|(rid, size)| (rid, usize::try_from(size).unwrap_or(usize::MAX))).collect();
    let mut bytes = 0_usize;
    let over = rows.iter().position(|row| {
        bytes = bytes.saturating_add(sizes.remove(&row.rid).unwrap_or(0));
        bytes = bytes.saturating_add(usize::try_from(row.push_bytes).unwrap_or(usize::MAX));
        bytes > query.bytes
    });
    Ok(over.map_or(rows.len(), |over| over.max(1)))
}

/// A JSON array as a parameter: one statement whatever the number of numbers.
pub(super) fn json_numbers(mut numbers: Vec<i64>) -> String {
    numbers.sort_unstable();
    numbers.dedup();
    serde_json::Value::from(numbers).to_string()
}

pub(super) async fn records_by_number(
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
    let Sight::Scopes(scopes) = &query.sight else {
        return vec![query.after.unwrap_or((Scope::from_number(i64::MIN + 1), 0))];
    };
    let mut scopes = scopes.clone();
    scopes.sort_unstable();
    scopes.dedup();
    let Some((at, after)) = query.after else {
        return scopes.into_iter().map(|scope| (scope, 0)).collect();
    };
    let rest = scopes.into_iter().filter(|scope| *scope >= at);
    rest.map(|scope| (scope, if scope == at { after } else { 0 })).collect()
}

/// The records of a page, as far as they were read.
struct Found {
    rows: Vec<RecordRow>,
    bytes: usize,
    /// A record follows that does not fit any more.
    is_full: bool,
}

async fn live_records(
    read: &mut Read,
    query: &SnapshotQuery,
    (scope, after): (Scope, RecordNo),
    found: &mut Found,
) -> Result<(), StoreError> {
    let sql = match query.sight {
        Sight::Scopes(_) => rows::LIVE_RECORDS,
        Sight::Everything => rows::LIVE_RECORDS_OF_ALL,
    };
    // One more than asked for tells whether anything follows.
    let room = query.limit.max(1) + 1 - found.rows.len();
    let mut rows = sqlx::query_as(sql)
        .bind(query.tenant)
        .bind(query.domain)
        .bind(scope.number())
        .bind(after)
        .bind(limit_parameter(room))
        .fetch(&mut **read);
    while let Some(row) = rows.next().await {
        let row: RecordRow = row?;
        let fits = found.rows.len() < query.limit.max(1) && found.bytes + row.size() <= query.bytes;
        if !fits && !found.rows.is_empty() {
            found.is_full = true;
            break;
        }
        found.bytes += row.size();
        found.rows.push(row);
    }
    Ok(())
}
