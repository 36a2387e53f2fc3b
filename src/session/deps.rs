//! What every session of a node shares.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::cursor::CursorKey;
use super::read_pool::ReadPool;
use crate::auth::Verifier;
use crate::catalog::Catalog;
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::devices::{Acks, Deliveries, Registrar};
use crate::entropy::SharedEntropy;
use crate::limits::Limits;
use crate::observe::{Metrics, Traces};
use crate::push::{Feeds, Publisher, Throttle};
use crate::recorder::Names;
use crate::registry::Devices;
use crate::store::Store;
use crate::sync::Engine;
use crate::tasks::Tasks;

/// What every session of a node shares.
#[derive(Debug)]
pub struct Deps {
    /// Everything durable.
    pub store: std::sync::Arc<dyn Store>,
    /// Decides batches.
    pub engine: Engine,
    /// What a recording has to know of sessions.
    pub recorded_names: Names,
    /// Changes going out.
    pub feeds: Feeds,
    /// Live sessions.
    pub devices: Devices,
    /// Opens sessions in the store.
    pub registrar: Registrar,
    /// Acknowledged places.
    pub acks: Acks,
    /// What happens to pushes.
    pub deliveries: Deliveries,
    /// How many pushes users are sent.
    pub throttle: Throttle,
    /// Does what services ask for.
    pub publisher: Publisher,
    /// The domains.
    pub catalog: Catalog,
    /// Reads tokens.
    pub verifier: Verifier,
    /// The node's tasks and the stages of its end.
    pub tasks: Tasks,
    /// The settings.
    pub settings: Settings,
    /// The time.
    pub clock: SharedClock,
    /// Chance.
    pub entropy: SharedEntropy,
    /// The numbers.
    pub metrics: Metrics,
    /// Traces of some batches.
    pub traces: Traces,
    /// Makes and reads cursors.
    pub cursors: CursorKey,
    /// Pages that may be read from the store at once.
    pub permits: Semaphore,
    /// How much one may ask for.
    pub limits: std::sync::Arc<Limits>,
    /// What incomplete messages hold.
    pub reading: ReadPool,
    /// Digests that may look at records at once.
    pub scans: Semaphore,
    /// How many sessions there have been.
    pub sessions: AtomicU64,
}

impl Deps {
    /// When a device is told to come back, in milliseconds: spread out by chance.
    pub(crate) fn reconnect_after_ms(&self) -> u64 {
        self.entropy.below(self.settings.drain.reconnect_ms + 1)
    }

    /// A number for a session, unique on this node.
    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}
