//! Edits of one record by two devices: what is stale, what merges, who wins (E1 to E6, E8).

use serde_json::{Value, json};
use uuid::Uuid;

use super::desk::{STRATEGIES, at};
use super::desk::{code, data, delete, delta, device, expect, hub, put, record, reviews, send, two, with};
use crate::support::Hub;

#[tokio::test]
async fn e1_the_version_names_what_the_edit_starts_from() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let (id, absent) = (Uuid::now_v7(), Uuid::now_v7());
    let domain = "most_recent_wins";
    let made = expect(&mut alice, put(domain, id, 0, &json!({"x": 1})), "created").await;
    assert_eq!(made["server_version"], 1);
    let edited = expect(&mut bob, put(domain, id, 99, &json!({"x": 2})), "updated").await;
    assert_eq!(edited["server_version"], 2, "a version above the record's counts as its own");
    for entry in [
        put(domain, absent, 1, &json!({"x": 1})),
        delta(domain, absent, 0, &json!({"x": 1})),
        delete(domain, absent, 0),
        delete(domain, absent, 3),
    ] {
        let result = send(&mut alice, entry.clone()).await;
        assert_eq!(code(&result), "not_found", "{entry}");
        assert_eq!(result.get("server_version"), None);
    }
    assert_eq!(record(&hub, absent), None);
    let kept = reviews(&hub, absent);
    assert!(kept.iter().all(|row| row.kind == "inbox" && row.open) && kept.len() == 4, "e11: {kept:?}");
    hub.stop().await;
}

#[tokio::test]
async fn e2_a_field_that_is_absent_stays_null_clears_and_equal_values_are_no_edit() {
    let hub = hub().await;
    let (mut alice, _) = two(&hub).await;
    let id = Uuid::now_v7();
    let domain = "client_wins";
    let first = json!({"a": 1, "b": {"deep": [1, 2]}, "c": "kept", "größe": 2.5});
    expect(&mut alice, put(domain, id, 0, &first), "created").await;
    expect(&mut alice, put(domain, id, 1, &json!({"a": 1.0, "b": {"deep": [1, 2]}})), "unchanged").await;
    assert_eq!(record(&hub, id).unwrap().0, 1);
    expect(&mut alice, put(domain, id, 1, &json!({"a": null, "new": true})), "updated").await;
    let expected = json!({"a": null, "b": {"deep": [1, 2]}, "c": "kept", "größe": 2.5, "new": true});
    assert_eq!(data(&hub, id), expected);
    let refused = send(&mut alice, put("strict", Uuid::now_v7(), 0, &json!({"n": 1, "m": 2}))).await;
    assert_eq!(code(&refused), "validation_failed");
    assert_eq!(refused["error"]["field"], "m");
    hub.stop().await;
}

#[tokio::test]
async fn e2_a_record_cannot_be_made_to_grow_for_ever() {
    let hub = hub().await;
    let (mut alice, _) = two(&hub).await;
    let (id, domain) = (Uuid::now_v7(), "client_wins");
    expect(&mut alice, put(domain, id, 0, &json!({"a": 1})), "created").await;
    let text = "x".repeat(60_000);
    for version in 1..=4 {
        expect(&mut alice, delta(domain, id, version, &json!({format!("f{version}"): text})), "updated")
            .await;
    }
    let refused = send(&mut alice, delta(domain, id, 5, &json!({"f5": text}))).await;
    assert_eq!(code(&refused), "too_large");
    assert_eq!(record(&hub, id).unwrap().0, 5, "nothing was applied");
    expect(&mut alice, delta(domain, id, 5, &json!({"f1": null, "f5": text})), "updated").await;
    hub.stop().await;
}

#[tokio::test]
async fn e3_e6_offline_edits_of_different_fields_of_whole_records_merge() {
    let hub = hub().await;
    for domain in STRATEGIES {
        let (mut alice, mut bob) = two(&hub).await;
        let id = Uuid::now_v7();
        expect(&mut alice, put(domain, id, 0, &json!({"x": 0, "y": 0, "z": 0})), "created").await;
        expect(&mut bob, put(domain, id, 1, &json!({"x": "bob", "y": 0, "z": 0})), "updated").await;
        let merged = put(domain, id, 1, &json!({"x": 0, "y": "alice", "z": 0}));
        let merged = expect(&mut alice, merged, "merged").await;
        let whole = json!({"x": "bob", "y": "alice", "z": 0});
        assert_eq!((&merged["server_version"], &merged["server_data"]), (&json!(3), &whole), "{domain}");
        assert_eq!(data(&hub, id), whole);
        assert!(reviews(&hub, id).is_empty(), "nobody lost anything");
    }
    hub.stop().await;
}

#[tokio::test]
async fn e3_with_delta_a_field_set_back_to_its_base_value_is_an_edit() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let id = Uuid::now_v7();
    expect(&mut alice, put("client_wins", id, 0, &json!({"x": "base"})), "created").await;
    expect(&mut bob, put("client_wins", id, 1, &json!({"x": "bob"})), "updated").await;
    expect(&mut alice, put("client_wins", id, 1, &json!({"x": "base"})), "unchanged").await;
    let won = expect(&mut alice, delta("client_wins", id, 1, &json!({"x": "base"})), "conflict").await;
    assert_eq!(won["conflict"]["resolution"], "client");
    assert_eq!(data(&hub, id), json!({"x": "base"}));
    hub.stop().await;
}

/// Plays Alice's six offline edits, cut into batches of these sizes, all sent at once, while Bob's edit
/// of another field lies between; returns what the record is afterwards.
async fn chain(hub: &Hub, cuts: &[usize]) -> Value {
    let (mut alice, mut bob) = two(hub).await;
    let id = Uuid::now_v7();
    let domain = "server_wins";
    expect(&mut alice, put(domain, id, 0, &json!({"x": 0, "y": 0})), "created").await;
    expect(&mut bob, put(domain, id, 1, &json!({"y": "bob"})), "updated").await;
    let edits: Vec<_> = (1..=6).map(|n| delta(domain, id, 1, &json!({"x": n % 5, "step": n}))).collect();
    let mut rest = &edits[..];
    let mut asked = Vec::new();
    for cut in cuts {
        let (now, later) = rest.split_at(*cut);
        let batch = json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": now});
        asked.push(alice.request(batch).await);
        rest = later;
    }
    for request in asked {
        let answer = alice.answer(request).await;
        for result in answer["results"].as_array().unwrap() {
            assert_eq!(result["status"], "merged", "{cuts:?}: its own edits are never stale: {result}");
        }
    }
    assert!(reviews(hub, id).is_empty());
    let (version, data, _) = record(hub, id).unwrap();
    assert_eq!(version, 8);
    data
}

#[tokio::test]
async fn e4_an_offline_chain_cut_into_any_batches_ends_the_same() {
    let hub = hub().await;
    for cuts in [&[6][..], &[1, 5], &[2, 2, 2], &[1, 2, 3], &[3, 1, 1, 1]] {
        assert_eq!(chain(&hub, cuts).await, json!({"x": 1, "y": "bob", "step": 6}), "{cuts:?}");
    }
    hub.stop().await;
}

/// Two stale edits of one field: Bob's, which stands, and Alice's, which comes later.
struct Duel {
    strategy: &'static str,
    /// When and on what the edits were made.
    bob: (i64, &'static str),
    alice: (i64, &'static str),
    resolution: &'static str,
    winner: &'static str,
}

const fn duel(
    strategy: &'static str,
    bob: (i64, &'static str),
    alice: (i64, &'static str),
    resolution: &'static str,
    winner: &'static str,
) -> Duel {
    Duel { strategy, bob, alice, resolution, winner }
}

const DUELS: [Duel; 11] = [
    duel("client_wins", (50, "phone"), (40, "phone"), "client", "alice"),
    duel("client_wins", (50, "desktop"), (60, "phone"), "client", "alice"),
    duel("server_wins", (50, "phone"), (60, "desktop"), "server", "bob"),
    duel("most_recent_wins", (50, "phone"), (60, "phone"), "client", "alice"),
    duel("most_recent_wins", (50, "phone"), (40, "desktop"), "server", "bob"),
    duel("device_priority", (50, "phone"), (40, "tablet"), "client", "alice"),
    duel("device_priority", (40, "laptop"), (50, "tablet"), "server", "bob"),
    duel("device_priority", (40, "laptop"), (50, "laptop"), "client", "alice"),
    duel("device_priority", (50, "laptop"), (40, "laptop"), "server", "bob"),
    duel("manual", (50, "phone"), (60, "phone"), "manual_required", "bob"),
    duel("manual", (50, "phone"), (40, "phone"), "manual_required", "bob"),
];

#[tokio::test]
async fn e5_e6_e11_each_strategy_decides_a_stale_field_and_keeps_both_sides() {
    let hub = hub().await;
    for (n, Duel { strategy, bob, alice, resolution, winner }) in DUELS.into_iter().enumerate() {
        // Each duel has its own hundred seconds: a log's times never go back (T1).
        let start = 100 * i64::try_from(n).unwrap();
        let context = format!("duel {n}");
        // The first hello names a device's priority for good.
        let mut ada = device(&hub, &format!("ada-{n}"), alice.1).await;
        let mut bert = device(&hub, &format!("bert-{n}"), bob.1).await;
        let id = Uuid::now_v7();
        expect(&mut ada, put(strategy, id, 0, &json!({"x": 0, "y": 0})), "created").await;
        hub.clock.advance(100_000_000);
        let theirs = put(strategy, id, 1, &json!({"x": "bob"}));
        expect(&mut bert, with(theirs, &json!({"client_timestamp": at(start + bob.0)})), "updated").await;
        let mine = put(strategy, id, 1, &json!({"x": "alice", "y": 1}));
        let mine = with(mine, &json!({"client_timestamp": at(start + alice.0)}));
        let result = expect(&mut ada, mine.clone(), "conflict").await;
        let conflict = &result["conflict"];
        assert_eq!(
            (&conflict["strategy"], &conflict["resolution"]),
            (&json!(strategy), &json!(resolution)),
            "{context}"
        );
        let expected = json!({"x": winner, "y": 1});
        assert_eq!((data(&hub, id), &result["server_data"]), (expected.clone(), &expected), "{context}");
        let kept = reviews(&hub, id);
        let [row] = &kept[..] else { panic!("{context}: {kept:?}") };
        let manual = resolution == "manual_required";
        assert_eq!(
            (row.kind, row.open),
            if manual { ("manual", true) } else { ("audit", false) },
            "{context}"
        );
        assert_eq!(json!(row.id), conflict["conflict_id"]);
        assert_eq!((row.versions, row.resolution), ((1, 2), Some(resolution)));
        assert_eq!(
            (&row.entry["data"], &row.server),
            (&mine["data"], &json!({"x": "bob", "y": 0})),
            "{context}"
        );
        assert!(row.fields.get("x").is_some() && row.fields.get("y").is_none(), "{context}: {row:?}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn e5_an_edit_that_did_not_know_of_an_escalation_cannot_undo_it() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let id = Uuid::now_v7();
    let first = json!({"subject": "fire", "status": "NEW", "priority": "MEDIUM", "escalated": false});
    expect(&mut alice, put("ticket", id, 0, &first), "created").await;
    hub.clock.advance(100_000_000);
    let raised = json!({"escalated": true, "escalation_level": 2, "priority": "HIGH", "assignee": "bob"});
    expect(&mut bob, with(put("ticket", id, 1, &raised), &json!({"client_timestamp": at(50)})), "updated")
        .await;
    let lower = json!({"escalated": null, "escalation_level": 1, "priority": "LOW", "assignee": "alice"});
    let lower = with(put("ticket", id, 1, &lower), &json!({"client_timestamp": at(60)}));
    let result = expect(&mut alice, lower, "conflict").await;
    assert_eq!(result["conflict"]["resolution"], "merged", "{result}");
    let data = |name: &str| result["server_data"][name].clone();
    assert_eq!((data("escalated"), data("escalation_level")), (json!(true), json!(2)));
    assert_eq!((data("priority"), data("assignee")), (json!("HIGH"), json!("alice")));
    let higher =
        with(put("ticket", id, 1, &json!({"priority": "CRITICAL"})), &json!({"client_timestamp": at(70)}));
    let result = expect(&mut alice, higher, "conflict").await;
    assert_eq!(
        (&result["conflict"]["resolution"], &result["server_data"]["priority"]),
        (&json!("client"), &json!("CRITICAL"))
    );
    // Who knows of the escalation may end it.
    expect(&mut alice, put("ticket", id, 4, &json!({"escalated": false, "priority": "LOW"})), "updated")
        .await;
    hub.stop().await;
}

#[tokio::test]
async fn e8_what_the_workflow_forbids_is_refused_or_kept_out_of_a_merge() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let id = Uuid::now_v7();
    expect(&mut alice, put("ticket", id, 0, &json!({"subject": "fire", "status": "NEW"})), "created").await;
    let leap = put("ticket", id, 1, &json!({"status": "CLOSED", "group": "north"}));
    let refused = send(&mut alice, leap).await;
    assert_eq!((code(&refused), &refused["error"]["field"]), ("invalid_transition", &json!("status")));
    assert_eq!(data(&hub, id), json!({"subject": "fire", "status": "NEW"}), "nothing of it is applied");
    let kept = reviews(&hub, id);
    assert_eq!(
        (kept[0].kind, kept[0].open, &kept[0].code),
        ("inbox", true, &Some(json!("invalid_transition")))
    );

    hub.clock.advance(1_000_000);
    for (version, status) in [(1, "OPEN"), (2, "INPROGRESS"), (3, "RESOLVED")] {
        expect(&mut bob, put("ticket", id, version, &json!({"status": status})), "updated").await;
    }
    hub.clock.advance(1_000_000);
    let late = put("ticket", id, 2, &json!({"status": "ONHOLD", "group": "north"}));
    let result = expect(&mut alice, late, "conflict").await;
    assert_eq!(result["conflict"]["resolution"], "server");
    assert_eq!(result["server_data"], json!({"subject": "fire", "status": "RESOLVED", "group": "north"}));
    let kept = reviews(&hub, id);
    let kinds: Vec<_> = kept[1..].iter().map(|row| (row.kind, row.code.clone())).collect();
    assert!(kinds.contains(&("audit", None)), "{kinds:?}");
    assert!(kinds.contains(&("inbox", Some(json!("invalid_transition")))), "{kinds:?}");
    assert_eq!(kinds.len(), 2);
    hub.stop().await;
}
