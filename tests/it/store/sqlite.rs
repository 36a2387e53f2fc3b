//! The contract on SQLite, and what only a store in a folder can be asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use synchub::store::sqlite::{OpenError, SqliteOptions, SqliteStore, migrate};
use synchub::store::{CommitError, Store};
use synchub_protocol::digest::part;
use synchub_rules::record::Scope;
use tempfile::TempDir;
use uuid::Uuid;

use super::contract::{Backend, Edit, World, contract, data};

/// Tells a child process where its parent has the store.
pub(crate) const FOLDER: &str = "SYNCHUB_TEST_FOLDER";

pub(crate) struct Sqlite {
    folder: PathBuf,
    /// Removes the folder; none where another process does.
    _own: Option<TempDir>,
}

impl Sqlite {
    pub(crate) fn new() -> Self {
        let own = TempDir::new().unwrap();
        Self { folder: own.path().to_owned(), _own: Some(own) }
    }

    /// The folder that a parent process gave this one; none where somebody else runs it.
    pub(crate) fn of_the_parent() -> Option<Self> {
        Some(Self { folder: std::env::var_os(FOLDER)?.into(), _own: None })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("synchub.db")
    }

    async fn try_open(&self, cursor_key: [u8; 32]) -> Result<SqliteStore, OpenError> {
        SqliteStore::open(&self.path(), SqliteOptions::default(), cursor_key).await
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(self.try_open([9; 32]).await.unwrap())
    }
}

contract!(super::sqlite::Sqlite::new());

#[tokio::test]
async fn inv5_a_store_that_is_idle_gives_memory_back_once() {
    let sqlite = Sqlite::new();
    let store: Arc<dyn Store> = Arc::new(sqlite.try_open([1; 32]).await.unwrap());
    let world = World::on(Arc::clone(&store)).await;
    for n in 1..=2 {
        world.edit(vec![Edit::create(n, Scope::Tenant)]).await;
        let mut gave_back = Vec::new();
        for _ in 0..3 {
            gave_back.push(store.rest().await.unwrap());
        }
        assert_eq!(gave_back, [false, true, false], "not while there is work, and not twice");
    }
}

#[tokio::test]
async fn a_folder_takes_one_hub_at_a_time() {
    let sqlite = Sqlite::new();
    let store = sqlite.try_open([1; 32]).await.unwrap();
    assert!(matches!(sqlite.try_open([2; 32]).await, Err(OpenError::InUse { .. })));
    assert!(matches!(migrate(&sqlite.path()).await, Err(OpenError::InUse { .. })));
    store.close().await;
    migrate(&sqlite.path()).await.unwrap();
    let again = sqlite.try_open([2; 32]).await.unwrap();
    assert_eq!(again.cursor_key(), [1; 32]);
}

#[tokio::test]
async fn closing_empties_the_write_ahead_log() {
    let sqlite = Sqlite::new();
    let world = World::new(&sqlite).await;
    world.edit(vec![Edit::create(1, Scope::Tenant)]).await;
    world.store.place(world.me.tenant).await.unwrap();
    let wal = sqlite.path().with_extension("db-wal");
    assert!(wal.metadata().unwrap().len() > 0);
    world.store.close().await;
    assert!(!wal.exists());
}

#[tokio::test]
async fn a_file_that_is_no_database_is_said_so() {
    let sqlite = Sqlite::new();
    std::fs::write(sqlite.path(), "hello, I am a text file and not a database".repeat(100)).unwrap();
    let error = sqlite.try_open([1; 32]).await.unwrap_err();
    assert!(error.to_string().contains("synchub.db"), "{error}");
}

#[tokio::test]
async fn a_store_that_a_newer_hub_wrote_is_left_alone() {
    let sqlite = Sqlite::new();
    migrate(&sqlite.path()).await.unwrap();
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                 VALUES (999, 'later', TRUE, x'00', 0)";
    rusqlite::Connection::open(sqlite.path()).unwrap().execute(newer, []).unwrap();
    assert!(matches!(sqlite.try_open([1; 32]).await, Err(OpenError::Migrate { .. })));
}

/// What the table of digests says, but for those of nothing: count and sum by tenant, domain and scope.
pub(crate) fn digests(database: &rusqlite::Connection) -> BTreeMap<(i64, i64, i64), (i64, i64)> {
    let sql = "SELECT tenant, domain, scope, count, sum FROM digest WHERE (count, sum) <> (0, 0)";
    let mut statement = database.prepare(sql).unwrap();
    let read =
        |row: &rusqlite::Row<'_>| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), (row.get(3)?, row.get(4)?)));
    statement.query_map([], read).unwrap().map(Result::unwrap).collect()
}

/// The same, counted from the records.
pub(crate) fn recounted(database: &rusqlite::Connection) -> BTreeMap<(i64, i64, i64), (i64, i64)> {
    let sql = "SELECT tenant, domain, scope, key, version FROM record WHERE NOT deleted";
    let mut statement = database.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut digests: BTreeMap<_, (i64, i64)> = BTreeMap::new();
    while let Some(row) = rows.next().unwrap() {
        let at = (row.get_unwrap(0), row.get_unwrap(1), row.get_unwrap(2));
        let (key, version): (Vec<u8>, i64) = (row.get_unwrap(3), row.get_unwrap(4));
        let part = part(Uuid::from_slice(&key).unwrap(), version.unsigned_abs());
        let (count, sum) = digests.entry(at).or_default();
        (*count, *sum) = (*count + 1, sum.wrapping_add(part.cast_signed()));
    }
    digests
}

#[tokio::test]
async fn en13_a_store_from_before_there_were_digests_is_counted_once() {
    let sqlite = Sqlite::new();
    let world = World::new(&sqlite).await;
    let edits =
        (0..600).map(|n| Edit::create(n, [Scope::Tenant, world.user(), world.unit()][n as usize % 3]));
    world.edit(edits.collect()).await;
    world.edit(vec![Edit::delete(7, world.user()), Edit::update(8, Scope::Tenant, 2)]).await;
    world.store.close().await;
    let database = rusqlite::Connection::open(sqlite.path()).unwrap();
    let before = digests(&database);
    assert_eq!(before, recounted(&database));
    database.execute_batch("DELETE FROM digest; DELETE FROM meta WHERE key = 'digests';").unwrap();
    sqlite.open().await.close().await;
    assert_eq!((before.len(), digests(&database)), (3, before));
    // Once: what stands is not counted again.
    database.execute("UPDATE digest SET count = 1000", []).unwrap();
    sqlite.open().await.close().await;
    assert!(digests(&database).values().all(|(count, _)| *count == 1000));
}

/// The child may write no file beyond 1 MiB, which a disk that is full looks like.
#[tokio::test]
async fn a_full_disk_is_unavailable_and_loses_nothing() {
    let sqlite = Sqlite::new();
    let limited =
        "trap '' XFSZ; ulimit -f 1024; exec \"$0\" --exact store::sqlite::child_on_a_full_disk --ignored";
    let output = std::process::Command::new("bash")
        .args(["-c", limited, std::env::current_exe().unwrap().to_str().unwrap()])
        .env(FOLDER, &sqlite.folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let world = World::new(&sqlite).await;
    let head = world.me.place.head.seq;
    let told: u64 = std::fs::read_to_string(sqlite.folder.join("head")).unwrap().parse().unwrap();
    assert_eq!(head, told);
    assert_eq!(world.edit(vec![Edit::create(0, Scope::Tenant)]).await.head.seq, head + 1);
}

#[tokio::test]
#[ignore = "run by the test above, with a limit on files"]
async fn child_on_a_full_disk() {
    let Some(sqlite) = Sqlite::of_the_parent() else { return };
    let world = World::new(&sqlite).await;
    let mut head = 0;
    let error = loop {
        let body = data(json!({"text": "x".repeat(10_000)}));
        let edit = Edit { data: body, ..Edit::create(u128::from(head) + 1, Scope::Tenant) };
        match world.try_edit(vec![edit]).await {
            Ok(committed) => head = committed.head.seq,
            Err(error) => break error,
        }
    };
    assert!(head > 5 && matches!(error, CommitError::Unavailable(_)), "after {head}: {error}");
    assert_eq!(world.store.place(world.me.tenant).await.unwrap().head.seq, head);
    std::fs::write(sqlite.folder.join("head"), head.to_string()).unwrap();
    world.store.close().await;
}
