//! Tells a damaged database file from other faults, and says what to do about it.
//!
//! It never repairs anything: a damaged file is kept as it is, and a backup takes its place.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use rusqlite::ErrorCode;
use sqlx::migrate::MigrateError;

use super::copies;

/// What stands behind the cause in the log and in the answer of readiness.
const ADVICE: &str = "the database file is damaged: stop the hub, keep its data folder, and put a backup in its place \
                      with `synchub restore`";
/// SQLite's codes for a file that contradicts itself, and for one that is no database.
const CODES: [i32; 2] = [11, 26];

/// Whether the writer met damage.
pub(super) fn was_met(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether a reader met damage.
pub(super) fn was_read(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    // The low byte is the kind, what stands above says where.
    code.and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| CODES.contains(&(code & 0xff)))
}

/// Whether it was met while the tables were brought up to date.
pub(super) fn was_migrated(error: &MigrateError) -> bool {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => was_read(error),
        _ => false,
    }
}

/// An error with what to do behind it, if it comes from damage.
pub(super) fn with_advice(error: &impl Display, is_damage: bool) -> String {
    if is_damage { format!("{error}; {ADVICE}") } else { error.to_string() }
}

/// What is wrong with a file that SQLite would take for a new database, throwing away the log beside it.
pub(super) fn emptied(path: &Path) -> Option<&'static str> {
    let bytes = |path: &Path| fs::metadata(path).ok().map(|found| found.len());
    let log = bytes(&copies::with_suffix(path, "-wal")).unwrap_or(0);
    match bytes(path) {
        Some(0) => Some("it is empty (to begin with an empty store, remove it)"),
        None if log > 0 => Some("it is gone, and what was written last still stands beside it"),
        _ => None,
    }
}
