//! What devices see of a purge: nothing, while they keep up; a snapshot, when they come from below the
//! horizon, whenever that is noticed (D3, C3).

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, delete, edit, ticket, tickets};

const DAY_US: i64 = 86_400_000_000;

async fn hub(tail_bytes: usize, page_rows: usize) -> Hub {
    let hub = Hub::with(|settings| {
        settings.feed.tail_bytes = tail_bytes;
        settings.catch_up.page_rows = page_rows;
        settings.retention.rows = 50;
    });
    hub.start().await
}

fn bob() -> Hello {
    Hello::of("bob", "b").to(&["ticket"])
}

async fn alice(hub: &Hub) -> Peer {
    Peer::live(hub, &Hello::of("alice", "a")).await.0
}

/// Lets 31 days pass and purges: all that was written before is past its time.
async fn purge_all(hub: &Hub) {
    hub.clock.advance(31 * DAY_US);
    hub.node.purge().await.unwrap();
}

fn expired(hub: &Hub) -> u64 {
    hub.metric("synchub_catch_ups_total{cause=\"expired\"}")
}

/// What stands, as a device that begins now is sent it.
async fn standing(hub: &Hub) -> Copy {
    let mut copy = Copy::default();
    copy.take(&Peer::live(hub, &Hello::of("carol", "c").to(&["ticket"])).await.1);
    copy
}

fn firsts(frames: &[Value]) -> usize {
    frames.iter().filter(|frame| frame["type"] == "snapshot" && frame["first"] == true).count()
}

/// More than sockets hold: the hub cannot send it all to somebody who does not read.
async fn fill(alice: &mut Peer) -> Vec<Uuid> {
    let mut ids = Vec::new();
    for _ in 0..15 {
        let new: Vec<_> = (0..100).map(|_| Uuid::now_v7()).collect();
        let data = json!({"subject": "x".repeat(6000), "status": "NEW"});
        alice.commit(new.iter().map(|id| edit("ticket", *id, 0, &data)).collect()).await;
        ids.extend(new);
    }
    ids
}

#[tokio::test]
async fn d3_c3_a_cursor_at_the_horizon_is_good_and_one_below_is_not() {
    let hub = hub(4 << 20, 500).await;
    let mut alice = alice(&hub).await;
    let (held, ids) = tickets(3);
    alice.commit(held).await;
    let (peer, frames) = Peer::live(&hub, &bob()).await;
    peer.close().await;
    let mut copy = Copy::default();
    copy.take(&frames);
    hub.clock.advance(20 * DAY_US);
    alice.commit(json!([delete("ticket", ids[0], 1)])).await;

    hub.clock.advance(11 * DAY_US);
    let removed = hub.node.purge().await.unwrap();
    assert_eq!((removed.log, removed.tombstones), (3, 0), "the horizon is where the cursor stands");
    let hello = bob().with(json!({"cursor": copy.cursor}));
    let (mut peer, welcome) = Peer::hello(&hub, &hello).await;
    assert_eq!(welcome["fresh"], json!([]));
    let mut replayed = copy.clone();
    replayed.take(&peer.until("caught_up").await);
    assert_eq!(replayed.records.len(), 2);
    peer.close().await;

    hub.clock.advance(20 * DAY_US);
    let removed = hub.node.purge().await.unwrap();
    assert_eq!((removed.log, removed.tombstones), (1, 1));
    let (mut peer, welcome) = Peer::hello(&hub, &hello).await;
    assert_eq!(welcome["fresh"], json!([{"domain": "ticket", "reason": "cursor_expired"}]));
    let frames = peer.until("caught_up").await;
    let deleted = ids[0].to_string();
    assert!(!frames.iter().any(|frame| frame.to_string().contains(&deleted)), "v4: nobody knows it any more");
    copy.take(&frames);
    assert_eq!(copy.records, replayed.records, "and nobody keeps it");
    assert_eq!(expired(&hub), 0, "hello knew it");
}

async fn d3_a_session_slower_than_the_horizon_starts_over(tail_bytes: usize) {
    let hub = hub(tail_bytes, 100).await;
    let mut alice = alice(&hub).await;
    let known = Uuid::now_v7();
    alice.commit(json!([ticket(known, "known")])).await;
    let (peer, frames) = Peer::live(&hub, &bob()).await;
    peer.close().await;
    let mut copy = Copy::default();
    copy.take(&frames);
    let ids = fill(&mut alice).await;

    let mut peer = Peer::open_narrow(&hub, Encoding::Json).await;
    let welcome = peer.greet(&hub, &bob().with(json!({"cursor": copy.cursor}))).await;
    assert_eq!(welcome["fresh"], json!([]));
    // It reads nothing while these are deleted and forgotten: one that it held, two that it may have been sent.
    for id in [known, ids[0], ids[1400]] {
        alice.commit(json!([delete("ticket", id, 1)])).await;
    }
    purge_all(&hub).await;
    let seq = alice.commit(json!([ticket(Uuid::now_v7(), "after")])).await;
    let frames = peer.until("caught_up").await;
    copy.take(&frames);
    copy.follow(&mut peer, seq).await;
    assert_eq!((firsts(&frames), expired(&hub)), (1, 1), "a snapshot, as after a hello without a cursor");
    assert_eq!(copy.records, standing(&hub).await.records);
    assert_eq!(copy.records.len(), 1499);
}

#[tokio::test]
async fn d3_a_session_slower_than_the_horizon_starts_over_from_the_log() {
    d3_a_session_slower_than_the_horizon_starts_over(0).await;
}

/// Memory still holds the rows: that must not hide that they are gone.
#[tokio::test]
async fn d3_a_session_slower_than_the_horizon_starts_over_from_the_tail() {
    d3_a_session_slower_than_the_horizon_starts_over(256 << 20).await;
}

#[tokio::test]
async fn d3_c4_a_snapshot_whose_beginning_fell_below_the_horizon_begins_anew_and_ends() {
    let hub = hub(4 << 20, 100).await;
    let mut alice = alice(&hub).await;
    let ids = fill(&mut alice).await;
    let mut peer = Peer::open_narrow(&hub, Encoding::Json).await;
    peer.greet(&hub, &bob()).await;
    let mut copy = Copy::default();
    copy.take(&[peer.next().await]);
    let broken_off = bob().with(json!({"cursor": copy.cursor}));
    let sent: Vec<_> = ids.iter().copied().filter(|id| copy.version("ticket", *id).is_some()).collect();
    alice.commit(json!([delete("ticket", sent[0], 1), delete("ticket", ids[1400], 1)])).await;
    purge_all(&hub).await;
    let seq = alice.commit(json!([ticket(Uuid::now_v7(), "after")])).await;

    let frames = peer.until("caught_up").await;
    copy.take(&frames);
    copy.follow(&mut peer, seq).await;
    assert_eq!((firsts(&frames), expired(&hub)), (1, 1), "once more, and then never again");
    let ended = frames.iter().filter(|frame| frame["last"] == true).count();
    assert_eq!(ended, 1, "what was begun in vain is not gone on with");
    assert_eq!(copy.records, standing(&hub).await.records);
    assert_eq!(copy.version("ticket", sent[0]), None, "its delete is forgotten, but nobody holds it");

    // One that broke off there does not go on either.
    let (mut peer, welcome) = Peer::hello(&hub, &broken_off).await;
    assert_eq!(welcome["fresh"], json!([{"domain": "ticket", "reason": "cursor_expired"}]));
    assert_eq!(peer.find("snapshot").await["first"], true);
}

/// The row that says where a record stood is gone: it may have been in view, and a `remove` does no harm.
#[tokio::test]
async fn d3_c5_what_the_log_no_longer_says_is_in_doubt() {
    for purged in [false, true] {
        let hub = hub(0, 500).await;
        let mut alice = alice(&hub).await;
        let (old, new) = (Uuid::now_v7(), Uuid::now_v7());
        alice.commit(json!([ticket(old, "smoke")])).await;
        let filter = json!({"subscriptions": [{"domain": "ticket", "filter": {"subject": "fire"}}]});
        let bob = Hello::of("bob", "b").with(filter);
        let (peer, _) = Peer::live(&hub, &bob).await;
        let cursor = peer.cursor.clone();
        peer.close().await;
        hub.clock.advance(20 * DAY_US);
        alice.commit(json!([edit("ticket", old, 1, &json!({"group": "a"})), ticket(new, "smoke")])).await;
        alice.commit(json!([edit("ticket", new, 1, &json!({"group": "a"}))])).await;
        hub.clock.advance(11 * DAY_US);
        if purged {
            assert_eq!(hub.node.purge().await.unwrap().log, 1);
        }
        let (mut peer, welcome) = Peer::hello(&hub, &bob.with(json!({"cursor": cursor}))).await;
        assert_eq!(welcome["fresh"], json!([]));
        let mut frames = peer.until("caught_up").await;
        frames.pop();
        let said: Vec<_> = frames.iter().map(|frame| (&frame["operation"], &frame["mobile_id"])).collect();
        let remove = (&json!("remove"), &json!(old));
        assert_eq!(said, if purged { vec![remove] } else { Vec::new() });
    }
}

#[tokio::test]
async fn d3_a_live_session_is_not_hurt_by_a_purge() {
    for tail_bytes in [0, 4 << 20] {
        let hub = hub(tail_bytes, 500).await;
        let mut alice = alice(&hub).await;
        let (mut peer, _) = Peer::live(&hub, &bob()).await;
        let (entries, ids) = tickets(3);
        let seq = alice.commit(entries).await;
        let mut copy = Copy::default();
        copy.follow(&mut peer, seq).await;
        // Of these nothing is for Bob: his place is moved only when he is told.
        alice.commit(json!([edit("journal", Uuid::now_v7(), 0, &json!({"content": "rain"}))])).await;
        purge_all(&hub).await;
        assert!(peer.quiet().await.iter().all(|frame| frame["type"] == "position"));

        let seq = alice.commit(json!([edit("ticket", ids[0], 1, &json!({"subject": "smoke"}))])).await;
        copy.follow(&mut peer, seq).await;
        assert_eq!((copy.records.len(), copy.version("ticket", ids[0])), (3, Some(2)));
        alice.commit(json!([edit("journal", Uuid::now_v7(), 0, &json!({"content": "rain"}))])).await;
        purge_all(&hub).await;
        let request = json!({"type": "subscribe", "subscriptions": [{"domain": "journal"}]});
        peer.request(request).await;
        let subscribed = peer.find("subscribed").await;
        assert_eq!(subscribed["fresh"], json!([{"domain": "journal", "reason": "new"}]));
        let frames = peer.until("caught_up").await;
        assert!(frames.iter().all(|frame| frame["domain"] != "ticket"), "{frames:?}");
        assert_eq!(expired(&hub), 0);
    }
}

#[tokio::test]
async fn d3_the_horizon_and_what_was_purged_outlive_the_hub() {
    let hub = hub(4 << 20, 500).await;
    let mut alice = alice(&hub).await;
    let (entries, ids) = tickets(3);
    alice.commit(entries).await;
    let (peer, frames) = Peer::live(&hub, &bob()).await;
    peer.close().await;
    let mut copy = Copy::default();
    copy.take(&frames);
    // The last record of all: its number is free once its tombstone is gone and the hub starts anew.
    alice.commit(json!([delete("ticket", ids[2], 1)])).await;
    purge_all(&hub).await;
    let now_us = hub.clock.advance(0);
    let hub = hub.restart().await;
    hub.clock.set(now_us);
    let mut alice = self::alice(&hub).await;
    let new = Uuid::now_v7();
    alice.commit(json!([ticket(new, "new")])).await;
    let (mut peer, welcome) = Peer::hello(&hub, &bob().with(json!({"cursor": copy.cursor}))).await;
    assert_eq!(welcome["fresh"][0]["reason"], "cursor_expired");
    copy.take(&peer.until("caught_up").await);
    assert_eq!(
        [ids[0], ids[1], ids[2], new].map(|id| copy.version("ticket", id)),
        [Some(1), Some(1), None, Some(3)]
    );
    let again = alice.sync(json!([ticket(ids[2], "anew")])).await;
    assert_eq!((&again[0]["status"], &again[0]["server_version"]), (&json!("created"), &json!(3)));
}
