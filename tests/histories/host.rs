//! The real hub under test, on a runtime of its own, so that it can be stopped without a goodbye; and what
//! stands in its tables, read beside it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, params};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use synchub_protocol::ErrorCode;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::chance::Chance;
use crate::model::{Data, OWN_DEFINITIONS, Scope};
use crate::support::{Hub, NOW_US};

pub(crate) struct Host {
    runtime: Option<Runtime>,
    hub: Option<Hub>,
    tables: Option<Connection>,
    /// The hub's clock.
    pub(crate) now_us: i64,
    /// The times that it has shown, the last one last: it is set back too.
    pub(crate) times: Vec<i64>,
    /// What of it passed: nobody sets that back.
    pub(crate) ticks_us: i64,
    /// Whether a session's lane takes so much that nothing is ever forgotten (C8).
    pub(crate) is_wide: bool,
    /// How many pushes a user is sent in a minute, and how many wait for a device (P3).
    pub(crate) per_minute: usize,
    pub(crate) queue: usize,
    /// How many entries a device may send at once, and a second; none: as many as it likes.
    pub(crate) entries: Option<u64>,
}

/// A row of the log as the tables have it; times and old values as the model has them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogRow {
    pub(crate) seq: u64,
    pub(crate) time_us: i64,
    pub(crate) kind: &'static str,
    pub(crate) scope: Scope,
    pub(crate) key: (String, String),
    pub(crate) version: u64,
    pub(crate) install: i64,
    pub(crate) priority: usize,
    pub(crate) old: Data,
}

/// A record as the tables have it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) key: (String, String),
    pub(crate) version: u64,
    pub(crate) scope: Scope,
    pub(crate) deleted: bool,
    pub(crate) data: Data,
}

/// An entry's outcome as a batch's row has it.
#[derive(serde::Deserialize)]
struct Outcome(
    String,
    Option<u64>,
    bool,
    Option<(Uuid, String, String)>,
    Option<(i64, String, Option<String>)>,
);

impl Host {
    pub(crate) async fn start(chance: &mut Chance) -> Self {
        let lane_bytes = *chance.pick(&[600, 8000, 262_144]);
        let page_rows = *chance.pick(&[1, 3, 500]);
        let tail_bytes = *chance.pick(&[0, 3000, 1 << 22]);
        let permits = *chance.pick(&[1, 16]);
        let group = *chance.pick(&[1, 3, 64]);
        let position_ms = *chance.pick(&[1, 20]);
        let per_minute = *chance.pick(&[2, 5, 10]);
        let queue = *chance.pick(&[3, 1000, 1000]);
        let entries = *chance.pick(&[None, None, Some(4)]);
        let mut builder = Hub::with(|settings| {
            settings.feed.lane_bytes = lane_bytes;
            settings.feed.tail_bytes = tail_bytes;
            settings.feed.position_ms = position_ms;
            settings.feed.idle_position_secs = 1;
            settings.catch_up.page_rows = page_rows;
            settings.commit.group_batches = group;
            settings.catch_up.permits = permits;
            settings.ack_flush_secs = 1;
            settings.retention.every_secs = 86_400;
            // A machine that is busy with other tests is no disk in trouble.
            settings.admission.slow_commit_ms = 0;
            settings.push.per_minute = per_minute;
            settings.push.queue = queue;
            settings.rates.burst_secs = 1;
            settings.rates.device_entries = entries.unwrap_or(0);
        })
        .seed(chance.word());
        for (path, text) in OWN_DEFINITIONS {
            builder = builder.definition(path, text);
        }
        let (now_us, times) = (NOW_US, vec![NOW_US]);
        let (runtime, hub, tables) = (None, None, None);
        let (ticks_us, is_wide) = (0, lane_bytes > 100_000);
        let mut host =
            Self { runtime, hub, tables, now_us, times, ticks_us, is_wide, per_minute, queue, entries };
        host.run(builder.start()).await;
        host
    }

    async fn run(&mut self, start: impl Future<Output = Hub> + Send + 'static) {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let hub = runtime.spawn(start).await.unwrap();
        hub.clock.set(self.now_us);
        let tables = Connection::open_with_flags(hub.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        (self.runtime, self.hub, self.tables) = (Some(runtime), Some(hub), Some(tables));
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.hub.as_ref().unwrap()
    }

    /// Everything in memory is lost at once; the store finishes the transaction that it is in.
    pub(crate) async fn crash(&mut self, copy: Option<&Path>) {
        let hub = self.down(true).await;
        if let Some(copy) = copy {
            copy_files(&hub.database(), copy);
        }
        self.run(hub.let_go().start()).await;
    }

    /// Ends the hub; the store finishes the transaction that it is in.
    async fn down(&mut self, crashes: bool) -> Hub {
        drop(self.tables.take());
        let hub = self.hub.take().unwrap();
        if !crashes {
            hub.node.stop().await;
        }
        self.runtime.take().unwrap().shutdown_background();
        hub.store().close().await;
        hub
    }

    /// Ends the hub, puts a backup in the place of its store, by hand or as `synchub restore` does, and
    /// starts it again.
    pub(crate) async fn replace(&mut self, crashes: bool, seed: u64, backup: &Path, by_hand: bool) {
        let hub = self.down(crashes).await;
        let database = hub.database();
        if by_hand {
            copy_files(backup, &database);
        } else {
            synchub::store::sqlite::restore(&database, backup).await.unwrap();
        }
        self.run(hub.let_go().seed(seed).start()).await;
    }

    pub(crate) fn end(mut self) {
        drop(self.tables.take());
        self.runtime.take().unwrap().shutdown_background();
    }

    pub(crate) fn advance(&mut self, us: i64) {
        self.now_us += us;
        self.times.push(self.now_us);
        // What nobody sets does not go back (WS7).
        if us > 0 {
            self.ticks_us += us;
            self.hub().clock.advance(us);
        } else {
            self.hub().clock.set(self.now_us);
        }
    }

    /// The latest time that the clock has shown.
    pub(crate) fn latest_us(&self) -> i64 {
        self.times.iter().copied().max().unwrap_or(self.now_us)
    }

    /// The epoch that the store is in.
    pub(crate) fn epoch(&self) -> u64 {
        let sql = "SELECT value FROM meta WHERE key = 'epoch'";
        self.tables().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap().try_into().unwrap()
    }

    /// Whether the store knows a tenant.
    pub(crate) fn has(&self, tenant: &str) -> bool {
        let sql = "SELECT count(*) FROM tenant WHERE name = ?1";
        self.tables().query_row(sql, [tenant], |row| row.get::<_, i64>(0)).unwrap() > 0
    }

    /// The time of a row of the log that is still there.
    pub(crate) fn row_time(&self, tenant: &str, seq: u64) -> Option<i64> {
        let sql = "SELECT time_us FROM log JOIN tenant ON tenant.no = log.tenant
                   WHERE tenant.name = ?1 AND log.seq = ?2";
        self.tables().query_row(sql, params![tenant, i64::try_from(seq).unwrap()], |row| row.get(0)).ok()
    }

    pub(crate) fn tables(&self) -> &Connection {
        self.tables.as_ref().unwrap()
    }

    /// The number of an install.
    pub(crate) fn install(&self, tenant: &str, user: &str, device: &str, install: Uuid) -> i64 {
        let sql = "SELECT install.no FROM install JOIN device ON device.no = install.device
                     JOIN party ON party.no = device.user JOIN tenant ON tenant.no = device.tenant
                   WHERE tenant.name = ?1 AND party.name = ?2 AND device.id = ?3 AND install_id = ?4";
        let bytes = &install.as_bytes()[..];
        self.tables().query_row(sql, params![tenant, user, device, bytes], |row| row.get(0)).unwrap()
    }

    /// The number under which a tenant's service writes.
    pub(crate) fn publisher(&self, tenant: &str) -> i64 {
        let sql = "SELECT -party.no FROM party JOIN tenant ON tenant.no = party.tenant
                   WHERE tenant.name = ?1 AND party.kind = 2 AND party.name = 'service'";
        self.tables().query_row(sql, [tenant], |row| row.get(0)).unwrap()
    }

    /// What is remembered of a batch: for each entry its status, version, whether deleted.
    pub(crate) fn batch(&self, install: i64, batch_id: &str) -> Option<Vec<Value>> {
        let sql = "SELECT answer FROM batch JOIN install ON install.device = batch.device
                   WHERE install.no = ?1 AND batch_id = ?2";
        let id = Uuid::parse_str(batch_id).unwrap();
        let found = self.tables().query_row(sql, params![install, &id.as_bytes()[..]], |row| row.get(0));
        let answer: Vec<u8> = found.ok()?;
        let outcomes: Vec<Outcome> = rmp_serde::from_slice(&answer).unwrap();
        let plain = |Outcome(status, version, deleted, conflict, error): Outcome| {
            let resolution = conflict.map(|(_, _, resolution)| resolution);
            json!([
                status,
                version,
                deleted,
                resolution,
                error.map(|(code, _, _)| ErrorCode::from_number(code))
            ])
        };
        Some(outcomes.into_iter().map(plain).collect())
    }

    pub(crate) fn head(&self, tenant: &str) -> u64 {
        let sql = "SELECT seq FROM tenant WHERE name = ?1";
        self.tables().query_row(sql, [tenant], |row| row.get::<_, i64>(0)).unwrap_or(0).try_into().unwrap()
    }

    pub(crate) fn log(&self, tenant: &str, after: u64) -> Vec<LogRow> {
        let sql =
            "SELECT log.seq, log.time_us, log.kind, p.kind, p.name, domain.name, record.key, log.version,
                     install, log.flags, old, device.id
                   FROM log JOIN tenant ON tenant.no = log.tenant LEFT JOIN domain ON domain.no = log.domain
                     LEFT JOIN record ON record.rid = log.rid
                     LEFT JOIN device ON log.scope < 0 AND device.no = -log.scope
                     LEFT JOIN party AS p ON p.no = coalesce(device.user, log.scope)
                   WHERE tenant.name = ?1 AND log.seq > ?2 ORDER BY log.seq";
        let mut query = self.tables().prepare_cached(sql).unwrap();
        let rows = query.query_map(params![tenant, i64::try_from(after).unwrap()], |row| {
            let (kind, flags): (i64, i64) = (row.get(2)?, row.get(9)?);
            let old: Vec<u8> = row.get(10)?;
            let (key, old) = if kind == 5 {
                let (push, _): (Uuid, IgnoredAny) = rmp_serde::from_slice(&old).unwrap();
                ((String::new(), push.to_string()), Data::new())
            } else {
                let key = (row.get(5)?, id(&row.get::<_, Vec<u8>>(6)?));
                (key, rmp_serde::from_slice(&old).unwrap())
            };
            let scope = match (scope(row.get(3)?, row.get(4)?), row.get(11)?) {
                (Scope::User(user), Some(device)) => Scope::Device(user, device),
                (scope, _) => scope,
            };
            Ok(LogRow {
                seq: u64::try_from(row.get::<_, i64>(0)?).unwrap(),
                time_us: row.get(1)?,
                kind: ["create", "update", "delete", "leave", "push"][usize::try_from(kind - 1).unwrap()],
                scope,
                key,
                version: u64::try_from(row.get::<_, i64>(7)?).unwrap(),
                install: row.get(8)?,
                priority: usize::try_from(flags % 4).unwrap(),
                old,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    pub(crate) fn records(&self, tenant: &str) -> Vec<Stored> {
        let sql = "SELECT domain.name, record.key, version, p.kind, p.name, deleted, data
                   FROM record JOIN tenant ON tenant.no = record.tenant
                     JOIN domain ON domain.no = record.domain LEFT JOIN party AS p ON p.no = record.scope
                   WHERE tenant.name = ?1";
        let mut query = self.tables().prepare_cached(sql).unwrap();
        let rows = query.query_map([tenant], |row| {
            Ok(Stored {
                key: (row.get(0)?, id(&row.get::<_, Vec<u8>>(1)?)),
                version: u64::try_from(row.get::<_, i64>(2)?).unwrap(),
                scope: scope(row.get(3)?, row.get(4)?),
                deleted: row.get(5)?,
                data: rmp_serde::from_slice(&row.get::<_, Vec<u8>>(6)?).unwrap(),
            })
        });
        let mut records: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
        records.sort_by(|one, other| one.key.cmp(&other.key));
        records
    }

    /// The marks of installs that decided something.
    pub(crate) fn marks(&self, tenant: &str) -> Vec<(i64, u64)> {
        let sql = "SELECT install.no, mark FROM install JOIN device ON device.no = install.device
                     JOIN tenant ON tenant.no = device.tenant WHERE tenant.name = ?1 AND mark > 0 ORDER BY 1";
        let mut query = self.tables().prepare_cached(sql).unwrap();
        let rows = query.query_map([tenant], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)));
        rows.unwrap().map(Result::unwrap).map(|(no, mark)| (no, u64::try_from(mark).unwrap())).collect()
    }

    /// Counts of the review table under the model's names.
    pub(crate) fn reviews(&self, tenant: &str) -> crate::model::Reviews {
        let sql = "SELECT CASE WHEN review.kind = 1 THEN 'audit' WHEN review.kind = 2 THEN 'manual'
                     WHEN state = 1 THEN 'inbox' ELSE 'closed' END, count(*)
                   FROM review JOIN tenant ON tenant.no = review.tenant WHERE tenant.name = ?1 GROUP BY 1";
        let mut query = self.tables().prepare_cached(sql).unwrap();
        let rows = query.query_map([tenant], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)));
        let name = |name: String| {
            *["audit", "manual", "inbox", "closed"].iter().find(|known| **known == name).unwrap()
        };
        rows.unwrap()
            .map(Result::unwrap)
            .map(|(kind, count)| (name(kind), u64::try_from(count).unwrap()))
            .collect()
    }
}

fn scope(kind: Option<i64>, name: Option<String>) -> Scope {
    match (kind, name) {
        (Some(1), Some(name)) => Scope::Unit(name),
        (Some(_), Some(name)) => Scope::User(name),
        _ => Scope::Tenant,
    }
}

/// Copies a database's files over those of another.
fn copy_files(from: &Path, to: &Path) {
    let beside = |path: &Path, suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    for suffix in ["", "-wal", "-shm"] {
        let (from, to) = (beside(from, suffix), beside(to, suffix));
        _ = std::fs::remove_file(&to);
        if from.exists() && suffix != "-shm" {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}

/// A UUID as frames say it.
pub(crate) fn id(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).unwrap().to_string()
}
