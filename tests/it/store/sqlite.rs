//! The contract on SQLite, and what only a store in a folder can be asked.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use synchub::store::Store;
use synchub::store::sqlite::{OpenError, SqliteOptions, SqliteStore, migrate};
use synchub_rules::record::Scope;
use tempfile::TempDir;

use super::contract::{Backend, Edit, World, contract};

pub(crate) struct Sqlite(TempDir);

impl Sqlite {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("synchub.db")
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
