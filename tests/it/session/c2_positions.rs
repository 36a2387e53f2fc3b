//! When a position goes out, and what it promises (C2, C7).

use serde_json::json;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, journal, ticket, tickets};

#[tokio::test]
async fn c2_a_position_follows_a_data_frame() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    for _ in 0..3 {
        let seq = alice.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
        bob.find("data_update").await;
        let position = bob.next().await;
        assert_eq!((&position["type"], &position["seq"]), (&json!("position"), &json!(seq)));
        assert!(position["cursor"].is_string());
    }
}

#[tokio::test]
async fn c2_a_position_follows_an_answer_though_nothing_was_for_the_device() {
    let hub = Hub::start().await;
    for domains in [&[][..], &["journal"]] {
        let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").to(domains)).await;
        for _ in 0..3 {
            let seq = alice.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
            let position = alice.next().await;
            assert_eq!((&position["type"], &position["seq"]), (&json!("position"), &json!(seq)));
        }
    }
}

#[tokio::test]
async fn c2_an_answer_that_wrote_nothing_is_reached_by_a_place() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (mut bob, caught_up) = Peer::live(&hub, &Hello::of("bob", "b")).await;
    let before = caught_up.last().unwrap()["seq"].as_u64().unwrap();
    alice.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    let results = json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": [{}]});
    let answer = bob.ask(results).await;
    assert_eq!(answer["results"][0]["status"], "error");
    assert!(answer["seq"].as_u64().unwrap() > before, "the log's head: {answer}");
    assert_eq!(bob.find("position").await["seq"], answer["seq"]);
}

#[tokio::test]
async fn c2_a_position_follows_an_answer_whose_place_was_named_before() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    alice.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    for _ in 0..3 {
        let answer = alice.ask(json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": [{}]})).await;
        assert_eq!(alice.find("position").await["seq"], answer["seq"]);
    }
}

#[tokio::test]
async fn c2_a_position_comes_when_the_log_moved_for_others_only() {
    let hub = Hub::with(|settings| settings.feed.idle_position_secs = 1).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    let seq = alice.commit(json!([journal(Uuid::now_v7(), "mine")])).await;
    let position = bob.next().await;
    assert_eq!((&position["type"], &position["seq"]), (&json!("position"), &json!(seq)));
}

/// Each place that is named comes after everything up to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c2_no_place_is_named_before_what_it_covers() {
    let hub = Hub::with(|settings| settings.feed.position_ms = 1).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    let mut owed = Vec::new();
    for _ in 0..300 {
        let (entries, ids) = tickets(10);
        let seq = alice.commit(entries).await;
        owed.extend(ids.iter().zip(seq - 9..=seq).map(|(id, place)| (place, id.to_string())));
    }
    let last = owed.last().unwrap().0;
    loop {
        let frame = bob.next().await;
        match frame["type"].as_str().unwrap() {
            "data_update" => owed.retain(|(_, id)| frame["mobile_id"] != **id),
            "position" => {
                let seq = frame["seq"].as_u64().unwrap();
                assert!(
                    owed.first().is_none_or(|(place, _)| *place > seq),
                    "{seq} was named, owed: {:?}",
                    owed.first()
                );
                if seq == last {
                    break;
                }
            }
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn c7_an_own_change_comes_back_and_a_place_at_or_past_its_answer_follows() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    let id = Uuid::now_v7();
    let batch = json!({"type": "sync", "id": 9, "batch_id": Uuid::now_v7(), "entries": [ticket(id, "fire")]});
    alice.send(&batch).await;
    let frames = alice.until("position").await;
    let of = |kind: &str| {
        frames.iter().find(|frame| frame["type"] == kind).unwrap_or_else(|| panic!("{frames:?}"))
    };
    let (answer, change, position) = (of("sync_result"), of("data_update"), of("position"));
    assert_eq!(
        (&change["mobile_id"], &change["version"]),
        (&json!(id), &answer["results"][0]["server_version"])
    );
    assert_eq!(change["origin"], json!({"user": "alice", "device": "a"}));
    assert!(position["seq"].as_u64() >= answer["seq"].as_u64());
}

/// A subscription that comes fresh right behind a batch: a place past the answer is named all the same.
#[tokio::test]
async fn c7_a_place_past_the_answer_comes_through_a_catch_up() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    for round in 0..40 {
        let entries = json!([ticket(Uuid::now_v7(), "fire")]);
        alice.send(&json!({"type": "sync", "id": 1, "batch_id": Uuid::now_v7(), "entries": entries})).await;
        let filter = json!({"content": format!("{round}")});
        alice.send(&json!({"type": "subscribe", "id": 2, "subscriptions": [{"domain": "journal", "filter": filter}]})).await;
        let (mut answered, mut reached) = (None, 0);
        while answered.is_none_or(|seq| reached < seq) {
            let frame = alice.next().await;
            match frame["type"].as_str().unwrap() {
                "sync_result" => answered = frame["seq"].as_u64(),
                "position" | "caught_up" => reached = reached.max(frame["seq"].as_u64().unwrap()),
                _ => {}
            }
        }
    }
}
