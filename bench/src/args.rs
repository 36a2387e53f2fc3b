//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::isolation::flood::Kind;

/// Measures a hub against bare yardsticks that do the same work, interleaved in one run.
///
/// Exit code 0: every goal is met, 1: one is missed, 2: it could not be measured.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// What to measure; everything when nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How often each side is measured; latency at least 5 times.
    #[arg(long, global = true, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// Tiny numbers and one round, to see that everything runs: the figures say nothing, and no goal counts.
    #[arg(long, global = true)]
    pub(crate) quick: bool,
    /// Write the report to this file too, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// The hub's binary; else the one beside this one, which cargo brings up to date first.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) hub: Option<PathBuf>,
    /// A folder in memory, for what is not to depend on a disk.
    #[arg(long, global = true, value_name = "DIR", default_value = "/dev/shm")]
    pub(crate) memory_dir: PathBuf,
    /// A folder on a disk; else one beside this binary.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) disk_dir: Option<PathBuf>,
}

/// One benchmark.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    /// What a delivery to a subscriber costs.
    Fanout,
    /// How many entries a second become durable, and what each costs.
    Write,
    /// What an idle device takes in memory.
    Memory,
    /// What it costs to decode, check and hash a batch.
    Decode,
    /// How late changes and answers come at half load.
    Latency,
    /// What devices cost that come back all at once.
    Reconnect,
    /// How much later a tenant's answers come while another floods the hub.
    Isolation,
    /// Floods a hub; the benchmark of isolation does it.
    #[command(hide = true)]
    Flood {
        /// With what.
        kind: Kind,
        /// Where the hub listens.
        address: SocketAddr,
        /// For how long, in milliseconds.
        millis: u64,
    },
    /// Loads a hub while perf watches it; `scripts/profile` does it.
    #[command(hide = true)]
    Profile {
        /// With what.
        load: ProfiledLoad,
        /// Where perf writes.
        output: PathBuf,
    },
    /// Runs a yardstick; the benchmarks do it.
    #[command(hide = true)]
    Yardstick {
        #[command(subcommand)]
        yardstick: Yardstick,
    },
}

/// What a profile is made of.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ProfiledLoad {
    /// One change at a time, to 1000 devices.
    Fanout,
    /// Batches of 100 entries.
    Write,
}

/// A yardstick.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Yardstick {
    /// Commits what publishers send and sends it to all subscribers.
    Broadcaster {
        /// Where it listens.
        address: SocketAddr,
        /// Its database, a new one.
        database: PathBuf,
    },
    /// Writes what devices write, statement by statement.
    Writer(Written),
    /// Takes the hub's way to the database apart.
    Items(Written),
    /// Decodes, checks and hashes a batch as the hub does.
    DecodeHub {
        /// For how long, in milliseconds.
        millis: u64,
    },
    /// Decodes a batch into a value.
    DecodeValue {
        /// For how long, in milliseconds.
        millis: u64,
    },
}

/// What is written where.
#[derive(Debug, Clone, Args)]
pub(crate) struct Written {
    /// A copy of the hub's store.
    pub(crate) database: PathBuf,
    /// Devices.
    pub(crate) devices: usize,
    /// Records that each has before.
    pub(crate) preloaded: usize,
    /// Batches of each.
    pub(crate) batches: usize,
    /// Batches of a transaction.
    pub(crate) group: usize,
}
