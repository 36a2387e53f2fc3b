//! A whole replay, from the command line to the report.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::args::{Replay, Verify};
use crate::chance::Chance;
use crate::conduct::conduct;
use crate::devices::{Devices, views};
use crate::hub::{self, Hub, HubOptions};
use crate::judge::{Evidence, against_snapshots, against_store};
use crate::kills::Kills;
use crate::ledger::Entry;
use crate::pace::Pace;
use crate::play::Stage;
use crate::progress::say;
use crate::report::{Report, Verdict};
use crate::size::Size;
use crate::store;
use crate::survey::Survey;
use crate::target::{Target, wall_clock};
use crate::token::Signer;
use crate::trace::Reader;

/// Plays the trace and judges what came of it.
pub(crate) async fn replay(args: &Replay) -> Result<Report> {
    let survey = take_survey(args)?;
    let chance = Arc::new(Chance::new(args.seed));
    let mut hub = start_hub(args, &chance).await?;
    let target = target(args, hub.as_ref())?;
    say(args.json, &format!("{} devices connect to {}", survey.devices.len(), target.url));
    let devices = Devices::start(&survey, &target, &chance).await?;

    let pace = Pace::start(args.speed, wall_clock());
    let patience = Duration::from_secs(args.patience);
    let stage = Arc::new(Stage::new(Arc::clone(&survey), Arc::clone(&target.sightings), pace, patience));
    devices.observe(&stage);
    let started = Instant::now();
    let kills = conduct(args, &stage, devices.peers(), hub.as_mut(), &chance).await?;
    let took = started.elapsed();

    say(args.json, "all answered; the devices take in the rest");
    let started = Instant::now();
    let mut notes = Vec::new();
    if stage.stop.is_cancelled() {
        notes.push(format!("nothing was answered for {} s, the replay was ended", args.stall));
    } else {
        notes.extend(devices.settle(&survey, &target, &chance).await?);
    }
    let settled = started.elapsed();
    stage.done.cancel();

    let (entries, _) = stage.ledger.read();
    let ended = Ended { args, survey: &survey, entries: &entries, devices: &devices, target: &target };
    let (mut verdict, size) = ended.judge(hub.as_mut()).await?;
    if target.sightings.is_full() {
        notes.push("more jumps over versions than could be kept; some were not judged".to_owned());
    }
    verdict.notes.splice(0..0, notes);
    let outcome =
        Outcome { seconds: took.as_secs_f64(), settle_seconds: settled.as_secs_f64(), kills, size, verdict };
    Ok(report(args, &stage, &devices, outcome))
}

fn take_survey(args: &Replay) -> Result<Arc<Survey>> {
    let mut survey = Survey::take(Reader::open(&args.file, args.lines)?)
        .with_context(|| format!("{} cannot be played", args.file.display()))?;
    survey.at_least(args.devices_per_user);
    Ok(Arc::new(survey))
}

async fn start_hub(args: &Replay, chance: &Chance) -> Result<Option<Hub>> {
    let Some(binary) = &args.spawn_hub else { return Ok(None) };
    let options = HubOptions {
        binary: binary.clone(),
        domains_dir: args.domains_dir.clone(),
        tail_bytes: args.tail_bytes,
        keep: args.keep,
        settings: Vec::new(),
    };
    let hub = Hub::start(options, chance).await?;
    if args.keep {
        say(args.json, &format!("the hub keeps its data in {}", hub.data_dir().display()));
    }
    Ok(Some(hub))
}

fn target(args: &Replay, hub: Option<&Hub>) -> Result<Target> {
    let (url, signer) = match (hub, &args.secret, &args.data_dir) {
        (Some(hub), ..) => (hub.url(), Signer::new(hub.secret())),
        (None, Some(secret), None) => (args.url.clone(), Signer::new(secret)),
        (None, _, Some(data_dir)) => (args.url.clone(), Signer::from_data_dir(data_dir)?),
        (None, None, None) => {
            bail!("say what signs the tokens: --data-dir of the hub, --secret, or --spawn-hub")
        }
    };
    Ok(Target { url, signer, tongue: args.encoding, sightings: Arc::default() })
}

/// A replay whose lines are all through.
struct Ended<'a> {
    args: &'a Replay,
    survey: &'a Survey,
    entries: &'a [Entry],
    devices: &'a Devices,
    target: &'a Target,
}

impl Ended<'_> {
    /// Compares everything; the devices and the spawned hub have ended when it returns.
    async fn judge(&self, hub: Option<&mut Hub>) -> Result<(Verdict, Option<Size>)> {
        let regressions = self.devices.regressions();
        let (jumps, mismatches) = self.target.sightings.read();
        let evidence = Evidence {
            survey: self.survey,
            entries: self.entries,
            installs: self.devices.installs(),
            regressions: &regressions,
            differences: &[],
            jumps: &jumps,
            mismatches: &mismatches,
        };
        let held = |index, domain: &str| self.devices.held(index, domain);
        let spawned = hub.as_ref().map(|hub| hub.store());
        let file = spawned.as_deref().or(self.args.store.as_deref());
        match (self.args.verify, file) {
            (None | Some(Verify::Store), Some(file)) => {
                self.devices.stop().await;
                let note = self.end_hub(hub).await?;
                let mut verdict = against_store(&evidence, &store::read(file)?, held);
                verdict.notes.extend(note);
                Ok((verdict, Some(Size::of(file)?)))
            }
            (Some(Verify::Store), None) => bail!("--verify store needs --store or --spawn-hub"),
            _ => {
                let differences = self.devices.differences(self.survey).await;
                let evidence = Evidence { differences: &differences, ..evidence };
                let views = views(self.survey, self.target, &Arc::new(Chance::new(!self.args.seed))).await?;
                self.devices.stop().await;
                if let Some(hub) = hub {
                    hub.stop().await?;
                }
                Ok((against_snapshots(&evidence, &views, held), None))
            }
        }
    }

    /// Ends the spawned hub, or waits until somebody has ended the other one.
    async fn end_hub(&self, hub: Option<&mut Hub>) -> Result<Option<String>> {
        if let Some(hub) = hub {
            hub.stop().await?;
            return Ok(None);
        }
        say(self.args.json, "now stop the hub (SIGTERM or Ctrl-C): the verdict is read from its file");
        let limit = Duration::from_secs(self.args.store_wait);
        let stopped = hub::wait_until_stopped(&self.target.url, limit).await;
        Ok((!stopped).then(|| "the store was read while the hub was running".to_owned()))
    }
}

/// How a replay ended.
struct Outcome {
    seconds: f64,
    settle_seconds: f64,
    kills: Kills,
    size: Option<Size>,
    verdict: Verdict,
}

fn report(args: &Replay, stage: &Stage, devices: &Devices, outcome: Outcome) -> Report {
    let (_, tally) = stage.ledger.read();
    let Outcome { seconds, settle_seconds, kills, size, verdict } = outcome;
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let per_second = |count: u64| count as f64 / seconds.max(0.001);
    Report {
        trace: args.file.display().to_string(),
        lines: stage.survey.steps.len(),
        speed: args.speed.to_string(),
        seconds,
        settle_seconds,
        sockets: devices.sockets(&stage.survey),
        entries_per_second: per_second(stage.ledger.answered()),
        changes_per_second: per_second(devices.changes()),
        answer: stage.latency.percentiles(),
        other_device: stage.spread.percentiles(),
        behind_in_trace: stage.survey.behind,
        tally,
        kills,
        size,
        verdict,
    }
}
