//! The verdict is worth something: hubs that lie on purpose get a no for the right reason, an honest
//! one gets a yes, and so does one that is killed again and again.
//!
//! Each test runs the load tester's binary, which starts the hub built beside it. Where a hub lies is
//! said in FAILPOINTS, which only a hub with the feature `fail-points` reads; nothing here is left out
//! without it, it fails.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod fail_points;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempPath};

use crate::common::hub;
use crate::fail_points::hub_with_fail_points;

/// The folder of the shipped trace and of the domain that it needs.
fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces")
}

fn shipped() -> PathBuf {
    traces().join("incidents-a-lag8h.jsonl.zst")
}

/// What a replay ended with: the exit code and the report.
struct Ending {
    code: Option<i32>,
    report: Value,
}

impl Ending {
    fn is_yes(&self) {
        assert_eq!(self.code, Some(0), "{:#}", self.report["verdict"]);
        assert_eq!(self.report["verdict"]["yes"], true);
        assert_eq!(self.report["verdict"]["source"], "store");
    }

    /// The verdict is no, and this is among its reasons.
    fn is_no_because(&self, reason: &str) {
        assert_eq!(self.code, Some(1), "{:#}", self.report["verdict"]);
        assert_eq!(self.report["verdict"]["yes"], false);
        assert!(self.report["verdict"]["counts"][reason].is_u64(), "{:#}", self.report["verdict"]);
    }
}

/// Two devices for each account at least, so that every change has another device to go to.
fn replay(hub: &Path, lies: &str, trace: &Path, options: &str) -> Ending {
    let output = Command::new(env!("CARGO_BIN_EXE_synchub-loadtest"))
        .arg("replay")
        .arg(trace)
        .arg("--spawn-hub")
        .arg(hub)
        .arg("--domains-dir")
        .arg(traces().join("domains"))
        .args(["--json", "--devices-per-user", "2"])
        .args(options.split_whitespace())
        .env("FAILPOINTS", lies)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"));
    Ending { code: output.status.code(), report }
}

fn trace_of(lines: impl IntoIterator<Item = Value>) -> TempPath {
    let mut text = String::new();
    for line in lines {
        writeln!(text, "{line}").unwrap();
    }
    let file = tempfile::Builder::new().suffix(".jsonl").tempfile().unwrap();
    std::fs::write(&file, text).unwrap();
    NamedTempFile::into_temp_path(file)
}

/// Those of the first 300 lines that create a record: no later change can make up for one of them.
fn creates() -> TempPath {
    let file = std::fs::File::open(shipped()).unwrap();
    let lines = BufReader::new(zstd::stream::read::Decoder::new(file).unwrap()).lines().take(300);
    let lines: Vec<Value> =
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).filter(is_create).collect();
    assert!(lines.len() > 100, "only {} of the lines create a record", lines.len());
    trace_of(lines)
}

fn is_create(line: &Value) -> bool {
    line["base_version"] == 0
}

/// One record, created and changed by one person, then changed by another one who has seen both.
fn three_versions() -> TempPath {
    let line = |base: u64, user: &str| {
        json!({
            "t_ms": base, "tenant": "t", "user": user, "device": user, "domain": "ticket",
            "mobile_id": "00000000-0000-4000-8000-000000000001", "base_version": base,
            "data": { "status": "NEW", "priority": "LOW", "subject": format!("version {}", base + 1) },
        })
    };
    trace_of([line(0, "ann"), line(1, "ann"), line(2, "bob")])
}

#[test]
fn an_honest_hub_gets_a_yes() {
    let ending = replay(&hub(), "", &shipped(), "--lines 300 --encoding mixed");
    ending.is_yes();
    assert!(ending.report["verdict"]["copied_records"].as_u64() > Some(1000), "{:#}", ending.report);
}

#[test]
fn the_traces_of_the_lies_get_a_yes_from_an_honest_hub() {
    replay(&hub(), "", &creates(), "").is_yes();
    replay(&hub(), "", &three_versions(), "").is_yes();
}

#[test]
fn inv3_a_hub_that_drops_one_change_of_the_feed_gets_a_no() {
    let lies = "feed::drop_change=20*off->1*return->off";
    replay(&hub_with_fail_points(), lies, &creates(), "").is_no_because("copy lacks");
}

#[test]
fn c2_a_dropped_change_is_noticed_though_a_later_one_made_up_for_it() {
    let lies = "feed::drop_change=1*off->1*return->off";
    let ending = replay(&hub_with_fail_points(), lies, &three_versions(), "--patience 2");
    ending.is_no_because("a change was passed over");
}

#[test]
fn inv2_a_hub_that_writes_one_change_twice_gets_a_no() {
    let lies = "engine::write_twice=1*off->1*return->off";
    replay(&hub_with_fail_points(), lies, &creates(), "").is_no_because("stored but not answered");
}

#[test]
fn a_hub_that_sends_wrong_data_under_a_right_version_gets_a_no() {
    let lies = "feed::wrong_data=20*off->1*return->off";
    let ending = replay(&hub_with_fail_points(), lies, &creates(), "");
    ending.is_no_because("other data under one version");
}

#[test]
fn inv1_a_hub_that_answers_before_the_commit_gets_a_no() {
    let lies = "store::forget_commit=1*off->1*return->off";
    replay(&hub_with_fail_points(), lies, &creates(), "").is_no_because("answered but not stored");
}

/// The kills must have fallen in the middle of work, or they prove nothing.
fn assert_kills(ending: &Ending, count: u64) {
    ending.is_yes();
    let kills = &ending.report["kills"];
    assert_eq!(kills["count"], count);
    assert!(kills["while_due"].as_u64() >= Some(count / 2), "{kills}");
}

#[test]
fn inv1_inv2_twenty_kills_change_nothing() {
    let options = "--lines 400 --kills 20 --seed 7 --encoding msgpack";
    assert_kills(&replay(&hub(), "", &shipped(), options), 20);
}

#[test]
fn inv1_inv2_kills_change_nothing_when_the_log_is_not_kept_in_memory() {
    let options = "--lines 200 --kills 6 --seed 8 --tail-bytes 0";
    assert_kills(&replay(&hub(), "", &shipped(), options), 6);
}
