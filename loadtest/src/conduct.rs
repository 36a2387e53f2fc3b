//! Plays a stage to its end: with the live line, the kills, and an eye on replays that stand still.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::args::Replay;
use crate::chance::Chance;
use crate::hub::Hub;
use crate::kills::{self, Kills};
use crate::ledger::Ledger;
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
    let lines = Reader::of(args)?;
    let places = kills::places(stage.survey.steps.len(), args.run.kills, chance);
    let stall = Duration::from_secs(args.run.stall);
    let played = async {
        let (played, kills) = tokio::join!(
            play(stage, peers, lines),
            kill((&stage.ledger, &stage.stop), peers, (hub, places), chance)
        );
        played.and(kills)
    };
    let due = || stage.ledger.submitted() > stage.ledger.answered() || stage.pace.is_max();
    tokio::select! {
        kills = played => kills,
        () = progress::run(&stage.ledger, args.run.json, String::new) => bail!("the progress line ended"),
        () = watch(&stage.ledger, &stage.stop, stall, due) => bail!("the stall watch ended"),
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("no signals")?;
            bail!("interrupted")
        }
    }
}

/// Kills the hub at these places, until everything is stopped.
pub(crate) async fn kill<P: Peer>(
    (ledger, stop): (&Ledger, &CancellationToken),
    peers: &[P],
    (hub, places): (Option<&mut Hub>, Vec<u64>),
    chance: &Chance,
) -> Result<Kills> {
    let Some(hub) = hub else { return Ok(Kills::default()) };
    let killing = kills::run(ledger, peers, (hub, places), chance);
    match stop.run_until_cancelled(killing).await {
        Some(Ok(kills)) => Ok(kills),
        Some(Err(error)) => {
            stop.cancel();
            Err(error)
        }
        None => Ok(Kills::default()),
    }
}

/// Stops everything when nothing was answered for `stall` while something should have been. Never ends.
pub(crate) async fn watch(
    ledger: &Ledger,
    stop: &CancellationToken,
    stall: Duration,
    is_due: impl Fn() -> bool,
) {
    let mut last = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answered = ledger.answered();
        if answered != last.0 || !is_due() {
            last = (answered, Instant::now());
        }
        if last.1.elapsed() > stall {
            stop.cancel();
        }
    }
}
