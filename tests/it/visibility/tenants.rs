//! Two tenants with the same names and ids in everything never meet (invariant 9).

use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{DOMAINS, hub};
use crate::support::{Hello, Hub, Peer};

async fn come(hub: &Hub, tenant: &str, install: Uuid, cursor: Option<&str>) -> (Peer, Value, Vec<Value>) {
    let hello = Hello { tenant: tenant.into(), ..Hello::of("alice", "a1") }.unit("north");
    let hello = hello.to(&DOMAINS);
    let hello = hello.with(json!({"cursor": cursor, "device": {"install_id": install}}));
    let (mut peer, welcome) = Peer::hello(hub, &hello).await;
    let frames = peer.until("caught_up").await;
    (peer, welcome, frames)
}

#[tokio::test]
async fn inv9_two_tenants_with_the_same_ids_never_meet() {
    let hub = hub(|_| {}).await;
    let install = Uuid::now_v7();
    let (mut acme, ..) = come(&hub, "acme", install, None).await;
    let (mut umbrella, welcome, _) = come(&hub, "umbrella", install, None).await;
    assert_eq!(welcome["last_client_seq"], 0);
    let looker = |tenant: &str| Hello { tenant: tenant.into(), ..Hello::of("alice", "a2") }.unit("north");
    let (theirs, _) = Peer::live(&hub, &looker("acme").to(&DOMAINS)).await;
    let (ours, _) = Peer::live(&hub, &looker("umbrella").to(&DOMAINS)).await;
    let ids: Vec<_> = (0..3).map(|_| Uuid::now_v7()).collect();
    let batch_id = Uuid::now_v7();
    let batch = |of: &str| {
        let of = json!({"state": "open", "of": of});
        let entries = ["hall", "desk", "diary"]
            .iter()
            .zip(&ids)
            .map(|(domain, id)| json!({"domain": domain, "mobile_id": id, "version": 0, "data": of}));
        json!({"type": "sync", "batch_id": batch_id, "first_client_seq": 1, "entries": entries.collect::<Vec<_>>()})
    };
    for (peer, name) in [(&mut acme, "acme"), (&mut umbrella, "umbrella")] {
        let answer = peer.ask(batch(name)).await;
        assert_eq!(answer["repeated"], false, "the same batch_id, another tenant: {answer}");
        let statuses = answer["results"].as_array().unwrap().iter().map(|result| result["status"].clone());
        assert_eq!(statuses.collect::<Vec<_>>(), ["created", "created", "created"], "{name}");
    }
    // Edits, a delete: the other's record of the same id stays.
    let edits = json!([
        {"domain": "hall", "mobile_id": ids[0], "version": 1, "data": {"of": "acme, edited"}},
        {"domain": "desk", "mobile_id": ids[1], "version": 1, "operation": "delete", "data": {}},
    ]);
    acme.sync(edits).await;
    let mark =
        json!([{"domain": "hall", "mobile_id": Uuid::now_v7(), "version": 0, "data": {"of": "umbrella"}}]);
    umbrella.sync(mark).await;
    for (mut watcher, name, most) in [(theirs, "acme", 5), (ours, "umbrella", 4)] {
        let mut came = Vec::new();
        while came.len() < most {
            came.push(watcher.find("data_update").await);
        }
        came.extend(watcher.quiet().await.into_iter().filter(|frame| frame["type"] == "data_update"));
        assert_eq!(came.len(), most, "{name}: {came:?}");
        let data = came.iter().filter_map(|update| update.get("data"));
        assert!(data.clone().count() >= most - 1, "{name}: {came:?}");
        assert!(data.clone().all(|data| data["of"].as_str().unwrap().starts_with(name)), "{name}: {came:?}");
    }

    let cursor = acme.cursor.clone().unwrap();
    let (_, welcome, frames) = come(&hub, "umbrella", install, Some(&cursor)).await;
    assert_eq!(welcome["last_client_seq"], 3);
    let reasons: Vec<_> = welcome["fresh"].as_array().unwrap().iter().map(|fresh| &fresh["reason"]).collect();
    assert_eq!(reasons, ["cursor_invalid"; 3], "a cursor of another tenant is worth nothing");
    let records: Vec<_> =
        frames.iter().filter_map(|frame| frame["records"].as_array()).flatten().cloned().collect();
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record["data"]["of"] == "umbrella" && record["version"] == 1));
    hub.stop().await;
}
