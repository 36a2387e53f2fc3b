//! A definition whose feed or visibility is changed, and changed back, while devices are away.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, delete, edit};

const PARCEL: &str = "name = \"parcel\"\nstrategy = \"client_wins\"\nvisibility = \"unit\"\n";

/// Restarts the hub with another definition.
async fn redefine(hub: Hub, text: &str) -> Hub {
    let file = hub.database().with_file_name("domains").join("parcel.toml");
    std::fs::write(file, text).unwrap();
    hub.restart().await
}

/// Comes with a copy, takes all up to `caught_up` into it, and says what was fresh.
async fn come(hub: &Hub, user: &str, copy: &mut Copy) -> (Peer, Value) {
    let hello = Hello::of(user, "d").unit("north").to(&["parcel"]);
    let (mut peer, welcome) = Peer::hello(hub, &hello.with(json!({"cursor": copy.cursor}))).await;
    copy.take(&peer.until("caught_up").await);
    (peer, welcome["fresh"].clone())
}

fn parcel(id: Uuid, version: u64, text: &str) -> Value {
    edit("parcel", id, version, &json!({"text": text}))
}

fn held(copy: &Copy) -> Vec<&str> {
    copy.records.values().map(|(_, data)| data["text"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn v4_a_record_of_a_time_without_a_feed_is_deleted_for_who_was_given_it() {
    let quiet = format!("{PARCEL}feed = false\n");
    let hub = Hub::with(|_| {}).definition("parcel.toml", &quiet).start().await;
    let hello = Hello::of("alice", "a").unit("north");
    let (mut alice, _) = Peer::live(&hub, &hello).await;
    let (kept, gone) = (Uuid::now_v7(), Uuid::now_v7());
    alice.sync(json!([parcel(kept, 0, "kept"), parcel(gone, 0, "gone")])).await;
    let hub = redefine(hub, PARCEL).await;
    let mut copy = Copy::default();
    let (bob, _) = come(&hub, "bob", &mut copy).await;
    assert_eq!(held(&copy).len(), 2, "what was stored meanwhile is there");
    bob.close().await;
    let (mut alice, _) = Peer::live(&hub, &hello).await;
    alice.sync(json!([delete("parcel", gone, 1), parcel(kept, 1, "edited")])).await;
    // Again from the store: after a restart nothing of the log is in memory.
    let hub = hub.restart().await;
    let (_bob, fresh) = come(&hub, "bob", &mut copy).await;
    assert_eq!((held(&copy), fresh), (vec!["edited"], json!([])));
    hub.stop().await;
}

#[tokio::test]
async fn c1_a_feed_that_was_off_for_a_while_makes_the_domain_fresh() {
    let hub = Hub::with(|_| {}).definition("parcel.toml", PARCEL).start().await;
    let mut copy = Copy::default();
    let (mut bob, _) = come(&hub, "bob", &mut copy).await;
    let id = Uuid::now_v7();
    bob.commit(json!([parcel(id, 0, "before")])).await;
    copy.take(&bob.until("position").await);
    bob.close().await;
    let hub = redefine(hub, &format!("{PARCEL}feed = false\n")).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").unit("north")).await;
    assert_eq!(alice.sync(json!([parcel(id, 1, "meanwhile")])).await[0]["status"], "updated");
    let hub = redefine(hub, PARCEL).await;
    let (_bob, fresh) = come(&hub, "bob", &mut copy).await;
    assert_eq!(fresh, json!([{"domain": "parcel", "reason": "changed"}]));
    assert_eq!(held(&copy), ["meanwhile"]);
    hub.stop().await;
}

#[tokio::test]
async fn c1_v2_a_visibility_that_was_another_for_a_while_makes_the_domain_fresh() {
    let hub = Hub::with(|_| {}).definition("parcel.toml", PARCEL).start().await;
    let mut copy = Copy::default();
    let (bob, _) = come(&hub, "bob", &mut copy).await;
    bob.close().await;
    let hub = redefine(hub, &PARCEL.replace("unit", "owner")).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").unit("north")).await;
    alice.sync(json!([parcel(Uuid::now_v7(), 0, "mine")])).await;
    let hub = redefine(hub, PARCEL).await;
    let (bob, fresh) = come(&hub, "bob", &mut copy).await;
    assert_eq!(fresh, json!([{"domain": "parcel", "reason": "changed"}]));
    assert_eq!(held(&copy), ["mine"], "it is the unit's now, and its row is not");
    bob.close().await;
    let hub = redefine(hub, &PARCEL.replace("client_wins", "server_wins")).await;
    let (_bob, fresh) = come(&hub, "bob", &mut copy).await;
    assert_eq!(fresh, json!([]), "what decides nothing about who sees it");
    hub.stop().await;
}
