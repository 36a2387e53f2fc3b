//! Replays device traffic against a hub over real sockets and proves that every device and the store
//! agree.
//!
//! `synchub-loadtest replay FILE` plays a trace and ends with a verdict: exit code 0 when it is yes,
//! 1 when it is no, 2 when the replay could not be made.

mod args;
mod board;
mod chance;
mod conduct;
mod devices;
mod fingerprint;
mod hub;
mod judge;
mod kills;
mod ledger;
mod pace;
mod play;
mod progress;
mod replay;
mod report;
mod sightings;
mod size;
mod store;
mod survey;
mod target;
mod timing;
mod token;
mod trace;
mod verdict;
mod witness;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Replay(args) = Cli::parse().command;
    match replay::replay(&args).await {
        Ok(report) => {
            let text = if args.json { serde_json::to_string_pretty(&report) } else { Ok(report.to_string()) };
            // The exit code tells the verdict even when standard output is closed.
            drop(writeln!(std::io::stdout(), "{}", text.unwrap_or_else(|error| error.to_string())));
            ExitCode::from(u8::from(!report.verdict.yes))
        }
        Err(error) => {
            progress::say(false, &format!("the replay could not be made: {error:#}"));
            ExitCode::from(2)
        }
    }
}
