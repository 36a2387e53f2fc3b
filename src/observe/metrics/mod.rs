//! The numbers that `GET /metrics` shows.
//!
//! Names follow Prometheus: base units, `_total` for counters. Each [`Metrics`] has a registry of
//! its own, so that two hubs in one process do not count together.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use synchub_protocol::server::Status;
use synchub_protocol::{CloseReason, Encoding};

use super::by_label::ByLabel;
use super::labels::{
    CATCH_UP_CAUSES, CLOSE_REASONS, COMMIT_FAILURES, CatchUpCause, CommitFailure, ENCODINGS, EXPORT_RESULTS,
    ExportResult, HELD_BY, HeldBy, LIMIT_KINDS, LimitKind, PURGED_KINDS, PUSH_FATES, PUSH_KINDS, PurgedKind,
    PushFate, PushKind, QUEUES, QueueKind, STATUSES, STORE_FILES, StoreFile,
};
use super::levels::Levels;
use super::process::Process;
use super::times::Times;

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A handle on all numbers of one hub; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    handles: Arc<Handles>,
    registry: Arc<Registry>,
}

/// The numbers themselves.
#[derive(Debug)]
pub struct Handles {
    /// Sockets that are open, before and after hello.
    pub sockets: Gauge,
    /// Sessions that have said hello, by encoding; counted by [`Metrics::session`].
    pub sessions: ByLabel<Encoding, Gauge>,
    /// Frames from clients.
    pub frames_received: Counter,
    /// Frames to clients.
    pub frames_sent: Counter,
    /// Bytes of frames from clients.
    pub received_bytes: Counter,
    /// Bytes of frames to clients.
    pub sent_bytes: Counter,
    /// Entries by the status of their result.
    pub entries: ByLabel<Status, Counter>,
    /// Batches that were answered with a result.
    pub batches: Counter,
    /// Batches answered from the idempotency record; counted in `batches` too.
    pub batches_repeated: Counter,
    /// Transactions that committed a group of batches.
    pub commit_groups: Counter,
    /// Groups that were not committed, by why.
    pub commit_failures: ByLabel<CommitFailure, Counter>,
    /// Transactions that opened sessions, of all hellos that waited together.
    pub hello_groups: Counter,
    /// Batches in a group.
    pub commit_group_batches: Histogram,
    /// Entries in a group.
    pub commit_group_entries: Histogram,
    /// Seconds from the begin of a group's transaction to the end of its commit.
    pub commit_seconds: Histogram,
    /// Sockets that ended, by reason.
    pub closes: ByLabel<CloseReason, Counter>,
    /// Catch-ups that began, by cause.
    pub catch_ups: ByLabel<CatchUpCause, Counter>,
    /// Changes that were held back from sessions, by cause.
    pub changes_held: ByLabel<HeldBy, Counter>,
    /// Rows of the log that were read from the store.
    pub log_rows_read: Counter,
    /// Pages of the log that the tail in memory had.
    pub tail_hits: Counter,
    /// Pages of the log that had to be read from the store.
    pub tail_misses: Counter,
    /// Rows that were removed because they were past their time, by kind.
    pub purged: ByLabel<PurgedKind, Counter>,
    /// Pushes that were logged, by kind.
    pub pushes: ByLabel<PushKind, Counter>,
    /// What happened to pushes on their way to sessions; a range of dropped ones counts once.
    pub push_fates: ByLabel<PushFate, Counter>,
    /// What was refused under a limit, by what it was.
    pub limited: ByLabel<LimitKind, Counter>,
    /// Answers to batches that asked their sender to wait.
    pub backoffs: Counter,
    /// What the limits keep count of.
    pub limit_keys: Gauge,
    /// From a batch's frame to its answer.
    pub sync_seconds: Times,
    /// How old the newest of the changes was that a session took for its socket.
    pub feed_lag_seconds: Times,
    /// Spans that were made of sampled batches.
    pub trace_spans: Counter,
    /// Spans that were to go to the collector, by what became of them.
    pub trace_exports: ByLabel<ExportResult, Counter>,
    /// Bytes that wait in queues; set by [`Metrics::set_levels`], as those below.
    queue_bytes: ByLabel<QueueKind, Gauge>,
    queue_age_seconds: ByLabel<QueueKind, Gauge<f64, AtomicU64>>,
    commit_queue_entries: Gauge,
    load_ratio: Gauge<f64, AtomicU64>,
    store_bytes: ByLabel<StoreFile, Gauge>,
}

impl Metrics {
    /// All numbers at zero, with a registry of their own.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("synchub");
        let handles = Arc::new(register(own));
        own.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register_collector(Box::new(Process));
        Self { handles, registry: Arc::new(registry) }
    }

    /// Counts a session with this encoding until the guard is dropped.
    pub fn session(&self, encoding: Encoding) -> Counted {
        Counted::one(self.sessions.of(encoding))
    }

    /// Counts a socket until the guard is dropped.
    pub fn socket(&self) -> Counted {
        Counted::one(&self.sockets)
    }

    /// Counts a group that was committed in `us` microseconds.
    pub fn commit(&self, batches: usize, entries: usize, us: i64) {
        self.commit_groups.inc();
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        {
            self.commit_group_batches.observe(batches as f64);
            self.commit_group_entries.observe(entries as f64);
            self.commit_seconds.observe(us as f64 / 1e6);
        }
    }

    /// Sets what is looked at when somebody asks, so that nothing has to keep count of it.
    pub fn set_levels(&self, levels: &Levels) {
        for (queue, level) in &levels.queues {
            self.queue_bytes.of(*queue).set(whole(level.bytes));
            self.queue_age_seconds.of(*queue).set(seconds(level.age_us));
        }
        self.commit_queue_entries.set(whole(levels.waiting_entries as u64));
        #[expect(clippy::cast_precision_loss, reason = "a percentage is far below 2^52")]
        self.load_ratio.set(levels.load_percent as f64 / 100.0);
        for (file, bytes) in &levels.store_files {
            self.store_bytes.of(*file).set(whole(*bytes));
        }
    }

    /// All numbers as text, of the type [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a String cannot fail");
        text
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Microseconds as seconds; a clock that was set back makes none.
#[expect(clippy::cast_precision_loss, reason = "ages are far below 2^52 microseconds")]
fn seconds(us: i64) -> f64 {
    us.max(0) as f64 / 1e6
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Metrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.handles
    }
}

/// One in a count, until it is dropped.
#[derive(Debug)]
#[must_use = "it counts only as long as the guard lives"]
pub struct Counted {
    gauge: Gauge,
}

impl Counted {
    fn one(gauge: &Gauge) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

fn register(r: &mut Registry) -> Handles {
    let reasons = CLOSE_REASONS.map(|reason| (reason, reason.text()));
    Handles {
        sockets: gauge(r, "sockets", "Sockets that are open"),
        sessions: ByLabel::register(r, ("sessions", "Sessions after hello"), "encoding", &ENCODINGS),
        frames_received: counter(r, "frames_received", "Frames from clients"),
        frames_sent: counter(r, "frames_sent", "Frames to clients"),
        received_bytes: bytes_counter(r, "received", "Bytes of frames from clients"),
        sent_bytes: bytes_counter(r, "sent", "Bytes of frames to clients"),
        entries: ByLabel::register(r, ("entries", "Entries by status"), "status", &STATUSES),
        batches: counter(r, "batches", "Batches answered with a result"),
        batches_repeated: counter(r, "batches_repeated", "Batches answered from the idempotency record"),
        commit_groups: counter(r, "commit_groups", "Groups of batches committed"),
        commit_failures: ByLabel::register(
            r,
            ("commit_failures", "Groups not committed"),
            "cause",
            &COMMIT_FAILURES,
        ),
        hello_groups: counter(r, "hello_groups", "Groups of hellos committed"),
        commit_group_batches: sizes(r, "commit_group_batches", "Batches in a group", 8),
        commit_group_entries: sizes(r, "commit_group_entries", "Entries in a group", 14),
        commit_seconds: commit_seconds(r),
        closes: ByLabel::register(r, ("closes", "Sockets that ended"), "reason", &reasons),
        catch_ups: ByLabel::register(r, ("catch_ups", "Catch-ups that began"), "cause", &CATCH_UP_CAUSES),
        changes_held: ByLabel::register(r, ("changes_held", "Changes held back"), "cause", &HELD_BY),
        log_rows_read: counter(r, "log_rows_read", "Rows of the log read from the store"),
        tail_hits: counter(r, "tail_hits", "Pages of the log found in memory"),
        tail_misses: counter(r, "tail_misses", "Pages of the log read from the store"),
        purged: ByLabel::register(r, ("purged_rows", "Rows past their time"), "kind", &PURGED_KINDS),
        pushes: ByLabel::register(r, ("pushes", "Pushes logged"), "kind", &PUSH_KINDS),
        push_fates: ByLabel::register(r, ("push_fates", "Pushes to sessions"), "fate", &PUSH_FATES),
        limited: ByLabel::register(r, ("limited", "Refused under a limit"), "limit", &LIMIT_KINDS),
        backoffs: counter(r, "backoffs", "Answers to batches that asked to wait"),
        limit_keys: gauge(r, "limit_keys", "Keys that the limits keep count of"),
        sync_seconds: Times::register(r, "sync", "From a batch's frame to its answer"),
        feed_lag_seconds: Times::register(r, "feed_lag", "Age of changes that sessions took"),
        trace_spans: counter(r, "trace_spans", "Spans made of sampled batches"),
        trace_exports: ByLabel::register(r, ("trace_exports", "Spans exported"), "result", &EXPORT_RESULTS),
        queue_bytes: ByLabel::register(r, ("queue_bytes", "Bytes that wait"), "queue", &QUEUES),
        queue_age_seconds: ByLabel::register(
            r,
            ("queue_age_seconds", "Age of the oldest that waits"),
            "queue",
            &QUEUES,
        ),
        commit_queue_entries: gauge(r, "commit_queue_entries", "Entries that wait to be committed"),
        load_ratio: real_gauge(r, "load_ratio", "Load of the engine, 1 is full"),
        store_bytes: ByLabel::register(r, ("store_bytes", "Size of the store's files"), "file", &STORE_FILES),
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register(name, help, counter.clone());
    counter
}

fn bytes_counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::<u64, AtomicU64>::default();
    registry.register_with_unit(name, help, Unit::Bytes, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge: Gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn real_gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge<f64, AtomicU64> {
    let gauge = Gauge::<f64, AtomicU64>::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// Buckets 1, 2, 4 … : as many as `doublings`.
fn sizes(registry: &mut Registry, name: &str, help: &str, doublings: u16) -> Histogram {
    let histogram = Histogram::new(exponential_buckets(1.0, 2.0, doublings));
    registry.register(name, help, histogram.clone());
    histogram
}

/// From a quarter of a millisecond, a commit without a flush, to 8 s, a disk in trouble.
fn commit_seconds(registry: &mut Registry) -> Histogram {
    let histogram = Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
    registry.register_with_unit("commit", "Time of a group's transaction", Unit::Seconds, histogram.clone());
    histogram
}

#[cfg(test)]
mod tests;
