//! The first things that everybody does.

use serde_json::json;
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer};

#[tokio::test]
async fn a_change_reaches_everybody_in_both_encodings_and_its_sender() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    let (mut bob, _) =
        Peer::hello_in(&hub, &Hello::of("bob", "b").to(&["ticket"]), Encoding::MessagePack).await;
    bob.until("caught_up").await;
    let id = Uuid::now_v7();
    let entry = json!({"domain": "ticket", "mobile_id": id, "version": 0, "data": {"subject": "fire", "status": "NEW"}});
    let batch = json!({"type": "sync", "id": 7, "batch_id": Uuid::now_v7(), "entries": [entry]});
    alice.send(&batch).await;
    let frames = alice.until("position").await;
    let kinds: Vec<_> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"sync_result") && kinds.contains(&"data_update"), "c7: {kinds:?}");
    let update = bob.find("data_update").await;
    assert_eq!((&update["mobile_id"], &update["version"]), (&json!(id), &json!(1)));
    assert_eq!(update["data"], json!({"subject": "fire", "status": "NEW"}));
    hub.stop().await;
}
