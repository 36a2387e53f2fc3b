//! What a large tenant costs a device that comes back: the same steps on a hub with few records and on
//! one with many, in turns, so that both meet the same machine.
//!
//! It measures and tells; it judges nothing.

mod fill;
mod peer;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use self::fill::{DOMAIN, id};
use self::peer::Peer;
use crate::args::Scale;
use crate::chance::Chance;
use crate::hub::{Hub, HubOptions, without_rates};
use crate::progress::say;
use crate::size::Size;

/// Changes that the device missed.
const MISSED: u64 = 20;
/// The device that comes back.
const READER: &str = "reader";

/// The steps on one hub, and on another with more records.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) small_records: u64,
    pub(crate) large_records: u64,
    pub(crate) rounds: u64,
    pub(crate) steps: BTreeMap<&'static str, Step>,
    /// What the larger hub's store takes.
    pub(crate) size: Size,
}

/// Medians of one step, in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Step {
    pub(crate) small_ms: f64,
    pub(crate) large_ms: f64,
    pub(crate) ratio: f64,
}

/// How long the steps of one round took.
struct Round {
    hello: Duration,
    replay: Duration,
    digest: Duration,
}

/// A hub with its records, and the place of the device that comes back.
struct Side {
    hub: Hub,
    records: u64,
    cursor: Option<String>,
    chance: Chance,
    rounds: Vec<Round>,
}

/// Fills two hubs and measures them in turns.
pub(crate) async fn scale(args: &Scale) -> Result<Report> {
    let mut small = Side::start(args, args.small).await?;
    let mut large = Side::start(args, args.large).await?;
    say(args.json, &format!("{} rounds on each", args.rounds));
    for _ in 0..args.rounds {
        small.round().await?;
        large.round().await?;
    }
    small.hub.stop().await?;
    large.hub.stop().await?;
    let step = |of: fn(&Round) -> Duration| {
        let (small_ms, large_ms) = (small.median(of), large.median(of));
        Step { small_ms, large_ms, ratio: large_ms / small_ms }
    };
    let steps = BTreeMap::from([
        ("hello", step(|round| round.hello)),
        ("replay", step(|round| round.replay)),
        ("digest", step(|round| round.digest)),
    ]);
    let size = Size::of(&large.hub.store())?;
    Ok(Report { small_records: args.small, large_records: args.large, rounds: args.rounds, steps, size })
}

impl Side {
    async fn start(args: &Scale, records: u64) -> Result<Self> {
        let options = HubOptions {
            binary: args.hub.clone(),
            tail_bytes: Some(args.tail_bytes),
            settings: without_rates(),
            ..HubOptions::default()
        };
        let chance = Chance::new(records);
        let hub = Hub::start(options, &chance).await?;
        say(args.json, &format!("writing {records} records"));
        fill::fill(&hub, records, args.json).await?;
        say(args.json, "the device takes its first snapshot");
        let mut reader = Peer::connect(&hub).await?;
        reader.hello(&hub, READER, &[DOMAIN], None).await?;
        reader.wait_for("caught_up").await?;
        let cursor = reader.cursor.take();
        reader.close().await;
        Ok(Self { hub, records, cursor, chance, rounds: Vec::new() })
    }

    /// Others make changes, then the device comes back.
    async fn round(&mut self) -> Result<()> {
        self.change().await?;
        let mut reader = Peer::connect(&self.hub).await?;
        let started = Instant::now();
        reader.hello(&self.hub, READER, &[DOMAIN], self.cursor.as_deref()).await?;
        let hello = started.elapsed();
        let mut changes = 0;
        loop {
            let frame = reader.next().await?;
            match frame["type"].as_str() {
                Some("data_update") => changes += 1,
                Some("caught_up") => break,
                _ => {}
            }
        }
        let replay = started.elapsed();
        ensure!(changes == MISSED, "{changes} changes came where {MISSED} were missed");
        let started = Instant::now();
        reader.send(json!({"type": "digest"})).await?;
        let answer = reader.wait_for("digest_result").await?;
        let digest = started.elapsed();
        let count = answer["domains"][DOMAIN]["count"].as_u64();
        ensure!(count == Some(self.records), "the digest counts {answer}");
        self.cursor = reader.cursor.take();
        reader.close().await;
        self.rounds.push(Round { hello, replay, digest });
        Ok(())
    }

    async fn change(&mut self) -> Result<()> {
        let mut writer = Peer::connect(&self.hub).await?;
        writer.hello(&self.hub, "editor", &[], None).await?;
        let mut numbers = std::collections::BTreeSet::new();
        while numbers.len() < usize::try_from(MISSED)? {
            numbers.insert(self.chance.below(self.records));
        }
        let entry = |number: &u64| {
            let caller = self.chance.uuid().to_string();
            json!({"domain": DOMAIN, "mobile_id": id(*number), "version": 1, "delta": true,
                "data": {"caller": caller}})
        };
        let entries: Vec<_> = numbers.iter().map(entry).collect();
        writer.send(json!({"type": "sync", "batch_id": self.chance.uuid(), "entries": entries})).await?;
        let answer = writer.wait_for("sync_result").await?;
        let results = answer["results"].as_array().into_iter().flatten();
        ensure!(results.clone().all(|result| result["status"] != "error"), "a change was refused: {answer}");
        writer.close().await;
        Ok(())
    }

    fn median(&self, of: fn(&Round) -> Duration) -> f64 {
        let mut all: Vec<Duration> = self.rounds.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).map_or(f64::NAN, |median| median.as_secs_f64() * 1000.0)
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { small_records, large_records, rounds, .. } = self;
        writeln!(f, "medians of {rounds} rounds, with {small_records} and with {large_records} records:")?;
        for (name, Step { small_ms, large_ms, ratio }) in &self.steps {
            writeln!(f, "  {name:<16} {small_ms:.2} ms, {large_ms:.2} ms: {ratio:.2} times")?;
        }
        self.size.fmt(f)
    }
}
