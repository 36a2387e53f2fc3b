//! The node as a whole: the only place that names concrete back ends.
//!
//! [`Node::start`] opens the store, wires the parts and listens; [`Node::stop`] goes in two stages, first
//! the devices, then the workers (invariant 12).

mod definitions;
mod new_epoch;
mod open;
mod wiring;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use crate::auth::Verifier;
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::entropy::SharedEntropy;
use crate::http;
use crate::lifecycle;
use crate::limits::Limits;
use crate::registry::{Command, GoAwayCause, Mailbox};
use crate::retention::{Removed, Retention};
use crate::session::Deps;
use crate::store::StoreError;
use crate::tasks::Tasks;

pub use crate::store::sqlite::{Contents, Replaced, Restored};
pub use definitions::{DefinitionFile, definition_files, definitions};
pub use open::{backup, inspector, migrate, open_store, restore};

/// How many sessions are told to go each second at least, however long the drain may take.
const DRAIN_RATE: usize = 200;

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
        // What can be wrong with the settings shows before a file is touched.
        let definitions = definitions(&settings)?;
        let verifier = Verifier::new(&settings.auth)?;
        let limits = Limits::new(settings.rates.clone(), Arc::clone(&clock))?;
        let store = open_store(&settings, &entropy).await?;
        let listener = http::bind(settings.listen).with_context(|| {
            format!("cannot listen on {}; is a hub running there already?", settings.listen)
        })?;
        let address = listener.local_addr()?;
        let tasks = Tasks::default();
        let deps = wiring::wire((settings, definitions), (verifier, limits), (clock, entropy), store, &tasks)
            .await?;
        let retention = wiring::keep_up(&deps, &tasks);
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
