//! Frames, batches and entries over their limits.

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, edit, ticket, tickets};

const LIMIT: usize = 64 * 1024;

async fn hub() -> Hub {
    Hub::with(|settings| {
        settings.limits.max_frame_bytes = LIMIT;
        settings.limits.max_entry_bytes = 16 * 1024;
    })
    .start()
    .await
}

async fn live(hub: &Hub, encoding: Encoding) -> Peer {
    let (mut peer, _) = Peer::hello_in(hub, &Hello::of("alice", "a"), encoding).await;
    peer.until("caught_up").await;
    peer
}

/// A ping of that many bytes.
fn ping(encoding: Encoding, bytes: usize) -> Value {
    let frame = |padding: usize| json!({"type": "ping", "id": 9, "padding": "x".repeat(padding)});
    let rest = encoding.encode(&frame(bytes - 100)).len() - (bytes - 100);
    frame(bytes - rest)
}

#[tokio::test]
async fn a_frame_over_the_limit_is_too_large_and_one_over_twice_the_limit_closes_with_4505() {
    let hub = hub().await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let mut peer = live(&hub, encoding).await;
        for _ in 0..3 {
            peer.send(&ping(encoding, LIMIT)).await;
            assert_eq!(peer.next().await["type"], "pong");
            for size in [LIMIT + 1, 2 * LIMIT] {
                peer.send(&ping(encoding, size)).await;
                let error = peer.next().await;
                assert_eq!((&error["code"], error.get("id")), (&json!("too_large"), None), "{size}");
            }
        }
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong", "the socket goes on");
        peer.send(&ping(encoding, 2 * LIMIT + 1)).await;
        assert_eq!(peer.close_code().await, 4505);
    }
}

/// The close is read although the hub stopped reading in the middle of what was sent.
#[tokio::test]
async fn a_peer_in_the_middle_of_a_huge_frame_reads_why_it_was_closed() {
    let hub = hub().await;
    for size in [3 * LIMIT, 20 * LIMIT, 200 * LIMIT] {
        let mut peer = live(&hub, Encoding::Json).await;
        peer.send(&ping(Encoding::Json, size)).await;
        assert_eq!(peer.close_code().await, 4505, "{size}");
    }
}

#[tokio::test]
async fn before_hello_64_kib_are_taken_and_no_more() {
    let hub = hub().await;
    let filters = |count: usize| {
        let words: Vec<_> = (0..70).map(|n| format!("{n:0>100}")).collect();
        let subscription = json!({"domain": "ticket", "filter": {"subject": words}});
        json!({"subscriptions": vec![subscription; count]})
    };
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("alice", "a").with(filters(7))).await;
    peer.until("caught_up").await;
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    peer.send(&Hello::of("alice", "b").with(filters(12)).frame(&hub)).await;
    assert_eq!(peer.close_code().await, 4505);
}

/// A client need not wait for the welcome before it sends a large batch.
#[tokio::test]
async fn what_is_sent_right_behind_hello_has_the_limits_of_a_session() {
    let hub = hub().await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        for size in [1000, 5000, 20_000, 60_000] {
            let mut peer = Peer::open(&hub, encoding).await;
            peer.send(&Hello::of("alice", "a").frame(&hub)).await;
            peer.send(&ping(encoding, size)).await;
            assert_eq!(peer.find("pong").await["id"], 9, "{size}");
        }
    }
}

#[tokio::test]
async fn a_batch_of_1001_entries_is_refused_whole() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, Encoding::MessagePack).await;
    let batch = |count| json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": tickets(count).0});
    let error = peer.ask(batch(1001)).await;
    assert_eq!(
        (&error["type"], &error["code"], &error["temporary"]),
        (&json!("error"), &json!("too_many_entries"), &json!(false))
    );
    let answer = peer.ask(batch(1000)).await;
    assert_eq!((answer["results"].as_array().unwrap().len(), &answer["seq"]), (1000, &json!(1000)));
}

#[tokio::test]
async fn o3_an_entry_over_its_limit_is_that_entrys_result() {
    let hub = hub().await;
    let mut peer = live(&hub, Encoding::Json).await;
    let large =
        edit("ticket", Uuid::now_v7(), 0, &json!({"subject": "x".repeat(17 * 1024), "status": "NEW"}));
    let results = peer.sync(json!([ticket(Uuid::now_v7(), "a"), large, ticket(Uuid::now_v7(), "b")])).await;
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["created", "error", "created"]);
    assert_eq!(results[1]["error"]["code"], "too_large");
}
