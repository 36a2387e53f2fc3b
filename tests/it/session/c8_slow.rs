//! Slow readers: what is queued for them is forgotten, and nothing is missed (C8).

use std::time::Duration;

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, edit, journals, ticket};

async fn hub(tail_bytes: usize) -> Hub {
    let hub = Hub::with(|settings| {
        settings.feed.lane_bytes = 8 * 1024;
        settings.feed.tail_bytes = tail_bytes;
    });
    hub.start().await
}

/// More than sockets hold, in batches of a hundred tickets.
async fn fill(alice: &mut Peer, batches: usize) {
    let data = json!({"subject": "x".repeat(6000), "status": "NEW"});
    for _ in 0..batches {
        let entries: Value = (0..100).map(|_| edit("ticket", Uuid::now_v7(), 0, &data)).collect();
        alice.commit(entries).await;
    }
}

/// Sends a batch and waits until the hub has decided it, without reading; the place that it took.
async fn heard(hub: &Hub, peer: &mut Peer) -> u64 {
    let id = Uuid::now_v7();
    let entries = json!([ticket(id, "heard")]);
    peer.send(&json!({"type": "sync", "id": 5, "batch_id": Uuid::now_v7(), "entries": entries})).await;
    let written = async {
        loop {
            let log = hub.store().find_log("acme", 0, 10_000).await.unwrap();
            let row = log.iter().find(|row| row.to_string().contains(&id.to_string()));
            match row {
                Some(row) => return row["seq"].as_u64().unwrap(),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written).await.expect("the hub reads on")
}

async fn c8_a_slow_reader_catches_up_and_misses_nothing(tail_bytes: usize) {
    let hub = hub(tail_bytes).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let mut bob = Peer::open_narrow(&hub, encoding).await;
        bob.greet(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
        let mut copy = Copy::default();
        copy.take(&bob.until("caught_up").await);
        let slow_before = hub.slow_readers();
        let mut seq = 0;
        let mut known = Vec::new();
        for batch in 0..20 {
            let data =
                |n: usize| json!({"subject": format!("{batch} {n} {}", "x".repeat(6000)), "status": "NEW"});
            let ids: Vec<_> = (0..100).map(|_| Uuid::now_v7()).collect();
            let entries: Value =
                ids.iter().enumerate().map(|(n, id)| edit("ticket", *id, 0, &data(n))).collect();
            seq = alice.commit(entries).await;
            known.extend(ids);
        }
        seq = seq.max(alice.commit(json!([edit("ticket", known[0], 1, &json!({"subject": "small"}))])).await);
        copy.follow(&mut bob, seq).await;
        assert!(hub.slow_readers() > slow_before, "the peer was never slow");
        assert!(known.iter().skip(1).all(|id| copy.version("ticket", *id) == Some(1)));
        assert_eq!(copy.version("ticket", known[0]), Some(2));
        bob.close().await;
    }
}

#[tokio::test]
async fn c8_a_slow_reader_catches_up_from_the_log_and_misses_nothing() {
    c8_a_slow_reader_catches_up_and_misses_nothing(0).await;
}

#[tokio::test]
async fn c8_a_slow_reader_catches_up_from_the_tail_and_misses_nothing() {
    c8_a_slow_reader_catches_up_and_misses_nothing(256 << 20).await;
}

/// Control frames overtake what waits in the data lane, and the hub goes on reading.
#[tokio::test]
async fn inv5_a_slow_reader_is_heard_and_answered() {
    let hub = hub(4 << 20).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let mut bob = Peer::open_narrow(&hub, Encoding::Json).await;
    bob.greet(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    let mut copy = Copy::default();
    copy.take(&bob.until("caught_up").await);
    fill(&mut alice, 15).await;
    heard(&hub, &mut bob).await;
    let frames = bob.until("sync_result").await;
    copy.take(&frames);
    assert!(copy.records.len() < 1500, "the answer overtakes what waits: {}", copy.records.len());
    let seq = frames.last().unwrap()["seq"].as_u64().unwrap();
    copy.follow(&mut bob, seq).await;
    assert_eq!(copy.records.len(), 1501);
}

/// Rows that are nothing any more are skipped, however many they are, and hold nothing up.
#[tokio::test]
async fn c3_c8_rows_of_a_set_that_was_left_hold_nothing_up() {
    let hub = Hub::with(|settings| settings.feed.lane_bytes = 64 << 20).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let mut bob = Peer::open_narrow(&hub, Encoding::Json).await;
    bob.greet(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    bob.until("caught_up").await;
    fill(&mut alice, 15).await;
    let heard = hub.metric("synchub_frames_received_total");
    bob.send(&json!({"type": "unsubscribe", "id": 2, "domains": ["ticket"]})).await;
    while hub.metric("synchub_frames_received_total") == heard {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let seq = 1500;
    bob.until("subscribed").await;
    loop {
        let frame = bob.next().await;
        assert_eq!(frame["type"], "position", "c3: `subscribed` stands behind what was queued before it");
        if frame["seq"] == seq {
            break;
        }
    }
}

/// A peer that asks and asks and never reads is closed, not remembered.
#[tokio::test]
async fn inv5_answers_in_the_data_lane_are_bounded() {
    let hub = Hub::start().await;
    let mut peer = Peer::open_narrow(&hub, Encoding::Json).await;
    peer.greet(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    let filter = json!({"subject": (0..8).map(|n| format!("{n} {}", "x".repeat(900))).collect::<Vec<_>>()});
    let request =
        json!({"type": "subscribe", "id": 7, "subscriptions": [{"domain": "journal", "filter": filter}]});
    for _ in 0..2500 {
        peer.send(&request).await;
    }
    assert_eq!(peer.close_code().await, 4003);
}

#[tokio::test]
async fn inv5_answers_in_the_control_lane_are_bounded() {
    let hub = Hub::start().await;
    let mut peer = Peer::open_narrow(&hub, Encoding::Json).await;
    peer.greet(&hub, &Hello::of("alice", "a")).await;
    let (entries, _) = journals(1000);
    peer.commit(entries.clone()).await;
    let batch = json!({"type": "sync", "id": 7, "batch_id": Uuid::now_v7(), "entries": entries});
    let closed = || hub.metric("synchub_closes_total{reason=\"too_slow\"}") == 1;
    for answered in 2..500 {
        peer.send(&batch).await;
        while hub.metric("synchub_batches_total") < answered && !closed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if closed() {
            break;
        }
    }
    assert_eq!(peer.close_code().await, 4003);
}
