//! Replays device traffic against a hub over real sockets and proves that every device and the store
//! agree.
//!
//! `synchub-loadtest replay FILE` plays a trace and ends with a verdict: exit code 0 when it is yes,
//! 1 when it is no, 2 when the replay could not be made. `synchub-loadtest hostile` attacks a hub and
//! measures what that costs it and another device.

mod args;
mod board;
mod chance;
mod conduct;
mod devices;
mod fingerprint;
mod hostile;
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

use anyhow::Result;
use clap::Parser;
use serde::Serialize;

use crate::args::{Cli, Command};

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Replay(args) => {
            let ended = replay::replay(&args).await;
            end("replay", args.json, ended.map(|report| (report.verdict.yes, report)))
        }
        Command::Hostile(args) => {
            let ended = hostile::hostile(&args).await;
            end("attack", args.json, ended.map(|report| (report.holds(), report)))
        }
    }
}

/// Prints the report. The exit code tells the verdict even when standard output is closed.
fn end<R: Serialize + Display>(what: &str, json: bool, ended: Result<(bool, R)>) -> ExitCode {
    match ended {
        Ok((yes, report)) => {
            let text = if json { serde_json::to_string_pretty(&report) } else { Ok(report.to_string()) };
            drop(writeln!(std::io::stdout(), "{}", text.unwrap_or_else(|error| error.to_string())));
            ExitCode::from(u8::from(!yes))
        }
        Err(error) => {
            progress::say(false, &format!("the {what} could not be made: {error:#}"));
            ExitCode::from(2)
        }
    }
}
