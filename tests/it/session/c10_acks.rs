//! Acknowledged places (C10).

use serde_json::json;
use std::time::Duration;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, ticket};

async fn hub() -> Hub {
    Hub::with(|settings| settings.ack_flush_secs = 1).start().await
}

/// Waits until the store says so.
async fn until_acked(hub: &Hub, device: &str, seq: u64) {
    let wait = async {
        while hub.acked("bob", device).await != seq {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the place is written");
}

#[tokio::test]
async fn c10_an_ack_moves_the_acknowledged_place() {
    let hub = hub().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    let mut copy = Copy::default();
    for _ in 0..2 {
        let seq = bob.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
        copy.follow(&mut bob, seq).await;
        assert!(hub.acked("bob", "b").await < seq);
        bob.send(&json!({"type": "ack", "cursor": copy.cursor})).await;
        until_acked(&hub, "b", seq).await;
    }
}

#[tokio::test]
async fn c10_a_cursor_that_comes_back_in_hello_is_acknowledged() {
    let hub = hub().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    let mut copy = Copy::default();
    let seq = bob.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    copy.follow(&mut bob, seq).await;
    bob.close().await;
    let (_bob, _) = Peer::live(&hub, &Hello::of("bob", "b").with(json!({"cursor": copy.cursor}))).await;
    until_acked(&hub, "b", seq).await;
}

#[tokio::test]
async fn c10_acks_that_wait_are_written_when_the_hub_stops() {
    let hub = Hub::with(|settings| settings.ack_flush_secs = 3600).start().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    let mut copy = Copy::default();
    let seq = bob.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    copy.follow(&mut bob, seq).await;
    bob.send(&json!({"type": "ack", "cursor": copy.cursor})).await;
    bob.ask(json!({"type": "ping"})).await;
    assert!(hub.acked("bob", "b").await < seq);
    let hub = hub.restart().await;
    assert_eq!(hub.acked("bob", "b").await, seq);
}

/// None of these may move anything; they are followed by a stop, which writes what there is to write.
#[tokio::test]
async fn c10_an_ack_that_is_foreign_or_ahead_of_what_was_sent_is_ignored() {
    let hub = Hub::with(|settings| settings.feed.idle_position_secs = 60).start().await;
    let other = Hello { tenant: "other".into(), ..Hello::of("eve", "e") };
    let (mut eve, _) = Peer::live(&hub, &other).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (mut bob, frames) = Peer::live(&hub, &Hello::of("bob", "b").to(&["journal"])).await;
    assert_eq!(frames.last().unwrap()["seq"], 0);
    // Bob may acknowledge up to 2; Eve's cursor names 1, Alice's 3.
    let seq = bob.commit(json!([ticket(Uuid::now_v7(), "one"), ticket(Uuid::now_v7(), "two")])).await;
    let mut copy = Copy::default();
    copy.follow(&mut bob, seq).await;
    let foreign = {
        let seq = eve.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
        let mut copy = Copy::default();
        copy.follow(&mut eve, seq).await;
        copy.cursor
    };
    let ahead = {
        let seq = alice.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
        let mut copy = Copy::default();
        copy.follow(&mut alice, seq).await;
        assert_eq!(seq, 3);
        copy.cursor
    };
    for cursor in [foreign, ahead, Some("nonsense".to_owned())] {
        bob.send(&json!({"type": "ack", "cursor": cursor})).await;
    }
    bob.ask(json!({"type": "ping"})).await;
    let hub = hub.restart().await;
    assert_eq!(hub.acked("bob", "b").await, 0);
}

#[tokio::test]
async fn c10_an_old_ack_does_not_move_the_place_back() {
    let hub = Hub::start().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    let mut copy = Copy::default();
    let seq = bob.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    copy.follow(&mut bob, seq).await;
    let old = copy.cursor.clone();
    let seq = bob.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    copy.follow(&mut bob, seq).await;
    for cursor in [&copy.cursor, &old] {
        bob.send(&json!({"type": "ack", "cursor": cursor})).await;
    }
    bob.ask(json!({"type": "ping"})).await;
    let hub = hub.restart().await;
    assert_eq!(hub.acked("bob", "b").await, seq);
}
