//! The live line on standard error while a replay runs; nothing when that is not a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::play::Stage;

const TEMPLATE: &str = "{elapsed_precise} {wide_bar} {pos}/{len} answered, {msg}";

/// Draws until it is dropped or the stage is stopped.
pub(crate) async fn run(stage: Arc<Stage>, quiet: bool) {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(stage.survey.steps.len() as u64), target);
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    let started = Instant::now();
    loop {
        let (answered, submitted) = (stage.ledger.answered(), stage.ledger.submitted());
        bar.set_position(answered);
        let rate = answered * 1000 / u64::try_from(started.elapsed().as_millis()).unwrap_or(1).max(1);
        bar.set_message(format!("{rate}/s, {} due", submitted.saturating_sub(answered)));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Says something on standard error, unless quiet.
pub(crate) fn say(quiet: bool, text: &str) {
    use std::io::Write;
    if !quiet {
        // Nothing can be done about a standard error that is closed.
        drop(writeln!(std::io::stderr(), "{text}"));
    }
}
