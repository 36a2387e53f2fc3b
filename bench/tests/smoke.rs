//! Every benchmark comes to its end and says what it is there to say. Its figures are not looked at: this is a
//! debug build beside other tests.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[test]
fn every_benchmark_ends_and_produces_its_rows() {
    let bench = Path::new(env!("CARGO_BIN_EXE_synchub-bench"));
    let hub = bench.with_file_name("synchub");
    assert!(hub.is_file(), "there is no hub at {}: build the workspace", hub.display());
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let output = Command::new(bench)
        .arg("--quick")
        .arg("--hub")
        .arg(hub)
        .arg("--json")
        .arg(&json)
        .arg("--memory-dir")
        .arg(folder.path())
        .arg("--disk-dir")
        .arg(folder.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");

    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    let named: BTreeSet<_> = rows.iter().filter_map(|row| row["benchmark"].as_str()).collect();
    assert_eq!(
        named,
        BTreeSet::from(["decode", "fanout", "isolation", "latency", "memory", "reconnect", "write"])
    );
    let goals = rows.iter().filter(|row| !row["goal"].is_null()).count();
    assert_eq!(goals, 24, "the goals of the project are all looked at: {report:#}");
    for row in rows {
        let rounds = row["rounds"]["hub"].as_array().unwrap();
        assert!(rounds.len() == 1 && rounds[0].as_f64().is_some_and(f64::is_finite), "{row}");
    }
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.lines().count() > rows.len() && table.contains("goals met"), "{table}");
}
