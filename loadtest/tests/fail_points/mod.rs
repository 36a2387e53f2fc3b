//! The hub that lies on purpose.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{BUILD, hub};

/// The same, which must read FAILPOINTS: it then ends at a text that is none.
pub(crate) fn hub_with_fail_points() -> PathBuf {
    let hub = hub();
    let said = Command::new(&hub).arg("--version").env("FAILPOINTS", "none").output().unwrap();
    let words = String::from_utf8_lossy(&said.stderr);
    assert!(words.contains("invalid failpoint"), "{} has no fail points: {BUILD}", hub.display());
    hub
}
