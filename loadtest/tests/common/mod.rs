//! The hubs that the tests run against.

use std::path::{Path, PathBuf};
use std::process::Command;

const BUILD: &str = "run all tests in one build: `cargo test --workspace --features synchub/fail-points`";

/// The hub that was built with this test: its profile's folder holds both binaries.
pub(crate) fn hub() -> PathBuf {
    let tester = Path::new(env!("CARGO_BIN_EXE_synchub-loadtest"));
    let hub = tester.with_file_name(format!("synchub{}", std::env::consts::EXE_SUFFIX));
    assert!(hub.is_file(), "there is no hub at {}: {BUILD}", hub.display());
    hub
}

/// The same, which must read FAILPOINTS: it then ends at a text that is none.
pub(crate) fn hub_with_fail_points() -> PathBuf {
    let hub = hub();
    let said = Command::new(&hub).arg("--version").env("FAILPOINTS", "none").output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(words.contains("invalid failpoint"), "{} has no fail points: {BUILD}", hub.display());
    hub
}
