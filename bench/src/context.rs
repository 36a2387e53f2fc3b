//! What every benchmark is told: which binaries, where to keep files, how long to measure.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::process::Scheduling;

/// The choices of a run.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The hub's binary.
    pub(crate) hub: PathBuf,
    /// This binary, for the yardsticks.
    pub(crate) own: PathBuf,
    /// A folder in memory.
    pub(crate) memory: PathBuf,
    /// A folder on a disk.
    pub(crate) disk: PathBuf,
    /// How measured processes run.
    pub(crate) scheduling: Scheduling,
    /// How often both sides are measured.
    pub(crate) rounds: usize,
    /// The same for latency, whose tail needs more.
    pub(crate) latency_rounds: usize,
    /// How long a load runs before it counts.
    pub(crate) warm_up: Duration,
    /// How long it counts.
    pub(crate) window: Duration,
    /// Subscribers of the usual fan-out.
    pub(crate) subscribers: usize,
    /// Subscribers of the large one, and sockets whose memory is measured.
    pub(crate) many_subscribers: usize,
    /// Devices that come back at once.
    pub(crate) reconnecting: usize,
    /// Batches that each device writes.
    pub(crate) batches: usize,
    /// Records that each writing device has before.
    pub(crate) preloaded: usize,
    /// How long a server is let alone before its memory is looked at.
    pub(crate) rest: Duration,
    /// Records that a flooding tenant has and asks for.
    pub(crate) replayed: usize,
    /// How long a flood lasts before answers beside it count: its burst is over then.
    pub(crate) flood_warm_up: Duration,
    /// How long they count.
    pub(crate) flood_window: Duration,
    /// How long memory may take to go down.
    pub(crate) settles: Duration,
}

impl Context {
    /// Tells people how far the run is.
    #[expect(clippy::unused_self, reason = "what is told belongs to a run")]
    pub(crate) fn say(&self, text: &str) {
        // Who closed standard error does not want to know.
        drop(writeln!(std::io::stderr(), "{text}"));
    }
}
