//! The node as a whole: the only place that names concrete back ends.
//!
//! [`Node::start`] opens the store, wires the parts and listens; [`Node::stop`] goes in two stages, first
//! the devices, then the workers (invariant 12).

mod definitions;
mod new_epoch;
mod open;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::Semaphore;

use crate::auth::Verifier;
use crate::bus::Bus;
use crate::bus::local::LocalBus;
use crate::catalog::Catalog;
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::devices::{Acks, Deliveries, Registrar};
use crate::entropy::SharedEntropy;
use crate::http;
use crate::lifecycle;
use crate::limits::Limits;
use crate::observe::{Metrics, Traces};
use crate::push::{Feeds, Publisher, Throttle};
use crate::recorder::Recorder;
use crate::registry::{Command, Devices, GoAwayCause, Mailbox};
use crate::retention::{Removed, Retention};
use crate::session::{CursorKey, Deps, ReadPool};
use crate::store::StoreError;
use crate::sync::Engine;
use crate::tasks::Tasks;

pub use crate::store::sqlite::{Contents, Replaced, Restored};
pub use definitions::{DefinitionFile, definition_files, definitions};
pub use open::{backup, inspector, migrate, open_store, restore};

/// How many sessions are told to go each second at least, however long the drain may take.
const DRAIN_RATE: usize = 200;

/// How many digests with a filter are read at once: half of the store's readers, so that pages find one.
const DIGEST_SCANS: usize = 2;

/// A running node.
#[derive(Debug)]
pub struct Node {
    deps: Arc<Deps>,
    retention: Retention,
    tasks: Tasks,
    address: SocketAddr,
}

/// Runs a node until a signal or a fault ends it.
pub async fn serve(settings: Settings, clock: SharedClock, entropy: SharedEntropy) -> anyhow::Result<()> {
    let node = Node::start(settings, clock, entropy).await?;
    tracing::info!(address = %node.address(), "listening");
    let failed = tokio::select! {
        () = lifecycle::first_signal() => false,
        () = node.tasks.failed().cancelled() => true,
    };
    tokio::select! {
        () = node.stop() => {}
        () = lifecycle::second_signal() => tracing::warn!("a second signal: stopping at once"),
    }
    anyhow::ensure!(!failed, "a part of the hub died; the log above says which. Start it again.");
    Ok(())
}

impl Node {
    /// Opens everything and listens.
    pub async fn start(
        settings: Settings,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> anyhow::Result<Self> {
        let definitions = definitions(&settings)?;
        let verifier = Verifier::new(&settings.auth)?;
        let limits = Limits::new(settings.rates.clone(), Arc::clone(&clock))?;
        let store = open_store(&settings, &entropy).await?;
        let listener = http::bind(settings.listen).with_context(|| {
            format!("cannot listen on {}; is a hub running there already?", settings.listen)
        })?;
        let address = listener.local_addr()?;
        let (tasks, metrics) = (Tasks::default(), Metrics::new());
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::default());
        let catalog = Catalog::open(&definitions, store.as_ref()).await?;
        let (recorder, recorded_names) = Recorder::start(&settings.record, entropy.as_ref(), &tasks)?;
        let engine = Engine::start(
            Arc::clone(&store),
            (Arc::clone(&bus), recorder),
            Arc::clone(&clock),
            (&settings.commit, &settings.admission),
            metrics.clone(),
            &tasks,
        );
        let tail_bytes = settings.feed.tail_bytes;
        let traces =
            Traces::start(&settings.trace, Arc::clone(&clock), Arc::clone(&entropy), metrics.clone())?;
        let observed = (metrics.clone(), traces.clone());
        let feeds = Feeds::new(Arc::clone(&store), bus, tail_bytes, observed, tasks.clone());
        let throttle = Throttle::new(settings.push.per_minute);
        let publisher = Publisher {
            store: Arc::clone(&store),
            engine: engine.clone(),
            catalog: catalog.clone(),
            feeds: feeds.clone(),
            throttle: throttle.clone(),
            clock: Arc::clone(&clock),
            limits: settings.limits.clone(),
            settings: settings.push.clone(),
        };
        let deps = Arc::new(Deps {
            recorded_names,
            feeds,
            devices: Devices::default(),
            registrar: Registrar::start(Arc::clone(&store), metrics.clone(), &tasks),
            acks: Acks::default(),
            deliveries: Deliveries::default(),
            throttle,
            publisher,
            cursors: CursorKey::new(&store.cursor_key()),
            permits: Semaphore::new(settings.catch_up.permits),
            limits: Arc::clone(&limits),
            reading: ReadPool::default(),
            scans: Semaphore::new(DIGEST_SCANS),
            sessions: AtomicU64::new(1),
            store,
            engine,
            catalog,
            verifier,
            tasks: tasks.clone(),
            settings,
            clock,
            entropy,
            metrics,
            traces,
        });
        let flush = deps.acks.clone().run(
            Arc::clone(&deps.store),
            deps.settings.ack_flush(),
            tasks.finishing().clone(),
        );
        tasks.spawn_vital(flush);
        let flush = deps.deliveries.clone().run(
            Arc::clone(&deps.store),
            deps.settings.ack_flush(),
            tasks.finishing().clone(),
        );
        tasks.spawn_vital(flush);
        tasks.spawn_vital(limits.run(deps.metrics.clone(), tasks.finishing().clone()));
        tasks.spawn_vital(new_epoch::close_sessions(Arc::clone(&deps)));
        if let Some(keep) = deps.verifier.keep_keys(Arc::clone(&deps.clock), tasks.finishing().clone()) {
            tasks.spawn_vital(keep);
        }
        let retention = Retention::new(
            (Arc::clone(&deps.store), deps.feeds.clone()),
            Arc::clone(&deps.clock),
            deps.metrics.clone(),
            deps.settings.retention.clone(),
            tasks.finishing().clone(),
        );
        tasks.spawn_vital(retention.clone().run());
        let router = http::router(http::State {
            deps: Arc::clone(&deps),
            tasks: tasks.clone(),
            readiness: http::Readiness::default(),
        });
        let settings = deps.settings.limits.clone();
        let counts = (Arc::clone(&deps.limits), deps.metrics.clone());
        tasks.spawn(http::serve(listener, router, settings, counts, tasks.clone()));
        Ok(Self { deps, retention, tasks, address })
    }

    /// Where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the node's sessions share, for tests and tools in the same process.
    pub fn deps(&self) -> &Arc<Deps> {
        &self.deps
    }

    /// Removes what is past its time now, without waiting for the next run.
    pub async fn purge(&self) -> Result<Removed, StoreError> {
        self.retention.purge().await
    }

    /// Stops: accepts nothing more, tells the devices when to come back, finishes what is being
    /// committed, closes the store.
    pub async fn stop(&self) {
        self.tasks.stopping().cancel();
        self.drain().await;
        self.tasks.finishing().cancel();
        self.deps.engine.close();
        let finish = self.deps.settings.drain.finish();
        if tokio::time::timeout(finish, self.tasks.join()).await.is_err() {
            tracing::warn!("some connections did not end in time; closing the store under them");
        }
        self.deps.store.close().await;
        let traces = self.deps.traces.clone();
        // It blocks, for a bounded time.
        let _ = tokio::task::spawn_blocking(move || traces.stop()).await;
        tracing::info!("stopped");
    }

    /// Tells every session to go, evenly over the drain time, and waits until they are gone.
    async fn drain(&self) {
        let drain = &self.deps.settings.drain;
        let mailboxes = self.deps.devices.mailboxes();
        let pace = drain.pace().min(Duration::from_secs((mailboxes.len() / DRAIN_RATE) as u64));
        let pause = pace.checked_div(u32::try_from(mailboxes.len()).unwrap_or(u32::MAX)).unwrap_or_default();
        if !mailboxes.is_empty() {
            tracing::info!(
                sessions = mailboxes.len(),
                seconds = pace.as_secs(),
                "telling devices to come back later"
            );
        }
        for mailbox in &mailboxes {
            self.tell_to_go(mailbox);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        if tokio::time::timeout(drain.finish(), self.see_off()).await.is_err() {
            tracing::warn!("some sessions did not end in time");
        }
    }

    /// Waits until no session is left; one that joined late is told too.
    async fn see_off(&self) {
        loop {
            let mailboxes = self.deps.devices.mailboxes();
            if mailboxes.is_empty() {
                return;
            }
            for mailbox in &mailboxes {
                self.tell_to_go(mailbox);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn tell_to_go(&self, mailbox: &Mailbox) {
        let reconnect_after_ms = self.deps.reconnect_after_ms();
        mailbox.command(Command::GoAway { cause: GoAwayCause::ShuttingDown, reconnect_after_ms });
    }
}
