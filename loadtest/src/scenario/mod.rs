//! One kind of load on a hub, from the command line to the report.
//!
//! Everything ends as a replay does: every entry is accounted for, and every device equals the store.

pub(crate) mod arrivals;
mod flow;
pub(crate) mod options;
mod plan;
mod proxy;
mod recorders;
mod report;
mod thresholds;
mod usage;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::time::Instant;

use self::flow::Flow;
use self::options::{Kind, Options, ScenarioArgs};
use self::plan::Plan;
use self::proxy::{Proxy, Weather};
pub(crate) use self::report::Report;
use self::thresholds::Measured;
use self::usage::Watch;
use crate::chance::Chance;
use crate::conduct::{kill, watch};
use crate::devices::Devices;
use crate::ending::Ended;
use crate::hub::Hub;
use crate::kills::{self, Kills};
use crate::opening::{start_hub, target};
use crate::progress::{self, say};
use crate::report::Verdict;
use crate::survey::DeviceIndex;
use crate::target::{Target, wall_clock};

/// Plays a scenario and judges what came of it.
pub(crate) async fn scenario(args: &ScenarioArgs) -> Result<Report> {
    let (kind, args) = args.scenario.parts();
    check(args)?;
    let file = args.report.as_ref().map(|path| {
        File::create(path).with_context(|| format!("the report {} cannot be written", path.display()))
    });
    let file = file.transpose()?;
    let report = play(kind, args).await?;
    if let Some(file) = file {
        serde_json::to_writer_pretty(file, &report).context("the report cannot be written")?;
    }
    Ok(report)
}

fn check(args: &Options) -> Result<()> {
    let (load, run) = (&args.load, &args.run);
    ensure!(load.devices / 2 >= load.tenants, "there must be two devices for each tenant at least");
    let is_watched = run.spawn_hub.is_some() || args.hub_pid.is_some();
    ensure!(
        is_watched || args.limits.max_server_rss_mb.is_none(),
        "--max-server-rss-mb needs to know the hub's process: --spawn-hub or --hub-pid"
    );
    Ok(())
}

/// A scenario that runs.
struct Running<'a> {
    kind: Kind,
    args: &'a Options,
    network: Option<Proxy>,
    flow: Arc<Flow>,
    chance: Arc<Chance>,
    target: Target,
    devices: Devices,
    server: Watch,
    client: Watch,
}

/// How long the parts of a scenario took, and what went on in them.
struct Course {
    connect: Duration,
    settle: Duration,
    kills: Kills,
    verdict: Verdict,
}

async fn play(kind: Kind, args: &Options) -> Result<Report> {
    let plan = Arc::new(plan::plan(kind, &args.load, args.run.seed));
    let chance = Arc::new(Chance::new(!args.run.seed));
    let mut hub = start_hub(&args.run, &chance).await?;
    let mut target = target(&args.run, hub.as_ref())?;
    let server = watch_hub(args, hub.as_ref())?;
    let client = Watch::new(Arc::new(AtomicU32::new(std::process::id())));
    let flow = Arc::new(Flow::new(plan, Arc::clone(&target.sightings), wall_clock()));
    target.arrivals = Some(Arc::clone(&flow.arrivals));
    let network = build_network(kind, &flow.plan, &mut target, args.run.seed).await?;

    let survey = Arc::clone(&flow.plan.survey);
    say(args.run.json, &format!("{} devices connect to {}", survey.devices.len(), target.url));
    let started = Instant::now();
    let devices = Devices::start(&survey, &target, &chance).await?;
    let connect = started.elapsed();
    let running = Running { kind, args, network, flow, chance, target, devices, server, client };

    let mut notes = running.prepare().await?;
    let kills = running.load(hub.as_mut()).await?;
    let started = Instant::now();
    notes.extend(running.settle().await?);
    let settle = started.elapsed();
    let mut verdict = running.judge(hub.as_mut()).await?;
    verdict.notes.splice(0..0, notes);
    Ok(running.report(Course { connect, settle, kills, verdict }))
}

/// Puts devices behind a network that is worse, where the scenario wants it.
async fn build_network(kind: Kind, plan: &Plan, target: &mut Target, seed: u64) -> Result<Option<Proxy>> {
    let (weather, devices): (_, Vec<DeviceIndex>) = match kind {
        Kind::SlowReaders { reads, .. } => {
            (Weather { down: Some(reads), ..Weather::default() }, plan.slow.iter().copied().collect())
        }
        Kind::PoorNetwork(weather) => (weather, (0..plan.survey.devices.len()).collect()),
        _ => return Ok(None),
    };
    let network = Proxy::start(&target.url, weather, seed).await?;
    let url = network.url(&target.url);
    target.detours = devices.into_iter().map(|device| (device, url.clone())).collect();
    Ok(Some(network))
}

fn watch_hub(args: &Options, hub: Option<&Hub>) -> Result<Watch> {
    let number = hub.map_or_else(|| Arc::new(AtomicU32::new(args.hub_pid.unwrap_or(0))), Hub::watched);
    let server = Watch::new(number);
    if let Some(number) = args.hub_pid.filter(|_| !server.can_look()) {
        bail!("--hub-pid {number}: this process cannot be watched");
    }
    Ok(server)
}

impl Running<'_> {
    /// Writes what is there before the load, and waits until everyone has it.
    async fn prepare(&self) -> Result<Vec<String>> {
        say(self.args.run.json, &format!("{} records are written", self.flow.plan.before));
        self.guard(async {
            self.flow.prepare(self.devices.peers()).await;
            Ok(())
        })
        .await?;
        Ok(self.settle().await?.into_iter().collect())
    }

    /// Plays the load, with the kills.
    async fn load(&self, hub: Option<&mut Hub>) -> Result<Kills> {
        let (flow, plan, args) = (&self.flow, &self.flow.plan, self.args);
        say(args.run.json, &format!("{}: {:.1} s of load", self.kind.name(), plan.length.as_secs_f64()));
        let flowing = plan.lines.len() - plan.before;
        let places = kills::places(flowing, args.run.kills, &self.chance);
        let places = places.into_iter().map(|place| place + plan.before as u64).collect();
        self.server.begin();
        self.client.begin();
        let watching = async {
            tokio::join!(self.server.run(), self.client.run(), self.devices.count_live());
            bail!("nobody watches")
        };
        let (stop, peers) = (&flow.stop, self.devices.peers());
        let played = async {
            let killing = kill((&flow.ledger, stop), peers, (hub, places), &self.chance);
            let ((), (), kills) = tokio::join!(flow.play(peers), self.weather(), killing);
            kills
        };
        let ended = self
            .guard(async {
                tokio::select! { kills = played => kills, ended = watching => ended }
            })
            .await;
        self.server.end();
        self.client.end();
        ended
    }

    /// Makes the network poor until the load is over.
    async fn weather(&self) {
        let Some(network) = &self.network else { return };
        network.set_poor(true);
        tokio::time::sleep(self.flow.plan.length).await;
        network.set_poor(false);
    }

    /// Draws the live line, and stops everything when it stands still.
    async fn guard<T>(&self, playing: impl Future<Output = Result<T>>) -> Result<T> {
        let (flow, run) = (&self.flow, &self.args.run);
        let stall = Duration::from_secs(run.stall);
        let words = || {
            let memory = self.server.resident_mib().map(|mib| format!(", hub {mib:.0} MiB"));
            format!(", {} live{}", self.devices.live(), memory.unwrap_or_default())
        };
        tokio::select! {
            result = playing => result,
            () = progress::run(&flow.ledger, run.json, words) => bail!("the progress line ended"),
            () = watch(&flow.ledger, &flow.stop, stall, || flow.is_due()) => bail!("the stall watch ended"),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("no signals")?;
                bail!("interrupted")
            }
        }
    }

    /// Waits until every device has everything; says what prevents it.
    async fn settle(&self) -> Result<Option<String>> {
        if self.flow.stop.is_cancelled() {
            let stall = self.args.run.stall;
            return Ok(Some(format!("nothing was answered for {stall} s, the scenario was ended")));
        }
        Ok(self.devices.settle(&self.flow.plan.survey, &self.target, &self.chance).await?.0)
    }

    async fn judge(&self, hub: Option<&mut Hub>) -> Result<Verdict> {
        let (entries, _) = self.flow.ledger.read();
        let survey = &self.flow.plan.survey;
        let (args, devices, target) = (&self.args.run, &self.devices, &self.target);
        let ended = Ended { args, survey, entries: &entries, devices, target };
        let (mut verdict, _) = ended.judge(hub).await?;
        if target.sightings.is_full() {
            verdict
                .notes
                .push("more jumps over versions than could be kept; some were not judged".to_owned());
        }
        Ok(verdict)
    }

    fn report(&self, course: Course) -> Report {
        let (flow, plan, load) = (&self.flow, &self.flow.plan, &self.args.load);
        let (entries, tally) = flow.ledger.read();
        let flowed = &entries[plan.before..];
        let answered = flowed.iter().filter(|entry| entry.answered > 0).count();
        let refused = entries.iter().filter(|entry| entry.answer.is_none_or(|answer| answer.refused)).count();
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let rate = |count: usize, time: Duration| count as f64 / time.as_secs_f64().max(0.001);
        let arrived =
            |slow| flow.arrivals.recorders().percentiles(|device| plan.slow.contains(&device) == slow);
        let server = self.server.usage();
        let measured = Measured {
            answer: flow.answers.percentiles(|_| true),
            arrival: arrived(false),
            comeback: flow.comebacks.percentiles(|_| true),
            errors: refused as u64,
            rate: rate(answered, flow.took()),
            server_rss_mib: server.map(|usage| usage.rss_peak_mib),
        };
        Report {
            scenario: self.kind.name(),
            seed: self.args.run.seed,
            tenants: load.tenants,
            entries: flowed.len(),
            offline_entries: plan.lines.iter().filter(|line| line.offline).count(),
            offered_per_second: load.rate,
            answered_per_second: measured.rate,
            connect_seconds: course.connect.as_secs_f64(),
            seconds: plan.length.as_secs_f64(),
            settle_seconds: course.settle.as_secs_f64(),
            sockets: self.devices.sockets(&plan.survey),
            answer: measured.answer,
            arrival: measured.arrival,
            slow_arrival: arrived(true),
            comeback: measured.comeback,
            lateness: flow.lateness.percentiles(|_| true),
            failed: measured.errors,
            rate_limited: self.devices.rate_limited(),
            tally,
            kills: course.kills,
            thresholds: thresholds::judge(&self.args.limits, &measured),
            server,
            client: self.client.usage(),
            verdict: course.verdict,
        }
    }
}
