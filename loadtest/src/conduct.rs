//! Plays a stage to its end: with the live line, the kills, and an eye on replays that stand still.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;

use crate::args::Replay;
use crate::chance::Chance;
use crate::hub::Hub;
use crate::kills::{self, Kills};
use crate::play::{Peer, Stage, play};
use crate::progress;
use crate::trace::Reader;

/// Plays all lines; `hub` is killed where the arguments say so.
pub(crate) async fn conduct<P: Peer>(
    args: &Replay,
    stage: &Arc<Stage>,
    peers: &[P],
    hub: Option<&mut Hub>,
    chance: &Chance,
) -> Result<Kills> {
    let lines = Reader::open(&args.file, args.lines)?;
    let places = kills::places(stage.survey.steps.len(), args.kills, chance);
    let stall = Duration::from_secs(args.stall);
    let played = async {
        let (played, kills) =
            tokio::join!(play(stage, peers, lines), kill(stage, peers, (hub, places), chance));
        played.and(kills)
    };
    let quiet = args.json;
    tokio::select! {
        kills = played => kills,
        () = progress::run(Arc::clone(stage), quiet) => bail!("the progress line ended"),
        () = watch(stage, stall) => bail!("the stall watch ended"),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("no signals")?;
            bail!("interrupted")
        }
    }
}

async fn kill<P: Peer>(
    stage: &Stage,
    peers: &[P],
    (hub, places): (Option<&mut Hub>, Vec<u64>),
    chance: &Chance,
) -> Result<Kills> {
    let Some(hub) = hub else { return Ok(Kills::default()) };
    let killing = kills::run(&stage.ledger, peers, (hub, places), chance);
    match stage.stop.run_until_cancelled(killing).await {
        Some(Ok(kills)) => Ok(kills),
        Some(Err(error)) => {
            stage.stop.cancel();
            Err(error)
        }
        None => Ok(Kills::default()),
    }
}

/// Stops the stage when nothing was answered for `stall` while something should have been. Never ends.
async fn watch(stage: &Arc<Stage>, stall: Duration) {
    let mut last = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (submitted, answered) = (stage.ledger.submitted(), stage.ledger.answered());
        let due = submitted > answered || stage.pace.is_max();
        if answered != last.0 || !due {
            last = (answered, Instant::now());
        }
        if last.1.elapsed() > stall {
            stage.stop.cancel();
        }
    }
}
