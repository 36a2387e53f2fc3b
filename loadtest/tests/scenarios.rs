//! Each scenario runs small, against a hub of its own, and ends with a verdict; a hub that lies gets a no from
//! a scenario too, and a threshold that is broken is named.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod fail_points;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::hub;
use crate::fail_points::hub_with_fail_points;

/// What a scenario ended with: the exit code, the report and what it printed for people.
struct Ending {
    code: Option<i32>,
    report: Value,
    words: String,
}

impl Ending {
    /// The verdict is yes, everything was answered, and this was timed.
    fn is_yes(&self, timed: &[&str]) {
        assert_eq!(self.code, Some(0), "{}", self.words);
        assert_eq!(self.report["verdict"]["yes"], true);
        assert_eq!(self.report["verdict"]["source"], "store");
        assert_eq!(self.report["failed"], 0, "{}", self.words);
        assert!(self.report["verdict"]["copied_records"].as_u64() > Some(0), "{}", self.words);
        for name in timed {
            assert!(self.count(name) > Some(0), "{name} was not timed: {}", self.words);
        }
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.report[name]["count"].as_u64()
    }

    /// The verdict is no, and this is among its reasons.
    fn is_no_because(&self, reason: &str) {
        assert_eq!(self.code, Some(1), "{}", self.words);
        assert!(self.report["verdict"]["counts"][reason].is_u64(), "{}", self.words);
    }
}

/// Eight devices, two seconds, 50 entries a second, unless the options say otherwise.
fn scenario(hub: &Path, lies: &str, name: &str, options: &str) -> Ending {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_synchub-loadtest"))
        .args(["scenario", name, "--spawn-hub"])
        .arg(hub)
        .arg("--report")
        .arg(file.path())
        .args(options.split_whitespace())
        .args(["--records", "5"])
        .env("FAILPOINTS", lies)
        .output()
        .unwrap();
    let words =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(file.path()).unwrap();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {words}"));
    Ending { code: output.status.code(), report, words }
}

const SMALL: &str = "--devices 8 --duration 2 --rate 50";

#[test]
fn idle_ends_with_an_edit_by_each_device() {
    let ending = scenario(&hub(), "", "idle", SMALL);
    ending.is_yes(&["answer", "arrival"]);
    assert_eq!(ending.report["entries"], 8);
    assert_eq!(ending.count("arrival"), Some(8), "each edit goes to one other device: {}", ending.words);
}

#[test]
fn a_fanout_is_timed_at_every_other_device() {
    let ending = scenario(&hub(), "", "fanout", "--devices 8 --tenants 2 --duration 1 --rate 50");
    ending.is_yes(&["answer"]);
    // A copy may go over a version when it falls behind; most arrive one by one.
    assert!((100..=150).contains(&ending.count("arrival").unwrap()), "{}", ending.words);
}

#[test]
fn what_users_write_for_themselves_is_held_by_their_two_devices() {
    let ending = scenario(&hub(), "", "write", SMALL);
    ending.is_yes(&["answer", "arrival"]);
    assert!(
        ending.count("arrival") <= Some(100),
        "only the user's other device is sent it: {}",
        ending.words
    );
}

#[test]
fn mixed_load_in_two_tenants_and_both_encodings() {
    let ending =
        scenario(&hub(), "", "mixed", "--devices 8 --tenants 2 --duration 2 --rate 50 --encoding mixed");
    ending.is_yes(&["answer", "arrival", "lateness"]);
    assert_eq!(ending.report["entries"], 100);
}

#[test]
fn devices_that_go_and_come_back_are_in_sync_again() {
    let ending = scenario(&hub(), "", "churn", &format!("{SMALL} --absences 2"));
    ending.is_yes(&["answer", "arrival", "comeback"]);
    assert_eq!(ending.count("comeback"), Some(8 * 2), "{}", ending.words);
    assert!(ending.report["offline_entries"].as_u64() > Some(0), "{}", ending.words);
}

#[test]
fn all_come_back_at_once() {
    let ending = scenario(&hub(), "", "reconnect-storm", &format!("{SMALL} --storms 2"));
    ending.is_yes(&["answer", "arrival", "comeback"]);
    assert_eq!(ending.count("comeback"), Some(7 * 2), "{}", ending.words);
    assert_eq!(ending.report["sockets"]["reconnects"], 7 * 2, "{}", ending.words);
}

#[test]
fn c8_slow_readers_hold_nobody_up_and_have_everything_in_the_end() {
    let options = "--devices 8 --duration 3 --rate 100 --size 4000 --slow 0.25";
    let ending = scenario(&hub(), "", "slow-readers", options);
    ending.is_yes(&["answer", "arrival", "slow_arrival"]);
    let p50 = |name: &str| ending.report[name]["p50_ms"].as_f64().unwrap();
    assert!(p50("slow_arrival") > p50("arrival"), "{}", ending.words);
}

#[test]
fn inv2_a_network_that_breaks_again_and_again_loses_and_doubles_nothing() {
    let options = format!("{SMALL} --delay-ms 20 --breaks-after 0.4 --bandwidth 65536");
    let ending = scenario(&hub(), "", "poor-network", &options);
    ending.is_yes(&["answer", "arrival"]);
    assert!(ending.report["sockets"]["reconnects"].as_u64() > Some(8), "{}", ending.words);
    assert!(ending.report["answer"]["p50_ms"].as_f64() > Some(20.0), "{}", ending.words);
}

#[test]
fn edits_of_the_same_records_online_and_offline_are_all_decided() {
    let ending = scenario(&hub(), "", "high-conflict", &format!("{SMALL} --absences 1"));
    ending.is_yes(&["answer", "comeback"]);
    assert!(ending.report["stale"].as_u64() > Some(10), "{}", ending.words);
    assert!(ending.report["status"]["conflict"].as_u64() > Some(0), "{}", ending.words);
}

#[cfg(target_os = "linux")]
#[test]
fn the_hub_is_watched_beside_the_load_tester() {
    let ending = scenario(&hub(), "", "mixed", SMALL);
    for process in ["server", "client"] {
        let usage = &ending.report[process];
        assert!(usage["rss_peak_mib"].as_f64() > Some(1.0), "{process}: {}", ending.words);
        assert!(usage["cpu_seconds"].as_f64() > Some(0.0), "{process}: {}", ending.words);
    }
}

#[test]
fn inv1_inv2_kills_change_nothing_under_load() {
    let ending = scenario(&hub(), "", "mixed", "--devices 8 --duration 2 --rate 100 --kills 3");
    ending.is_yes(&["answer"]);
    assert_eq!(ending.report["kills"]["count"], 3, "{}", ending.words);
}

/// A hub that was not started by the load tester; it ends with the value.
struct Foreign {
    child: Child,
    folder: TempDir,
    url: String,
}

impl Foreign {
    fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new(hub())
            .args(["serve", "--dev", "--listen", &free.to_string(), "--data-dir"])
            .arg(folder.path())
            .envs(settings.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while TcpStream::connect(free).is_err() {
            std::thread::yield_now();
        }
        Self { child, folder, url: format!("ws://{free}/ws") }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_hub_that_limits_rates_is_obeyed_and_the_refusals_are_counted() {
    let foreign = Foreign::start(&[
        ("SYNCHUB_RATES_DEVICE_ENTRIES", "20"),
        ("SYNCHUB_RATES_USER_ENTRIES", "20"),
        ("SYNCHUB_RATES_BURST_SECS", "1"),
    ]);
    let output = Command::new(env!("CARGO_BIN_EXE_synchub-loadtest"))
        .args(["scenario", "fanout", "--json", "--url", &foreign.url, "--data-dir"])
        .arg(foreign.folder.path())
        .args(["--hub-pid", &foreign.child.id().to_string()])
        .args("--devices 4 --records 5 --entries 60 --rate 100".split_whitespace())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"));
    assert_eq!(
        (output.status.code(), &report["verdict"]["source"]),
        (Some(0), &"snapshots".into()),
        "{report:#}"
    );
    assert!(report["rate_limited"].as_u64() > Some(0), "{report:#}");
    assert_eq!(report["failed"], 0, "{report:#}");
    assert_eq!(report["server"].is_object(), cfg!(target_os = "linux"));
}

#[test]
fn a_broken_threshold_fails_and_is_named() {
    let options = format!("{SMALL} --max-errors 0 --max-p99-ms 0.001 --max-return-p99-ms 1000");
    let ending = scenario(&hub(), "", "fanout", &options);
    assert_eq!(ending.code, Some(1), "{}", ending.words);
    assert_eq!(ending.report["verdict"]["yes"], true, "{}", ending.words);
    let broken = |line: &&str| line.contains("BROKEN");
    let named: Vec<&str> = ending.words.lines().filter(broken).collect();
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(named[0].contains("--max-p99-ms 0.001: "), "{named:?}");
    assert!(named[1].contains("--max-return-p99-ms 1000: nothing was measured"), "{named:?}");
    assert!(ending.words.contains("held             --max-errors 0: 0.0"), "{}", ending.words);
}

#[test]
fn thresholds_that_hold_do_not_fail() {
    let options = "--max-errors 0 --max-p99-ms 30000 --max-arrival-p99-ms 30000 --min-rate 1";
    scenario(&hub(), "", "fanout", &format!("{SMALL} {options}")).is_yes(&["answer"]);
}

#[test]
fn what_cannot_be_run_ends_with_2_and_says_why() {
    for (options, why) in [
        ("--devices 3 --tenants 2", "two devices for each tenant"),
        ("--max-server-rss-mb 10", "--hub-pid"),
        ("--secret s --url ws://127.0.0.1:1/ws --hub-pid 4294967295", "cannot be watched"),
        ("--report /nonexistent/report.json", "/nonexistent/report.json"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_synchub-loadtest"))
            .args(["scenario", "idle"])
            .args(options.split_whitespace())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{options}: {words}");
        assert!(words.contains(why), "{options}: {words}");
    }
}

#[test]
fn inv3_a_scenario_finds_changes_that_the_feed_dropped() {
    // The next delta shows its device that something is missing: it begins anew, and went over the versions between.
    let lies = "feed::drop_change=80*off->10*return->off";
    scenario(&hub_with_fail_points(), lies, "mixed", SMALL).is_no_because("a change was passed over");
}

#[test]
fn inv1_a_scenario_finds_an_answer_before_its_commit() {
    let lies = "store::forget_commit=20*off->1*return->off";
    scenario(&hub_with_fail_points(), lies, "mixed", SMALL).is_no_because("answered but not stored");
}
