//! Deletes, what did not know of them, and what comes after them (D1, D2).

use serde_json::{Value, json};
use uuid::Uuid;

use super::desk::{STRATEGIES, at, delete, delta, expect, hub, put, record, reviews, two, with};
use crate::support::{Hello, Peer};

fn stays(strategy: &str) -> bool {
    ["server_wins", "manual"].contains(&strategy)
}

#[tokio::test]
async fn d1_a_delete_that_comes_after_an_edit_that_it_did_not_know_wins() {
    let hub = hub().await;
    for strategy in STRATEGIES {
        let (mut alice, mut bob) = two(&hub).await;
        let id = Uuid::now_v7();
        expect(&mut alice, put(strategy, id, 0, &json!({"x": 0})), "created").await;
        hub.clock.advance(10_000_000);
        expect(&mut bob, put(strategy, id, 1, &json!({"x": "bob"})), "updated").await;
        // Older than the edit by its own clock: that makes no difference.
        let old = with(delete(strategy, id, 1), &json!({"client_timestamp": at(1)}));
        if stays(strategy) {
            let lost = expect(&mut alice, old, "conflict").await;
            let resolution = if strategy == "manual" { "manual_required" } else { "server" };
            assert_eq!(lost["conflict"]["resolution"], resolution, "{strategy}");
            assert_eq!(lost["server_data"], json!({"x": "bob"}));
            assert_eq!(record(&hub, id), Some((2, json!({"x": "bob"}), false)), "{strategy}");
            let kind = if strategy == "manual" { "manual" } else { "audit" };
            assert_eq!(reviews(&hub, id)[0].kind, kind, "{strategy}");
        } else {
            let won = expect(&mut alice, old, "merged").await;
            assert_eq!(
                (&won["deleted"], &won["server_version"]),
                (&json!(true), &json!(3)),
                "e6: {strategy}"
            );
            assert_eq!(
                record(&hub, id),
                Some((3, json!({"x": "bob"}), true)),
                "v4: a tombstone keeps its data"
            );
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn d1_e11_an_edit_that_comes_after_a_delete_that_it_did_not_know_goes_to_the_inbox() {
    let hub = hub().await;
    for strategy in STRATEGIES {
        let (mut alice, mut bob) = two(&hub).await;
        let id = Uuid::now_v7();
        expect(&mut alice, put(strategy, id, 0, &json!({"x": 0})), "created").await;
        let gone = expect(&mut bob, delete(strategy, id, 1), "updated").await;
        assert_eq!((&gone["deleted"], &gone["server_version"]), (&json!(true), &json!(2)));
        let edits = [
            put(strategy, id, 1, &json!({"x": "alice"})),
            put(strategy, id, 0, &json!({"x": "alice"})),
            delta(strategy, id, 2, &json!({"x": "alice"})),
        ];
        for edit in &edits {
            let lost = expect(&mut alice, edit.clone(), "conflict").await;
            assert_eq!((&lost["deleted"], &lost["server_version"]), (&json!(true), &json!(2)), "{edit}");
            let resolution = if strategy == "manual" { "manual_required" } else { "server" };
            assert_eq!(lost["conflict"]["resolution"], resolution, "{strategy}");
            assert_eq!(lost.get("server_data"), None, "there is nothing to show");
        }
        assert!(record(&hub, id).unwrap().2);
        let kept = reviews(&hub, id);
        let kind = if strategy == "manual" { "manual" } else { "inbox" };
        assert_eq!(kept.len(), edits.len(), "{strategy}");
        for (row, edit) in kept.iter().zip(&edits) {
            assert_eq!((row.kind, row.open, &row.entry["data"]), (kind, true, &edit["data"]), "{strategy}");
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn d2_only_an_edit_that_names_the_tombstone_re_creates() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let (mut watcher, _) = Peer::live(&hub, &Hello::of("eve", "e").to(&["most_recent_wins"])).await;
    let id = Uuid::now_v7();
    let domain = "most_recent_wins";
    expect(&mut alice, put(domain, id, 0, &json!({"x": 0, "old": 1})), "created").await;
    expect(&mut bob, delete(domain, id, 1), "updated").await;
    let again = expect(&mut alice, delete(domain, id, 1), "unchanged").await;
    assert_eq!((&again["deleted"], &again["server_version"]), (&json!(true), &json!(2)));
    let born = expect(&mut alice, put(domain, id, 2, &json!({"x": 2})), "created").await;
    assert_eq!((&born["server_version"], born.get("deleted")), (&json!(3), None));
    assert_eq!(record(&hub, id), Some((3, json!({"x": 2}), false)), "nothing of the old one comes back");
    let mut came = Vec::new();
    while came.len() < 3 {
        let update = watcher.find("data_update").await;
        came.push((update["operation"].clone(), update["version"].clone(), update.get("data").cloned()));
    }
    let expected: Vec<(Value, Value, Option<Value>)> = vec![
        (json!("create"), json!(1), Some(json!({"x": 0, "old": 1}))),
        (json!("delete"), json!(2), None),
        (json!("create"), json!(3), Some(json!({"x": 2}))),
    ];
    assert_eq!(came, expected);
    hub.stop().await;
}

#[tokio::test]
async fn d1_a_delete_that_knew_of_its_own_edits_is_plain() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let id = Uuid::now_v7();
    expect(&mut alice, put("server_wins", id, 0, &json!({"x": 0})), "created").await;
    expect(&mut alice, delta("server_wins", id, 0, &json!({"x": 1})), "updated").await;
    // Its copy is still at nothing, yet all that stands is its own.
    let gone = expect(&mut alice, delete("server_wins", id, 0), "updated").await;
    assert_eq!((&gone["deleted"], &gone["server_version"]), (&json!(true), &json!(3)));
    let other = Uuid::now_v7();
    expect(&mut bob, put("server_wins", other, 0, &json!({"x": 0})), "created").await;
    expect(&mut alice, delete("server_wins", other, 1), "updated").await;
    hub.stop().await;
}
