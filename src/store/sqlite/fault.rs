//! What goes wrong in the writer and the readers, and how the store tells its callers.

use std::any::Any;

use rusqlite::ErrorCode;

use super::codec::{TooLarge, Unreadable};
use super::damage;
use crate::store::{CommitError, StoreError};

/// Why a transaction of the writer failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("{}", damage::with_advice(.0, damage::was_met(.0)))]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// What is to be written does not fit what stands there.
    #[error("{0}")]
    Mismatch(String),
    /// The writer can do nothing now.
    #[error("{0}")]
    Stopped(&'static str),
}

impl Fault {
    /// What a panic becomes: whoever asked is guilty, the disk is not.
    pub(super) fn panicked(what: &str, panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Self::Mismatch(format!("{what} panicked: {}", text.unwrap_or("without a message")))
    }

    /// Whether what stands in the database file cannot be so.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Database(error) => damage::was_met(error),
            Self::Unreadable(_) => true,
            Self::TooLarge(_) | Self::Mismatch(_) | Self::Stopped(_) => false,
        }
    }

    /// What happened, without what to do about it.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Database(error) => error.to_string(),
            other => other.to_string(),
        }
    }

    /// Whether the fault lies with the disk or the database rather than with what was asked.
    fn is_unavailable(&self) -> bool {
        match self {
            Self::Stopped(_) => true,
            Self::Database(error) => error.sqlite_error_code().is_some_and(is_outage),
            Self::Unreadable(_) | Self::TooLarge(_) | Self::Mismatch(_) => false,
        }
    }
}

fn is_outage(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::OutOfMemory
            | ErrorCode::FileLockingProtocolFailed
    )
}

impl From<Fault> for CommitError {
    fn from(fault: Fault) -> Self {
        if fault.is_unavailable() {
            Self::Unavailable(fault.to_string())
        } else {
            Self::Refused(fault.to_string())
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unreadable(_) => Self::Corrupt(fault.to_string()),
            _ => Self::Unavailable(fault.to_string()),
        }
    }
}

impl From<Unreadable> for StoreError {
    fn from(error: Unreadable) -> Self {
        Self::Corrupt(error.to_string())
    }
}

impl From<TooLarge> for StoreError {
    fn from(error: TooLarge) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(damage::with_advice(&error, damage::was_read(&error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn answered(code: i32) -> CommitError {
        Fault::Database(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)).into()
    }

    #[test]
    fn only_what_a_batch_can_cause_is_refused() {
        for code in [
            ffi::SQLITE_FULL,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_CANTOPEN,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_BUSY_SNAPSHOT,
            ffi::SQLITE_CORRUPT,
        ] {
            assert!(matches!(answered(code), CommitError::Unavailable(_)), "{code}");
        }
        for code in [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_TOOBIG, ffi::SQLITE_MISMATCH] {
            assert!(matches!(answered(code), CommitError::Refused(_)), "{code}");
        }
    }
}
