//! The built-in domains over the socket: what each promises beyond what all do.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, delete, edit};

async fn one(peer: &mut Peer, entry: Value) -> Value {
    peer.sync(json!([entry])).await.remove(0)
}

/// What came of a domain: the data of its changes.
fn updates(frames: &[Value]) -> Vec<&Value> {
    frames.iter().filter(|frame| frame["type"] == "data_update").map(|frame| &frame["data"]).collect()
}

#[tokio::test]
async fn do2_a_work_order_goes_its_way_and_its_unit_sees_it() {
    let hub = Hub::start().await;
    let of = |user: &str, unit: &str| Hello::of(user, "d").unit(unit).to(&["work_order"]);
    let (mut alice, _) = Peer::live(&hub, &of("alice", "north")).await;
    let (mut bob, _) = Peer::live(&hub, &of("bob", "north")).await;
    let (mut carol, _) = Peer::live(&hub, &of("carol", "south")).await;
    let id = Uuid::now_v7();
    let put = |version: u64, data: Value| edit("work_order", id, version, &data);
    let refused = one(&mut alice, put(0, json!({"status": "draft"}))).await;
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["field"]),
        (&json!("validation_failed"), &json!("description"))
    );
    let order =
        json!({"description": "Mend the roof", "status": "draft", "scheduled_start": "2026-01-01T08:00:00Z"});
    assert_eq!(one(&mut alice, put(0, order.clone())).await["status"], "created");
    assert_eq!(bob.find("data_update").await["data"], order);
    let way = ["in_progress", "paused", "in_progress", "completed"];
    for (version, status) in (1..).zip(way) {
        let result = one(&mut alice, put(version, json!({"status": status}))).await;
        assert_eq!((&result["status"], &result["server_version"]), (&json!("updated"), &json!(version + 1)));
        assert_eq!(bob.find("data_update").await["data"]["status"], status);
    }
    let back = one(&mut bob, put(5, json!({"status": "draft"}))).await;
    assert_eq!(
        (&back["error"]["code"], &back["error"]["field"]),
        (&json!("invalid_transition"), &json!("status"))
    );
    let (first, second) =
        (json!({"actual_start": "2026-01-01T08:10:00Z"}), json!({"actual_end": "2026-01-01T10:00:00Z"}));
    assert_eq!(one(&mut bob, put(5, first)).await["status"], "updated");
    assert_eq!(one(&mut alice, put(5, second)).await["status"], "merged", "of different fields both stay");
    assert_eq!(one(&mut alice, put(7, json!({"status": "closed"}))).await["status"], "updated");
    for status in ["completed", "cancelled"] {
        assert_eq!(
            one(&mut alice, put(8, json!({"status": status}))).await["error"]["code"],
            "invalid_transition"
        );
    }
    assert!(updates(&carol.quiet().await).is_empty(), "another unit sees nothing of it");
    hub.stop().await;
}

#[tokio::test]
async fn do6_e9_a_voice_verification_is_made_once_and_stays_with_its_owner() {
    let hub = Hub::start().await;
    let of = |user: &str, device: &str| Hello::of(user, device).unit("north").to(&["voice"]);
    let (mut phone, _) = Peer::live(&hub, &of("alice", "phone")).await;
    let (mut tablet, _) = Peer::live(&hub, &of("alice", "tablet")).await;
    let (mut bob, _) = Peer::live(&hub, &of("bob", "phone")).await;
    let id = Uuid::now_v7();
    let put = |data: &Value| edit("voice", id, 0, data);
    for (data, field) in [
        (json!({"confidence_score": 1.2}), "confidence_score"),
        (json!({"confidence_score": -0.1}), "confidence_score"),
        (json!({"verified": "yes"}), "verified"),
        (json!({"timestamp": 7}), "timestamp"),
    ] {
        let error = &one(&mut phone, put(&data)).await["error"];
        assert_eq!((&error["code"], &error["field"]), (&json!("validation_failed"), &json!(field)));
    }
    let heard = json!({"timestamp": "2026-01-01T08:00:00Z", "verified": true, "confidence_score": 0.93});
    assert_eq!(one(&mut phone, put(&heard)).await["status"], "created");
    assert_eq!(tablet.find("data_update").await["data"], heard);
    let again = json!({"timestamp": "2026-01-01T08:00:00Z", "verified": false, "confidence_score": 0.1});
    for entry in [put(&again), edit("voice", id, 1, &again)] {
        let result = one(&mut tablet, entry).await;
        assert_eq!((&result["status"], &result["server_version"]), (&json!("duplicate"), &json!(1)));
    }
    assert_eq!(one(&mut phone, delete("voice", id, 1)).await["error"]["code"], "forbidden");
    assert_eq!(
        one(&mut bob, put(&again)).await["error"]["code"],
        "not_found",
        "v3: whose it is, is not said"
    );
    assert!(updates(&tablet.quiet().await).is_empty(), "nothing changed");
    assert!(updates(&bob.quiet().await).is_empty());
    let (_laptop, frames) = Peer::live(&hub, &of("alice", "laptop")).await;
    let records: Vec<_> = frames.iter().filter_map(|frame| frame["records"].as_array()).flatten().collect();
    assert_eq!((records.len(), &records[0]["data"]), (1, &heard), "the first content stays");
    hub.stop().await;
}
