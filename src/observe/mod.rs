//! What the hub says of itself: counters for machines, log lines for people.
//!
//! Nothing here decides anything, and nothing is global but the log, which `main` sets up once.

mod by_label;
mod held_labels;
mod logging;
mod metrics;
mod push_labels;

pub use by_label::ByLabel;
pub use held_labels::HeldBy;
pub use logging::{LogError, start_logging};
pub use metrics::{CONTENT_TYPE, CatchUpCause, Counted, Handles, LimitKind, Metrics, PurgedKind};
pub use push_labels::{PushFate, PushKind};
