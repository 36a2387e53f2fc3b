//! Holes by which a device keeps what it may no longer see, or sees what it never may.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, delete, edit, journal, ticket, tickets};

/// Bob's device, which looks at new tickets only.
fn bob() -> Hello {
    Hello::of("bob", "b").with(json!({"subscriptions": [{"domain": "ticket", "filter": {"status": "NEW"}}]}))
}

/// Comes back with the copy's cursor and takes everything up to `caught_up`.
async fn come_back(hub: &Hub, hello: &Hello, copy: &mut Copy) -> (Peer, Vec<Value>) {
    let (mut peer, welcome) = Peer::hello(hub, &hello.clone().with(json!({"cursor": copy.cursor}))).await;
    copy.take(&[welcome]);
    let frames = peer.until("caught_up").await;
    copy.take(&frames);
    (peer, frames)
}

fn operations(frames: &[Value], id: Uuid) -> Vec<&str> {
    let of = frames.iter().filter(|frame| frame["mobile_id"] == id.to_string());
    of.map(|frame| frame["operation"].as_str().unwrap()).collect()
}

fn to(status: &str) -> Value {
    json!({"status": status})
}

#[tokio::test]
async fn v4_a_record_that_left_the_view_while_the_device_was_away() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (entries, ids) = tickets(2);
    alice.commit(entries).await;
    let mut copy = Copy::default();
    let (peer, _) = come_back(&hub, &bob(), &mut copy).await;
    peer.cut();
    alice.commit(json!([edit("ticket", ids[0], 1, &to("OPEN"))])).await;
    let (_, frames) = come_back(&hub, &bob(), &mut copy).await;
    assert_eq!(operations(&frames, ids[0]), ["remove"], "{frames:?}");
    assert_eq!((copy.version("ticket", ids[0]), copy.version("ticket", ids[1])), (None, Some(1)));
}

#[tokio::test]
async fn v4_c4_a_record_that_left_the_view_in_mid_snapshot() {
    let hub = Hub::with(|settings| settings.catch_up.page_rows = 2).start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (entries, ids) = tickets(6);
    alice.commit(entries).await;
    let mut copy = Copy::default();
    let (mut peer, welcome) = Peer::hello(&hub, &bob()).await;
    copy.take(&[welcome, peer.next().await]);
    peer.cut();
    let sent = *ids.iter().find(|id| copy.version("ticket", **id).is_some()).unwrap();
    let unsent = *ids.iter().rfind(|id| copy.version("ticket", **id).is_none()).unwrap();
    alice.commit(json!([edit("ticket", sent, 1, &to("OPEN")), edit("ticket", unsent, 1, &to("OPEN"))])).await;
    let (_, frames) = come_back(&hub, &bob(), &mut copy).await;
    assert_eq!((copy.version("ticket", sent), copy.version("ticket", unsent)), (None, None), "{frames:?}");
    assert_eq!(copy.records.len(), 4);
}

/// Several rows of one record stand in one page: only the first is said, and the record left the view in
/// one that is skipped.
#[tokio::test]
async fn v4_c5_a_record_that_left_the_view_in_a_skipped_row() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let (entries, ids) = tickets(3);
    alice.commit(entries).await;
    let mut copy = Copy::default();
    let (peer, _) = come_back(&hub, &bob(), &mut copy).await;
    peer.cut();
    let [left, deleted, back] = [ids[0], ids[1], ids[2]];
    for id in [left, deleted, back] {
        alice.commit(json!([edit("ticket", id, 1, &json!({"group": "north"}))])).await;
        alice.commit(json!([edit("ticket", id, 2, &to("OPEN"))])).await;
    }
    alice.commit(json!([edit("ticket", left, 3, &json!({"group": "south"}))])).await;
    alice.commit(json!([delete("ticket", deleted, 3)])).await;
    // Made, seen by nobody, and out of the view again within the page.
    let unseen = Uuid::now_v7();
    alice.commit(json!([ticket(unseen, "smoke")])).await;
    alice.commit(json!([edit("ticket", unseen, 1, &to("OPEN"))])).await;
    let (_, frames) = come_back(&hub, &bob(), &mut copy).await;
    assert_eq!(copy.records.len(), 0, "{frames:?}");
    assert_eq!(operations(&frames, left), ["remove"], "{frames:?}");
    assert!(operations(&frames, unseen).iter().all(|operation| *operation == "remove"), "{frames:?}");
}

#[tokio::test]
async fn v2_v3_another_users_journal() {
    let hub = Hub::start().await;
    let of = |user: &str, device: &str| Hello::of(user, device).unit("north").to(&["journal", "ticket"]);
    let (mut alice, _) = Peer::live(&hub, &of("alice", "a")).await;
    let (mut bob, _) = Peer::live(&hub, &of("bob", "b")).await;
    let cursor = bob.cursor.clone();
    let secret = Uuid::now_v7();
    let seq =
        alice.commit(json!([journal(secret, "nobody's business"), ticket(Uuid::now_v7(), "fire")])).await;
    let mut heard = vec![bob.find("data_update").await, bob.find("position").await];
    assert!(heard[1]["seq"].as_u64().unwrap() <= seq);
    for (version, what) in [(0, "its id is taken"), (1, "it stands"), (7, "from the future")] {
        let results = bob.sync(json!([edit("journal", secret, version, &json!({"content": "mine"}))])).await;
        assert_eq!(results[0]["error"]["code"], "not_found", "{what}: {results:?}");
        heard.extend(results);
    }
    let results = bob.sync(json!([delete("journal", secret, 1)])).await;
    assert_eq!(results[0]["error"]["code"], "not_found");
    heard.extend(bob.quiet().await);
    bob.cut();
    for hello in [of("bob", "b").with(json!({"cursor": cursor})), of("bob", "new")] {
        heard.extend(Peer::live(&hub, &hello).await.1);
    }
    let text = Value::from(heard).to_string();
    assert!(!text.contains("business") && text.contains("fire"), "{text}");
    let (_, frames) = Peer::live(&hub, &of("alice", "other")).await;
    assert!(Value::from(frames).to_string().contains("nobody's business"));
}

/// What a device does itself reaches its own copy by the same rules: live, and after it was away.
#[tokio::test]
async fn v4_c7_own_deletes_and_own_changes_that_leave_the_own_filter() {
    let hub = Hub::start().await;
    let mut copy = Copy::default();
    let (mut peer, _) = come_back(&hub, &bob(), &mut copy).await;
    for stays in [true, false] {
        let (entries, ids) = tickets(3);
        let seq = peer.commit(entries).await;
        copy.follow(&mut peer, seq).await;
        assert_eq!(copy.records.len(), 3);
        let changes = json!([delete("ticket", ids[0], 1), edit("ticket", ids[1], 1, &to("OPEN"))]);
        let seq = peer.commit(changes).await;
        if stays {
            copy.follow(&mut peer, seq).await;
        } else {
            peer.cut();
            (peer, _) = come_back(&hub, &bob(), &mut copy).await;
        }
        let held: Vec<_> = ids.iter().map(|id| copy.version("ticket", *id)).collect();
        assert_eq!(held, [None, None, Some(1)], "stays: {stays}");
        let seq = peer.commit(json!([delete("ticket", ids[2], 1)])).await;
        copy.follow(&mut peer, seq).await;
        assert_eq!(copy.records.len(), 0);
    }
}
