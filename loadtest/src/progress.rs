//! The live line on standard error while entries flow; nothing when that is not a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::ledger::Ledger;

const TEMPLATE: &str = "{elapsed_precise} {wide_bar} {pos}/{len} answered, {msg}";

/// Draws until it is dropped; `more` adds words of the caller's.
pub(crate) async fn run(ledger: &Ledger, quiet: bool, more: impl Fn() -> String) {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(ledger.lines()), target);
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        bar.set_style(style);
    }
    let started = Instant::now();
    let before = ledger.answered();
    loop {
        let (answered, submitted) = (ledger.answered(), ledger.submitted());
        bar.set_position(answered);
        let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(1).max(1);
        let rate = (answered - before) * 1000 / millis;
        bar.set_message(format!("{rate}/s, {} due{}", submitted.saturating_sub(answered), more()));
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
