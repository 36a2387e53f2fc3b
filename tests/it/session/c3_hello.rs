//! What comes after hello, with a cursor and without (C3).

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, edit, ticket, tickets};

fn bob() -> Hello {
    Hello::of("bob", "b").to(&["ticket"])
}

fn kinds(frames: &[Value]) -> Vec<&str> {
    frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn c3_without_a_cursor_every_domain_is_new() {
    let hub = Hub::start().await;
    let (mut bob, welcome) = Peer::hello(&hub, &bob()).await;
    assert_eq!(welcome["fresh"], json!([{"domain": "ticket", "reason": "new"}]));
    assert_eq!(kinds(&bob.until("caught_up").await), ["snapshot", "caught_up"]);
}

async fn c3_with_a_cursor_exactly_what_was_missed_is_replayed(tail_bytes: usize) {
    let hub = Hub::with(|settings| settings.feed.tail_bytes = tail_bytes).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    let (held, ids) = tickets(5);
    alice.commit(held).await;
    let (mut peer, frames) = Peer::live(&hub, &bob()).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    assert!(peer.quiet().await.is_empty());
    peer.close().await;

    let (missed, new) = tickets(3);
    alice.commit(missed).await;
    let seq = alice.commit(json!([edit("ticket", ids[2], 1, &json!({"subject": "smoke"}))])).await;
    let rows_read = hub.metric("synchub_log_rows_read_total");
    let (mut peer, welcome) = Peer::hello(&hub, &bob().with(json!({"cursor": copy.cursor}))).await;
    assert_eq!(welcome["fresh"], json!([]));
    let frames = peer.until("caught_up").await;
    let changes = &frames[..frames.len() - 1];
    let came: Vec<_> = changes.iter().map(|frame| frame["mobile_id"].as_str().unwrap().to_owned()).collect();
    let missed: Vec<_> = new.iter().chain([&ids[2]]).map(Uuid::to_string).collect();
    assert_eq!(came, missed, "{frames:?}");
    let operations: Vec<_> = changes.iter().map(|frame| frame["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["create", "create", "create", "update"]);
    assert_eq!(changes[3]["data"], json!({"subject": "smoke", "status": "NEW"}), "the whole record");
    assert_eq!(frames.last().unwrap()["seq"], seq);
    let from_the_log = hub.metric("synchub_log_rows_read_total") > rows_read;
    assert_eq!(from_the_log, tail_bytes == 0, "where the replay came from");
    copy.take(&frames);
    assert_eq!((copy.records.len(), copy.version("ticket", ids[2])), (8, Some(2)));
}

#[tokio::test]
async fn c3_with_a_cursor_exactly_what_was_missed_is_replayed_from_the_log() {
    c3_with_a_cursor_exactly_what_was_missed_is_replayed(0).await;
}

#[tokio::test]
async fn c3_with_a_cursor_exactly_what_was_missed_is_replayed_from_the_tail() {
    c3_with_a_cursor_exactly_what_was_missed_is_replayed(4 << 20).await;
}

#[tokio::test]
async fn c3_a_cursor_at_the_head_brings_nothing_again() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    alice.commit(tickets(5).0).await;
    let (peer, _) = Peer::live(&hub, &bob()).await;
    let hello = bob().with(json!({"cursor": peer.cursor}));
    let (mut peer, _) = Peer::hello(&hub, &hello).await;
    assert_eq!(kinds(&peer.until("caught_up").await), ["caught_up"]);
}

#[tokio::test]
async fn c3_a_domain_that_a_cursor_does_not_cover_is_new_and_the_others_are_replayed() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::live(&hub, &bob()).await;
    let seq = peer.commit(tickets(2).0).await;
    let mut copy = Copy::default();
    copy.follow(&mut peer, seq).await;
    peer.commit(json!([ticket(Uuid::now_v7(), "missed")])).await;
    peer.close().await;
    let both = bob().to(&["ticket", "journal"]).with(json!({"cursor": copy.cursor}));
    let (mut peer, welcome) = Peer::hello(&hub, &both).await;
    assert_eq!(welcome["fresh"], json!([{"domain": "journal", "reason": "new"}]));
    assert_eq!(kinds(&peer.until("caught_up").await), ["snapshot", "data_update", "caught_up"]);
}

#[tokio::test]
async fn c3_a_cursor_from_below_the_horizon_makes_everything_fresh() {
    let hub = Hub::start().await;
    let (mut peer, frames) = Peer::live(&hub, &bob()).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    peer.commit(tickets(4).0).await;
    peer.close().await;
    let hub = hub.restart_after(|folder| {
        let database = rusqlite::Connection::open(folder.join("synchub.db")).unwrap();
        database.execute("UPDATE tenant SET horizon = 3", []).unwrap();
        database.execute("DELETE FROM log WHERE seq <= 3", []).unwrap();
    });
    let hub = hub.await;
    let (mut peer, welcome) = Peer::hello(&hub, &bob().with(json!({"cursor": copy.cursor}))).await;
    assert_eq!(welcome["fresh"], json!([{"domain": "ticket", "reason": "cursor_expired"}]));
    copy.take(&peer.until("caught_up").await);
    assert_eq!(copy.records.len(), 4);
}

#[tokio::test]
async fn c3_a_hello_with_an_unknown_domain_does_nothing_and_another_is_taken() {
    let hub = Hub::start().await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let mut peer = Peer::open(&hub, encoding).await;
        peer.send(&bob().to(&["ticket", "nonsense"]).frame(&hub)).await;
        let error = peer.next().await;
        assert_eq!(
            (&error["type"], &error["id"], &error["code"]),
            (&json!("error"), &json!(1), &json!("unknown_domain"))
        );
        assert_eq!(error["temporary"], false);
        let devices = hub.store().find_devices("acme", Some("bob"), Some("b")).await.unwrap();
        assert!(devices.is_empty() || encoding == Encoding::MessagePack, "nothing was done: {devices:?}");
        peer.greet(&hub, &bob()).await;
        peer.until("caught_up").await;
    }
}

#[tokio::test]
async fn c3_two_subscriptions_of_one_domain_are_a_union() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let of = |subject: &str| json!({"domain": "ticket", "filter": {"subject": subject}});
    let hello = Hello::of("bob", "b").with(json!({"subscriptions": [of("fire"), of("smoke")]}));
    let (mut bob, frames) = Peer::live(&hub, &hello).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    let ids = [Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7()];
    let subjects = ["fire", "smoke", "water"];
    let entries: Value = ids.iter().zip(subjects).map(|(id, subject)| ticket(*id, subject)).collect();
    let seq = alice.commit(entries).await;
    copy.follow(&mut bob, seq).await;
    assert_eq!(ids.map(|id| copy.version("ticket", id)), [Some(1), Some(1), None]);
}
