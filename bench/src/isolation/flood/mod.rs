//! A hostile tenant: it asks for ten times its limits, hears no refusal, and comes back when it is closed.
//!
//! It runs in a process of its own and costs little: what it sends is encoded before, and what it is sent is
//! thrown away unread. It measures nothing.

mod lines;
mod traffic;

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::lines::Lines;
use self::traffic::Traffic;
use crate::chance::Chance;
use crate::frames;

/// The tenant that floods.
pub(crate) const FLOODER: &str = "flooder";
/// Bytes of a record's data.
const BODY_BYTES: usize = 200;
/// How often the flood goes on.
const TICK: Duration = Duration::from_millis(1);

/// What a hub is flooded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// New sockets with a hello each.
    Connections,
    /// Pings, acknowledgements and empty batches.
    Frames,
    /// Full batches.
    Entries,
    /// Hellos and subscriptions that want everything.
    Replays,
    /// All of these at once.
    All,
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connections => "connections",
            Self::Frames => "frames",
            Self::Entries => "entries",
            Self::Replays => "replays",
            Self::All => "all",
        })
    }
}

/// What a flood came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Sockets that were opened.
    pub(crate) dials: u64,
    /// Frames that were sent, hellos apart.
    pub(crate) frames: u64,
    /// Frames that were not: the hub did not read, or had closed all sockets.
    pub(crate) held: u64,
    /// Sockets that the hub closed.
    pub(crate) closed: u64,
    /// Bytes that came back.
    pub(crate) read: u64,
}

impl Sent {
    fn and(self, other: Self) -> Self {
        Self {
            dials: self.dials + other.dials,
            frames: self.frames + other.frames,
            held: self.held + other.held,
            closed: self.closed + other.closed,
            read: self.read + other.read,
        }
    }
}

/// Floods a hub for so long.
pub(crate) fn run(kind: Kind, address: SocketAddr, time: Duration) -> Result<Sent> {
    let end = Instant::now() + time;
    let kinds = match kind {
        Kind::All => vec![Kind::Connections, Kind::Frames, Kind::Entries, Kind::Replays],
        kind => vec![kind],
    };
    let floods = kinds.into_iter().map(|kind| std::thread::spawn(move || flood(kind, address, end)));
    let floods: Vec<_> = floods.collect();
    floods.into_iter().try_fold(Sent::default(), |sent, flood| {
        let more = flood.join().map_err(|_| anyhow::anyhow!("a flood panicked"))??;
        Ok(sent.and(more))
    })
}

/// Floods with one kind until the end.
fn flood(kind: Kind, address: SocketAddr, end: Instant) -> Result<Sent> {
    let mut traffic = Traffic::of(kind)?;
    let mut lines = Lines::new(address, traffic.sockets)?;
    let (mut dials, mut frames) = (Due::new(traffic.dials), Due::new(traffic.frames));
    while Instant::now() < end {
        for _ in 0..dials.now() {
            lines.dial(&mut traffic)?;
        }
        for _ in 0..frames.now() {
            lines.send(&mut traffic);
        }
        lines.read()?;
        std::thread::sleep(TICK);
    }
    Ok(lines.sent)
}

/// How much of a rate is due.
struct Due {
    begin: Instant,
    per_second: f64,
    done: u64,
}

impl Due {
    fn new(per_second: f64) -> Self {
        Self { begin: Instant::now(), per_second, done: 0 }
    }

    fn now(&mut self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count of a few seconds"
        )]
        let until_now = (self.begin.elapsed().as_secs_f64() * self.per_second) as u64;
        until_now.saturating_sub(std::mem::replace(&mut self.done, until_now))
    }
}

/// New records that everyone of the tenant sees.
pub(super) fn entries(chance: &mut Chance, count: usize) -> Vec<Value> {
    of_domain("note", chance, count)
}

/// New records that only their owner sees.
pub(super) fn small_entries(chance: &mut Chance, count: usize) -> Vec<Value> {
    of_domain("diary", chance, count)
}

fn of_domain(domain: &str, chance: &mut Chance, count: usize) -> Vec<Value> {
    let entry = |n: usize| frames::entry(domain, chance.uuid(), 0, &frames::text_of(BODY_BYTES, n as u64));
    (0..count).map(entry).collect()
}
