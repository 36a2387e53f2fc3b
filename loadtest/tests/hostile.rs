//! A hub under every attack at once answers each as it should, keeps its memory, and goes on serving a
//! device that behaves. The hub is a process of its own, so that its memory is its alone.

#![cfg(target_os = "linux")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ALLOWED_KIB: u64 = 64 * 1024;

#[test]
fn inv5_attacks_are_answered_and_harm_nobody_else() {
    let tester = Path::new(env!("CARGO_BIN_EXE_synchub-loadtest"));
    let hub = tester.with_file_name("synchub");
    assert!(hub.is_file(), "there is no hub at {}: build the workspace", hub.display());
    let output = Command::new(tester)
        .args(["hostile", "--json", "--rounds", "2", "--seconds", "1", "--attackers", "3", "--spawn-hub"])
        .arg(hub)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"));

    let attacks = report["attacks"].as_array().unwrap();
    assert!(attacks.len() >= 40, "only {} attacks were tried", attacks.len());
    for attack in attacks {
        assert!(
            attack["count"].as_u64() >= Some(2) && attack["wrong"] == serde_json::json!([]),
            "{attack:#}"
        );
    }
    assert_eq!(report["witness"], Value::Null);
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    for round in rounds {
        let answers = round["attacked"]["count"].as_u64().unwrap();
        assert!(answers * 10 >= round["attacks"].as_u64().unwrap(), "the device was starved: {round:#}");
    }
    assert!(report["growth_kib"].as_u64().unwrap() <= ALLOWED_KIB, "{rounds:#?}");
    assert_eq!(output.status.code(), Some(0), "{report:#}");
}
