//! What a client is started with.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use synchub_protocol::Encoding;
use synchub_protocol::client::{Device, Subscription};
use uuid::Uuid;

use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::storage::{MemoryStorage, Storage};

/// What a client is started with. [`Config::new`] gives defaults for everything but the first three.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Config {
    /// The hub's socket, such as `ws://127.0.0.1:8480/ws`.
    pub url: String,
    /// Where tokens come from.
    pub token: Arc<dyn TokenSource>,
    /// The device. Its `install_id` is filled in by the client.
    pub device: Device,
    /// Whether the client is a service with a token of a publisher or an operator: it has no device, publishes,
    /// edits nothing, and the hub keeps nothing for it while it is away. False by default.
    pub is_service: bool,
    /// How frames are written. `MessagePack` by default.
    pub encoding: Encoding,
    /// What the client wants to be sent. Nothing by default.
    pub subscriptions: Vec<Subscription>,
    /// Where copy and outbox survive a restart. In memory by default: they do not.
    pub storage: Box<dyn Storage>,
    /// Where the install's id lives. In the storage by default.
    pub install: Install,
    /// Whether the token goes into `hello` and not into the upgrade's `Authorization` header.
    pub token_in_hello: bool,
    /// How long to wait before coming back. 0.5 s doubling up to 60 s by default.
    pub backoff: Backoff,
    /// How long to wait where the hub wants a pause (4504, 4505, 4507). 60 s by default.
    pub long_pause: Duration,
    /// How long the dial may take, and then the welcome. 20 s by default.
    pub connect_timeout: Duration,
    /// The heartbeat to ask for, in seconds (10 to 300). The hub's choice by default.
    pub heartbeat_secs: Option<u64>,
    /// How often at most the hub is told what is stored. 1 s by default.
    pub ack_every: Duration,
    /// How long accepted edits are kept for a hub that lost them (R2). 24 h by default; zero keeps none.
    pub keep_accepted: Duration,
    /// Whether frames may be compressed with gzip, both ways. True by default.
    pub compression: bool,
    /// Whether changes may come as the fields that changed, where that is less. True by default.
    pub delta: bool,
    /// How many events a slow listener may fall behind before it misses some. 1024 by default.
    pub event_capacity: usize,
    /// The largest message taken from the hub, in bytes. 16 MiB by default.
    pub max_message_bytes: usize,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Config {
    /// A configuration with defaults for everything else.
    pub fn new(url: impl Into<String>, token: Arc<dyn TokenSource>, device: Device) -> Self {
        Self {
            url: url.into(),
            token,
            device,
            is_service: false,
            encoding: Encoding::MessagePack,
            subscriptions: Vec::new(),
            storage: Box::new(MemoryStorage::default()),
            install: Install::InStorage,
            token_in_hello: false,
            backoff: Backoff::default(),
            long_pause: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(20),
            heartbeat_secs: None,
            ack_every: Duration::from_secs(1),
            keep_accepted: Duration::from_hours(24),
            compression: true,
            delta: true,
            event_capacity: 1024,
            max_message_bytes: 16 << 20,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("url", &self.url)
            .field("device", &self.device)
            .field("encoding", &self.encoding)
            .finish_non_exhaustive()
    }
}

/// Where the install's id lives (O4). It names this installation of the app; under it edits are numbered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Install {
    /// In the storage. A storage restored from a backup is noticed when the hub knows more numbers than it.
    #[default]
    InStorage,
    /// In a place that no backup reaches (a keychain, say), from which the app took it, or where it has put
    /// a new one when it found none. A storage that was numbered under another install is a restored one:
    /// what waits in it goes out under its old install and numbers, new edits under this one.
    KeptApart(Uuid),
}

/// How long to wait before coming back: a random time of up to `first`, doubling with each failure up to
/// `most` ("full jitter", so that a thousand devices do not come back at once).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest first wait.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), most: Duration::from_mins(1) }
    }
}

impl Backoff {
    /// How long to wait after this many failures (0: the first).
    pub fn delay(&self, failures: u32, entropy: &dyn Entropy) -> Duration {
        let ceiling = self.first.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
        entropy.up_to(ceiling.min(self.most))
    }
}

/// Why there is no token now.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no token: {0}")]
pub struct TokenError(pub String);

/// Where tokens come from. It is asked at each connect, so that it may give a fresh one; when the hub
/// refuses a token and the source gives the same again, the client stops.
///
/// A `String` is a source that always gives itself; so is any `Fn() -> impl Future<Output = Result<String,
/// TokenError>>`.
pub trait TokenSource: Send + Sync {
    /// A token. An error is taken as temporary: the client asks again after its backoff.
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>>;
}

impl TokenSource for String {
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>> {
        Box::pin(std::future::ready(Ok(self.clone())))
    }
}

impl<F, T> TokenSource for F
where
    F: Fn() -> T + Send + Sync,
    T: Future<Output = Result<String, TokenError>> + Send + 'static,
{
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>> {
        Box::pin(self())
    }
}
