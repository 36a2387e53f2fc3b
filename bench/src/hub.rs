//! The hub as it is measured: its release binary in a process of its own, with limits that do not bite.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use uuid::Uuid;

use crate::connection::Connection;
use crate::frames::{self, Kind};
use crate::process::{Place, Scheduling, Server};
use crate::token;

/// What tokens are signed with; the hub listens on this machine alone and lives for seconds.
pub(crate) const SECRET: &str = "the secret of a benchmark, known to all who read it";
/// How many connections are opened at once.
pub(crate) const AT_ONCE: usize = 200;

/// The domain files of the benchmarks.
const DOMAINS: [(&str, &str); 2] = [
    ("note.toml", include_str!("../domains/note.toml")),
    ("diary.toml", include_str!("../domains/diary.toml")),
];

/// A variable of the hub's environment.
pub(crate) type Setting = (&'static str, &'static str);

/// Limits that are there to hold off who asks for as much as a benchmark does.
const WITHOUT_LIMITS: [Setting; 17] = [
    ("SYNCHUB_RATES_ADDRESS_CONNECTIONS", "0"),
    ("SYNCHUB_RATES_ADDRESS_HELLOS", "0"),
    ("SYNCHUB_RATES_DEVICE_HELLOS", "0"),
    ("SYNCHUB_RATES_DEVICE_FRAMES", "0"),
    ("SYNCHUB_RATES_DEVICE_ENTRIES", "0"),
    ("SYNCHUB_RATES_DEVICE_BYTES", "0"),
    ("SYNCHUB_RATES_USER_FRAMES", "0"),
    ("SYNCHUB_RATES_USER_ENTRIES", "0"),
    ("SYNCHUB_RATES_USER_BYTES", "0"),
    ("SYNCHUB_RATES_TENANT_FRAMES", "0"),
    ("SYNCHUB_RATES_TENANT_ENTRIES", "0"),
    ("SYNCHUB_RATES_TENANT_BYTES", "0"),
    ("SYNCHUB_RATES_TENANT_REPLAYED", "0"),
    ("SYNCHUB_ADMISSION_BUSY_PERCENT", "1000"),
    ("SYNCHUB_ADMISSION_FULL_PERCENT", "1000"),
    ("SYNCHUB_FEED_CHANGES_PER_SEC", "1000000"),
    ("SYNCHUB_LOG_LEVEL", "warn"),
];

/// Where a hub keeps its store.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

impl Folder {
    /// An empty one below `parent`.
    pub(crate) fn new(parent: &Path) -> Result<Self> {
        std::fs::create_dir_all(parent)?;
        let folder = tempfile::Builder::new().prefix("synchub-bench-").tempdir_in(parent)?;
        let domains = folder.path().join("domains");
        std::fs::create_dir(&domains)?;
        for (name, text) in DOMAINS {
            std::fs::write(domains.join(name), text)?;
        }
        std::fs::create_dir(folder.path().join("data"))?;
        Ok(Self(folder))
    }

    /// The database file.
    pub(crate) fn database(&self) -> PathBuf {
        self.0.path().join("data/synchub.db")
    }

    /// The folder with the domain files.
    pub(crate) fn domains(&self) -> PathBuf {
        self.0.path().join("domains")
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

/// A running hub.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Its process.
    pub(crate) server: Server,
}

/// Who connects: a user with one device.
#[derive(Debug, Clone)]
pub(crate) struct Device<'a> {
    /// The tenant.
    pub(crate) tenant: &'static str,
    /// The user.
    pub(crate) user: String,
    /// The device.
    pub(crate) id: String,
    /// The install, where entries are numbered.
    pub(crate) install: Option<Uuid>,
    /// What it subscribes to.
    pub(crate) domains: &'a [&'a str],
    /// From where on.
    pub(crate) cursor: Option<String>,
}

impl<'a> Device<'a> {
    /// A user's only device, which has never been here.
    pub(crate) fn new(user: impl Into<String>, domains: &'a [&'a str]) -> Self {
        let user = user.into();
        let id = format!("{user}-phone");
        Self { tenant: token::TENANT, id, user, install: None, domains, cursor: None }
    }
}

impl Hub {
    /// Starts a hub without limits on a folder, which has to stay as long as it runs.
    pub(crate) fn start(binary: &Path, folder: &Folder, on: (Scheduling, Place)) -> Result<Self> {
        Self::start_with(binary, folder, on, &WITHOUT_LIMITS)
    }

    /// Starts a hub with these settings and the defaults of all others.
    pub(crate) fn start_with(
        binary: &Path,
        folder: &Folder,
        (scheduling, place): (Scheduling, Place),
        settings: &[Setting],
    ) -> Result<Self> {
        let log = folder.0.path().join("hub.log");
        let output = File::create(&log)?;
        let (data, domains, errors) = (folder.data(), folder.domains(), output.try_clone()?);
        let server = Server::start(scheduling, binary, place, |command, address| {
            command.arg("serve").arg("--listen").arg(address.to_string()).arg("--data-dir").arg(data);
            command.env("SYNCHUB_DOMAINS_DIR", domains).env("SYNCHUB_AUTH_HS256_SECRET", SECRET);
            command.envs(settings.iter().copied()).stdout(output).stderr(errors);
        });
        let told = || std::fs::read_to_string(&log).unwrap_or_default();
        let server = server.with_context(|| format!("the hub said: {}", told()))?;
        Ok(Self { server })
    }

    /// Ends it.
    pub(crate) fn stop(self) -> Result<()> {
        self.server.stop()
    }

    /// Connects devices, a few hundred at once, and waits until each has caught up.
    pub(crate) fn connect(&self, devices: &[Device<'_>]) -> Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(devices.len());
        for devices in devices.chunks(AT_ONCE) {
            let mut some = self.say_hello(devices)?;
            for connection in &mut some {
                await_kind(connection, Kind::CaughtUp)?;
            }
            connections.append(&mut some);
        }
        Ok(connections)
    }

    /// Connects devices and says hello for all of them; no answer is waited for.
    pub(crate) fn say_hello(&self, devices: &[Device<'_>]) -> Result<Vec<Connection>> {
        let address = self.server.address();
        let begin = |_| Connection::begin(address, "/ws");
        let mut connections = devices.iter().map(begin).collect::<Result<Vec<_>>>()?;
        for (connection, device) in connections.iter_mut().zip(devices) {
            connection.upgraded()?;
            let token = token::token(SECRET, device.tenant, &device.user)?;
            let cursor = device.cursor.as_deref();
            connection.send(&frames::hello(&token, &device.id, device.install, device.domains, cursor))?;
        }
        Ok(connections)
    }

    /// A counter of `/metrics`, over all labels.
    pub(crate) fn counter(&self, name: &str) -> Result<f64> {
        self.counter_where(name, |_| true)
    }

    /// The same over the labels that are wanted.
    pub(crate) fn counter_where(&self, name: &str, wanted: impl Fn(&str) -> bool) -> Result<f64> {
        let mut stream = TcpStream::connect(self.server.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        sum_of(&text, name, wanted).with_context(|| format!("the hub has no metric {name}"))
    }
}

/// Reads until a frame of this kind comes; an error ends it.
pub(crate) fn await_kind(connection: &mut Connection, wanted: Kind) -> Result<Vec<u8>> {
    loop {
        let frame = connection.next()?;
        match frames::kind(&frame) {
            kind if kind == wanted => return Ok(frame),
            Kind::Error => bail!("the hub answered {}", frames::show(&frame)),
            _ => {}
        }
    }
}

/// The sum of those series of a metric whose labels are wanted; none if it has no series.
fn sum_of(text: &str, name: &str, wanted: impl Fn(&str) -> bool) -> Option<f64> {
    let series = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        Some((labels, value.trim().parse::<f64>().ok()?))
    });
    let series: Vec<_> = series.collect();
    let sum = series.iter().filter(|(labels, _)| wanted(labels)).map(|(_, value)| value).sum();
    (!series.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_metric_are_added() {
        let text = "# TYPE a counter\na_total{k=\"x\"} 2\na_total{k=\"y z\"} 3\na_total_more 9\nb_total 4\n";
        assert_eq!(sum_of(text, "a_total", |_| true), Some(5.0));
        assert_eq!(sum_of(text, "a_total", |labels| labels.contains('x')), Some(2.0));
        assert_eq!(sum_of(text, "b_total", |_| true), Some(4.0));
        assert_eq!(sum_of(text, "c_total", |_| true), None);
    }
}
