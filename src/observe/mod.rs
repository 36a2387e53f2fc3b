//! What the hub says of itself: counters for machines, log lines for people.
//!
//! Nothing here decides anything, and nothing is global but the log, which `main` sets up once.

mod by_label;
mod logging;
mod metrics;

pub use by_label::ByLabel;
pub use logging::{LogError, start_logging};
pub use metrics::{CONTENT_TYPE, CatchUpCause, Counted, Handles, LimitKind, Metrics, PurgedKind};
