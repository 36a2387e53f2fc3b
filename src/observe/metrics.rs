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
use prometheus_client::registry::{Registry, Unit};
use synchub_protocol::server::Status;
use synchub_protocol::{CloseReason, Encoding};

use super::by_label::ByLabel;
use super::held_labels::{HELD_BY, HeldBy};
use super::push_labels::{PUSH_FATES, PUSH_KINDS, PushFate, PushKind};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why a session reads the log instead of the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CatchUpCause {
    /// It said hello.
    Hello,
    /// Its subscriptions changed.
    Subscribe,
    /// It read too slowly, and what it had queued was forgotten (C8).
    SlowReader,
    /// Rows were missing between its place and the feed.
    Gap,
    /// Its place fell below the horizon (D3).
    Expired,
    /// It asked for what was held back (C9).
    Asked,
    /// Its device does not save battery any more.
    Settings,
    /// It had been sent too many changes in a second.
    Limit,
}

/// What was removed because it was past its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PurgedKind {
    /// A row of a log.
    Log,
    /// A tombstone.
    Tombstone,
    /// A batch with its answer.
    Batch,
    /// A refused number.
    Refused,
    /// A closed review.
    Review,
    /// A note of what happened to a push.
    Delivery,
}

/// What had no room under a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    /// A socket of an address.
    AddressConnection,
    /// A session of a tenant.
    TenantConnection,
    /// A hello of an address.
    AddressHello,
    /// A hello of a device.
    DeviceHello,
    /// A frame, for its number or its bytes.
    Frame,
    /// A batch, for its entries.
    Entries,
    /// A hello, for the load of the node.
    Load,
}

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
    /// Groups that the database refused.
    pub commit_failures: Counter,
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
}

impl Metrics {
    /// All numbers at zero, with a registry of their own.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("synchub");
        let handles = Arc::new(register(&mut registry));
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

    /// All numbers as text, of the type [`CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a String cannot fail");
        text
    }
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

const ENCODINGS: [(Encoding, &str); 2] = [(Encoding::MessagePack, "msgpack"), (Encoding::Json, "json")];

const STATUSES: [(Status, &str); 8] = [
    (Status::Created, "created"),
    (Status::Updated, "updated"),
    (Status::Unchanged, "unchanged"),
    (Status::Merged, "merged"),
    (Status::Duplicate, "duplicate"),
    (Status::Conflict, "conflict"),
    (Status::Error, "error"),
    (Status::ConflictRisk, "conflict_risk"),
];

const CLOSE_REASONS: [CloseReason; 14] = [
    CloseReason::PeerClosed,
    CloseReason::GoingAway,
    CloseReason::HeartbeatMissed,
    CloseReason::TooSlow,
    CloseReason::Overloaded,
    CloseReason::HelloTimeout,
    CloseReason::InvalidToken,
    CloseReason::TokenExpired,
    CloseReason::DeviceDeactivated,
    CloseReason::Undecodable,
    CloseReason::Replaced,
    CloseReason::FrameTooLarge,
    CloseReason::Misbehaved,
    CloseReason::RateLimitIgnored,
];

const CATCH_UP_CAUSES: [(CatchUpCause, &str); 8] = [
    (CatchUpCause::Hello, "hello"),
    (CatchUpCause::Subscribe, "subscribe"),
    (CatchUpCause::SlowReader, "slow_reader"),
    (CatchUpCause::Gap, "gap"),
    (CatchUpCause::Expired, "expired"),
    (CatchUpCause::Asked, "asked"),
    (CatchUpCause::Settings, "settings"),
    (CatchUpCause::Limit, "limit"),
];

const PURGED_KINDS: [(PurgedKind, &str); 6] = [
    (PurgedKind::Log, "log"),
    (PurgedKind::Tombstone, "tombstone"),
    (PurgedKind::Batch, "batch"),
    (PurgedKind::Refused, "refused"),
    (PurgedKind::Review, "review"),
    (PurgedKind::Delivery, "delivery"),
];

const LIMIT_KINDS: [(LimitKind, &str); 7] = [
    (LimitKind::AddressConnection, "address_connection"),
    (LimitKind::TenantConnection, "tenant_connection"),
    (LimitKind::AddressHello, "address_hello"),
    (LimitKind::DeviceHello, "device_hello"),
    (LimitKind::Frame, "frame"),
    (LimitKind::Entries, "entries"),
    (LimitKind::Load, "load"),
];

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
        commit_failures: counter(r, "commit_failures", "Groups that the database refused"),
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
mod tests {
    use super::*;

    fn value(metrics: &Metrics, series: &str) -> f64 {
        let text = metrics.render();
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
        let line = line.unwrap_or_else(|| panic!("no {series} in\n{text}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    #[test]
    fn names_follow_the_conventions() {
        let metrics = Metrics::new();
        metrics.frames_received.inc();
        metrics.received_bytes.inc_by(70);
        metrics.entries.of(Status::Merged).inc_by(3);
        metrics.closes.of(CloseReason::Replaced).inc();
        metrics.catch_ups.of(CatchUpCause::SlowReader).inc();
        metrics.commit_group_batches.observe(5.0);
        metrics.commit_seconds.observe(0.003);
        for (series, expected) in [
            ("synchub_frames_received_total", 1.0),
            ("synchub_received_bytes_total", 70.0),
            ("synchub_entries_total{status=\"merged\"}", 3.0),
            ("synchub_entries_total{status=\"created\"}", 0.0),
            ("synchub_closes_total{reason=\"replaced\"}", 1.0),
            ("synchub_catch_ups_total{cause=\"slow_reader\"}", 1.0),
            ("synchub_commit_group_batches_bucket{le=\"4.0\"}", 0.0),
            ("synchub_commit_group_batches_bucket{le=\"8.0\"}", 1.0),
            ("synchub_commit_group_batches_bucket{le=\"128.0\"}", 1.0),
            ("synchub_commit_group_entries_bucket{le=\"8192.0\"}", 0.0),
            ("synchub_commit_seconds_bucket{le=\"0.004\"}", 1.0),
            ("synchub_commit_seconds_count", 1.0),
        ] {
            assert!((value(&metrics, series) - expected).abs() < f64::EPSILON, "{series}");
        }
        assert!(metrics.render().ends_with("# EOF\n"));
    }

    #[test]
    fn a_session_counts_until_its_guard_goes() {
        let metrics = Metrics::new();
        let (first, second) = (metrics.session(Encoding::Json), metrics.clone().session(Encoding::Json));
        assert_eq!(metrics.sessions.of(Encoding::Json).get(), 2);
        assert_eq!(metrics.sessions.of(Encoding::MessagePack).get(), 0);
        drop((first, second));
        assert_eq!(metrics.sessions.of(Encoding::Json).get(), 0);
    }

    #[test]
    fn two_hubs_count_apart() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.batches.inc();
        assert_eq!((one.batches.get(), other.batches.get()), (1, 0));
    }

    #[test]
    fn every_close_code_and_every_status_has_its_series() {
        let metrics = Metrics::new();
        metrics.closes.of(CloseReason::PeerClosed).inc();
        for reason in (4000..5000).filter_map(CloseReason::from_code) {
            metrics.closes.of(reason).inc();
        }
        assert!(CLOSE_REASONS.iter().all(|reason| metrics.closes.of(*reason).get() == 1));
        metrics.entries.of(Status::Unknown).inc();
        assert!((value(&metrics, "synchub_entries_total{status=\"other\"}") - 1.0).abs() < f64::EPSILON);
        for (status, label) in STATUSES {
            assert_eq!(serde_json::to_value(status).unwrap(), label);
        }
    }
}
