//! A commit whose rows are too large to be handed on: everybody reads the log instead, as after any gap.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer};

fn delta(id: Uuid, data: &Value) -> Value {
    json!({"domain": "ticket", "mobile_id": id, "version": 1, "delta": true, "data": data})
}

#[tokio::test]
async fn c8_many_small_edits_of_a_huge_record_reach_everybody_as_it_stands_at_last() {
    let hub = Hub::start().await;
    let hello = |user| Hello::of(user, "d").to(&["ticket"]);
    let (mut alice, _) = Peer::live(&hub, &hello("alice")).await;
    let (mut bob, frames) = Peer::live(&hub, &hello("bob")).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    let id = Uuid::now_v7();
    let create = json!({"domain": "ticket", "mobile_id": id, "version": 0, "data": {"subject": "s"}});
    alice.commit(json!([create])).await;
    for field in ["a", "b", "c", "d"] {
        alice.commit(json!([delta(id, &json!({field: "x".repeat(50_000)}))])).await;
    }
    let edits: Vec<_> = (0..200).map(|n| delta(id, &json!({"reopens": n}))).collect();
    let seq = alice.commit(json!(edits)).await;
    assert_eq!(seq, 205);
    let mut brought = 0;
    while copy.seq < seq {
        let frame = bob.next().await;
        brought += usize::from(frame["type"] == "data_update");
        copy.take(&[frame]);
    }
    let (version, data) = copy.records.values().next().unwrap();
    assert_eq!((*version, &data["reopens"], data["d"].as_str().unwrap().len()), (205, &json!(199), 50_000));
    assert!(brought < 20, "the record once a page, not once an edit: {brought}");
    alice.until("position").await;
    assert_eq!(alice.commit(json!([delta(id, &json!({"reopens": 7}))])).await, 206);
    assert_eq!(bob.find("data_update").await["version"], 206, "and the feed goes on");
    hub.stop().await;
}
