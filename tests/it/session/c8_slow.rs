//! Slow readers: what is queued for them is forgotten, and nothing is missed (C8).

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, edit, journals, tickets};

async fn hub(tail_bytes: usize) -> Hub {
    let hub = Hub::with(|settings| {
        settings.feed.lane_bytes = 8 * 1024;
        settings.feed.tail_bytes = tail_bytes;
    });
    hub.start().await
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
            let data = |n: usize| json!({"subject": format!("{batch} {n} {}", "x".repeat(6000)), "status": "NEW"});
            let ids: Vec<_> = (0..100).map(|_| Uuid::now_v7()).collect();
            let entries: Value =
                ids.iter().enumerate().map(|(n, id)| edit("ticket", *id, 0, &data(n))).collect();
            seq = alice.commit(entries).await;
            known.extend(ids);
        }
        seq = seq.max(alice.commit(json!([edit("ticket", known[0], 1, &json!({"subject": "small"}))])).await);
        copy.follow(&mut bob, seq).await;
        assert!(hub.slow_readers() > slow_before, "the peer was never slow");
        assert!(known.iter().skip(1).all(|id| copy.version("ticket", id) == Some(1)));
        assert_eq!(copy.version("ticket", known[0]), Some(2));
        bob.close().await;
    }
    hub.stop().await;
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
    let text = "x".repeat(6000);
    for _ in 0..15 {
        let entries = (0..100).map(|_| edit("ticket", Uuid::now_v7(), 0, &json!({"subject": text, "status": "NEW"})));
        alice.commit(entries.collect()).await;
    }
    let id = Uuid::now_v7();
    let entry = edit("ticket", id, 0, &json!({"subject": "bob's", "status": "NEW"}));
    bob.send(&json!({"type": "sync", "id": 5, "batch_id": Uuid::now_v7(), "entries": [entry]})).await;
    let written = async {
        while hub.store().find_record("acme", "ticket", id).await.unwrap().is_none() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), written).await.expect("the hub reads on");
    let frames = bob.until("sync_result").await;
    copy.take(&frames);
    assert_eq!(copy.version("ticket", id), None, "the answer overtakes the changes before it");
    assert!(copy.records.len() < 1500, "{}", copy.records.len());
    let seq = frames.last().unwrap()["seq"].as_u64().unwrap();
    copy.follow(&mut bob, seq).await;
    assert_eq!((copy.records.len(), copy.version("ticket", id)), (1501, Some(1)));
    hub.stop().await;
}

/// Rows that came with the last page are skipped, however many they are, and those behind them are not.
#[tokio::test]
async fn c8_many_rows_that_a_page_brought_already_hold_nothing_up() {
    let hub = Hub::with(|settings| {
        settings.feed.tail_bytes = 0;
        settings.feed.lane_bytes = 64 << 20;
        settings.feed.idle_position_secs = 60;
    });
    let hub = hub.start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("alice", "b").to(&["journal", "ticket"])).await;
    let mut copy = Copy::default();
    for _ in 0..10 {
        let journal = crate::support::journal(Uuid::now_v7(), "behind");
        let (Value::Array(mut entries), _) = tickets(600) else { unreachable!() };
        entries.push(journal);
        // The rows are offered under the old set and taken under the new one, in which they are nothing.
        alice.send(&json!({"type": "sync", "id": 1, "batch_id": Uuid::now_v7(), "entries": entries})).await;
        bob.send(&json!({"type": "unsubscribe", "id": 2, "domains": ["ticket"]})).await;
        let seq = alice.find("sync_result").await["seq"].as_u64().unwrap();
        bob.until("subscribed").await;
        while copy.seq < seq {
            let frame = bob.next().await;
            if frame["type"] == "position" {
                copy.seq = frame["seq"].as_u64().unwrap();
            }
        }
        bob.ask(json!({"type": "subscribe", "subscriptions": [{"domain": "ticket"}]})).await;
        bob.until("caught_up").await;
    }
    hub.stop().await;
}

/// A peer that asks and asks and never reads is closed, not remembered.
#[tokio::test]
async fn inv5_answers_in_the_data_lane_are_bounded() {
    let hub = Hub::start().await;
    let mut peer = Peer::open_narrow(&hub, Encoding::Json).await;
    peer.greet(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    let filter = json!({"subject": (0..50).map(|n| format!("{n} {}", "x".repeat(900))).collect::<Vec<_>>()});
    let request = json!({"type": "subscribe", "id": 7, "subscriptions": [{"domain": "journal", "filter": filter}]});
    for _ in 0..600 {
        peer.send(&request).await;
    }
    assert_eq!(peer.close_code().await, 4003);
    hub.stop().await;
}

#[tokio::test]
async fn inv5_answers_in_the_control_lane_are_bounded() {
    let hub = Hub::start().await;
    let mut peer = Peer::open_narrow(&hub, Encoding::Json).await;
    peer.greet(&hub, &Hello::of("alice", "a")).await;
    let (entries, _) = journals(1000);
    peer.commit(entries.clone()).await;
    let batch = json!({"type": "sync", "id": 7, "batch_id": Uuid::now_v7(), "entries": entries});
    for _ in 0..150 {
        peer.send(&batch).await;
    }
    assert_eq!(peer.close_code().await, 4003);
    hub.stop().await;
}
