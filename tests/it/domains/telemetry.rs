//! Domains without a feed over the socket: stored, counted and answered, and nobody is told.

use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, delete, edit, ticket};

/// How many rows the store has: records, log rows.
fn rows(hub: &Hub) -> (u32, u32) {
    let database = Connection::open(hub.database()).unwrap();
    let count =
        |table| database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    (count("record"), count("log"))
}

fn item(domain: &str, id: Uuid, n: u64) -> Value {
    edit(domain, id, 0, &json!({"n": n, "battery": 0.5}))
}

fn batch(id: Uuid, entries: &[Value]) -> Value {
    json!({"type": "sync", "batch_id": id, "entries": entries})
}

fn statuses(answer: &Value) -> Vec<&str> {
    let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}"));
    results.iter().map(|result| result["status"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn do7_telemetry_is_stored_and_neither_logged_nor_sent_nor_subscribed_to() {
    let hub = Hub::start().await;
    let hello = |device| Hello::of("alice", device).unit("north").to(&["ticket", "voice"]);
    let (mut alice, _) = Peer::live(&hub, &hello("a")).await;
    let (mut other, _) = Peer::live(&hub, &hello("b")).await;
    let seq = alice.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    for peer in [&mut alice, &mut other] {
        peer.quiet().await;
    }
    let kinds = ["behavioral", "session", "metrics"];
    let items: Vec<_> = kinds.iter().map(|domain| item(domain, Uuid::now_v7(), 1)).collect();
    let answer = alice.ask(batch(Uuid::now_v7(), &items)).await;
    assert_eq!(statuses(&answer), ["created"; 3]);
    assert_eq!(answer["seq"], seq, "c7: the log's head");
    assert!(answer["results"].as_array().unwrap().iter().all(|result| result["server_version"] == 1));
    assert_eq!(rows(&hub), (4, 1));
    for peer in [&mut alice, &mut other] {
        let frames = peer.quiet().await;
        let tells = |frame: &Value| !["ping", "position"].contains(&frame["type"].as_str().unwrap());
        assert!(!frames.iter().any(tells), "nobody is told: {frames:?}");
    }
    for domain in kinds {
        let wish = json!({"type": "subscribe", "subscriptions": [{"domain": domain}]});
        assert_eq!(alice.ask(wish).await["code"], "unknown_domain");
    }
    let id: Uuid = items[2]["mobile_id"].as_str().unwrap().parse().unwrap();
    let shown = hub.store().find_record("acme", "metrics", id).await.unwrap().unwrap();
    assert_eq!((&shown["version"], &shown["seq"], &shown["data"]), (&json!(1), &json!(0), &items[2]["data"]));
    assert_eq!((&shown["scope"], &shown["sync_status"]), (&json!({"user": "alice"}), &json!("synced")));
    let hub = hub.restart().await;
    let (mut alice, frames) = Peer::live(&hub, &hello("a").with(json!({"cursor": alice.cursor}))).await;
    assert!(frames.iter().all(|frame| frame["type"] != "data_update"));
    assert_eq!(statuses(&alice.ask(batch(Uuid::now_v7(), &items)).await), ["duplicate"; 3]);
    let cannot = alice.sync(json!([delete("metrics", id, 1)])).await.remove(0);
    assert_eq!(cannot["error"]["code"], "forbidden");
    assert_eq!(rows(&hub), (4, 1));
    hub.stop().await;
}

#[tokio::test]
async fn e10_do7_batches_mix_telemetry_with_what_has_a_feed() {
    let hub = Hub::start().await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
    let (one, two, three) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let mixed = [item("metrics", one, 1), ticket(two, "fire"), item("session", three, 1)];
    let answer = alice.ask(batch(Uuid::now_v7(), &mixed)).await;
    assert_eq!((statuses(&answer), &answer["seq"]), (vec!["created"; 3], &json!(1)));
    assert_eq!(alice.find("data_update").await["mobile_id"], json!(two));
    assert_eq!(alice.find("position").await["seq"], 1);

    let sinking =
        [item("metrics", Uuid::now_v7(), 1), ticket(Uuid::now_v7(), "x"), delete("metrics", one, 1)];
    let atomic = |entries: &[Value]| {
        let mut frame = batch(Uuid::now_v7(), entries);
        frame["atomic"] = json!(true);
        frame
    };
    let answer = alice.ask(atomic(&sinking)).await;
    let codes: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|one| &one["error"]["code"]).collect();
    assert_eq!(codes, ["not_applied", "not_applied", "forbidden"]);
    assert_eq!((&answer["seq"], rows(&hub)), (&json!(1), (3, 1)));
    let landing = [item("metrics", one, 2), item("metrics", Uuid::now_v7(), 1), ticket(Uuid::now_v7(), "x")];
    let answer = alice.ask(atomic(&landing)).await;
    assert_eq!((statuses(&answer), &answer["seq"]), (vec!["duplicate", "created", "created"], &json!(2)));
    assert_eq!(rows(&hub), (5, 2));
    hub.stop().await;
}

#[tokio::test]
async fn o1_o2_do7_telemetry_that_is_sent_again_is_stored_once() {
    let hub = Hub::start().await;
    let hello = Hello::of("alice", "a").with(json!({"device": {"install_id": Uuid::now_v7()}}));
    let (mut alice, _) = Peer::live(&hub, &hello).await;
    let items: Vec<_> = (0..3).map(|n| item("behavioral", Uuid::now_v7(), n)).collect();
    let numbered = |id: Uuid, first: u64, entries: &[Value]| {
        let mut frame = batch(id, entries);
        frame["first_client_seq"] = json!(first);
        frame
    };
    let id = Uuid::now_v7();
    let answer = alice.ask(numbered(id, 1, &items)).await;
    assert_eq!((statuses(&answer), &answer["repeated"]), (vec!["created"; 3], &json!(false)));
    let again = alice.ask(numbered(id, 1, &items)).await;
    assert_eq!((&again["results"], &again["repeated"]), (&answer["results"], &json!(true)));
    let recut = alice.ask(numbered(Uuid::now_v7(), 2, &items[1..])).await;
    assert_eq!(statuses(&recut), ["duplicate"; 2]);
    assert_eq!(rows(&hub), (3, 0));
    let hub = hub.restart().await;
    let (_, welcome) = Peer::hello(&hub, &hello).await;
    assert_eq!(welcome["last_client_seq"], 3);
    hub.stop().await;
}
