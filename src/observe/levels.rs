//! What is looked at when somebody asks for the numbers, instead of being counted all the time.

use super::labels::{QueueKind, StoreFile};

/// How full the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// The queues.
    pub queues: [(QueueKind, QueueLevel); 2],
    /// Entries that wait to be committed.
    pub waiting_entries: usize,
    /// The engine's load, in percent.
    pub load_percent: u64,
    /// The store's files, in bytes.
    pub store_files: [(StoreFile, u64); 2],
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueLevel {
    /// About how many bytes wait.
    pub bytes: u64,
    /// How long the oldest has waited, in microseconds.
    pub age_us: i64,
}
