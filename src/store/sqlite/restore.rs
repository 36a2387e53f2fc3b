//! Puts a backup in the place of the store, in an epoch above both (R1). Never while a hub has the folder.
//!
//! The backup is copied, checked and brought up to date beside the store. Then one rename says that it
//! counts; what is left to do, anybody who opens the store finishes. So a crash at any moment leaves the
//! old store or the new one, whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sqlx::migrate::MigrateError;

use super::copies::{self, Contents};
use super::fault::Fault;
use super::history;
use super::schema::{self, OpenError};

/// The copy of the backup while it is made ready.
const COPYING: &str = ".restoring";
/// The copy that counts: it is to take the store's place.
const READY: &str = ".restored";
/// Where replaced stores are kept, with a number behind it.
const ASIDE: &str = "replaced-";

/// A backup that was put in the store's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the store holds now; its epoch is the new one.
    pub contents: Contents,
    /// The epoch of the backup.
    pub backup_epoch: u64,
    /// The store that was replaced.
    pub replaced: Option<Replaced>,
}

/// A store that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The folder where it is kept, in the data folder.
    pub kept_in: PathBuf,
    /// Its epoch; none if it could not be read.
    pub epoch: Option<u64>,
}

/// Why a backup was not restored. The store is what it was before.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The folder is in use, or the store of the backup cannot be brought up to date.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The backup cannot be read, or the copy of it not be written.
    #[error("cannot restore {path}: {source}")]
    File {
        /// The file that could not be used.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is to be restored is the store itself.
    #[error("{path} is the store itself; name a file that `synchub backup` made")]
    Itself {
        /// The file.
        path: PathBuf,
    },
    /// The backup is no store, or damaged.
    #[error("{path} is no sound backup: {why}. Nothing was changed; try an older backup")]
    Unsound {
        /// The backup's file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The backup was made by a newer hub.
    #[error("{path} was made by a newer synchub; restore it with that version or a later one")]
    Newer {
        /// The backup's file.
        path: PathBuf,
    },
}

/// Whether a restore was interrupted after the backup had begun to count.
pub(super) fn is_unfinished(database: &Path) -> bool {
    copies::with_suffix(database, READY).exists()
}

/// Puts the backup `file` in the place of a database file, and keeps what was there.
pub async fn restore(database: &Path, file: &Path) -> Result<Restored, RestoreError> {
    let _lock = schema::lock_folder(database)?;
    finish(database)?;
    let copy = copies::with_suffix(database, COPYING);
    let prepared = prepare(database, file, &copy).await;
    let (contents, backup_epoch, epoch) = prepared.inspect_err(|_| {
        // What is left of the copy is of no use; the first error is the one that counts.
        drop(copies::remove_database(&copy));
    })?;
    let failed = |source| RestoreError::File { path: copy.clone(), source };
    fail::fail_point!("restore::prepared", |_| std::process::abort());
    fs::rename(&copy, copies::with_suffix(database, READY)).map_err(failed)?;
    copies::sync_folder(copies::folder_of(database)).map_err(failed)?;
    fail::fail_point!("restore::ready", |_| std::process::abort());
    let kept_in = finish(database)?;
    Ok(Restored { contents, backup_epoch, replaced: kept_in.map(|kept_in| Replaced { kept_in, epoch }) })
}

/// Makes a copy of the backup that can take the store's place; returns what it holds, the backup's epoch,
/// and the store's, where there is one that can be read.
async fn prepare(
    database: &Path,
    file: &Path,
    copy: &Path,
) -> Result<(Contents, u64, Option<u64>), RestoreError> {
    copy_backup(database, file, copy)?;
    fail::fail_point!("restore::copied", |_| std::process::abort());
    let unsound = |why: String| RestoreError::Unsound { path: file.to_owned(), why };
    let backup_epoch = check(copy).map_err(unsound)?;
    schema::run_migrations(copy).await.map_err(|error| match error {
        OpenError::Migrate { source: MigrateError::VersionMissing(_), .. } => {
            RestoreError::Newer { path: file.to_owned() }
        }
        other => other.into(),
    })?;
    fail::fail_point!("restore::migrated", |_| std::process::abort());
    let replaced_epoch = epoch_of(database).ok();
    let highest = kept(database).filter_map(|kept| epoch_of(&kept).ok()).chain(replaced_epoch).max();
    let epoch = highest.unwrap_or(0).max(backup_epoch) + 1;
    let contents = begin_epoch(copy, epoch).map_err(|fault| unsound(fault.to_string()))?;
    copies::sync_file(copy).map_err(|source| RestoreError::File { path: copy.to_owned(), source })?;
    Ok((contents, backup_epoch, replaced_epoch))
}

/// Copies the backup beside the store. A log of SQLite's beside it belongs to it.
fn copy_backup(database: &Path, file: &Path, copy: &Path) -> Result<(), RestoreError> {
    let failed = |path: &Path, source| RestoreError::File { path: path.to_owned(), source };
    let found = fs::canonicalize(file).map_err(|source| failed(file, source))?;
    if fs::canonicalize(database).is_ok_and(|store| store == found) {
        return Err(RestoreError::Itself { path: file.to_owned() });
    }
    copies::remove_database(copy).map_err(|source| failed(copy, source))?;
    fs::copy(file, copy).map_err(|source| failed(file, source))?;
    let log = copies::with_suffix(file, "-wal");
    if log.exists() {
        fs::copy(&log, copies::with_suffix(copy, "-wal")).map_err(|source| failed(&log, source))?;
    }
    let permissions = fs::metadata(database).or_else(|_| fs::metadata(copy));
    let permitted = permissions.and_then(|like| fs::set_permissions(copy, like.permissions()));
    permitted.map_err(|source| failed(copy, source))
}

/// Whether a file is a whole store; returns its epoch.
fn check(copy: &Path) -> Result<u64, String> {
    let check = || {
        let connection = Connection::open(copy)?;
        let faults = "SELECT group_concat(integrity_check, '; ')
                      FROM (SELECT integrity_check FROM pragma_integrity_check LIMIT 10)";
        let faults: String = connection.query_row(faults, [], |row| row.get(0))?;
        let key = "SELECT ifnull(max(length(value)), 0) FROM meta WHERE key = 'cursor_key'";
        let key_bytes: i64 = connection.query_row(key, [], |row| row.get(0))?;
        let epoch = copies::contents(&connection, copy)?.epoch;
        Ok((faults, key_bytes, epoch))
    };
    match check().map_err(|error: rusqlite::Error| error.to_string())? {
        (faults, ..) if faults != "ok" => Err(faults),
        (_, 32, epoch) => Ok(epoch),
        _ => Err("it has no key for cursors".to_owned()),
    }
}

fn begin_epoch(copy: &Path, epoch: u64) -> Result<Contents, Fault> {
    let connection = Connection::open(copy)?;
    history::write_epoch(&connection, epoch)?;
    let contents = copies::contents(&connection, copy)?;
    // The last one who closes empties SQLite's log: from here on the file alone is the store.
    connection.close().map_err(|(_, error)| error)?;
    if copies::with_suffix(copy, "-wal").exists() {
        return Err(Fault::Stopped("its write-ahead log could not be emptied"));
    }
    Ok(contents)
}

fn epoch_of(database: &Path) -> rusqlite::Result<u64> {
    let connection = copies::open_for_reading(database)?;
    let epoch = "SELECT value FROM meta WHERE key = 'epoch'";
    connection.query_row(epoch, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// The stores that were replaced before and are still there.
fn kept(database: &Path) -> impl Iterator<Item = PathBuf> {
    let name = database.file_name().unwrap_or_default().to_owned();
    let folders = fs::read_dir(copies::folder_of(database)).into_iter().flatten().flatten();
    let aside = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(ASIDE));
    aside.map(move |entry| entry.path().join(&name)).filter(|database| database.exists())
}

/// Finishes a restore whose backup counts already: moves the store aside and the backup into its place.
/// Each step may have been done before. Returns where the replaced store is, if one was moved now.
pub(super) fn finish(database: &Path) -> Result<Option<PathBuf>, OpenError> {
    let ready = copies::with_suffix(database, READY);
    if !ready.exists() {
        return Ok(None);
    }
    let folder = copies::folder_of(database);
    let finish = || {
        let aside = set_aside(database)?;
        fail::fail_point!("restore::aside", |_| std::process::abort());
        fs::rename(&ready, database)?;
        copies::sync_folder(folder)?;
        Ok(aside)
    };
    finish().map_err(|source| OpenError::Folder { path: folder.to_owned(), source })
}

/// Moves the store into a folder of its own, where it can still be looked into. SQLite's log goes first:
/// it must never stand beside another database.
fn set_aside(database: &Path) -> io::Result<Option<PathBuf>> {
    let name = database.file_name().unwrap_or_default();
    let folder = copies::folder_of(database);
    let numbered = (1_u32..).map(|number| folder.join(format!("{ASIDE}{number}")));
    let Some(aside) = { numbered }.find(|aside| !aside.join(name).exists()) else { return Ok(None) };
    if !database.exists() {
        copies::remove_database(database)?;
        return Ok(None);
    }
    fs::create_dir_all(&aside)?;
    let log = copies::with_suffix(database, "-wal");
    if log.exists() {
        fs::rename(&log, copies::with_suffix(&aside.join(name), "-wal"))?;
        fail::fail_point!("restore::log_aside", |_| std::process::abort());
    }
    fs::rename(database, aside.join(name))?;
    copies::remove_database(database)?;
    copies::sync_folder(&aside)?;
    Ok(Some(aside))
}
