//! A hub that the load tester starts, kills and stops itself.
//!
//! Its data folder and its secret live as long as the value; its output goes to `hub.log` in that
//! folder. Dropping the value kills the process.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::chance::Chance;

/// How long a hub may take until it says that it is ready.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long a hub may take from SIGTERM to its end.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// Ports below those that systems give to outgoing connections: a client that tries to reach a hub
/// which is being restarted could otherwise be given the hub's own port, and hold it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// What a hub is started with beside its folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct HubOptions {
    pub(crate) binary: PathBuf,
    pub(crate) domains_dir: Option<PathBuf>,
    pub(crate) tail_bytes: Option<u64>,
    pub(crate) keep: bool,
    /// Further settings, as environment variables.
    pub(crate) settings: Vec<(&'static str, String)>,
}

/// Settings of a hub that holds nobody to a rate: what is measured lies behind the rates.
pub(crate) fn without_rates() -> Vec<(&'static str, String)> {
    const RATES: [&str; 13] = [
        "SYNCHUB_RATES_ADDRESS_CONNECTIONS",
        "SYNCHUB_RATES_ADDRESS_HELLOS",
        "SYNCHUB_RATES_DEVICE_HELLOS",
        "SYNCHUB_RATES_DEVICE_FRAMES",
        "SYNCHUB_RATES_DEVICE_ENTRIES",
        "SYNCHUB_RATES_DEVICE_BYTES",
        "SYNCHUB_RATES_USER_FRAMES",
        "SYNCHUB_RATES_USER_ENTRIES",
        "SYNCHUB_RATES_USER_BYTES",
        "SYNCHUB_RATES_TENANT_FRAMES",
        "SYNCHUB_RATES_TENANT_ENTRIES",
        "SYNCHUB_RATES_TENANT_BYTES",
        "SYNCHUB_RATES_TENANT_REPLAYED",
    ];
    RATES.map(|name| (name, "0".to_owned())).into()
}

/// A running hub.
#[derive(Debug)]
pub(crate) struct Hub {
    options: HubOptions,
    folder: TempDir,
    secret: String,
    address: SocketAddr,
    child: Option<Child>,
    /// The number of the process, for who watches it; 0 while there is none.
    process: Arc<AtomicU32>,
}

impl Hub {
    /// Starts a hub with an empty store and waits until it is ready.
    pub(crate) async fn start(options: HubOptions, chance: &Chance) -> Result<Self> {
        let mut folder =
            tempfile::Builder::new().prefix("synchub-loadtest-").tempdir().context("no temporary folder")?;
        folder.disable_cleanup(options.keep);
        let address = free_address()?;
        let secret = format!("{}{}", chance.uuid().simple(), chance.uuid().simple());
        let mut hub = Self { options, folder, secret, address, child: None, process: Arc::default() };
        hub.run().await?;
        Ok(hub)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of its process, while it runs.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// The same for who watches it; 0 while it does not run.
    pub(crate) fn watched(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.process)
    }

    /// The address of its socket endpoint.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }

    /// What it checks tokens with.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// Its data folder.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its database file.
    pub(crate) fn store(&self) -> PathBuf {
        self.data_dir().join("synchub.db")
    }

    /// Ends it without warning (SIGKILL).
    pub(crate) async fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("the hub is not running") };
        self.process.store(0, Ordering::Relaxed);
        if let Some(status) = child.try_wait()? {
            bail!("the hub ended by itself: {status}\n{}", self.last_words());
        }
        child.kill().await.context("the hub cannot be killed")
    }

    /// Starts it again on the same folder and port, and waits until it is ready.
    pub(crate) async fn run(&mut self) -> Result<()> {
        let child = self.spawn()?;
        self.process.store(child.id().unwrap_or(0), Ordering::Relaxed);
        self.child = Some(child);
        let deadline = Instant::now() + START_LIMIT;
        while !is_ready(self.address).await {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                bail!("the hub ended at its start: {}\n{}", status?, self.last_words());
            }
            if Instant::now() > deadline {
                bail!("the hub is not ready after {START_LIMIT:?}\n{}", self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits until it has; nothing when it was killed and not started again.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let id = child.id().context("the hub ended by itself")?;
        let asked = Command::new("kill").arg("-TERM").arg(id.to_string()).status().await;
        if !asked.context("`kill` cannot be run")?.success() {
            bail!("the hub could not be asked to end\n{}", self.last_words());
        }
        match tokio::time::timeout(STOP_LIMIT, child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
            Ok(status) => bail!("the hub ended badly: {}\n{}", status?, self.last_words()),
            Err(_) => bail!("the hub did not end within {STOP_LIMIT:?} of SIGTERM\n{}", self.last_words()),
        }
    }

    fn spawn(&self) -> Result<Child> {
        let mut command = Command::new(&self.options.binary);
        command.arg("serve").arg("--listen").arg(self.address.to_string());
        command.arg("--data-dir").arg(self.data_dir());
        command.env("SYNCHUB_AUTH_HS256_SECRET", &self.secret);
        if let Some(folder) = &self.options.domains_dir {
            command.env("SYNCHUB_DOMAINS_DIR", absolute(folder)?);
        }
        if let Some(bytes) = self.options.tail_bytes {
            command.env("SYNCHUB_FEED_TAIL_BYTES", bytes.to_string());
        }
        command.envs(self.options.settings.iter().map(|(name, value)| (name, value)));
        let log = self.open_log()?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        command.spawn().with_context(|| format!("{} cannot be started", self.options.binary.display()))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("hub.log")
    }

    fn open_log(&self) -> Result<File> {
        OpenOptions::new().create(true).append(true).open(self.log_path()).context("no log file for the hub")
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        format!("its last lines:\n{}", last.join("\n"))
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))
}

/// Two replays at once must not meet: while one restarts its hub, its port looks free to the other. So
/// each process begins at a place of its own, whatever its seed.
fn free_address() -> Result<SocketAddr> {
    let count = u32::from(PORTS.end - PORTS.start);
    for attempt in 0..count {
        let offset = (std::process::id().wrapping_mul(7919) % count + attempt) % count;
        let port = PORTS.start + u16::try_from(offset).unwrap_or(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port from {} to {}", PORTS.start, PORTS.end)
}

/// Whether a hub at this address says that it is ready.
async fn is_ready(address: SocketAddr) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /health/ready HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer.ends_with(b" 200"))
    };
    tokio::time::timeout(Duration::from_secs(2), ask).await.is_ok_and(|answer| answer.unwrap_or(false))
}

/// Waits until nothing listens at the authority of `url` any more, at most `limit`.
pub(crate) async fn wait_until_stopped(url: &str, limit: Duration) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default();
    let deadline = Instant::now() + limit;
    while TcpStream::connect(authority).await.is_ok() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A stand-in for the hub: a script that answers every connection with 200.
    fn script(folder: &Path, body: &str) -> HubOptions {
        let binary = folder.join("hub");
        std::fs::write(&binary, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
        HubOptions { binary, ..HubOptions::default() }
    }

    #[tokio::test]
    async fn a_hub_that_ends_at_its_start_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let options = script(folder.path(), "echo no such key; exit 3");
        let message = format!("{:#}", Hub::start(options, &Chance::new(1)).await.unwrap_err());
        assert!(message.contains("exit status: 3") && message.contains("no such key"), "{message}");
    }

    #[tokio::test]
    async fn a_binary_that_does_not_exist_is_named() {
        let options = HubOptions { binary: PathBuf::from("/nonexistent/synchub"), ..HubOptions::default() };
        let message = format!("{:#}", Hub::start(options, &Chance::new(1)).await.unwrap_err());
        assert!(message.contains("/nonexistent/synchub"), "{message}");
    }

    #[tokio::test]
    async fn a_stopped_hub_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        assert!(!wait_until_stopped(&url, Duration::from_millis(10)).await);
        drop(listener);
        assert!(wait_until_stopped(&url, Duration::from_secs(5)).await);
    }
}
