//! What somebody may see changes with the token, and with it what a cursor is worth (V2, C1, C3).

use serde_json::{Value, json};
use uuid::Uuid;

use super::copy::Copy;
use super::world::{DOMAINS, hub};
use crate::support::{Hello, Hub, Peer};

async fn come(hub: &Hub, unit: Option<&str>, kept: Option<(&str, &mut Copy)>) -> (Peer, Value, Copy) {
    let (cursor, copy) = kept.unzip();
    let mut hello = Hello::of("alice", "a1").to(&DOMAINS).with(json!({"cursor": cursor}));
    hello.unit = unit.map(str::to_owned);
    let (mut peer, welcome) = Peer::hello(hub, &hello).await;
    let mut copy = copy.map(|copy| copy.clone()).unwrap_or_default();
    copy.apply_all(&peer.until("caught_up").await);
    (peer, welcome["fresh"].clone(), copy)
}

#[tokio::test]
async fn v2_c3_a_token_of_another_unit_makes_only_the_domains_fresh_that_go_by_units() {
    let hub = hub(|_| {}).await;
    let mut ids = Vec::new();
    for (user, unit) in [("bob", Some("north")), ("carol", Some("south")), ("dave", None)] {
        let mut hello = Hello::of(user, "x");
        hello.unit = unit.map(str::to_owned);
        let (mut peer, _) = Peer::live(&hub, &hello).await;
        let id = Uuid::now_v7();
        let entries =
            DOMAINS.map(|domain| json!({"domain": domain, "mobile_id": id, "version": 0, "data": {}}));
        peer.sync(json!(entries)).await;
        ids.push(id.to_string());
    }
    let desk = |copy: &Copy| [0, 1, 2].map(|n| copy.get("desk", &ids[n]).is_some());
    let hall = |copy: &Copy| [0, 1, 2].map(|n| copy.get("hall", &ids[n]).is_some());
    let diary = |copy: &Copy| [0, 1, 2].map(|n| copy.get("diary", &ids[n]).is_some());
    let (peer, _, mut copy) = come(&hub, Some("north"), None).await;
    assert_eq!((hall(&copy), desk(&copy), diary(&copy)), ([true; 3], [true, false, true], [false; 3]));
    let mut cursor = peer.cursor.clone().unwrap();
    peer.close().await;
    for (unit, expected) in [
        (Some("south"), [false, true, true]),
        (None, [false, false, true]),
        (Some("north"), [true, false, true]),
    ] {
        let (peer, fresh, now) = come(&hub, unit, Some((&cursor, &mut copy))).await;
        assert_eq!(fresh, json!([{"domain": "desk", "reason": "changed"}]), "{unit:?}");
        assert_eq!((hall(&now), desk(&now), diary(&now)), ([true; 3], expected, [false; 3]), "{unit:?}");
        cursor.clone_from(peer.cursor.as_ref().unwrap());
        copy = now;
        peer.close().await;
    }
    let (_, fresh, _) = come(&hub, Some("north"), Some((&cursor, &mut copy))).await;
    assert_eq!(fresh, json!([]), "the same token again is a replay");
    hub.stop().await;
}
