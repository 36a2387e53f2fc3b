//! Replays device traffic against a hub over real sockets and proves that every device and the store
//! agree.
//!
//! `synchub-loadtest replay FILE` plays a trace and ends with a verdict: exit code 0 when it is yes,
//! 1 when it is no, 2 when the replay could not be made. `scenario NAME` puts one kind of load on a hub and
//! ends with the same verdict. `hostile` attacks a hub; `scale` and `size` measure one.

mod args;
mod board;
mod chance;
mod conduct;
mod devices;
mod ending;
mod fingerprint;
mod hostile;
mod hub;
mod judge;
mod kills;
mod ledger;
mod opening;
mod pace;
mod play;
mod process;
mod progress;
mod replay;
mod report;
mod savings;
mod scale;
mod scenario;
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

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use crate::args::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Replay(args) => {
            tell(args.run.json, replay::replay(&args).await, |report| report.verdict.yes)
        }
        Command::Scenario(args) => {
            let json = args.scenario.parts().1.run.json;
            tell(json, scenario::scenario(&args).await, scenario::Report::holds)
        }
        Command::Hostile(args) => tell(args.json, hostile::hostile(&args).await, hostile::Report::holds),
        Command::Scale(args) => tell(args.json, scale::scale(&args).await, |_| true),
        Command::Size(args) => tell(args.json, size::Size::of(&args.file), |_| true),
    }
}

/// Prints a report and turns it into the exit code, which tells the verdict even when standard output is
/// closed.
fn tell<R: Serialize + Display>(json: bool, made: anyhow::Result<R>, yes: fn(&R) -> bool) -> ExitCode {
    match made {
        Ok(report) => {
            let text = if json { serde_json::to_string_pretty(&report) } else { Ok(report.to_string()) };
            drop(writeln!(std::io::stdout(), "{}", text.unwrap_or_else(|error| error.to_string())));
            ExitCode::from(u8::from(!yes(&report)))
        }
        Err(error) => {
            progress::say(false, &format!("it could not be done: {error:#}"));
            ExitCode::from(2)
        }
    }
}
