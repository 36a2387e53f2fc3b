//! The data folder: its lock, the migrations, and how the writer's connection is set up.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::codec;
use super::copies;
use super::damage;
use super::digests;
use super::fault::Fault;
use super::restore;

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// More than the writer has distinct statements.
const CACHED_STATEMENTS: usize = 64;

/// WAL with a flush at every commit (invariant 1). 20,000 pages of 4 KiB between checkpoints keep the disk busy
/// with new pages rather than with the same ones again; the operating system's cache stands behind ours.
const PRAGMAS: &str = "
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 20000;
    PRAGMA cache_size = -16000;
    PRAGMA temp_store = MEMORY;
    PRAGMA foreign_keys = OFF;";

/// How often a folder that is in use is tried again: a hub that is just ending, or a child process between
/// its fork and its exec, lets go of it at once.
const LOCK_RETRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data folder.
    #[error("{path} is in use by another hub; stop it, or give this one a data folder of its own")]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder or the lock file cannot be made or opened.
    #[error("cannot use the data folder {path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The tables could not be brought up to date.
    #[error("cannot bring the tables of {path} up to date: {source}")]
    Migrate {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: MigrateError,
    },
    /// The database file cannot be opened or read.
    #[error("cannot open {path}: {why}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The database file is damaged.
    #[error(
        "{path} is damaged: {why}. Keep a copy of the data folder, then put the newest backup in its place: \
         synchub restore BACKUP --data-dir {folder}"
    )]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// The data folder.
        folder: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl OpenError {
    pub(super) fn database(path: &Path, why: &impl ToString) -> Self {
        Self::Database { path: path.to_owned(), why: why.to_string() }
    }

    pub(super) fn fault(path: &Path, fault: impl Into<Fault>) -> Self {
        let fault = fault.into();
        if fault.is_damage() { Self::damaged(path, &fault.cause()) } else { Self::database(path, &fault) }
    }

    fn damaged(path: &Path, why: &impl ToString) -> Self {
        let folder = copies::folder_of(path).to_owned();
        Self::Damaged { path: path.to_owned(), folder, why: why.to_string() }
    }

    fn migrating(path: &Path, source: MigrateError) -> Self {
        if damage::was_migrated(&source) {
            return Self::damaged(path, &source);
        }
        Self::Migrate { path: path.to_owned(), source }
    }

    pub(super) fn connecting(path: &Path, error: &sqlx::Error) -> Self {
        if damage::was_read(error) { Self::damaged(path, error) } else { Self::database(path, error) }
    }
}

/// Brings the tables of a store up to date, and makes them where there are none. Refuses while a hub runs.
pub async fn migrate(path: &Path) -> Result<(), OpenError> {
    let _lock = lock_folder(path)?;
    restore::finish(path)?;
    run_migrations(path).await?;
    let counted = Connection::open(path).map_err(Fault::from).and_then(|mut c| digests::count_once(&mut c));
    counted.map_err(|fault| OpenError::fault(path, fault))
}

/// Takes the data folder for this process; let go when the file is dropped, whatever ends the process.
pub(super) fn lock_folder(database: &Path) -> Result<File, OpenError> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).to_owned();
    let open = || {
        std::fs::create_dir_all(&folder)?;
        OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))
    };
    let file = open().map_err(|source| OpenError::Folder { path: folder.clone(), source })?;
    let mut left = LOCK_RETRIES;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if left == 0 => return Err(OpenError::InUse { path: folder }),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(OpenError::Folder { path: folder, source }),
        }
        left -= 1;
    }
}

pub(super) async fn run_migrations(path: &Path) -> Result<(), OpenError> {
    if let Some(why) = damage::emptied(path) {
        return Err(OpenError::damaged(path, &why));
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(4096)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
    let pool = pool.map_err(|error| OpenError::connecting(path, &error))?;
    MIGRATOR.run(&pool).await.map_err(|source| OpenError::migrating(path, source))?;
    pool.close().await;
    Ok(())
}

/// What a store keeps about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    pub(super) epoch: u64,
    pub(super) cursor_key: [u8; 32],
}

/// Opens the writer's connection; a new store becomes epoch 0 with the given cursor key.
pub(super) fn open_writer(path: &Path, new_key: [u8; 32]) -> Result<(Connection, Identity), OpenError> {
    let open = || {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(PRAGMAS)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        let found =
            "INSERT INTO meta (key, value) VALUES ('epoch', 0), ('cursor_key', ?1) ON CONFLICT DO NOTHING";
        connection.execute(found, [&new_key[..]])?;
        let epoch = meta(&connection, "epoch")?.unwrap_or(0);
        let key: Vec<u8> = meta(&connection, "cursor_key")?.unwrap_or_default();
        Ok((connection, epoch, key))
    };
    let (connection, epoch, key) = open().map_err(|error: rusqlite::Error| OpenError::fault(path, error))?;
    let epoch = codec::from_db(epoch).map_err(|error| OpenError::fault(path, error))?;
    let cursor_key = codec::array("the cursor key", &key).map_err(|error| OpenError::fault(path, error))?;
    Ok((connection, Identity { epoch, cursor_key }))
}

fn meta<T: rusqlite::types::FromSql>(connection: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}
