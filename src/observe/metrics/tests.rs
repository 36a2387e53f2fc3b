//! Names and values as `/metrics` shows them.

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
