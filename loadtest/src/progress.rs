//! The live line on standard error while a replay runs; nothing when that is not a terminal.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::play::Stage;

const TEMPLATE: &str = "{elapsed_precise} {wide_bar} {pos}/{len} answered, {per_sec:.0}, {msg}";

/// Draws until it is dropped or the stage is stopped.
pub(crate) async fn run(stage: Arc<Stage>, quiet: bool) {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(stage.survey.steps.len() as u64), target);
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    loop {
        let (answered, submitted) = (stage.ledger.answered(), stage.ledger.submitted());
        bar.set_position(answered);
        bar.set_message(format!("{} due", submitted.saturating_sub(answered)));
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
