//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Serialize;

use crate::pace::Speed;
use crate::scenario::options::ScenarioArgs;

/// Replays device traffic against a synchub hub and proves that every device and the store agree.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plays each account's devices over real sockets and ends with a verdict.
    ///
    /// Exit code 0: the verdict is yes; 1: it is no; 2: the replay could not be made.
    Replay(Box<Replay>),
    /// Puts one kind of load on a hub and ends with figures, thresholds and the verdict of `replay`.
    ///
    /// Exit code 0: every threshold held and the verdict is yes; 1: not so; 2: it could not be run.
    Scenario(Box<ScenarioArgs>),
    /// Attacks a hub in every way that a peer has, and measures what that costs it and another device.
    ///
    /// Exit code 0: every attack was answered as it should be, memory stayed within its bound, and the
    /// other device was served all the while; 1: not so; 2: it could not be tried. Linux only.
    Hostile(Hostile),
    /// Compares what hello, a replay of 20 changes and a digest take in a small tenant and in a large one.
    Scale(Scale),
    /// Says what a hub's database takes, by table and for each change.
    Size(SizeOf),
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Hostile {
    /// The synchub binary to attack; it is started on a free port with a data folder of its own.
    #[arg(long)]
    pub(crate) spawn_hub: PathBuf,
    /// How many rounds, each a quiet half and one under attack.
    #[arg(long, default_value_t = 3)]
    pub(crate) rounds: usize,
    /// How many seconds each half takes at least; the last attacks of a round are waited for.
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// How many peers attack at once.
    #[arg(long, default_value_t = 8)]
    pub(crate) attackers: usize,
    /// How many attacks come each second at most; 0: each attacker attacks again at once.
    #[arg(long, default_value_t = 0)]
    pub(crate) per_second: u32,
    /// By how many MiB the hub's resident memory may grow.
    #[arg(long, default_value_t = 64)]
    pub(crate) memory_mib: u64,
    /// First tries each attack by itself and tells what it costs in memory and processor time.
    #[arg(long)]
    pub(crate) each: bool,
    /// Prints the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Scale {
    /// The synchub binary; two hubs are started on folders of their own.
    #[arg(long)]
    pub(crate) hub: PathBuf,
    /// Records in the small tenant.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) small: u64,
    /// Records in the large one.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) large: u64,
    /// How often each step is taken on each hub.
    #[arg(long, default_value_t = 50)]
    pub(crate) rounds: u64,
    /// How much of the recent log the hubs keep in memory, in bytes; 0: a replay reads the store.
    #[arg(long, default_value_t = 0)]
    pub(crate) tail_bytes: u64,
    /// Prints the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SizeOf {
    /// The hub's database file.
    pub(crate) file: PathBuf,
    /// Prints the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Replay {
    /// The trace: `.jsonl` or `.jsonl.zst`.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// `max`, or how many times as fast as it was.
    #[arg(long, default_value = "max")]
    pub(crate) speed: Speed,
    /// Plays only the first lines.
    #[arg(long)]
    pub(crate) lines: Option<usize>,
    /// Plays only the lines of this tenant.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// What the devices say in hello that they know, to save bytes both ways.
    #[arg(long, default_value = "both")]
    pub(crate) offers: Offers,
    /// How the devices send edits of records that they hold as the trace's people held them.
    #[arg(long, default_value = "whole")]
    pub(crate) edits: EditForm,
    /// Gives every account at least this many devices; the added ones only receive.
    #[arg(long, default_value_t = 1)]
    pub(crate) devices_per_user: usize,
    /// How many seconds a device waits for a version before it acts without it.
    #[arg(long, default_value_t = 30)]
    pub(crate) patience: u64,
}

/// What a replay and a scenario have in common: which hub is played against, and what the verdict rests on.
#[derive(Debug, Clone, Args)]
pub(crate) struct RunArgs {
    /// The hub's socket.
    #[arg(long, default_value = "ws://127.0.0.1:8480/ws", conflicts_with = "spawn_hub")]
    pub(crate) url: String,
    /// The HS256 secret that the hub checks tokens with.
    #[arg(long, env = "SYNCHUB_AUTH_HS256_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
    /// The hub's data folder: its development key signs the tokens. Goes before --secret.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where the verdict finds what the hub holds [default: the store with --store or --spawn-hub,
    /// else a snapshot].
    #[arg(long)]
    pub(crate) verify: Option<Verify>,
    /// The hub's database file; the verdict is read from it when the hub has been stopped.
    #[arg(long)]
    pub(crate) store: Option<PathBuf>,
    /// How many seconds to wait for the hub of --store to be stopped before its file is read anyway.
    #[arg(long, default_value_t = 60)]
    pub(crate) store_wait: u64,
    /// Starts this synchub binary on a free port with a data folder of its own and no limits by rate, and
    /// stops it.
    #[arg(long, conflicts_with_all = ["store", "data_dir"])]
    pub(crate) spawn_hub: Option<PathBuf>,
    /// Keeps the spawned hub's data folder and its log, and says where.
    #[arg(long, requires = "spawn_hub")]
    pub(crate) keep: bool,
    /// Domain definitions for the spawned hub.
    #[arg(long, requires = "spawn_hub")]
    pub(crate) domains_dir: Option<PathBuf>,
    /// How much of each tenant's recent log the spawned hub keeps in memory, in bytes.
    #[arg(long, requires = "spawn_hub")]
    pub(crate) tail_bytes: Option<u64>,
    /// Kills the spawned hub (SIGKILL) this many times while entries flow and starts it again.
    #[arg(long, default_value_t = 0, requires = "spawn_hub")]
    pub(crate) kills: usize,
    /// What the devices speak; mixed: every other one JSON.
    #[arg(long, default_value = "msgpack")]
    pub(crate) encoding: Tongue,
    /// Prints the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Repeats the random choices: names, ids, what is edited when, and when kills fall.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Gives up when nothing was answered for this many seconds while answers are due.
    #[arg(long, default_value_t = 120)]
    pub(crate) stall: u64,
}

/// Where the verdict finds what the hub holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verify {
    /// The database file, with the hub stopped.
    Store,
    /// A snapshot by a new device of each account.
    Snapshot,
}

/// What devices say that they know, to save bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Offers {
    Nothing,
    Compression,
    Deltas,
    Both,
}

/// How edits are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum EditForm {
    /// As the whole record.
    #[default]
    Whole,
    /// As the fields that were edited, with `delta`.
    Fields,
}

/// What the devices speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tongue {
    Msgpack,
    Json,
    Mixed,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
        let command = Cli::parse_from(["x", "replay", "f", "--speed", "60"]).command;
        let Command::Replay(replay) = command else { panic!("{command:?}") };
        assert_eq!((replay.speed, replay.run.kills), (Speed::Times(60.0), 0));
        assert!(Cli::try_parse_from(["x", "replay", "f", "--kills", "3"]).is_err());
    }
}
