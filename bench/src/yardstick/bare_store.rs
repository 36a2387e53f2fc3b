//! The bare store: the hub's own statements, one after the other, on one thread.

/// The hub's settings of SQLite.
pub(crate) const PRAGMAS: &str = "
    PRAGMA page_size = 4096;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA wal_autocheckpoint = 20000;
    PRAGMA cache_size = -16000;
    PRAGMA temp_store = MEMORY;
    PRAGMA foreign_keys = OFF;";
