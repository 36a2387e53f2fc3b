//! A synchub client: copy, outbox, reconnect.

pub mod batches;
pub mod client;
pub mod clock;
pub mod config;
mod connection;
pub mod copy;
pub mod event;
pub mod outbox;
pub mod retry;
pub mod session;
mod shared;
pub mod storage;
mod ticket;

pub use client::{Client, StartError};
pub use clock::{Clock, Entropy, SystemClock, SystemEntropy};
pub use config::{Backoff, Config, Install, TokenError, TokenSource};
pub use copy::Reached;
pub use event::{Event, Stats};
pub use retry::{End, StopReason, Stopped};
pub use storage::{CopyRecord, MemoryStorage, SqliteStorage, Storage, StorageError};
pub use synchub_protocol as protocol;
pub use ticket::Ticket;
