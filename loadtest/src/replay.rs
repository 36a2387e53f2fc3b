//! A whole replay, from the command line to the report.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use synchub_client::Flow;
use tokio::time::Instant;

use crate::args::Replay;
use crate::chance::Chance;
use crate::conduct::conduct;
use crate::devices::Devices;
use crate::ending::Ended;
use crate::kills::Kills;
use crate::opening::{start_hub, target};
use crate::pace::Pace;
use crate::play::Stage;
use crate::progress::say;
use crate::report::{Report, Verdict};
use crate::savings::{Edits, Savings};
use crate::size::Size;
use crate::survey::Survey;
use crate::target::{Target, wall_clock};
use crate::trace::Reader;

/// Plays the trace and judges what came of it.
pub(crate) async fn replay(args: &Replay) -> Result<Report> {
    let (survey, lacks) = take_survey(args)?;
    let chance = Arc::new(Chance::new(args.run.seed));
    let mut hub = start_hub(&args.run, &chance).await?;
    let target = Target { offers: args.offers, ..target(&args.run, hub.as_ref())? };
    say(args.run.json, &format!("{} devices connect to {}", survey.devices.len(), target.url));
    let devices = Devices::start(&survey, &target, &chance).await?;

    let pace = Pace::start(args.speed, wall_clock());
    let patience = Duration::from_secs(args.patience);
    let mut stage = Stage::new(Arc::clone(&survey), Arc::clone(&target.sightings), pace, patience);
    stage.edits = Edits::new(args.edits);
    let stage = Arc::new(stage);
    devices.observe(&stage);
    let started = Instant::now();
    let kills = conduct(args, &stage, devices.peers(), hub.as_mut(), &chance).await?;
    let took = started.elapsed();

    say(args.run.json, "all answered; the devices take in the rest");
    let started = Instant::now();
    let mut notes = Vec::from_iter(lacks);
    let (mut settled_notes, mut new_devices) = (None, Flow::default());
    if stage.stop.is_cancelled() {
        notes.push(format!("nothing was answered for {} s, the replay was ended", args.run.stall));
    } else {
        (settled_notes, new_devices) = devices.settle(&survey, &target, &chance).await?;
    }
    notes.extend(settled_notes);
    let settled = started.elapsed();
    stage.done.cancel();
    let (from_hub, to_hub) = devices.flows();
    let savings = Savings {
        offers: args.offers,
        from_hub: from_hub.into(),
        to_hub: to_hub.into(),
        new_devices: new_devices.into(),
        edits: stage.edits.sizes(),
    };

    let (entries, _) = stage.ledger.read();
    let ended =
        Ended { args: &args.run, survey: &survey, entries: &entries, devices: &devices, target: &target };
    let (mut verdict, size) = ended.judge(hub.as_mut()).await?;
    if target.sightings.is_full() {
        notes.push("more jumps over versions than could be kept; some were not judged".to_owned());
    }
    verdict.notes.splice(0..0, notes);
    let outcome = Outcome {
        seconds: took.as_secs_f64(),
        settle_seconds: settled.as_secs_f64(),
        savings,
        kills,
        size,
        verdict,
    };
    Ok(report(args, &stage, &devices, outcome))
}

/// What is to be played, and what the trace says that it lacks.
fn take_survey(args: &Replay) -> Result<(Arc<Survey>, Option<String>)> {
    let mut reader = Reader::of(args)?;
    let mut survey =
        Survey::take(reader.by_ref()).with_context(|| format!("{} cannot be played", args.file.display()))?;
    survey.at_least(args.devices_per_user);
    let lost = reader.lost_batches();
    let lacks = (lost > 0)
        .then(|| format!("{lost} batches are missing in the trace: its recorder could not keep up"));
    Ok((Arc::new(survey), lacks))
}

/// How a replay ended.
struct Outcome {
    seconds: f64,
    settle_seconds: f64,
    savings: Savings,
    kills: Kills,
    size: Option<Size>,
    verdict: Verdict,
}

fn report(args: &Replay, stage: &Stage, devices: &Devices, outcome: Outcome) -> Report {
    let (_, tally) = stage.ledger.read();
    let Outcome { seconds, settle_seconds, savings, kills, size, verdict } = outcome;
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
        savings,
        kills,
        size,
        verdict,
    }
}
