//! What saves bytes and time on lines that have little of them: deltas, and urgent changes first.

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, delete, edit, ticket};

fn delta_hello(user: &str) -> Hello {
    Hello::of(user, "d").to(&["ticket"]).with(json!({"features": ["delta", "telepathy"]}))
}

fn updates(frames: &[Value]) -> Vec<Value> {
    frames.iter().filter(|frame| frame["type"] == "data_update").cloned().collect()
}

/// An edit of some fields.
fn patch(id: Uuid, version: u64, data: &Value) -> Value {
    let mut entry = edit("ticket", id, version, data);
    entry["delta"] = json!(true);
    entry
}

#[tokio::test]
async fn bw2_who_offers_deltas_is_sent_what_changed_and_others_the_whole() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "d")).await;
    let (mut bob, welcome) = Peer::hello_in(&hub, &delta_hello("bob"), Encoding::MessagePack).await;
    assert_eq!(welcome["features"], json!(["delta"]), "what both know");
    bob.until("caught_up").await;
    let (mut carol, welcome) = Peer::hello(&hub, &Hello::of("carol", "d").to(&["ticket"])).await;
    assert_eq!(welcome["features"], json!([]));
    carol.until("caught_up").await;

    let id = Uuid::now_v7();
    alice.commit(json!([ticket(id, "fire")])).await;
    alice.commit(json!([patch(id, 1, &json!({"place": "roof"}))])).await;
    alice.commit(json!([patch(id, 2, &json!({"place": null}))])).await;
    let (frames, whole) = (updates(&bob.quiet().await), updates(&carol.quiet().await));
    assert!(
        frames[0]["base_version"].is_null() && frames[0]["data"]["subject"] == "fire",
        "the first is whole"
    );
    assert_eq!((&frames[1]["base_version"], &frames[1]["data"]), (&json!(1), &json!({"place": "roof"})));
    assert_eq!((&frames[2]["base_version"], &frames[2]["changed"]), (&json!(2), &json!(["place"])));
    assert!(whole.iter().all(|frame| frame["base_version"].is_null() && frame["data"]["subject"] == "fire"));
    let copy_of = |frames: &[Value]| {
        let mut copy = Copy::default();
        copy.take(frames);
        copy.records
    };
    assert_eq!(copy_of(&frames), copy_of(&whole));
    hub.stop().await;
}

#[tokio::test]
async fn bw2_what_comes_into_view_comes_whole() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "d")).await;
    let wish = json!({"subscriptions": [{"domain": "ticket", "filter": {"place": "roof"}}]});
    let (mut bob, frames) = Peer::live(&hub, &delta_hello("bob").with(wish)).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    let id = Uuid::now_v7();
    alice.commit(json!([ticket(id, "fire")])).await;
    for (version, place) in [(1, "roof"), (2, "cellar"), (3, "roof")] {
        alice.commit(json!([patch(id, version, &json!({"place": place}))])).await;
    }
    alice.commit(json!([patch(id, 4, &json!({"subject": "smoke"}))])).await;
    alice.commit(json!([delete("ticket", id, 5)])).await;
    alice.commit(json!([edit("ticket", id, 6, &json!({"subject": "again", "place": "roof"}))])).await;
    let frames = updates(&bob.quiet().await);
    copy.take(&frames);
    let came: Vec<_> =
        frames.iter().map(|frame| (frame["version"].clone(), frame["base_version"].clone())).collect();
    let whole = |version: u64| (json!(version), Value::Null);
    assert_eq!(came, [whole(2), whole(3), whole(4), (json!(5), json!(4)), whole(6), whole(7)]);
    assert_eq!(copy.version("ticket", id), Some(7));
    hub.stop().await;
}

#[tokio::test]
async fn bw2_a_replay_from_memory_brings_single_changes_as_deltas() {
    let hub = Hub::with(|settings| settings.feed.tail_bytes = 1 << 20).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "d")).await;
    let (once, twice) = (Uuid::now_v7(), Uuid::now_v7());
    alice.commit(json!([ticket(once, "fire"), ticket(twice, "flood")])).await;
    let (bob, frames) = Peer::live(&hub, &delta_hello("bob")).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    bob.close().await;
    alice.commit(json!([patch(once, 1, &json!({"status": "OPEN"}))])).await;
    alice.commit(json!([patch(twice, 1, &json!({"status": "OPEN"}))])).await;
    alice.commit(json!([patch(twice, 2, &json!({"place": "roof"}))])).await;
    let cursor = json!({"cursor": copy.cursor});
    let (_bob, frames) = Peer::live(&hub, &delta_hello("bob").with(cursor)).await;
    copy.take(&frames);
    let frames = updates(&frames);
    let bases: Vec<_> = frames.iter().map(|frame| frame["base_version"].clone()).collect();
    assert_eq!(bases, [json!(1), Value::Null], "what changed twice comes as it stands now");
    assert_eq!((copy.version("ticket", once), copy.version("ticket", twice)), (Some(2), Some(3)));
    hub.stop().await;
}

/// Tickets that fill what a narrow socket holds, and more.
fn large(count: usize) -> Vec<(Uuid, Value)> {
    let data = json!({"subject": "x".repeat(6000), "status": "NEW"});
    let ids = (0..count).map(|_| Uuid::now_v7());
    ids.map(|id| (id, edit("ticket", id, 0, &data))).collect()
}

fn entries(tickets: &[(Uuid, Value)]) -> Value {
    tickets.iter().map(|(_, entry)| entry.clone()).collect()
}

/// An urgent edit of a ticket.
fn alarm(id: Uuid) -> Value {
    patch(id, 1, &json!({"priority": "CRITICAL"}))
}

/// How many changes a peer is sent before an urgent one. A cursor comes only after all that it covers (C2): the
/// tickets were made in this order, one at each place.
async fn before_alarm(peer: &mut Peer, copy: &mut Copy, tickets: &[(Uuid, Value)]) -> usize {
    let (mut alarm, mut seen) = (None, 0);
    while seen <= tickets.len() {
        let frame = peer.next().await;
        let place = usize::try_from(frame["seq"].as_u64().unwrap_or(0)).unwrap().min(tickets.len());
        let is_there = |(id, _): &(Uuid, Value)| copy.version("ticket", *id).is_some();
        assert!(tickets[..place].iter().all(is_there), "a cursor before what it covers: {frame}");
        if frame["priority"] == "critical" {
            alarm.get_or_insert(seen);
        }
        seen += usize::from(frame["type"] == "data_update");
        copy.take(&[frame]);
    }
    alarm.expect("the urgent change never came")
}

async fn bw4_urgent_changes_go_first(quality: &str) -> usize {
    let hub = Hub::with(|settings| settings.feed.lane_bytes = 16 << 20).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "d")).await;
    let mut bob = Peer::open_narrow(&hub, Encoding::Json).await;
    let features = json!({"network_quality": quality, "features": ["delta"]});
    bob.greet(&hub, &delta_hello("bob").with(features)).await;
    let mut copy = Copy::default();
    copy.take(&bob.until("caught_up").await);
    let tickets = large(900);
    for part in tickets.chunks(100) {
        alice.commit(entries(part)).await;
    }
    // An edit of a record whose creation still waits: it comes whole, or it could not be applied.
    let seq = alice.commit(json!([alarm(tickets[899].0)])).await;
    let place = before_alarm(&mut bob, &mut copy, &tickets).await;
    copy.follow(&mut bob, seq).await;
    assert_eq!(copy.records.len(), 900);
    assert_eq!(copy.version("ticket", tickets[899].0), Some(2));
    hub.stop().await;
    place
}

#[tokio::test]
async fn bw4_c2_on_a_poor_link_urgent_changes_overtake_what_waits() {
    let place = bw4_urgent_changes_go_first("poor").await;
    assert!(place < 890, "it waited for {place} others");
}

#[tokio::test]
async fn bw4_on_a_good_link_changes_come_in_their_order() {
    assert_eq!(bw4_urgent_changes_go_first("good").await, 900);
}

async fn bw4_replays(tail_bytes: usize) {
    let hub = Hub::with(|settings| settings.feed.tail_bytes = tail_bytes).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "d")).await;
    let hello = delta_hello("bob").with(json!({"network_quality": "poor"}));
    let (bob, frames) = Peer::live(&hub, &hello).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    bob.close().await;
    let ids: Vec<_> = (0..20).map(|_| Uuid::now_v7()).collect();
    let made: Value = ids.iter().map(|id| ticket(*id, "leak")).collect();
    alice.commit(made).await;
    alice.commit(json!([alarm(ids[19])])).await;
    let high = json!({"subject": "smoke", "priority": "HIGH"});
    alice.commit(json!([edit("ticket", Uuid::now_v7(), 0, &high)])).await;
    let (_bob, frames) = Peer::live(&hub, &hello.with(json!({"cursor": copy.cursor}))).await;
    copy.take(&frames);
    let priorities: Vec<_> = updates(&frames).iter().map(|frame| frame["priority"].clone()).collect();
    assert_eq!((priorities.len(), &priorities[0], &priorities[1]), (21, &json!("critical"), &json!("high")));
    assert_eq!(copy.records.len(), 21);
    hub.stop().await;
}

#[tokio::test]
async fn bw4_on_a_poor_link_a_replay_from_memory_begins_with_what_is_urgent() {
    bw4_replays(1 << 20).await;
}

#[tokio::test]
async fn bw4_on_a_poor_link_a_replay_from_the_store_begins_with_what_is_urgent() {
    bw4_replays(0).await;
}
