//! What the hub says of itself: counters for machines, log lines for people, traces for both.
//!
//! Nothing here decides anything, and nothing is global but the log, which `main` sets up once.

mod by_label;
mod labels;
mod levels;
mod logging;
mod metrics;
mod process;
mod times;
mod traces;

pub use by_label::ByLabel;
pub use labels::{
    CatchUpCause, CommitFailure, ExportResult, HeldBy, LimitKind, PurgedKind, PushFate, PushKind, QueueKind,
    StoreFile,
};
pub use levels::{Levels, QueueLevel};
pub use logging::{LogError, start_logging};
pub use metrics::{CONTENT_TYPE, Counted, Handles, Metrics};
pub use times::Times;
pub use traces::{Span, SpanPlace, TraceError, Traces, Trail};
