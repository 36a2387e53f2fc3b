//! What the hub says of itself: counters for machines, log lines for people.
//!
//! Nothing here decides anything, and nothing is global but the log, which `main` sets up once.

mod by_label;
mod metrics;

pub use by_label::ByLabel;
pub use metrics::{CONTENT_TYPE, CatchUpCause, Handles, Metrics, SessionCount};
