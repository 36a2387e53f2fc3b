//! A measured process: how it is scheduled, what processor time and memory it took.
//!
//! Both sides of a comparison are started in the same way. Nothing here knows what a process does.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a process may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to end when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(40);
/// Ports below those that systems give to outgoing connections.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// On which processors something runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The server alone on the first, the clients on the last.
    Apart,
    /// Everything on all of them.
    Everywhere,
    /// On the last, with the clients.
    WithClients,
}

/// What this machine lets us do with priorities and processors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scheduling {
    realtime: bool,
    pins: bool,
    processors: usize,
}

impl Scheduling {
    /// Tries what works here.
    pub(crate) fn probe() -> Self {
        let works = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            realtime: works(&["chrt", "-r", "10", "true"]),
            pins: processors > 1 && works(&["taskset", "-c", "0", "true"]),
            processors,
        }
    }

    /// Nothing of it: for runs that are not to disturb the machine.
    pub(crate) fn plain() -> Self {
        Self { realtime: false, pins: false, processors: 1 }
    }

    /// The same without priority: a program's threads then take turns as they do for its users.
    pub(crate) fn without_priority(self) -> Self {
        Self { realtime: false, ..self }
    }

    /// The same for people.
    pub(crate) fn describe(self) -> String {
        let realtime = if self.realtime { "chrt -r 10 for both sides and the clients" } else { "no chrt" };
        let pins = if self.pins { "servers and clients pinned apart where said" } else { "nothing pinned" };
        format!("{} processors, {realtime}, {pins}", self.processors)
    }

    /// A command that runs a program like every measured one.
    fn command(self, program: &Path, place: Place) -> Command {
        let mut words: Vec<String> = Vec::new();
        if self.pins {
            words.extend(["taskset".to_owned(), "-c".to_owned(), self.servers(place)]);
        }
        if self.realtime {
            words.extend(["chrt", "-r", "10"].map(str::to_owned));
        }
        words.push(program.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command
    }

    fn servers(self, place: Place) -> String {
        match place {
            Place::Apart => "0".to_owned(),
            Place::Everywhere => format!("0-{}", self.processors - 1),
            Place::WithClients => (self.processors - 1).to_string(),
        }
    }

    /// Puts this process, the clients, where they belong beside servers at `place`.
    pub(crate) fn take_place(self, place: Place) {
        let own = std::process::id().to_string();
        let highest = self.processors - 1;
        let list = if place == Place::Apart { highest.to_string() } else { format!("0-{highest}") };
        if self.pins {
            quietly(Command::new("taskset").args(["-a", "-c", "-p", &list, &own]));
        }
        if self.realtime {
            quietly(Command::new("chrt").args(["-a", "-r", "-p", "10", &own]));
        }
    }
}

/// What was probed is used; should it fail all the same, both sides lack it.
fn quietly(command: &mut Command) {
    drop(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status());
}

/// A running server, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

/// What a process had used at a moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    at: Instant,
    cpu: Duration,
}

impl Server {
    /// Starts a program that listens at the address which `arguments` tell it, and waits until it does.
    pub(crate) fn start(
        scheduling: Scheduling,
        program: &Path,
        place: Place,
        arguments: impl FnOnce(&mut Command, SocketAddr),
    ) -> Result<Self> {
        let address = free_address()?;
        let mut command = scheduling.command(program, place);
        arguments(&mut command, address);
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.with_context(|| format!("{} cannot be started", program.display()))?;
        let mut server = Self { child, address };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended at its start: {status}", program.display());
            }
            if Instant::now() > deadline {
                bail!("{} does not listen after {START_LIMIT:?}", program.display());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has used until now.
    pub(crate) fn used(&self) -> Result<Used> {
        Ok(Used { at: Instant::now(), cpu: cpu_time(self.child.id())? })
    }

    /// What it used since, as time of a processor and as time that passed.
    pub(crate) fn since(&self, before: Used) -> Result<(Duration, Duration)> {
        let now = self.used()?;
        Ok((now.cpu.saturating_sub(before.cpu), now.at - before.at))
    }

    /// Its resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        resident_bytes(self.child.id())
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) -> Result<()> {
        quietly(Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        let deadline = Instant::now() + STOP_LIMIT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("a server did not end within {STOP_LIMIT:?} of SIGTERM");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a program like every measured one to its end, and gives what it wrote.
pub(crate) fn run_to_end(
    scheduling: Scheduling,
    program: &Path,
    place: Place,
    arguments: &[String],
) -> Result<String> {
    Running::start(scheduling, program, place, arguments)?.end()
}

/// A program that runs beside what is measured, killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts it like every measured one.
    pub(crate) fn start(
        scheduling: Scheduling,
        program: &Path,
        place: Place,
        arguments: &[String],
    ) -> Result<Self> {
        let mut command = scheduling.command(program, place);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn();
        child.map(Self).with_context(|| format!("{} {arguments:?} cannot be started", program.display()))
    }

    /// The processor time that it has used until now.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        cpu_time(self.0.id())
    }

    /// Waits until it ends by itself, and gives what it wrote.
    pub(crate) fn end(mut self) -> Result<String> {
        let mut text = String::new();
        self.0.stdout.take().context("no output")?.read_to_string(&mut text)?;
        let status = self.0.wait()?;
        anyhow::ensure!(status.success(), "a program beside the benchmark ended with {status}");
        Ok(text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The processor time that a process has used, user and system.
pub(crate) fn cpu_time(process: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let ticks = ticks_of_stat(&text).context("/proc/PID/stat cannot be read")?;
    Ok(Duration::from_millis(ticks * 1000 / ticks_per_second()))
}

/// The kernel's unit of these times; 100 a second everywhere that Linux runs a server.
fn ticks_per_second() -> u64 {
    static TICKS: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *TICKS.get_or_init(|| {
        let asked = Command::new("getconf").arg("CLK_TCK").output().ok();
        let text = asked.and_then(|output| String::from_utf8(output.stdout).ok());
        text.and_then(|text| text.trim().parse().ok()).filter(|ticks| *ticks > 0).unwrap_or(100)
    })
}

/// User and system time of a line of `/proc/PID/stat`; the name in it may hold spaces and brackets.
fn ticks_of_stat(line: &str) -> Option<u64> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn resident_bytes(process: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    rss_of_smaps(&text).context("/proc/PID/smaps_rollup cannot be read")
}

fn rss_of_smaps(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let line = "7 (a (b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 3 4 20 0 9 0 12345 1 2";
        assert_eq!(ticks_of_stat(line), Some(300));
        assert_eq!(ticks_of_stat("7 no brackets"), None);
    }

    #[test]
    fn resident_memory_is_that_of_all_mappings() {
        let text = "55d0-7fff ---p 00000000 00:00 0  [rollup]\nRss:      8124 kB\nPss:      4000 kB\n";
        assert_eq!(rss_of_smaps(text), Some(8124 * 1024));
        assert_eq!(rss_of_smaps("Pss: 1 kB"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let own = std::process::id();
        assert!(cpu_time(own).is_ok() && resident_bytes(own).unwrap() > 0);
    }
}
