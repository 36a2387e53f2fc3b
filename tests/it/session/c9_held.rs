//! Holding back (C9): what priority, battery saver and the limit delay, what is said of it, and that none of
//! it is lost.

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::push::service::Service;
use crate::support::{Copy, Hello, Hub, Peer, delete, edit, ticket};

/// A ticket whose changes have this priority.
pub(super) fn urgent(id: Uuid, priority: &str) -> Value {
    let (field, entry) = match priority {
        "critical" => ("CRITICAL", "critical"),
        "high" => ("HIGH", "high"),
        lower => ("LOW", lower),
    };
    let mut ticket = edit("ticket", id, 0, &json!({"subject": "fire", "status": "NEW", "priority": field}));
    ticket["priority"] = json!(entry);
    ticket
}

/// A reader of tickets with this subscription priority, live.
pub(super) async fn reader(hub: &Hub, priority: &str) -> Peer {
    let subscriptions = json!([{"domain": "ticket", "priority": priority}]);
    Peer::live(hub, &Hello::of("bob", "b").with(json!({"subscriptions": subscriptions}))).await.0
}

pub(super) async fn writer(hub: &Hub) -> Peer {
    Peer::live(hub, &Hello::of("alice", "a")).await.0
}

async fn set(peer: &mut Peer, settings: Value) {
    let mut frame = settings;
    frame["type"] = json!("settings");
    assert_eq!(peer.ask(frame).await["type"], "settings_applied");
}

/// Asks for what was held back; the frames up to the answer.
async fn catch_up(peer: &mut Peer) -> Vec<Value> {
    let id = peer.request(json!({"type": "catch_up"})).await;
    let frames = peer.until("caught_up").await;
    assert_eq!(frames.last().unwrap()["id"], id, "{frames:?}");
    frames
}

pub(super) fn changed(frames: &[Value]) -> Vec<String> {
    let changes = frames.iter().filter(|frame| frame["type"] == "data_update");
    changes.map(|frame| frame["mobile_id"].as_str().unwrap().to_owned()).collect()
}

/// The domains that each `held_back` names.
pub(super) fn told(frames: &[Value]) -> Vec<Value> {
    let told = frames.iter().filter(|frame| frame["reason"] == "held_back");
    told.map(|frame| frame["domains"].clone()).collect()
}

pub(super) fn places(frames: &[Value]) -> Vec<u64> {
    frames
        .iter()
        .filter(|frame| !frame["cursor"].is_null())
        .filter_map(|frame| frame["seq"].as_u64())
        .collect()
}

/// Which priorities of changes go at once, live; replays and snapshots bring all of them.
#[tokio::test]
async fn c9_e12_what_is_below_the_priority_waits_live_and_comes_by_replay_and_snapshot() {
    let hub = Hub::start().await;
    let mut alice = writer(&hub).await;
    let none = json!({});
    let (saver, back) = (json!({"battery_saver": true}), json!({"app_state": "background"}));
    for (priority, settings, at_once) in [
        ("all", &none, &["low", "normal", "high", "critical"][..]),
        ("high", &none, &["high", "critical"]),
        ("critical", &none, &["critical"]),
        ("all", &saver, &["high", "critical"]),
        ("all", &back, &["high", "critical"]),
        ("critical", &saver, &["critical"]),
    ] {
        for change in ["low", "normal", "high", "critical"] {
            let mut bob = reader(&hub, priority).await;
            set(&mut bob, settings.clone()).await;
            let before = bob.cursor.clone();
            let id = Uuid::now_v7();
            let seq = alice.commit(json!([urgent(id, change)])).await;
            let frames = bob.quiet().await;
            let case = format!("{priority} {settings} {change}: {frames:?}");
            if at_once.contains(&change) {
                assert_eq!(changed(&frames), [id.to_string()], "live: {case}");
                assert_eq!(frames[0]["priority"], change);
                assert_eq!((told(&frames).len(), places(&frames).last()), (0, Some(&seq)), "{case}");
            } else {
                assert_eq!(
                    (changed(&frames).len(), told(&frames)),
                    (0, vec![json!(["ticket"])]),
                    "live: {case}"
                );
                assert!(places(&frames).iter().all(|place| *place < seq), "inv5: {case}");
                let frames = catch_up(&mut bob).await;
                assert_eq!(
                    (changed(&frames), frames.last().unwrap()["seq"].as_u64()),
                    (vec![id.to_string()], Some(seq))
                );
            }
            for cursor in [before, None] {
                let subscriptions = json!([{"domain": "ticket", "priority": priority}]);
                let hello =
                    Hello::of("bob", "b").with(json!({"subscriptions": subscriptions, "cursor": cursor}));
                let mut copy = Copy::default();
                let (_peer, frames) = Peer::live(&hub, &hello).await;
                copy.take(&frames);
                assert_eq!(copy.version("ticket", id), Some(1), "replay or snapshot: {case}");
                assert_eq!(told(&frames).len(), 0);
            }
        }
    }
}

#[tokio::test]
async fn c9_it_is_said_once_until_the_next_caught_up() {
    let hub = Hub::start().await;
    let mut alice = writer(&hub).await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let (mut bob, _) =
            Peer::hello_in(&hub, &Hello::of("bob", "b").to(&["ticket", "task"]), encoding).await;
        bob.find("caught_up").await;
        set(&mut bob, json!({"battery_saver": true})).await;
        for round in 0..2 {
            let mut ids = Vec::new();
            for _ in 0..3 {
                let id = Uuid::now_v7();
                alice.commit(json!([ticket(id, "fire")])).await;
                ids.push(id.to_string());
                if ids.len() == 1 {
                    let trigger = bob.find("sync_trigger").await;
                    assert_eq!(
                        (&trigger["reason"], &trigger["domains"]),
                        (&json!("held_back"), &json!(["ticket"]))
                    );
                    assert!(trigger["push_id"].is_string() && trigger["server_timestamp"].is_string());
                }
            }
            let id = Uuid::now_v7();
            alice.commit(json!([edit("task", id, 0, &json!({"jobdesc": "pump"}))])).await;
            ids.push(id.to_string());
            let frames = bob.quiet().await;
            assert_eq!((told(&frames).len(), changed(&frames).len()), (0, 0), "round {round}: {frames:?}");
            let frames = catch_up(&mut bob).await;
            assert_eq!(changed(&frames), ids, "in the order of the log");
        }
        let log = hub.store().find_log("acme", 0, 100).await.unwrap();
        assert!(log.iter().all(|row| row["kind"] == "create"), "P1: it is no row");
        bob.close().await;
    }
}

#[tokio::test]
async fn c9_catch_up_is_answered_also_when_nothing_is_held_back() {
    let hub = Hub::start().await;
    let (mut bob, _) = Peer::hello(&hub, &Hello::of("bob", "b").to(&["ticket"])).await;
    let mut asked = Vec::new();
    for _ in 0..3 {
        asked.push(bob.request(json!({"type": "catch_up"})).await);
    }
    let mut answered = Vec::new();
    while answered.len() < 3 {
        let frame = bob.find("caught_up").await;
        answered.extend(frame["id"].as_u64());
    }
    assert_eq!(answered, asked);
    let frames = catch_up(&mut bob).await;
    assert_eq!((changed(&frames).len(), told(&frames).len()), (0, 0));
    for role in [Role::Publisher, Role::Operator] {
        let mut service = Service::with(&hub, role, |_| {}).await;
        let answer = service.0.ask(json!({"type": "catch_up"})).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("forbidden")));
    }
    let id = 7;
    let mut flood = Peer::open_narrow(&hub, Encoding::Json).await;
    flood.greet(&hub, &Hello::of("carol", "c").to(&["ticket"])).await;
    flood.find("caught_up").await;
    for _ in 0..5000 {
        flood.send(&json!({"type": "catch_up", "id": id})).await;
    }
    let mut count = 0;
    while count < 5000 {
        let frame = flood.next().await;
        assert!(
            frame["id"].is_null() || frame["type"] == "caught_up" || frame["code"] == "too_many_in_flight"
        );
        count += usize::from(frame["id"] == id);
    }
}

#[tokio::test]
async fn c2_c9_inv5_a_cursor_stays_before_what_is_held_back_and_the_next_hello_brings_it() {
    let hub = Hub::start().await;
    let (mut alice, mut bob) = (writer(&hub).await, reader(&hub, "high").await);
    let mut copy = Copy::default();
    let (low, high) = (Uuid::now_v7(), Uuid::now_v7());
    let first = alice.commit(json!([urgent(Uuid::now_v7(), "high")])).await;
    copy.take(&bob.quiet().await);
    assert_eq!(copy.seq, first);
    let held = alice.commit(json!([urgent(low, "low")])).await;
    alice.commit(json!([urgent(high, "high")])).await;
    let frames = bob.quiet().await;
    assert_eq!(changed(&frames), [high.to_string()], "what passes goes at once");
    assert!(places(&frames).iter().all(|place| *place < held), "{frames:?}");
    copy.take(&frames);
    bob.cut();
    let cursor = copy.cursor.clone();
    let subscriptions = json!([{"domain": "ticket", "priority": "high"}]);
    let hello = Hello::of("bob", "b").with(json!({"subscriptions": subscriptions, "cursor": cursor}));
    let (mut bob, welcome) = Peer::hello(&hub, &hello).await;
    assert_eq!(welcome["fresh"], json!([]));
    let frames = bob.until("caught_up").await;
    assert_eq!(changed(&frames), [low.to_string(), high.to_string()]);
    copy.take(&frames);
    assert_eq!(copy.records.len(), 3);
}

#[tokio::test]
async fn c9_a_setting_that_holds_back_no_longer_brings_everything() {
    let hub = Hub::start().await;
    let (mut alice, mut bob) = (writer(&hub).await, reader(&hub, "all").await);
    set(&mut bob, json!({"battery_saver": true, "app_state": "background"})).await;
    let id = Uuid::now_v7();
    alice.commit(json!([ticket(id, "fire")])).await;
    bob.find("sync_trigger").await;
    set(&mut bob, json!({"battery_saver": false, "network_quality": "good"})).await;
    let frames = bob.quiet().await;
    assert_eq!(changed(&frames).len(), 0, "the app is in the background still: {frames:?}");
    set(&mut bob, json!({"app_state": "foreground"})).await;
    let frames = bob.until("caught_up").await;
    assert_eq!(changed(&frames), [id.to_string()]);
    assert!(frames.last().unwrap()["id"].is_null());
    set(&mut bob, json!({"battery_saver": true})).await;
    set(&mut bob, json!({"battery_saver": false})).await;
    let frames = bob.quiet().await;
    assert!(frames.iter().all(|frame| frame["type"] != "caught_up"), "nothing was held back: {frames:?}");
    let id = Uuid::now_v7();
    alice.commit(json!([ticket(id, "fire")])).await;
    assert_eq!(changed(&bob.quiet().await), [id.to_string()], "live as before");
}

/// Of what was held back a record comes once, as it stands; what went meanwhile goes.
#[tokio::test]
async fn c5_c9_what_was_held_back_comes_as_it_stands() {
    let hub = Hub::start().await;
    let mut alice = writer(&hub).await;
    let (stays, goes, leaves, rises) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    let entries: Value = [stays, goes, leaves, rises].iter().map(|id| ticket(*id, "fire")).collect();
    alice.commit(entries).await;
    let filter = json!([{"domain": "ticket", "filter": {"subject": ["fire", "smoke"]}, "priority": "high"}]);
    let hello = Hello::of("bob", "b").with(json!({"subscriptions": filter}));
    let (mut bob, frames) = Peer::live(&hub, &hello).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    for version in 1..4 {
        alice
            .commit(json!([edit(
                "ticket",
                stays,
                version,
                &json!({"subject": "smoke", "category": version.to_string()})
            )]))
            .await;
    }
    alice.commit(json!([delete("ticket", goes, 1)])).await;
    alice.commit(json!([edit("ticket", leaves, 1, &json!({"subject": "flood"}))])).await;
    alice.commit(json!([edit("ticket", rises, 1, &json!({"subject": "smoke"}))])).await;
    alice.commit(json!([edit("ticket", rises, 2, &json!({"priority": "HIGH"}))])).await;
    let frames = bob.quiet().await;
    assert_eq!((changed(&frames), told(&frames).len()), (vec![rises.to_string()], 1), "{frames:?}");
    assert_eq!(frames.iter().find(|frame| frame["type"] == "data_update").unwrap()["version"], 3);
    copy.take(&frames);
    assert_eq!(copy.records.len(), 4, "nothing has gone yet");
    let frames = catch_up(&mut bob).await;
    let operations: Vec<_> = frames.iter().filter_map(|frame| frame["operation"].as_str()).collect();
    assert_eq!(operations, ["update", "delete", "remove", "update"], "{frames:?}");
    copy.take(&frames);
    let held = [stays, goes, leaves, rises].map(|id| copy.version("ticket", id));
    assert_eq!(held, [Some(4), None, None, Some(3)]);
}

/// A change goes by the most permissive subscription that it matches, before or after it.
#[tokio::test]
async fn c3_c9_the_most_permissive_subscription_counts() {
    let hub = Hub::start().await;
    let mut alice = writer(&hub).await;
    let subscriptions = json!([
        {"domain": "ticket", "priority": "critical"},
        {"domain": "ticket", "filter": {"status": "NEW"}, "priority": "all"},
    ]);
    let (mut bob, _) =
        Peer::live(&hub, &Hello::of("bob", "b").with(json!({"subscriptions": subscriptions}))).await;
    let id = Uuid::now_v7();
    alice.commit(json!([ticket(id, "fire")])).await;
    assert_eq!(changed(&bob.quiet().await).len(), 1);
    alice.commit(json!([edit("ticket", id, 1, &json!({"status": "OPEN"}))])).await;
    assert_eq!(changed(&bob.quiet().await).len(), 1, "it was new until now");
    alice.commit(json!([edit("ticket", id, 2, &json!({"subject": "smoke"}))])).await;
    let frames = bob.quiet().await;
    assert_eq!((changed(&frames).len(), told(&frames).len()), (0, 1));
}

#[tokio::test]
async fn c3_c9_other_subscriptions_bring_what_was_held_back_and_skip_nothing() {
    let hub = Hub::start().await;
    let mut alice = writer(&hub).await;
    let task = Uuid::now_v7();
    alice.commit(json!([edit("task", task, 0, &json!({"jobdesc": "pump"}))])).await;
    for (request, fresh) in [
        (json!({"type": "subscribe", "subscriptions": [{"domain": "ticket"}]}), json!([])),
        (
            json!({"type": "subscribe", "subscriptions": [{"domain": "task"}]}),
            json!([{"domain": "task", "reason": "new"}]),
        ),
        (
            json!({"type": "subscribe", "subscriptions": [{"domain": "ticket", "filter": {"status": "NEW"}}]}),
            json!([{"domain": "ticket", "reason": "changed"}]),
        ),
    ] {
        let mut bob = reader(&hub, "high").await;
        let mut copy = Copy::default();
        let id = Uuid::now_v7();
        let held = alice.commit(json!([urgent(id, "low")])).await;
        let seq = alice.commit(json!([urgent(Uuid::now_v7(), "high")])).await;
        copy.take(&bob.until("sync_trigger").await);
        bob.request(json!({"type": "unsubscribe", "domains": ["journal"]})).await;
        let frames = bob.quiet().await;
        assert_eq!(
            changed(&frames).iter().filter(|one| **one == id.to_string()).count(),
            0,
            "nothing has changed"
        );
        assert!(places(&frames).iter().all(|place| *place < held), "{frames:?}");
        copy.take(&frames);
        bob.request(request.clone()).await;
        let frames = bob.until("caught_up").await;
        let subscribed = frames.iter().find(|frame| frame["type"] == "subscribed").unwrap();
        assert_eq!(subscribed["fresh"], fresh, "C3: priority alone makes nothing fresh");
        copy.take(&frames);
        assert_eq!((copy.version("ticket", id), copy.seq >= seq), (Some(1), true), "{request}: {frames:?}");
        if request["subscriptions"][0]["domain"] == "task" {
            assert_eq!(copy.version("task", task), Some(1));
        }
        bob.close().await;
    }
}

/// Its own change is held back like any other; the answer comes, and no place past it.
#[tokio::test]
async fn c7_c9_an_own_change_is_shown_until_the_device_has_caught_up() {
    let hub = Hub::start().await;
    let mut bob = reader(&hub, "all").await;
    set(&mut bob, json!({"battery_saver": true})).await;
    let id = Uuid::now_v7();
    let seq = bob.commit(json!([ticket(id, "fire")])).await;
    let frames = bob.quiet().await;
    assert_eq!((changed(&frames).len(), told(&frames).len()), (0, 1));
    assert!(places(&frames).iter().all(|place| *place < seq), "{frames:?}");
    let frames = catch_up(&mut bob).await;
    assert_eq!(changed(&frames), [id.to_string()]);
    assert!(frames.last().unwrap()["seq"].as_u64().unwrap() >= seq);
}
