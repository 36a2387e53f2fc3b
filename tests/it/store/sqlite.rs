//! The contract on SQLite, and what only a store in a folder can be asked.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::json;
use synchub::store::sqlite::{OpenError, SqliteOptions, SqliteStore, migrate};
use synchub::store::{CommitError, Store};
use synchub_rules::record::Scope;
use tempfile::TempDir;

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
