//! Measures a hub against bare yardsticks that do the same work, interleaved in one run.
//!
//! `synchub-bench` runs every benchmark, `synchub-bench fanout` one of them. Both sides run in processes of
//! their own, started in the same way; clients run in this one. `docs/performance.md` says what is measured.

mod args;
mod chance;
mod connection;
mod context;
mod crowd;
mod decode;
mod fanout;
mod frames;
mod hub;
mod isolation;
mod latency;
mod memory;
mod process;
mod profile;
mod reconnect;
mod report;
mod stats;
mod token;
mod wire;
mod write;
mod yardstick;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

use crate::args::{Cli, Command, Options, ProfiledLoad, Written, Yardstick};
use crate::context::Context;
use crate::isolation::flood::Kind;
use crate::process::Scheduling;
use crate::report::{Report, Row};
use crate::write::work::Size;
use crate::yardstick::{broadcaster, items, writer};

/// The hub's: a yardstick that allocated in another way would measure allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Rounds of latency: its tail varies more than anything else.
const LATENCY_ROUNDS: usize = 5;

type Benchmark = fn(&Context) -> Result<Vec<Row>>;

/// All of them, in the order of the report.
const ALL: [Benchmark; 7] =
    [fanout::run, memory::run, write::run, decode::run, latency::run, reconnect::run, isolation::run];

fn main() -> ExitCode {
    let Cli { command, options } = Cli::parse();
    let met = match command {
        Some(Command::Yardstick { yardstick }) => run_yardstick(yardstick).map(|()| true),
        Some(Command::Profile { load, output }) => run_profile(&options, load, &output).map(|()| true),
        Some(Command::Flood { kind, address, millis }) => run_flood(kind, address, millis).map(|()| true),
        Some(Command::Fanout) => measure(&options, &[fanout::run]),
        Some(Command::Write) => measure(&options, &[write::run]),
        Some(Command::Memory) => measure(&options, &[memory::run]),
        Some(Command::Decode) => measure(&options, &[decode::run]),
        Some(Command::Latency) => measure(&options, &[latency::run]),
        Some(Command::Reconnect) => measure(&options, &[reconnect::run]),
        Some(Command::Isolation) => measure(&options, &[isolation::run]),
        None => measure(&options, &ALL),
    };
    match met {
        Ok(met) => ExitCode::from(u8::from(!met)),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "it could not be measured: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn run_yardstick(yardstick: Yardstick) -> Result<()> {
    let size = |of: &Written| Size { devices: of.devices, preloaded: of.preloaded, batches: of.batches };
    let said = match yardstick {
        Yardstick::Broadcaster { address, database } => return broadcaster::serve(address, &database),
        Yardstick::Writer(of) => serde_json::to_string(&writer::run(&of.database, size(&of), of.group)?)?,
        Yardstick::Items(of) => serde_json::to_string(&items::run(&of.database, size(&of), of.group)?)?,
        Yardstick::DecodeHub { millis } => yardstick::decode::hub(Duration::from_millis(millis))?.to_string(),
        Yardstick::DecodeValue { millis } => {
            yardstick::decode::value(Duration::from_millis(millis))?.to_string()
        }
    };
    Ok(writeln!(std::io::stdout(), "{said}")?)
}

fn run_flood(kind: Kind, address: SocketAddr, millis: u64) -> Result<()> {
    let sent = isolation::flood::run(kind, address, Duration::from_millis(millis))?;
    Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&sent)?)?)
}

fn run_profile(options: &Options, load: ProfiledLoad, output: &Path) -> Result<()> {
    let context = context(options)?;
    match load {
        ProfiledLoad::Fanout => profile::fanout(&context, output),
        ProfiledLoad::Write => profile::write(&context, output),
    }
}

/// Runs benchmarks, prints what they gave, and says whether all goals were met.
fn measure(options: &Options, benchmarks: &[Benchmark]) -> Result<bool> {
    let context = context(options)?;
    let machine = machine(&context);
    context.say(&machine);
    let mut report = Report { machine, rows: Vec::new() };
    for benchmark in benchmarks {
        report.rows.extend(benchmark(&context)?);
    }
    // Who closed standard output reads the file or the exit code.
    drop(writeln!(std::io::stdout(), "{report}"));
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    Ok(options.quick || report.is_met())
}

fn context(options: &Options) -> Result<Context> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("this binary has no folder")?.to_owned();
    let hub = match &options.hub {
        Some(hub) => hub.clone(),
        None => built_hub(&folder)?,
    };
    ensure!(hub.exists(), "there is no hub at {}; build it, or name one with --hub", hub.display());
    let quick = options.quick;
    let of = |usual: usize, small: usize| if quick { small } else { usual };
    let seconds = |usual: f64, small: f64| Duration::from_secs_f64(if quick { small } else { usual });
    Ok(Context {
        hub,
        own,
        memory: options.memory_dir.clone(),
        disk: options.disk_dir.clone().unwrap_or_else(|| folder.join("bench-data")),
        scheduling: if quick { Scheduling::plain() } else { Scheduling::probe() },
        rounds: of(options.rounds, 1),
        latency_rounds: of(options.rounds.max(LATENCY_ROUNDS), 1),
        warm_up: seconds(1.0, 0.1),
        window: seconds(3.0, 0.2),
        subscribers: of(1000, 20),
        many_subscribers: of(10_000, 40),
        reconnecting: of(5000, 60),
        batches: of(60, 3),
        preloaded: of(6250, 200),
        rest: seconds(3.0, 0.1),
        replayed: of(10_000, 100),
        flood_warm_up: seconds(1.5, 0.3),
        flood_window: seconds(5.0, 0.3),
        settles: seconds(60.0, 0.5),
    })
}

/// The hub beside this binary. `cargo run` builds this package alone: the hub is brought up to date by the same
/// cargo, in the same profile.
fn built_hub(folder: &Path) -> Result<PathBuf> {
    let hub = folder.join("synchub");
    let Some(cargo) = std::env::var_os("CARGO") else { return Ok(hub) };
    let profile = folder.file_name().and_then(|name| name.to_str()).unwrap_or("release");
    let profile = if profile == "debug" { "dev" } else { profile };
    let mut command = std::process::Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--profile",
        profile,
        "-p",
        "synchub",
        "-p",
        "synchub-bench",
        "--bins",
    ]);
    ensure!(command.status()?.success(), "the hub cannot be built");
    Ok(hub)
}

/// The machine and how everything is scheduled on it.
fn machine(context: &Context) -> String {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("{model}, Linux {}, {}, {} rounds", kernel.trim(), context.scheduling.describe(), context.rounds)
}
