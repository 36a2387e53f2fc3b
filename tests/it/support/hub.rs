//! A hub in this process, on a free port, with a store and a clock of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use synchub::app::Node;
use synchub::auth::{Grant, Role, Signer};
use synchub::clock::{Clock as _, ManualClock};
use synchub::config::{RateSettings, Secret, Settings};
use synchub::entropy::SeededEntropy;
use synchub::store::Store;
use tempfile::TempDir;

/// Where the clock of a test hub stands: 2026-01-01T00:00:00Z.
pub(crate) const NOW_US: i64 = 1_767_225_600_000_000;

/// A hub that is to be started.
pub(crate) struct HubBuilder {
    settings: Settings,
    folder: Option<TempDir>,
    definitions: Vec<(String, String)>,
    seed: u64,
}

/// A running hub; its folder is removed with it.
pub(crate) struct Hub {
    pub(crate) node: Node,
    pub(crate) clock: Arc<ManualClock>,
    signer: Signer,
    folder: TempDir,
    settings: Settings,
}

impl Hub {
    /// A hub with the settings of a fresh start.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).start().await
    }

    /// A hub with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut Settings)) -> HubBuilder {
        let mut settings = Settings { listen: ([127, 0, 0, 1], 0).into(), ..Settings::default() };
        settings.auth.hs256_secret = Some(Secret::new("a test secret of more than 32 bytes, for all hubs"));
        // The clock of a test hub stands still: no rate would ever fill up again.
        settings.rates = RateSettings::unlimited();
        settings.feed.position_ms = 50;
        settings.drain.secs = 1;
        settings.drain.finish_secs = 1;
        if let Ok(bytes) = std::env::var("SYNCHUB_TEST_TAIL_BYTES") {
            settings.feed.tail_bytes = bytes.parse().unwrap();
        }
        change(&mut settings);
        HubBuilder { settings, folder: None, definitions: Vec::new(), seed: 1 }
    }

    /// The address of the socket.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.node.address())
    }

    /// The address of the HTTP port.
    pub(crate) fn http(&self) -> String {
        format!("http://{}", self.node.address())
    }

    /// The store under the hub.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.node.deps().store
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("synchub.db")
    }

    /// A token of a device of this user, good for an hour from now; `change` makes it another one.
    pub(crate) fn token(&self, tenant: &str, user: &str, change: impl FnOnce(&mut Grant)) -> String {
        let mut grant = Grant::new(tenant, user, Role::Device);
        grant.ttl_secs = 3600;
        change(&mut grant);
        self.signer.sign(&grant, self.clock.now_us()).unwrap()
    }

    /// Stops the hub in good order and starts it again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.restart_after(|_| {}).await
    }

    /// The same; `change` may touch the folder while no hub runs on it.
    pub(crate) async fn restart_after(self, change: impl FnOnce(&Path)) -> Self {
        self.node.stop().await;
        change(self.folder.path());
        self.let_go().start().await
    }

    /// Lets go of a node that has ended: what is to be started on its folder again.
    pub(crate) fn let_go(self) -> HubBuilder {
        let folder = Some(self.folder);
        HubBuilder { settings: self.settings, folder, definitions: Vec::new(), seed: 1 }
    }

    /// What `/metrics` says of a series, such as `synchub_batches_total`.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = self.node.deps().metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{text}")).parse().unwrap()
    }

    /// Catch-ups of live sessions that had lost what was queued for them.
    pub(crate) fn slow_readers(&self) -> u64 {
        self.metric("synchub_catch_ups_total{cause=\"slow_reader\"}")
    }

    /// The acknowledged place of a device, as far as it is written.
    pub(crate) async fn acked(&self, user: &str, device: &str) -> u64 {
        let rows = self.store().find_devices("acme", Some(user), Some(device)).await.unwrap();
        rows[0]["acked"].as_u64().unwrap()
    }

    /// Stops the hub in good order.
    pub(crate) async fn stop(self) {
        self.node.stop().await;
    }
}

impl HubBuilder {
    /// Adds a definition file for all tenants (`NAME.toml`) or for one (`TENANT/NAME.toml`).
    pub(crate) fn definition(mut self, path: &str, text: &str) -> Self {
        self.definitions.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Other randomness, and with it another key for cursors.
    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(crate) async fn start(mut self) -> Hub {
        let folder = self.folder.take().unwrap_or_else(|| TempDir::new().unwrap());
        self.settings.data_dir = folder.path().to_owned();
        let domains = folder.path().join("domains");
        for (path, text) in &self.definitions {
            let path = domains.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        if domains.exists() {
            self.settings.domains_dir = Some(domains);
        }
        let clock = ManualClock::at(NOW_US);
        let signer = Signer::new(&self.settings.auth).unwrap();
        let entropy = SeededEntropy::new(self.seed);
        let node = Node::start(self.settings.clone(), clock.clone(), entropy).await.unwrap();
        Hub { node, clock, signer, folder, settings: self.settings }
    }
}
