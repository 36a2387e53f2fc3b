//! The numbers of a node with some traffic, as a collector fetches them.

use std::collections::BTreeMap;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use super::exposition::{Family, parse};
use crate::support::{Hello, Hub, Peer, ticket, tickets};

/// What `GET /metrics` of a hub says.
pub(super) async fn fetch(hub: &Hub) -> BTreeMap<String, Family> {
    let mut stream = TcpStream::connect(hub.node.address()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.to_lowercase().contains("content-type: application/openmetrics-text"), "{head}");
    parse(body)
}

/// A hub on which devices wrote, read, and did wrong.
pub(super) async fn busy_hub() -> (Hub, Vec<Peer>) {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    alice.sync(tickets(3).0).await;
    bob.find("data_update").await;
    let id = Uuid::now_v7();
    alice.sync(json!([ticket(id, "fire"), ticket(id, "water"), {"domain": "no such"}])).await;
    let mut stranger = Peer::open(&hub, synchub_protocol::Encoding::Json).await;
    stranger.send(&json!({"type": "hello", "id": 1, "token": "wrong"})).await;
    assert_eq!(stranger.close_code().await, 4500);
    (hub, vec![alice, bob])
}

fn value(families: &BTreeMap<String, Family>, series: &str) -> f64 {
    let samples = families.values().flat_map(|family| &family.samples);
    let mut found = samples.filter(|sample| match series.split_once('{') {
        Some((name, label)) => {
            let label = label.trim_end_matches('}');
            sample.name == name && sample.labels.iter().any(|(key, value)| format!("{key}={value}") == label)
        }
        None => sample.name == series,
    });
    found.next().unwrap_or_else(|| panic!("no {series}")).value
}

#[tokio::test]
async fn metrics_of_a_node_follow_the_format_and_tell_what_happened() {
    let (hub, peers) = busy_hub().await;
    let families = fetch(&hub).await;
    let value = |series: &str| value(&families, series);
    for (series, expected) in [
        ("synchub_sessions{encoding=msgpack}", 0.0),
        ("synchub_sessions{encoding=json}", 2.0),
        ("synchub_batches_total", 2.0),
        ("synchub_sync_seconds_count", 2.0),
        ("synchub_entries_total{status=created}", 4.0),
        ("synchub_closes_total{reason=invalid_token}", 1.0),
        ("synchub_catch_ups_total{cause=hello}", 2.0),
        ("synchub_commit_failures_total{cause=refused}", 0.0),
        ("synchub_queue_bytes{queue=commit}", 0.0),
        ("synchub_commit_queue_entries", 0.0),
        ("synchub_load_ratio", 0.0),
        ("synchub_trace_spans_total", 0.0),
    ] {
        assert!((value(series) - expected).abs() < f64::EPSILON, "{series} is {}", value(series));
    }
    for series in [
        "synchub_frames_received_total",
        "synchub_frames_sent_total",
        "synchub_received_bytes_total",
        "synchub_sent_bytes_total",
        "synchub_commit_seconds_count",
        "synchub_feed_lag_seconds_count",
        "synchub_store_bytes{file=database}",
        "synchub_store_bytes{file=wal}",
        "synchub_build_info",
    ] {
        assert!(value(series) > 0.0, "{series} is {}", value(series));
    }
    drop(peers);
    hub.stop().await;
}

#[tokio::test]
async fn what_a_session_does_not_read_is_seen_in_its_queue() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let hello = Hello::of("bob", "b").to(&["ticket"]);
    let mut bob = Peer::open_narrow(&hub, synchub_protocol::Encoding::Json).await;
    bob.greet(&hub, &hello).await;
    bob.find("caught_up").await;
    let text = "x".repeat(20_000);
    // Nothing waits until the socket's buffers are full.
    let (mut queued, mut sent) = (0.0, 0);
    while queued == 0.0 {
        sent += 1;
        assert!(sent < 2000, "40 MB are more than any socket takes");
        alice.sync(json!([ticket(Uuid::now_v7(), &text)])).await;
        hub.clock.advance(1_000_000);
        queued = value(&fetch(&hub).await, "synchub_queue_bytes{queue=sessions}");
    }
    hub.clock.advance(5_000_000);
    let families = fetch(&hub).await;
    assert!(value(&families, "synchub_queue_age_seconds{queue=sessions}") >= 5.0);
    assert!(queued >= 20_000.0, "{queued}");
    drop(bob);
    hub.stop().await;
}
