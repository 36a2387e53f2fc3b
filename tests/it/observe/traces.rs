//! Traces of batches, as a collector sees them.

use std::collections::BTreeSet;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;
use synchub::config::{Secret, TraceSettings};
use tokio::time::timeout;
use uuid::Uuid;

use super::collector::{Collector, attribute};
use super::page;
use crate::support::{Gate, Hello, Hub, Peer, Publisher, ticket};

/// How long what is bounded may take before a test gives up; far above what it takes.
const PATIENCE: Duration = Duration::from_secs(15);

async fn hub(collector: &Collector, one_in: u64) -> Hub {
    let trace = TraceSettings {
        endpoint: Some(collector.url()),
        sample_one_in: one_in,
        service_name: "hub-of-the-test".to_owned(),
        headers: [("x-key".to_owned(), Secret::new("of-the-test"))].into(),
    };
    Hub::with(|settings| settings.trace = trace).start().await
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[tokio::test]
async fn a_batch_is_followed_from_its_socket_through_the_commit_to_the_other_sockets() {
    let collector = Collector::start();
    let hub = hub(&collector, 1).await;
    let (mut alice, welcome) = Peer::hello(&hub, &Hello::of("alice", "phone-a").to(&["ticket"])).await;
    alice.find("caught_up").await;
    let (mut bob, other) = Peer::hello(&hub, &Hello::of("bob", "phone-b").to(&["ticket"])).await;
    bob.find("caught_up").await;
    let batch_id = Uuid::now_v7();
    let entries = json!([ticket(Uuid::now_v7(), "the secret subject"), ticket(Uuid::now_v7(), "another")]);
    let result = alice.ask(json!({"type": "sync", "batch_id": batch_id, "entries": entries})).await;
    assert_eq!(result["type"], "sync_result", "{result}");
    for peer in [&mut alice, &mut bob] {
        // The position after them says that the socket took both.
        peer.find("position").await;
    }
    drop((alice, bob));
    hub.stop().await;

    let spans = collector.spans();
    let one = |name: &str| {
        let found = named(&spans, name);
        assert_eq!(found.len(), 1, "{name}: {spans:#?}");
        found[0]
    };
    let (sync, queue, commit, feed) = (one("sync"), one("queue"), one("commit"), one("feed"));
    let deliveries = named(&spans, "deliver");
    assert_eq!(deliveries.len(), 2, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace_id == sync.trace_id && span.trace_id.len() == 16));
    assert!(sync.parent_span_id.is_empty());
    assert_eq!(queue.parent_span_id, sync.span_id);
    assert_eq!(commit.parent_span_id, sync.span_id);
    assert_eq!(feed.parent_span_id, commit.span_id);
    assert!(deliveries.iter().all(|deliver| deliver.parent_span_id == feed.span_id));

    for (key, expected) in [
        ("synchub.batch_id", batch_id.to_string()),
        ("synchub.tenant", "acme".to_owned()),
        ("synchub.device", "phone-a".to_owned()),
        ("synchub.session", welcome["session_id"].as_str().unwrap().to_owned()),
        ("synchub.entries", "2".to_owned()),
        ("synchub.repeated", "false".to_owned()),
        ("synchub.seq", result["seq"].to_string()),
    ] {
        assert_eq!(attribute(sync, key), Some(expected), "{key}");
    }
    assert_eq!(attribute(commit, "synchub.group.batches").as_deref(), Some("1"));
    let sessions: BTreeSet<_> =
        deliveries.iter().filter_map(|deliver| attribute(deliver, "synchub.session")).collect();
    let expected = [&welcome, &other].map(|frame| frame["session_id"].as_str().unwrap().to_owned());
    assert_eq!(sessions, BTreeSet::from(expected));
    page::assert_spans(&spans);

    let heads = collector.heads();
    assert!(
        heads.iter().all(|head| head.starts_with("post /v1/traces ") && head.contains("x-key: of-the-test"))
    );
    let sent = String::from_utf8_lossy(&collector.bytes()).into_owned();
    assert!(sent.contains("hub-of-the-test") && !sent.contains("secret subject"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_a_group_have_a_commit_each_that_names_the_others() {
    let collector = Collector::start();
    let hub = hub(&collector, 1).await;
    let publisher = Publisher::of(&hub, "acme").await;
    let mut peers = Vec::new();
    for n in 0..4 {
        peers.push(Peer::live(&hub, &Hello::of("alice", &format!("phone-{n}"))).await.0);
    }
    let batch =
        || json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": [ticket(Uuid::now_v7(), "fire")]});
    let gate = Gate::close(&hub, &publisher).await;
    let mut ids = Vec::new();
    for peer in &mut peers {
        ids.push(peer.request(batch()).await);
        // The hub has read the batch before it answers what comes behind it.
        peer.ask(json!({"type": "ping"})).await;
    }
    gate.open().await;
    for (peer, id) in peers.iter_mut().zip(ids) {
        peer.answer(id).await;
    }
    drop(peers);
    hub.stop().await;

    let spans = collector.spans();
    let commits = named(&spans, "commit");
    let traces: BTreeSet<_> = commits.iter().map(|commit| &commit.trace_id).collect();
    assert_eq!((commits.len(), traces.len()), (4, 4), "{spans:#?}");
    let size = |commit: &&Span| attribute(commit, "synchub.group.batches").unwrap();
    let sizes: Vec<_> = commits.iter().map(size).collect();
    assert_eq!(sizes.iter().filter(|size| *size == "3").count(), 3, "one alone, then three: {sizes:?}");
    for commit in commits {
        let linked: BTreeSet<_> = commit.links.iter().map(|link| &link.trace_id).collect();
        let others = size(&commit).parse::<usize>().unwrap() - 1;
        assert_eq!((linked.len(), linked.contains(&commit.trace_id)), (others, false), "{commit:?}");
    }
    assert_eq!(named(&spans, "sync").len(), 4);
}

#[tokio::test]
async fn what_is_not_chosen_is_not_traced() {
    let collector = Collector::start();
    let hub = hub(&collector, 1_000_000_000).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "phone-a").to(&["ticket"])).await;
    for _ in 0..20 {
        alice.sync(json!([ticket(Uuid::now_v7(), "fire")])).await;
    }
    assert_eq!(hub.metric("synchub_trace_spans_total"), 0);
    hub.stop().await;
    assert!(collector.heads().is_empty());
}

#[tokio::test]
async fn a_collector_that_never_answers_neither_slows_nor_stops_the_hub() {
    let collector = Collector::silent();
    let hub = hub(&collector, 1).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "phone-a").to(&["ticket"])).await;
    // More spans than wait for the collector at most: what does not fit is dropped.
    for _ in 0..600 {
        let results = alice.sync(json!([ticket(Uuid::now_v7(), "fire")])).await;
        assert_eq!(results[0]["status"], "created");
    }
    assert!(hub.metric("synchub_trace_spans_total") > 2048);
    assert_eq!(hub.metric("synchub_trace_exports_total{result=\"sent\"}"), 0);
    drop(alice);
    timeout(PATIENCE, hub.stop()).await.expect("the hub stops though the collector does not answer");
}

#[tokio::test]
async fn a_collector_that_is_gone_is_counted_and_nothing_else() {
    let collector = Collector::start();
    let hub = hub(&collector, 1).await;
    drop(collector);
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "phone-a").to(&["ticket"])).await;
    let results = alice.sync(json!([ticket(Uuid::now_v7(), "fire")])).await;
    assert_eq!(results[0]["status"], "created");
    drop(alice);
    let metrics = hub.node.deps().metrics.clone();
    timeout(PATIENCE, hub.stop()).await.unwrap();
    assert_eq!(metrics.trace_exports.of(synchub::observe::ExportResult::Sent).get(), 0);
    assert!(metrics.trace_spans.get() > 0);
}
