//! Pushes to who was away (P2, P3): what is owed comes first, until it was acknowledged.

use std::time::Duration;

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use super::service::{Service, back, message, pass, pushes, texts, trigger};
use crate::support::{Hello, Hub, Peer, ticket};

/// A device that said hello once and is away, with the cursor that it stored.
async fn away(hub: &Hub, user: &str, device: &str) -> String {
    let (peer, _) = Peer::live(hub, &Hello::of(user, device)).await;
    let cursor = peer.cursor.clone().unwrap();
    peer.close().await;
    until_gone(hub, 0).await;
    cursor
}

/// Waits until only so many sessions beside the service's are left.
async fn until_gone(hub: &Hub, others: usize) {
    let gone = async {
        while hub.node.deps().devices.mailboxes().len() > 1 + others {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the session ends");
}

#[tokio::test]
async fn p2_what_is_owed_comes_first_and_again_until_its_cursor_comes_back() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let cursor = away(&hub, "bob", "phone").await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    for n in 0..3 {
        alice.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
        service.send(message("bob", &n.to_string())).await;
    }
    let mut ids: Vec<Vec<Value>> = Vec::new();
    let mut latest = String::new();
    for hello in [back("bob", "phone", Some(&cursor)), back("bob", "phone", None)] {
        let (bob, frames) = Peer::live(&hub, &hello.to(&["ticket"])).await;
        assert_eq!(texts(&frames), ["0", "1", "2"]);
        let first = frames.iter().position(|frame| frame["type"] != "message").unwrap();
        assert_eq!(first, 3, "before any snapshot, replay or cursor: {frames:?}");
        ids.push(pushes(&frames).into_iter().map(|push| push["push_id"].clone()).collect());
        latest = bob.cursor.clone().unwrap();
        bob.close().await;
        until_gone(&hub, 1).await;
    }
    assert_eq!(ids[0], ids[1], "with the same push_id");
    let (_bob, frames) = Peer::live(&hub, &back("bob", "phone", Some(&latest))).await;
    assert_eq!(pushes(&frames).len(), 0, "a cursor at or past them came back");
}

#[tokio::test]
async fn p2_an_acknowledged_push_does_not_come_again_whatever_the_cursor() {
    let hub = Hub::with(|settings| settings.ack_flush_secs = 1).start().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let old = bob.cursor.clone().unwrap();
    service.send(message("bob", "one")).await;
    bob.find("message").await;
    let position = bob.find("position").await;
    bob.send(&json!({"type": "ack", "cursor": position["cursor"]})).await;
    let wait = async {
        while hub.acked("bob", "phone").await < position["seq"].as_u64().unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the place is written");
    bob.close().await;
    for cursor in [Some(&old), None] {
        let (mut bob, frames) = Peer::live(&hub, &back("bob", "phone", cursor)).await;
        assert_eq!(pushes(&frames).len() + pushes(&bob.quiet().await).len(), 0);
        bob.close().await;
    }
}

#[tokio::test]
async fn p2_a_new_device_starts_from_the_head() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    away(&hub, "bob", "phone").await;
    let all = json!({"kind": "message", "to": {"tenant": true}, "data": {"text": "all"}});
    let receipts = service.push(json!([message("bob", "old"), all])).await;
    assert_eq!((&receipts[0]["delivered"], &receipts[0]["queued"]), (&json!(0), &json!(1)));
    let (_tablet, frames) = Peer::live(&hub, &Hello::of("bob", "tablet")).await;
    assert_eq!(pushes(&frames).len(), 0);
    let (_phone, frames) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    assert_eq!(texts(&frames), ["old", "all"], "the one that it was sent to has it");
}

#[tokio::test]
async fn p2_a_push_survives_a_crash_of_the_hub() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let cursor = away(&hub, "bob", "phone").await;
    let id = service.send(message("bob", "kept")).await;
    let hub = hub.restart().await;
    let (_bob, frames) = Peer::live(&hub, &back("bob", "phone", Some(&cursor))).await;
    assert_eq!(pushes(&frames)[0]["push_id"], id);
}

#[tokio::test]
async fn p3_only_the_newest_are_sent_and_that_there_were_more_is_told_once() {
    let hub = Hub::with(|settings| settings.push.queue = 5).start().await;
    let mut service = Service::start(&hub).await;
    away(&hub, "bob", "phone").await;
    let many: Vec<_> = (0..8).map(|n| message("bob", &n.to_string())).collect();
    service.push(json!(many)).await;
    let (_bob, frames) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    assert_eq!(texts(&frames), ["3", "4", "5", "6", "7"]);
    let told: Vec<_> = frames.iter().filter(|frame| frame["type"] == "sync_trigger").collect();
    assert_eq!(told.len(), 1, "{frames:?}");
    assert_eq!(told[0]["reason"], "queue_overflow");
}

#[tokio::test]
async fn p3_what_ended_unseen_is_not_sent_and_told_once() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    away(&hub, "bob", "phone").await;
    let short = |text: &str| {
        let mut push = message("bob", text);
        push["ttl_secs"] = json!(60);
        push
    };
    service.push(json!([short("a"), message("bob", "hour"), short("b")])).await;
    pass(&hub, 61);
    let (bob, frames) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    assert_eq!(texts(&frames), ["hour"]);
    let told: Vec<_> = frames.iter().filter(|frame| frame["type"] == "sync_trigger").collect();
    assert_eq!((told.len(), &told[0]["reason"]), (1, &json!("queue_expired")), "{frames:?}");
    bob.close().await;
    pass(&hub, 3600);
    let (_bob, frames) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    assert_eq!(texts(&frames), [""; 0], "an hour, where its sender does not say");
    assert_eq!(pushes(&frames)[0]["reason"], "queue_expired", "p1");
}

#[tokio::test]
async fn p2_what_is_owed_is_not_forgotten_by_a_slow_reader() {
    let hub = Hub::with(|settings| settings.feed.lane_bytes = 8 * 1024).start().await;
    let mut service = Service::start(&hub).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    away_beside(&hub).await;
    let text = "x".repeat(20_000);
    for n in 0..40 {
        service.send(message("bob", &format!("{n} {text}"))).await;
    }
    let mut bob = Peer::open_narrow(&hub, Encoding::Json).await;
    bob.greet(&hub, &Hello::of("bob", "phone").to(&["ticket"])).await;
    for _ in 0..20 {
        let entries: Vec<_> = (0..100).map(|_| ticket(Uuid::now_v7(), &"y".repeat(1000))).collect();
        alice.commit(json!(entries)).await;
    }
    let frames = bob.until("caught_up").await;
    let got: Vec<_> = texts(&frames).into_iter().map(|text| text.split(' ').next().unwrap()).collect();
    let expected: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(got, expected, "all of them, each once, in order");
    assert!(frames[..40].iter().all(|frame| frame["type"] == "message"), "first");
}

async fn away_beside(hub: &Hub) {
    let (peer, _) = Peer::live(hub, &Hello::of("bob", "phone")).await;
    peer.close().await;
    until_gone(hub, 1).await;
}

/// A live push that a slow reader's queue forgot comes by the replay, from memory or from the store.
#[tokio::test]
async fn p2_c8_a_forgotten_push_comes_again() {
    for tail_bytes in [0, 64 << 20] {
        let hub = Hub::with(|settings| {
            settings.feed.lane_bytes = 8 * 1024;
            settings.feed.tail_bytes = tail_bytes;
            settings.push.per_minute = 1000;
        });
        let hub = hub.start().await;
        let mut service = Service::start(&hub).await;
        let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
        let mut bob = Peer::open_narrow(&hub, Encoding::Json).await;
        bob.greet(&hub, &Hello::of("bob", "phone").to(&["ticket"])).await;
        bob.find("caught_up").await;
        let mut ids = Vec::new();
        for _ in 0..20 {
            let entries: Vec<_> = (0..100).map(|_| ticket(Uuid::now_v7(), &"y".repeat(6000))).collect();
            alice.commit(json!(entries)).await;
            ids.push(service.send(trigger("bob", &["task"])).await);
        }
        let mut got = Vec::new();
        while got.len() < ids.len() {
            let frame = bob.next().await;
            if frame["type"] == "sync_trigger" {
                got.push(frame["push_id"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(got, ids, "each once, in order");
        assert!(hub.slow_readers() > 0, "the peer was never slow");
    }
}
