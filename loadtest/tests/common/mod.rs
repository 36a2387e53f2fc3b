//! The hub that the tests run against.

use std::path::{Path, PathBuf};

pub(crate) const BUILD: &str =
    "run all tests in one build: `cargo test --workspace --features synchub/fail-points`";

/// The hub that was built with this test: its profile's folder holds both binaries.
pub(crate) fn hub() -> PathBuf {
    let tester = Path::new(env!("CARGO_BIN_EXE_synchub-loadtest"));
    let hub = tester.with_file_name(format!("synchub{}", std::env::consts::EXE_SUFFIX));
    assert!(hub.is_file(), "there is no hub at {}: {BUILD}", hub.display());
    hub
}
