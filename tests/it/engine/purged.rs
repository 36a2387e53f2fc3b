//! What the engine answers when what it would have known is past its time (D3, E3, O1, O2).

use serde_json::{Value, json};
use uuid::Uuid;

use super::desk::{STRATEGIES, code, delete, expect, hub, hub_with, put, record, reviews, rows, send, two};
use crate::support::{Gate, Hello, Hub, Peer, Publisher, tickets};

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 24 * HOUR_US;

async fn purge_after(hub: &Hub, us: i64) {
    hub.clock.advance(us);
    hub.node.purge().await.unwrap();
}

fn batch(id: Uuid, entries: &Value) -> Value {
    json!({"type": "sync", "batch_id": id, "entries": entries})
}

/// Alice's installation, and how she says hello.
async fn installed(hub: &Hub, install: Uuid) -> Peer {
    let hello = Hello::of("alice", "a1").with(json!({"device": {"install_id": install}}));
    Peer::live(hub, &hello).await.0
}

#[tokio::test]
async fn o1_a_batch_is_remembered_for_24_hours_and_a_numbered_one_for_ever() {
    let hub = hub().await;
    let mut alice = installed(&hub, Uuid::now_v7()).await;
    let id = Uuid::now_v7();
    let plain = batch(Uuid::now_v7(), &json!([put("client_wins", id, 0, &json!({"x": 1}))]));
    let mut numbered =
        batch(Uuid::now_v7(), &json!([put("client_wins", Uuid::now_v7(), 0, &json!({"x": 1}))]));
    numbered["first_client_seq"] = json!(1);
    for sent in [&plain, &numbered] {
        assert_eq!(alice.ask(sent.clone()).await["results"][0]["status"], "created");
    }
    purge_after(&hub, 24 * HOUR_US).await;
    for sent in [&plain, &numbered] {
        let again = alice.ask(sent.clone()).await;
        assert_eq!((&again["repeated"], &again["results"][0]["status"]), (&json!(true), &json!("created")));
    }
    purge_after(&hub, 1).await;
    assert_eq!(rows(&hub, "batch"), 0);
    let again = alice.ask(plain).await;
    assert_eq!((&again["repeated"], &again["results"][0]["status"]), (&json!(false), &json!("unchanged")));
    let again = alice.ask(numbered).await;
    assert_eq!((&again["repeated"], &again["results"][0]["status"]), (&json!(false), &json!("duplicate")));
    assert_eq!(rows(&hub, "log"), 2, "the log is kept longer");
    assert_eq!(hub.metric("synchub_purged_rows_total{kind=\"batch\"}"), 2);
    hub.stop().await;
}

#[tokio::test]
async fn o2_a_refused_number_is_remembered_until_the_horizon_and_its_mark_for_ever() {
    let hub = hub().await;
    let install = Uuid::now_v7();
    let mut alice = installed(&hub, install).await;
    let refused = put("strict", Uuid::now_v7(), 0, &json!({}));
    let numbered = || {
        let mut sent = batch(Uuid::now_v7(), &json!([refused]));
        sent["first_client_seq"] = json!(1);
        sent
    };
    let first = alice.ask(numbered()).await;
    assert_eq!(code(&first["results"][0]), "validation_failed");
    purge_after(&hub, 30 * DAY_US).await;
    let result = alice.ask(numbered()).await["results"][0].clone();
    assert_eq!(
        (&result["status"], &result["error"]["code"]),
        (&json!("duplicate"), &json!("validation_failed"))
    );
    purge_after(&hub, 1).await;
    let result = alice.ask(numbered()).await["results"][0].clone();
    assert_eq!((&result["status"], result.get("error")), (&json!("duplicate"), None), "{result}");
    assert_eq!(rows(&hub, "review"), 1, "it waits in the inbox, however long");
    hub.stop().await;
}

#[tokio::test]
async fn d3_an_id_created_anew_begins_above_every_version_that_was_purged() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let (high, low, other) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    expect(&mut alice, put("client_wins", low, 0, &json!({"x": 1})), "created").await;
    expect(&mut alice, put("server_wins", high, 0, &json!({"x": 1})), "created").await;
    for version in 1..=3 {
        expect(&mut alice, put("server_wins", high, version, &json!({"x": version + 1})), "updated").await;
    }
    expect(&mut alice, delete("client_wins", low, 1), "updated").await;
    expect(&mut alice, delete("server_wins", high, 4), "updated").await;
    purge_after(&hub, 30 * DAY_US + 1_000_000).await;
    assert_eq!((record(&hub, low), record(&hub, high), rows(&hub, "log")), (None, None, 0));

    // What named it is answered as for a record that never was.
    assert_eq!(code(&send(&mut bob, put("client_wins", low, 2, &json!({"x": 9}))).await), "not_found");
    assert_eq!(code(&send(&mut bob, delete("client_wins", low, 2)).await), "not_found");
    let anew = expect(&mut bob, put("client_wins", low, 0, &json!({"x": 2})), "created").await;
    assert_eq!(anew["server_version"], 6, "above 5, which the other one had");
    let never_was = expect(&mut bob, put("client_wins", other, 0, &json!({})), "created").await;
    assert_eq!(never_was["server_version"], 6);
    // An edit of the life that was forgotten is older than everything in this one.
    let late = send(&mut alice, put("client_wins", low, 1, &json!({"x": 3}))).await;
    assert_eq!((&late["status"], &late["conflict"]["resolution"]), (&json!("conflict"), &json!("client")));
    hub.stop().await;
}

/// Alice's whole form, of which she changed nothing, comes late: with the log only Bob's edit stands.
#[tokio::test]
async fn d3_e3_a_base_older_than_the_log_makes_every_field_an_edit() {
    for purged in [false, true] {
        let hub = hub().await;
        let (mut alice, mut bob) = two(&hub).await;
        let id = Uuid::now_v7();
        expect(&mut alice, put("server_wins", id, 0, &json!({"x": 1, "y": 1})), "created").await;
        expect(&mut bob, put("server_wins", id, 1, &json!({"x": 2})), "updated").await;
        expect(&mut bob, put("server_wins", id, 2, &json!({"y": 2})), "updated").await;
        if purged {
            purge_after(&hub, 31 * DAY_US).await;
        }
        let late = send(&mut alice, put("server_wins", id, 1, &json!({"x": 1, "y": 1, "z": 1}))).await;
        let status = if purged { "conflict" } else { "merged" };
        assert_eq!((&late["status"], &late["server_version"]), (&json!(status), &json!(4)), "{late}");
        assert_eq!(record(&hub, id).unwrap().1, json!({"x": 2, "y": 2, "z": 1}), "no edit of Bob's is lost");
        assert_eq!(reviews(&hub, id).len(), usize::from(purged), "both sides are kept");
        hub.stop().await;
    }
}

/// Records of a domain without a feed have no place in the log: their tombstones go by age alone.
#[tokio::test]
async fn d3_tombstones_of_a_domain_without_a_feed_go_with_age() {
    let text = "name = \"silent\"\nstrategy = \"client_wins\"\nvisibility = \"tenant\"\nfeed = false\n";
    let hub = Hub::with(|_| {}).definition("silent.toml", text).start().await;
    let (mut alice, _) = two(&hub).await;
    let (dead, living) = (Uuid::now_v7(), Uuid::now_v7());
    for id in [dead, living] {
        expect(&mut alice, put("silent", id, 0, &json!({"x": 1})), "created").await;
    }
    expect(&mut alice, delete("silent", dead, 1), "updated").await;
    purge_after(&hub, 30 * DAY_US).await;
    assert!(record(&hub, dead).is_some());
    purge_after(&hub, 1_000_000).await;
    assert_eq!((record(&hub, dead), record(&hub, living).is_some()), (None, true));
    let anew = expect(&mut alice, put("silent", dead, 0, &json!({})), "created").await;
    assert_eq!(anew["server_version"], 3);
    hub.stop().await;
}

#[tokio::test]
async fn e11_what_waits_for_a_person_is_never_purged() {
    let hub = hub().await;
    let (mut alice, mut bob) = two(&hub).await;
    let ids = STRATEGIES.map(|_| Uuid::now_v7());
    for (strategy, id) in STRATEGIES.into_iter().zip(ids) {
        expect(&mut alice, put(strategy, id, 0, &json!({"x": 1})), "created").await;
        expect(&mut alice, put(strategy, id, 1, &json!({"x": 2})), "updated").await;
        expect(&mut bob, put(strategy, id, 1, &json!({"x": 3})), "conflict").await;
    }
    purge_after(&hub, 365 * DAY_US).await;
    assert_eq!(rows(&hub, "review"), 5);
    purge_after(&hub, 1_000_000).await;
    let kept = ids.map(|id| reviews(&hub, id).len());
    assert_eq!(kept, STRATEGIES.map(|strategy| usize::from(strategy == "manual")));
    hub.stop().await;
}

/// Many steps of one row each, and commits that come between them.
#[tokio::test]
async fn d3_a_commit_waits_for_one_step_of_a_purge_at_most() {
    let hub = hub_with(|settings| settings.retention.rows = 1).await;
    let (mut alice, _) = two(&hub).await;
    alice.commit(tickets(100).0).await;
    let publisher = Publisher::of(&hub, "acme").await;
    hub.clock.advance(31 * DAY_US);
    let horizon = async || hub.store().place(publisher.tenant()).await.unwrap().horizon;

    let (node, mut before, mut rounds) = (&hub.node, 0, 0);
    let commits = async {
        let mut gate = Gate::close(&hub, &publisher).await;
        for _ in 0..20 {
            let next = Gate::close(&hub, &publisher);
            let open = async {
                // By now the next commit waits in the store's queue, and perhaps a step of the purge before it.
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                gate.open().await;
            };
            gate = tokio::join!(next, open).0;
            let now = horizon().await;
            assert!(now <= before + 1, "{} steps went before a commit that waited", now - before);
            (before, rounds) = (now, rounds + 1);
        }
        gate.open().await;
    };
    let (removed, ()) = tokio::join!(node.purge(), commits);
    assert_eq!((removed.unwrap().log, rounds, horizon().await), (100, 20, 100));
    assert!(before < 100, "the purge went on after the commits");
    hub.stop().await;
}

/// A purge that is under way does not keep the hub from stopping, and the next one goes on.
#[tokio::test]
async fn d3_a_hub_that_stops_breaks_a_purge_off_between_two_steps() {
    let hub = hub_with(|settings| settings.retention.rows = 1).await;
    let (mut alice, _) = two(&hub).await;
    alice.commit(tickets(200).0).await;
    alice.close().await;
    hub.clock.advance(31 * DAY_US);
    let stop = async {
        while hub.metric("synchub_purged_rows_total{kind=\"log\"}") == 0 {
            tokio::task::yield_now().await;
        }
        hub.node.stop().await;
    };
    let (removed, ()) = tokio::join!(hub.node.purge(), stop);
    let removed = removed.unwrap().log;
    assert!((1..200).contains(&removed), "{removed}");
    let now_us = hub.clock.advance(0);
    let hub = hub.restart().await;
    hub.clock.set(now_us);
    assert_eq!(hub.node.purge().await.unwrap().log, 200 - removed);
    hub.stop().await;
}
