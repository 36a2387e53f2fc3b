//! Whether live traffic is captured as a trace.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Whether live traffic is captured as a trace that the load tester plays.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordSettings {
    /// The file to write, which must not exist yet; `.zst` at its end packs it. None: a recording is asked
    /// for, never left on.
    pub file: Option<PathBuf>,
    /// Whether contents become nonsense of the same shape. False: who may read the file is the operator's
    /// to say.
    pub masked: bool,
}
