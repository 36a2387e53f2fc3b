//! The command line of the scenarios.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::proxy::Weather;
use crate::args::RunArgs;

/// Which scenario is played.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScenarioArgs {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

/// The scenarios.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Scenario {
    /// Everyone is connected and nothing happens for --duration; then each device edits a record of its own,
    /// at --rate.
    Idle(Options),
    /// One device of each tenant edits shared records, everyone else is sent the changes.
    Fanout(Options),
    /// Every device creates and edits records of its own user, which nobody else is sent.
    Write(Options),
    /// Every device edits and creates shared records and its own.
    Mixed(Options),
    /// As mixed, while each device goes offline now and then, edits on, and comes back.
    Churn(WithAbsences),
    /// All devices but one of each tenant go, changes flow, and all come back at once.
    ReconnectStorm(WithStorms),
    /// Changes flow while a share of the devices reads very slowly.
    SlowReaders(WithSlowReaders),
    /// As mixed, with every device behind a network that delays, breaks connections and is narrow.
    PoorNetwork(WithNetwork),
    /// Every device edits the same few records, online and offline.
    HighConflict(WithAbsences),
}

/// A scenario whose devices go offline.
#[derive(Debug, Clone, Args)]
pub(crate) struct WithAbsences {
    /// How often each device goes offline.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) absences: u32,
    /// Which share of the time it is offline (0 to 0.9).
    #[arg(long, default_value_t = 0.4, value_parser = share)]
    pub(crate) away: f64,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// A scenario with storms.
#[derive(Debug, Clone, Args)]
pub(crate) struct WithStorms {
    /// How often all come back at once.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) storms: u32,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// A scenario with slow readers.
#[derive(Debug, Clone, Args)]
pub(crate) struct WithSlowReaders {
    /// Which share of the devices reads slowly (0 to 0.9).
    #[arg(long, default_value_t = 0.1, value_parser = share)]
    pub(crate) slow: f64,
    /// How many bytes a second a slow device reads.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) reads: u32,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// A scenario behind a poor network.
#[derive(Debug, Clone, Args)]
pub(crate) struct WithNetwork {
    /// How many milliseconds each way takes; half to one and a half times that, at random.
    #[arg(long, default_value_t = 100)]
    pub(crate) delay_ms: u32,
    /// After how many seconds a connection breaks, on average; 0: never.
    #[arg(long, default_value_t = 10.0, value_parser = not_negative)]
    pub(crate) breaks_after: f64,
    /// How many bytes a second a connection carries each way; 0: as many as come.
    #[arg(long, default_value_t = 32_768)]
    pub(crate) bandwidth: u32,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// What the devices do: a scenario without what all have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Idle,
    Fanout,
    Write,
    Mixed,
    Churn(Absences),
    ReconnectStorm { storms: u32 },
    SlowReaders { slow: f64, reads: u32 },
    PoorNetwork(Weather),
    HighConflict(Absences),
}

/// How often each device goes offline, and for which share of the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Absences {
    pub(crate) times: u32,
    pub(crate) share: f64,
}

impl Scenario {
    /// The two parts of the command line.
    pub(crate) fn parts(&self) -> (Kind, &Options) {
        match self {
            Self::Idle(options) => (Kind::Idle, options),
            Self::Fanout(options) => (Kind::Fanout, options),
            Self::Write(options) => (Kind::Write, options),
            Self::Mixed(options) => (Kind::Mixed, options),
            Self::Churn(with) => (Kind::Churn(with.absences()), &with.options),
            Self::ReconnectStorm(with) => (Kind::ReconnectStorm { storms: with.storms }, &with.options),
            Self::SlowReaders(with) => {
                (Kind::SlowReaders { slow: with.slow, reads: with.reads }, &with.options)
            }
            Self::PoorNetwork(with) => (Kind::PoorNetwork(with.weather()), &with.options),
            Self::HighConflict(with) => (Kind::HighConflict(with.absences()), &with.options),
        }
    }
}

impl WithAbsences {
    fn absences(&self) -> Absences {
        Absences { times: self.absences, share: self.away }
    }
}

impl WithNetwork {
    fn weather(&self) -> Weather {
        let some = |number: u32| (number > 0).then_some(number);
        Weather {
            delay: Duration::from_millis(self.delay_ms.into()),
            breaks_after: (self.breaks_after > 0.0).then(|| Duration::from_secs_f64(self.breaks_after)),
            down: some(self.bandwidth),
            up: some(self.bandwidth),
        }
    }
}

/// What all scenarios have in common.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) load: Load,
    #[command(flatten)]
    pub(crate) limits: Limits,
    /// The process of a hub that was not started here, to watch its memory and processor time.
    #[arg(long, conflicts_with = "spawn_hub", help_heading = "Hub and run")]
    pub(crate) hub_pid: Option<u32>,
    /// Writes the report as JSON into this file, too.
    #[arg(long, help_heading = "Hub and run")]
    pub(crate) report: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Hub and run")]
    pub(crate) run: RunArgs,
}

/// How much of it.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Load")]
pub(crate) struct Load {
    /// How many devices connect, two to a user; each needs an open file.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) devices: u32,
    /// How many tenants they are spread over. A change of a shared record goes to all devices of its tenant.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tenants: u32,
    /// How many seconds it takes.
    #[arg(long, default_value_t = 10.0, value_parser = positive)]
    pub(crate) duration: f64,
    /// Entries a second, of all devices together. Each has its time, whether or not those before it were
    /// answered, and latency counts from that time.
    #[arg(long, default_value_t = 100.0, value_parser = positive)]
    pub(crate) rate: f64,
    /// How many entries there are in all; with --rate this makes the duration [default: --rate times
    /// --duration].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) entries: Option<u32>,
    /// How many shared records each tenant has before it begins [default: 20; high-conflict: 3].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) records: Option<u32>,
    /// How many bytes of text an entry carries.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=32_768))]
    pub(crate) size: u32,
}

/// What must hold. A limit on what was not measured does not hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Args)]
#[command(next_help_heading = "Thresholds")]
pub(crate) struct Limits {
    /// The most that the 99th percentile from an entry's time to its answer may be, in milliseconds.
    #[arg(long)]
    pub(crate) max_p99_ms: Option<f64>,
    /// The same from an entry's time to another device that holds its change.
    #[arg(long)]
    pub(crate) max_arrival_p99_ms: Option<f64>,
    /// The same from a device's coming back until everything is sent and received.
    #[arg(long)]
    pub(crate) max_return_p99_ms: Option<f64>,
    /// How many entries may be answered with an error, or not at all.
    #[arg(long)]
    pub(crate) max_errors: Option<u64>,
    /// How many entries a second must be answered at least.
    #[arg(long)]
    pub(crate) min_rate: Option<f64>,
    /// The most resident memory that the hub may take, in MiB.
    #[arg(long)]
    pub(crate) max_server_rss_mb: Option<f64>,
}

/// A number above 0.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number > 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("say a number above 0".to_owned()),
    }
}

/// A share of a whole.
fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=0.9).contains(&number) => Ok(number),
        _ => Err("say a number from 0 to 0.9".to_owned()),
    }
}

/// A number that may be 0.
fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if number >= 0.0 && f64::is_finite(number) => Ok(number),
        _ => Err("say 0 or a number above it".to_owned()),
    }
}

impl Kind {
    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Fanout => "fanout",
            Self::Write => "write",
            Self::Mixed => "mixed",
            Self::Churn(_) => "churn",
            Self::ReconnectStorm { .. } => "reconnect-storm",
            Self::SlowReaders { .. } => "slow-readers",
            Self::PoorNetwork(_) => "poor-network",
            Self::HighConflict(_) => "high-conflict",
        }
    }
}
