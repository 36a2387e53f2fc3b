//! What backing up and restoring share: what a store's file holds, and the names beside it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::schema::BUSY_TIMEOUT;

/// What a store's file holds, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Tenants.
    pub tenants: u64,
    /// Live records of all tenants.
    pub records: u64,
    /// The highest place of any tenant's log.
    pub head: u64,
    /// The history.
    pub epoch: u64,
    /// The file's size.
    pub bytes: u64,
}

/// Opens a store's file for reading; it must be there.
pub(super) fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Counts what a store holds.
pub(super) fn contents(connection: &Connection, path: &Path) -> rusqlite::Result<Contents> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    Ok(Contents {
        tenants: number("SELECT count(*) FROM tenant")?.cast_unsigned(),
        records: number("SELECT count(*) FROM record WHERE deleted = 0")?.cast_unsigned(),
        head: number("SELECT ifnull(max(seq), 0) FROM tenant")?.cast_unsigned(),
        epoch: number("SELECT value FROM meta WHERE key = 'epoch'")?.cast_unsigned(),
        bytes: fs::metadata(path).map_or(0, |found| found.len()),
    })
}

/// The path with something behind its name: `synchub.db` and `-wal`.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a file's contents, then its name, survive a loss of power.
pub(super) fn sync_file(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    sync_folder(folder_of(path))
}

/// Makes the names in a folder survive a loss of power.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes a database that is not to be kept, with what SQLite puts beside it.
pub(super) fn remove_database(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(with_suffix(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
