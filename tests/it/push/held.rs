//! Pushes to a device that saves battery (P3, C9).

use serde_json::{Value, json};
use uuid::Uuid;

use super::service::{Service, message, pass, pushes, texts, trigger};
use crate::support::{Hello, Hub, Peer, ticket};

async fn saver(hub: &Hub, name: &str) -> Peer {
    let (mut bob, _) = Peer::live(hub, &Hello::of("bob", name)).await;
    bob.ask(json!({"type": "settings", "battery_saver": true})).await;
    bob
}

fn with(mut push: Value, priority: &str) -> Value {
    push["priority"] = json!(priority);
    push
}

fn reasons(frames: &[Value]) -> Vec<&str> {
    pushes(frames).into_iter().filter_map(|push| push["reason"].as_str()).collect()
}

#[tokio::test]
async fn p3_c9_battery_saver_holds_back_what_is_below_high_and_says_so_once() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let mut bob = saver(&hub, "phone").await;
    let (mut tablet, _) = Peer::live(&hub, &Hello::of("bob", "tablet")).await;
    for priority in ["low", "normal", "high", "critical"] {
        service.push(json!([with(message("bob", priority), priority)])).await;
    }
    let frames = bob.quiet().await;
    assert_eq!(
        (texts(&frames), reasons(&frames)),
        (vec!["high", "critical"], vec!["held_back"]),
        "{frames:?}"
    );
    assert_eq!(texts(&tablet.quiet().await), ["low", "normal", "high", "critical"], "of the device alone");
    let seqs: Vec<_> =
        frames.iter().filter(|frame| frame["type"] == "position").map(|frame| &frame["seq"]).collect();
    assert!(seqs.iter().all(|seq| **seq == 0), "C2: {frames:?}");
    let id = bob.request(json!({"type": "catch_up"})).await;
    let frames = bob.until("caught_up").await;
    assert_eq!((texts(&frames), &frames.last().unwrap()["id"]), (vec!["low", "normal"], &json!(id)));
    assert_eq!(frames.last().unwrap()["seq"], 4);
    service.push(json!([message("bob", "again")])).await;
    assert_eq!(reasons(&bob.quiet().await), ["held_back"], "since the last caught_up");
}

#[tokio::test]
async fn p3_c9_a_device_that_saves_battery_no_longer_is_sent_all_that_waits() {
    let hub = Hub::with(|settings| settings.push.per_minute = 3).start().await;
    let mut service = Service::start(&hub).await;
    let mut bob = saver(&hub, "phone").await;
    let mut many: Vec<_> = (0..5).map(|n| message("bob", &n.to_string())).collect();
    many.insert(1, trigger("bob", &["ticket"]));
    many.push(trigger("bob", &["task"]));
    service.push(json!(many)).await;
    assert_eq!(reasons(&bob.quiet().await), ["held_back"]);
    bob.ask(json!({"type": "settings", "battery_saver": false})).await;
    let frames = bob.until("caught_up").await;
    assert_eq!(texts(&frames), ["0", "1", "2", "3", "4"], "what the app is behind with is no interruption");
    assert_eq!(reasons(&frames), ["server_update"], "triggers merge: {frames:?}");
    assert_eq!(frames.last().unwrap()["seq"], 7);
}

/// What waits for the user's next minute is not held back in this sense: it comes by itself.
#[tokio::test]
async fn p3_c9_battery_saver_and_the_limit_of_a_minute_go_together() {
    let hub = Hub::with(|settings| settings.push.per_minute = 3).start().await;
    let mut service = Service::start(&hub).await;
    let mut bob = saver(&hub, "phone").await;
    let many: Vec<_> = (0..4).map(|n| with(message("bob", &n.to_string()), "high")).collect();
    service.push(json!([message("bob", "normal")])).await;
    service.push(json!(many)).await;
    let frames = bob.quiet().await;
    assert_eq!((texts(&frames), reasons(&frames)), (vec!["0", "1"], vec!["held_back"]));
    pass(&hub, 60);
    bob.ask(json!({"type": "ping"})).await;
    assert_eq!(texts(&bob.quiet().await), ["2", "3"], "what battery saver holds back is not in their way");
    bob.request(json!({"type": "catch_up"})).await;
    assert_eq!(texts(&bob.until("caught_up").await), ["normal"]);
}

#[tokio::test]
async fn p2_c9_a_push_that_was_held_back_comes_after_a_reconnect() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let mut bob = saver(&hub, "phone").await;
    let sent = service.send(message("bob", "held")).await;
    bob.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    bob.quiet().await;
    let cursor = bob.cursor.clone();
    bob.cut();
    let hello = Hello::of("bob", "phone").with(json!({"cursor": cursor}));
    let (_bob, frames) = Peer::live(&hub, &hello).await;
    let got: Vec<_> = pushes(&frames).into_iter().map(|push| push["push_id"].clone()).collect();
    assert_eq!(got, [json!(sent)]);
}

/// More pushes than are taken at once are held back, and a change behind them comes.
#[tokio::test]
async fn p3_c9_many_pushes_that_are_held_back_let_changes_pass() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone").to(&["ticket"])).await;
    bob.ask(json!({"type": "settings", "battery_saver": true})).await;
    let (mut alice, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let many: Vec<_> = (0..100).map(|n| message("bob", &n.to_string())).collect();
    service.push(json!(many)).await;
    let mut urgent = ticket(Uuid::now_v7(), "fire");
    urgent["data"]["priority"] = json!("CRITICAL");
    alice.commit(json!([urgent])).await;
    assert_eq!(bob.find("data_update").await["priority"], "critical");
    bob.request(json!({"type": "catch_up"})).await;
    assert_eq!(texts(&bob.until("caught_up").await).len(), 100);
}
