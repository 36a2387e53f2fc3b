//! Once: batch ids, numbers, and installs (O1 to O4).

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use uuid::Uuid;

use super::desk::{code, expect, hub, put, record, reviews, rows, send, two, with};
use crate::support::{Hello, Hub, Peer, ticket};

fn batch(id: Uuid, entries: &Value) -> Value {
    json!({"type": "sync", "batch_id": id, "entries": entries})
}

fn numbered(first: u64, entries: &Value) -> Value {
    let mut batch = batch(Uuid::now_v7(), entries);
    batch["first_client_seq"] = json!(first);
    batch
}

fn installed(install: Uuid) -> Hello {
    Hello::of("alice", "a1").with(json!({"device": {"install_id": install}}))
}

async fn come(hub: &Hub, install: Uuid) -> (Peer, u64) {
    let (peer, welcome) = Peer::hello(hub, &installed(install)).await;
    (peer, welcome["last_client_seq"].as_u64().unwrap())
}

fn results(answer: &Value) -> &Vec<Value> {
    assert_eq!(answer["type"], "sync_result", "{answer}");
    answer["results"].as_array().unwrap()
}

#[tokio::test]
async fn o1_inv2_a_batch_that_comes_again_is_answered_as_it_was() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let (id, refused) = (Uuid::now_v7(), Uuid::now_v7());
    let entries = json!([
        put("client_wins", id, 0, &json!({"x": 1, "y": 2})),
        put("strict", refused, 0, &json!({})),
        put("client_wins", id, 0, &json!({"x": 3})),
    ]);
    let sent = batch(Uuid::now_v7(), &entries);
    let first = alice.ask(sent.clone()).await;
    assert_eq!(first["repeated"], false);
    expect(&mut bob, put("client_wins", id, 2, &json!({"x": "bob"})), "updated").await;
    let again = alice.ask(sent.clone()).await;
    assert_eq!(again["repeated"], true);
    assert_eq!(results(&again), results(&first), "versions are those of then");
    assert_eq!(record(&hub, id).unwrap().0, 3);

    // The hash is of what was decoded: keys in another order, 1.0 for 1, the other encoding.
    alice.close().await;
    let hello = Hello::of("alice", "d1");
    let (mut alice, _) = Peer::hello_in(&hub, &hello, Encoding::MessagePack).await;
    let mut same = sent.clone();
    same["entries"][0] = json!({"data": {"y": 2.0, "x": 1}, "version": 0, "mobile_id": id.to_string().to_uppercase(),
                                "domain": "client_wins", "operation": "upsert", "delta": false, "nonsense": 1});
    let again = alice.ask(same).await;
    assert_eq!((&again["repeated"], results(&again)), (&json!(true), results(&first)));

    let mut other = sent.clone();
    other["entries"][0]["data"]["x"] = json!(2);
    let misused = alice.ask(other).await;
    assert_eq!((&misused["type"], &misused["code"]), (&json!("error"), &json!("idempotency_key_reused")));
    let mut atomic = sent.clone();
    atomic["atomic"] = json!(true);
    assert_eq!(alice.ask(atomic).await["code"], "idempotency_key_reused");
    // Another device's batch_id is another one.
    let theirs = bob.ask(sent).await;
    assert_eq!(theirs["repeated"], false);
    hub.stop().await;
}

#[tokio::test]
async fn o2_numbers_are_decided_once_however_they_are_cut() {
    let hub = hub().await;
    let install = Uuid::now_v7();
    let (mut alice, mark) = come(&hub, install).await;
    assert_eq!(mark, 0);
    let ids: Vec<_> = (0..4).map(|_| Uuid::now_v7()).collect();
    let make = |n: usize| put("client_wins", ids[n], 0, &json!({"n": n}));
    let answer =
        alice.ask(numbered(1, &json!([make(0), put("strict", ids[1], 0, &json!({})), make(2)]))).await;
    assert_eq!(code(&results(&answer)[1]), "validation_failed");
    alice.cut();

    // The answer was lost: the same entries under the same numbers, cut otherwise, with one that is new.
    let (mut alice, mark) = come(&hub, install).await;
    assert_eq!(mark, 3);
    let again =
        alice.ask(numbered(2, &json!([put("strict", ids[1], 0, &json!({})), make(2), make(3)]))).await;
    let again = results(&again);
    assert_eq!(
        (&again[0]["status"], &again[0]["error"]["code"]),
        (&json!("duplicate"), &json!("validation_failed"))
    );
    assert_eq!((&again[1]["status"], &again[1]["server_version"]), (&json!("duplicate"), &json!(1)));
    assert_eq!(again[2]["status"], "created");
    assert_eq!(rows(&hub, "log"), 3);
    hub.stop().await;
}

#[tokio::test]
async fn o2_a_gap_decides_nothing() {
    let hub = hub().await;
    let install = Uuid::now_v7();
    let (mut alice, _) = come(&hub, install).await;
    let make = || put("client_wins", Uuid::now_v7(), 0, &json!({"n": 1}));
    let early = numbered(2, &json!([make()]));
    let refused = alice.ask(early.clone()).await;
    assert_eq!((&refused["code"], &refused["temporary"]), (&json!("out_of_order"), &json!(true)));
    assert_eq!((rows(&hub, "record"), rows(&hub, "batch")), (0, 0));
    let first = alice.ask(numbered(1, &json!([make()]))).await;
    assert_eq!(results(&first)[0]["status"], "created");
    let later = alice.ask(early).await;
    assert_eq!(results(&later)[0]["status"], "created");
    assert_eq!(later["repeated"], false);
    hub.stop().await;
}

#[tokio::test]
async fn o2_the_mark_outlives_the_hub_and_a_number_the_record() {
    let hub = hub().await;
    let install = Uuid::now_v7();
    let (mut alice, _) = come(&hub, install).await;
    let id = Uuid::now_v7();
    let made = numbered(1, &json!([put("client_wins", id, 0, &json!({"x": 1}))]));
    results(&alice.ask(made.clone()).await);
    alice.cut();
    let hub = hub.restart().await;
    let (mut alice, mark) = come(&hub, install).await;
    assert_eq!(mark, 1);
    let mut bob = Peer::live(&hub, &Hello::of("bob", "b")).await.0;
    expect(&mut bob, put("client_wins", id, 1, &json!({"x": "bob"})), "updated").await;
    let mut again = made;
    again["batch_id"] = json!(Uuid::now_v7());
    let answer = alice.ask(again).await;
    let result = &results(&answer)[0];
    assert_eq!((&result["status"], &result["server_version"]), (&json!("duplicate"), &json!(2)));
    assert_eq!(record(&hub, id).unwrap().1, json!({"x": "bob"}));
    hub.stop().await;
}

#[tokio::test]
async fn o3_an_error_frame_decides_nothing() {
    let hub = hub().await;
    let install = Uuid::now_v7();
    let (mut alice, _) = come(&hub, install).await;
    let entry = put("client_wins", Uuid::now_v7(), 0, &json!({"n": 1}));
    let many: Vec<_> = (0..1001).map(|_| entry.clone()).collect();
    for (request, code) in [
        (numbered(1, &json!([])), "bad_request"),
        (numbered(0, &json!([entry])), "bad_request"),
        (numbered(1, &json!(many)), "too_many_entries"),
        (json!({"type": "sync", "batch_id": "none", "entries": [entry]}), "bad_request"),
    ] {
        let answer = alice.ask(request).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!(code)), "{answer}");
    }
    assert_eq!((rows(&hub, "record"), rows(&hub, "batch")), (0, 0));
    let answer = alice.ask(numbered(1, &json!([entry]))).await;
    assert_eq!(results(&answer)[0]["status"], "created");
    let (mut bare, _) = two(&hub).await;
    let answer = bare.ask(numbered(1, &json!([entry]))).await;
    assert_eq!(answer["code"], "bad_request", "numbers without an install: {answer}");
    hub.stop().await;
}

#[tokio::test]
async fn o4_what_a_restored_app_sends_under_a_new_install_meets_its_own_effect() {
    let hub = hub().await;
    let (mut before, _) = come(&hub, Uuid::now_v7()).await;
    let id = Uuid::now_v7();
    results(&before.ask(numbered(1, &json!([put("server_wins", id, 0, &json!({"x": 1}))]))).await);
    before.cut();
    let (mut restored, mark) = come(&hub, Uuid::now_v7()).await;
    assert_eq!(mark, 0, "each install counts for itself");
    let again = numbered(1, &json!([put("server_wins", id, 0, &json!({"x": 1}))]));
    let answer = restored.ask(again).await;
    assert_eq!(results(&answer)[0]["status"], "unchanged", "equal values are no edits");
    assert_eq!(rows(&hub, "log"), 1);
    // What it edits now is foreign to what the old install wrote.
    let lost = send(&mut restored, put("server_wins", id, 0, &json!({"x": 2}))).await;
    assert_eq!(lost["conflict"]["resolution"], "server", "e4: {lost}");
    hub.stop().await;
}

#[tokio::test]
async fn e11_a_correction_takes_the_refused_entry_out_of_the_inbox() {
    let hub = hub().await;
    let (mut alice, _) = come(&hub, Uuid::now_v7()).await;
    let ids = [Uuid::now_v7(), Uuid::now_v7()];
    let entries: Vec<_> = ids.iter().map(|id| put("strict", *id, 0, &json!({"n": "no number"}))).collect();
    let refused = alice.ask(numbered(1, &json!(entries))).await;
    assert!(results(&refused).iter().all(|result| code(result) == "validation_failed"), "{refused}");
    assert!(ids.iter().all(|id| reviews(&hub, *id)[0].open));
    // The second was applied from the inbox meanwhile.
    let database = rusqlite::Connection::open(hub.database()).unwrap();
    database.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let applied = database.execute("UPDATE review SET state = 3 WHERE number = 2", []).unwrap();
    assert_eq!(applied, 1);
    let correct = |n: usize| {
        let entry = put("strict", ids[n], 0, &json!({"n": 1}));
        with(entry, &json!({"corrects": n + 1}))
    };
    let corrected = alice.ask(numbered(3, &json!([correct(0), correct(1)]))).await;
    let statuses: Vec<_> = results(&corrected).iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, ["created", "duplicate"], "{corrected}");
    let kept = reviews(&hub, ids[0]);
    assert_eq!((kept.len(), kept[0].open), (1, false));
    hub.stop().await;
}

/// Any text names an install; a UUID is the same however it is written.
#[tokio::test]
async fn o2_an_install_may_be_named_by_any_text() {
    let hub = Hub::start().await;
    let hello = |install: &str| Hello::of("alice", "a1").with(json!({"device": {"install_id": install}}));
    let (mut peer, welcome) = Peer::hello(&hub, &hello("phone of Alice")).await;
    assert_eq!(welcome["last_client_seq"], 0);
    let batch = json!({"type": "sync", "batch_id": Uuid::now_v7(), "first_client_seq": 1,
        "entries": [ticket(Uuid::now_v7(), "fire"), ticket(Uuid::now_v7(), "flood")]});
    assert_eq!(peer.ask(batch).await["results"][1]["status"], "created");
    peer.close().await;
    for (install, mark) in [("phone of Alice", 2), ("phone of alice", 0)] {
        let (peer, welcome) = Peer::hello(&hub, &hello(install)).await;
        assert_eq!(welcome["last_client_seq"], mark, "{install}");
        peer.close().await;
    }
}
