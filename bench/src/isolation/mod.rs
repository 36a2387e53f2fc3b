//! Isolation: how much later one tenant's answers come while another tenant floods the hub.
//!
//! The quiet tenant goes on at its own pace; calm and floods take turns. Each flood comes twice: to the measured
//! hub, and to another one beside it, which takes the same processors and shares nothing else.

pub(crate) mod flood;
mod limits;
mod quiet;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;

use self::flood::{FLOODER, Kind, Sent};
use self::limits::LIMITS;
use self::quiet::Quiet;
use crate::chance::Chance;
use crate::context::Context;
use crate::frames;
use crate::hub::{Device, Folder, Hub, await_kind};
use crate::process::{Place, Running};
use crate::report::{Goal, Row};
use crate::stats::percentile;

/// The name in the report.
const NAME: &str = "isolation";
/// Entries of a batch that fills the store.
const LARGE: usize = 500;

/// What a phase gave.
#[derive(Debug, Clone, Copy, Default)]
struct Phase {
    p50: f64,
    p99: f64,
    /// Of a processor, in percent.
    hub_busy: f64,
    flooder_busy: f64,
    refused_per_second: f64,
    sent: Sent,
}

/// The phases of one kind of flood, round by round.
#[derive(Debug, Default)]
struct Phases {
    calm: Vec<Phase>,
    flooded: Vec<Phase>,
    elsewhere: Vec<Phase>,
}

/// Two hubs on copies of one store.
struct Stage {
    quiet: Quiet,
    measured: Hub,
    other: Hub,
    _folders: [Folder; 2],
}

/// Measures all kinds of floods.
pub(crate) fn run(context: &Context) -> Result<Vec<Row>> {
    context.scheduling.take_place(Place::Apart);
    let seed = seed(context)?;
    let mut phases: Vec<_> = Kind::value_variants().iter().map(|kind| (*kind, Phases::default())).collect();
    for round in 1..=context.latency_rounds {
        let mut stage = Stage::new(context, &seed)?;
        // A hub that has just begun is slower than it will be.
        stage.phase(context, None)?;
        for (kind, phases) in &mut phases {
            let calm = stage.phase(context, None)?;
            let flooded = stage.phase(context, Some((*kind, stage.measured.server.address())))?;
            let elsewhere = stage.phase(context, Some((*kind, stage.other.server.address())))?;
            context.say(&told(round, *kind, &[calm, flooded, elsewhere]));
            phases.calm.push(calm);
            phases.flooded.push(flooded);
            phases.elsewhere.push(elsewhere);
        }
        stage.stop()?;
    }
    Ok(phases.iter().flat_map(|(kind, phases)| rows(*kind, phases)).collect())
}

fn told(round: usize, kind: Kind, [calm, flooded, elsewhere]: &[Phase; 3]) -> String {
    let Sent { dials, frames, held, closed, read } = flooded.sent;
    format!(
        "isolation, round {round}, {kind}: p99 {:.2} ms calm, {:.2} flooded, {:.2} with the flood elsewhere; p50 {:.2}, {:.2}, {:.2}; \
         hub {:.0}, {:.0} % of a processor, flooder {:.0} %; {dials} dials, {frames} frames, {held} held up, {closed} closed, {read} bytes read, {:.0} refused/s",
        calm.p99,
        flooded.p99,
        elsewhere.p99,
        calm.p50,
        flooded.p50,
        elsewhere.p50,
        calm.hub_busy,
        flooded.hub_busy,
        flooded.flooder_busy,
        flooded.refused_per_second,
    )
}

fn rows(kind: Kind, phases: &Phases) -> Vec<Row> {
    let each = |phases: &[Phase], value: fn(&Phase) -> f64| phases.iter().map(value).collect::<Vec<_>>();
    let Phases { calm, flooded, elsewhere } = phases;
    let p99 = |phase: &Phase| phase.p99;
    vec![
        Row::alone(NAME, format!("answer to another tenant, p99, flood of {kind}"), "ms", each(flooded, p99))
            .against(each(calm, p99))
            .goal(Goal::RatioAtMost(2.0)),
        Row::alone(NAME, format!("  the same flood on another hub, {kind}"), "ms", each(elsewhere, p99))
            .against(each(calm, p99)),
        Row::alone(NAME, format!("  p50, flood of {kind}"), "ms", each(flooded, |phase| phase.p50))
            .against(each(calm, |phase| phase.p50)),
        Row::alone(NAME, format!("  hub's processor, {kind}"), "%", each(flooded, |phase| phase.hub_busy))
            .against(each(calm, |phase| phase.hub_busy)),
        Row::alone(
            NAME,
            format!("  refused a second, {kind}"),
            "/s",
            each(flooded, |phase| phase.refused_per_second),
        ),
    ]
}

/// A store in which the flooding tenant has records to ask for.
fn seed(context: &Context) -> Result<Folder> {
    let folder = Folder::new(&context.memory)?;
    let hub = Hub::start(&context.hub, &folder, (context.scheduling, Place::Everywhere))?;
    let writer = Device { tenant: FLOODER, ..Device::new("writer", &[]) };
    let mut connections = hub.connect(&[writer])?;
    let connection = connections.first_mut().context("no connection")?;
    let (mut chance, mut left, mut id) = (Chance::new(31), context.replayed, 1);
    while left > 0 {
        let count = left.min(LARGE);
        (left, id) = (left - count, id + 1);
        connection.send(&frames::sync(id, chance.uuid(), None, &flood::entries(&mut chance, count)))?;
        await_kind(connection, frames::Kind::SyncResult)?;
    }
    drop(connections);
    hub.stop()?;
    Ok(folder)
}

impl Stage {
    fn new(context: &Context, seed: &Folder) -> Result<Self> {
        // No priority: the hub's own threads are to take turns as they do for its users.
        let on = (context.scheduling.without_priority(), Place::Apart);
        let folders = [Folder::new(&context.memory)?, Folder::new(&context.memory)?];
        for folder in &folders {
            std::fs::copy(seed.database(), folder.database())?;
        }
        let [measured, other] =
            folders.each_ref().map(|folder| Hub::start_with(&context.hub, folder, on, &LIMITS));
        let (measured, other) = (measured?, other?);
        let quiet = Quiet::new(&measured)?;
        Ok(Self { quiet, measured, other, _folders: folders })
    }

    /// Lets the quiet tenant go on beside a flood, or beside none.
    fn phase(&mut self, context: &Context, flood: Option<(Kind, SocketAddr)>) -> Result<Phase> {
        let (warm_up, window) = (context.flood_warm_up, context.flood_window);
        let running =
            flood.map(|(kind, address)| start(context, kind, address, warm_up + window)).transpose()?;
        let refused = self.refused()?;
        let took = self.quiet.go_on(&self.measured.server, running.as_ref(), (warm_up, window))?;
        let refused = self.refused()? - refused;
        let sent = running.map(|running| anyhow::Ok(serde_json::from_str(&running.end()?)?)).transpose()?;
        // The flood's sockets close.
        std::thread::sleep(warm_up / 3);
        Ok(Phase {
            p50: percentile(&took.answers, 50.0) / 1000.0,
            p99: percentile(&took.answers, 99.0) / 1000.0,
            hub_busy: took.hub_busy,
            flooder_busy: took.flooder_busy,
            refused_per_second: refused / (warm_up + window).as_secs_f64(),
            sent: sent.unwrap_or_default(),
        })
    }

    /// What the measured hub has refused under a limit.
    fn refused(&self) -> Result<f64> {
        self.measured.counter("synchub_limited_total")
    }

    fn stop(self) -> Result<()> {
        drop(self.quiet);
        self.measured.stop()?;
        self.other.stop()
    }
}

/// A flood in a process of its own: what it costs is not to be taken for the hub's.
fn start(context: &Context, kind: Kind, address: SocketAddr, time: Duration) -> Result<Running> {
    let arguments = ["flood".to_owned(), kind.to_string(), address.to_string(), time.as_millis().to_string()];
    Running::start(context.scheduling.without_priority(), &context.own, Place::WithClients, &arguments)
}
