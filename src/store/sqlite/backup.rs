//! A copy of the whole store in one file, as it stood at one moment, while a hub may be running on it.
//!
//! It reads like any other reader: the hub goes on committing. The file gets its name only when it is
//! whole and on the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::copies::{self, Contents};
use super::restore;

/// Why a store was not backed up. No file of the wanted name was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to back up.
    #[error("there is no store at {path}; say with --data-dir where the hub has its data")]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A restore was interrupted, and what counts is not what stands there.
    #[error(
        "a restore of {path} was interrupted; run `synchub restore` again, or start the hub, to finish it"
    )]
    Unfinished {
        /// The database file.
        path: PathBuf,
    },
    /// The backup's file is there already.
    #[error("{path} is there already, and a backup never overwrites anything; give another name")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The store cannot be read, or the copy not be written.
    #[error("cannot back up {path}: {source}")]
    Database {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The copy cannot be brought under its name.
    #[error("cannot write the backup {path}: {source}")]
    File {
        /// The backup's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Copies the store of a database file into `file`, and says what the copy holds. Blocks until the copy is
/// on the disk.
pub fn backup(database: &Path, file: &Path) -> Result<Contents, BackupError> {
    if restore::is_unfinished(database) {
        return Err(BackupError::Unfinished { path: database.to_owned() });
    }
    if !database.exists() {
        return Err(BackupError::NoStore { path: database.to_owned() });
    }
    refuse_to_overwrite(file)?;
    let part = copies::with_suffix(file, ".part");
    let failed = |source| BackupError::File { path: file.to_owned(), source };
    copies::remove_database(&part).map_err(failed)?;
    let done = write(database, &part).and_then(|contents| {
        refuse_to_overwrite(file)?;
        name(database, &part, file).map_err(failed)?;
        Ok(contents)
    });
    if done.is_err() {
        // What is left of the copy is of no use; the first error is the one that counts.
        drop(copies::remove_database(&part));
    }
    done
}

fn refuse_to_overwrite(file: &Path) -> Result<(), BackupError> {
    if file.symlink_metadata().is_ok() { Err(BackupError::Exists { path: file.to_owned() }) } else { Ok(()) }
}

fn write(database: &Path, part: &Path) -> Result<Contents, BackupError> {
    let copy = || {
        let connection = copies::open_for_reading(database)?;
        connection.execute("VACUUM INTO ?1", [part.to_string_lossy()])?;
        copies::contents(&copies::open_for_reading(part)?, part)
    };
    copy().map_err(|source| BackupError::Database { path: database.to_owned(), source })
}

/// The copy is as secret as the store: who may not read the one may not read the other.
fn name(database: &Path, part: &Path, file: &Path) -> io::Result<()> {
    fs::set_permissions(part, fs::metadata(database)?.permissions())?;
    copies::sync_file(part)?;
    fail::fail_point!("backup::written", |_| std::process::abort());
    fs::rename(part, file)?;
    copies::sync_folder(copies::folder_of(file))
}
