//! A hub that records a replay makes a trace of the same entries, which a fresh hub takes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::common::hub;

const LINES: u64 = 300;

fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces")
}

/// Runs the load tester with a hub of its own that records as these variables say; it must end with a yes.
fn run(arguments: &[&str], record: &[(&str, &str)]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_synchub-loadtest"))
        .args(arguments)
        .arg("--spawn-hub")
        .arg(hub())
        .arg("--domains-dir")
        .arg(traces().join("domains"))
        .arg("--json")
        .envs(record.iter().copied())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"));
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    report
}

fn replay(trace: &Path, lines: u64, record: &[(&str, &str)]) -> Value {
    let lines = lines.to_string();
    run(&["replay", trace.to_str().unwrap(), "--lines", &lines], record)
}

fn lines_of(path: &Path) -> Vec<Value> {
    let bytes = std::fs::read(path).unwrap();
    let packed = path.extension().is_some_and(|extension| extension == "zst");
    let bytes = if packed { zstd::decode_all(bytes.as_slice()).unwrap() } else { bytes };
    let text = String::from_utf8(bytes).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn shipped() -> PathBuf {
    traces().join("incidents-a-lag8h.jsonl.zst")
}

#[test]
fn a_recorded_replay_is_the_same_entries_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("recorded.jsonl.zst");
    let first = replay(&shipped(), LINES, &[("SYNCHUB_RECORD_FILE", file.to_str().unwrap())]);
    let (lines, originals) = (lines_of(&file), lines_of(&shipped()));
    assert_eq!(lines.len() as u64, LINES);
    let contents = |lines: &[Value]| {
        let mut all: Vec<String> = lines
            .iter()
            .map(|line| format!("{} {} {} {}", line["user"], line["device"], line["mobile_id"], line["data"]))
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(contents(&lines), contents(&originals[..lines.len()]));
    assert!(lines.is_sorted_by_key(|line| line["t_ms"].as_u64().unwrap()));

    let second = replay(&file, LINES, &[]);
    assert_eq!(second["lines"], LINES);
    assert_eq!(first["status"]["created"], second["status"]["created"]);
}

#[test]
fn a_masked_recording_has_the_ids_and_no_contents_and_can_be_played() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("masked.jsonl");
    let masked = [("SYNCHUB_RECORD_FILE", file.to_str().unwrap()), ("SYNCHUB_RECORD_MASKED", "true")];
    replay(&shipped(), 100, &masked);
    let (lines, originals) = (lines_of(&file), lines_of(&shipped()));
    let subjects: Vec<&Value> = originals[..100].iter().map(|line| &line["data"]["subject"]).collect();
    assert!(lines.iter().all(|line| !subjects.contains(&&line["data"]["subject"])));
    assert!(
        lines.iter().all(|line| originals[..100].iter().any(|other| other["mobile_id"] == line["mobile_id"]))
    );
    let report = replay(&file, 100, &[]);
    // Devices edit at once: whether a step comes too late for its workflow depends on who was first.
    let mut errors = report["errors"].as_object().unwrap().clone();
    errors.remove("invalid_transition");
    assert!(errors.is_empty(), "masked contents do not fit their domain: {errors:?}");
}

#[test]
fn edits_of_single_fields_online_and_offline_are_recorded_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("churn.jsonl.zst");
    let scenario = ["scenario", "churn", "--devices", "6", "--duration", "2", "--rate", "50"];
    let first = run(&scenario, &[("SYNCHUB_RECORD_FILE", file.to_str().unwrap())]);
    let lines = lines_of(&file);
    let before = first["verdict"]["records"].as_u64().unwrap();
    assert!(lines.len() as u64 >= before && lines.iter().any(|line| line["delta"] == true));
    let report = replay(&file, 10_000, &[]);
    assert_eq!(report["lines"].as_u64(), Some(lines.len() as u64));
    assert_eq!(report["errors"], serde_json::json!({}));
}

#[test]
fn a_hub_does_not_start_over_a_recording_that_exists() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.jsonl");
    std::fs::write(&file, "dear").unwrap();
    let output = Command::new(hub())
        .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder.path().join("data"))
        .arg("--record")
        .arg(&file)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("name a file that does not exist yet"), "{words}");
    assert_eq!(std::fs::read(&file).unwrap(), b"dear");
}
