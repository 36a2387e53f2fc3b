//! A client of the synchub hub: a copy of what the hub holds, an outbox of what was edited here, and a
//! connection that comes back by itself.
//!
//! ```no_run
//! use std::sync::Arc;
//! use synchub_client::protocol::client::{Device, Subscription};
//! use synchub_client::protocol::{Data, DeviceKind};
//! use synchub_client::{Client, Config, SqliteStorage};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device {
//!     id: "my-phone".to_owned(),
//!     kind: DeviceKind::Phone,
//!     install_id: None,
//!     name: None,
//!     os: None,
//!     app_version: None,
//! };
//! let mut config = Config::new("ws://127.0.0.1:8480/ws", Arc::new("a token".to_owned()), device);
//! config.storage = Box::new(SqliteStorage::open("app.db")?);
//! config.subscriptions = vec![Subscription { domain: "task".to_owned(), filter: None, priority: None }];
//! let client = Client::start(config).await?;
//!
//! let task = client.create("task", Data::from_iter([("title".to_owned(), "Say hello".into())]));
//! let shown = client.shown("task", task.mobile_id()); // at once, offline too
//! let result = task.await?; // when the hub has decided, after any number of reconnects
//! # Ok(()) }
//! ```
//!
//! # What an app does
//! - It shows [`Client::shown`]: the hub's record with the user's own edits on top. [`Client::record`] is
//!   the hub's record alone.
//! - It edits with [`Client::create`], [`Client::edit`] and [`Client::delete`], online or not. Each gives a
//!   [`Ticket`]; [`Ticket::stored`] says when the edit survives a kill, the ticket itself what became of it.
//! - It listens to [`Client::events`] to know what to draw again.
//! - Pushes of services come as events too: [`Event::Message`], [`Event::SyncTrigger`],
//!   [`Event::ConflictAlert`]. A service itself publishes with [`Client::publish`].
//! - What is not urgent may wait: [`Client::set_device_state`] and a subscription's priority say so,
//!   [`Event::HeldBack`] and [`Client::catch_up`] are about what was held back.
//! - It may prove with [`Client::compare`] that its copy holds what the hub holds.
//! - It gives a [`TokenSource`] that fetches a fresh token, and acts on [`Event::Stopped`].
//!
//! One storage belongs to one account: an app used by several accounts starts a client for each.
//!
//! # How it works, for whoever writes a client in another language
//! The whole protocol of a client is: say `hello` with what you subscribe to and the last cursor you
//! stored; take snapshot records as they are and data frames by version into the copy; store each cursor
//! together with the copy; send what is in the outbox; take out what was answered. Read in this order:
//!
//! 1. [`copy`]: how frames change the copy (C3, C4, C6). The marks of a running snapshot are stored with
//!    the cursor, so that a broken one goes on.
//! 2. [`outbox`]: edits are numbered when they are made (O2). A `welcome` says how far the hub has decided;
//!    what waits above is numbered anew, what it forgot goes again (R2), and a storage that came from a
//!    backup is noticed (O4). Answers are shown on top of the copy until the copy has them (C7).
//! 3. [`batches`]: what goes into one `sync` frame, when, and what a refusal means (O1, O2, O3).
//! 4. [`session`]: these three as one state. Frames go in; frames to send and outcomes come out.
//! 5. [`storage`]: what survives a restart, and that a group of changes is one transaction (C1).
//! 6. [`retry`]: when to come back, and when not to.
//! 7. The loop around: read, apply, store, tell, send, in this order. Nothing is sent that is not stored:
//!    an entry whose number could be given again after a kill would be lost as a duplicate, and an
//!    acknowledged cursor that was not stored would lose changes.

pub mod client;
pub mod compare;
pub mod config;
pub mod event;
pub mod publish;

pub mod batches;
pub mod copy;
pub mod outbox;
pub mod retry;
pub mod session;
pub mod storage;

pub mod clock;
mod connection;
mod shared;
mod ticket;
pub mod traffic;

#[cfg(test)]
mod testing;

pub use client::{Client, StartError};
pub use clock::{Clock, Entropy, SystemClock, SystemEntropy};
pub use compare::{CompareError, Comparison};
pub use config::{Backoff, Config, Install, TokenError, TokenSource};
pub use copy::Reached;
pub use event::{Event, Stats};
pub use publish::{Publication, PublishError};
pub use retry::{End, StopReason, Stopped};
pub use session::DeviceState;
pub use storage::{CopyRecord, MemoryStorage, SqliteStorage, Storage, StorageError};
pub use synchub_protocol as protocol;
pub use ticket::Ticket;
pub use traffic::{Flow, Traffic};
