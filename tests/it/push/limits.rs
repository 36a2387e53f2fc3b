//! How much a user is sent in a minute (P3), and the cursor of who waits (C2, invariant 5).

use serde_json::{Value, json};

use super::service::{Service, back, message, pass, pushes, texts, trigger};
use crate::support::{Hello, Hub, Peer};

async fn hub() -> Hub {
    Hub::with(|settings| settings.push.per_minute = 3).start().await
}

/// A minute passes, and the session notices.
async fn a_minute_later(hub: &Hub, peer: &mut Peer) -> Vec<Value> {
    pass(hub, 60);
    peer.ask(json!({"type": "ping"})).await;
    peer.quiet().await
}

#[tokio::test]
async fn p3_messages_over_the_limit_wait_and_are_sent_later_in_order() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let many: Vec<_> = (0..8).map(|n| message("bob", &n.to_string())).collect();
    let receipts = service.push(json!(many)).await;
    let held: Vec<_> = receipts.iter().map(|receipt| receipt["held"].as_u64().unwrap()).collect();
    assert_eq!(held, [0, 0, 0, 1, 1, 1, 1, 1]);
    assert_eq!(receipts[7]["delivered"], 0);
    assert_eq!(texts(&bob.quiet().await), ["0", "1", "2"]);
    assert_eq!(texts(&a_minute_later(&hub, &mut bob).await), ["3", "4", "5"]);
    assert_eq!(texts(&a_minute_later(&hub, &mut bob).await), ["6", "7"]);
}

#[tokio::test]
async fn p3_the_limit_is_the_users_over_all_devices_and_a_push_counts_once() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let (mut tablet, _) = Peer::live(&hub, &Hello::of("bob", "tablet")).await;
    let (mut carol, _) = Peer::live(&hub, &Hello::of("carol", "phone")).await;
    let to_phone =
        json!({"kind": "message", "to": {"user": "bob", "device": "phone"}, "data": {"text": "own"}});
    service.push(json!([message("bob", "0"), message("bob", "1"), to_phone, message("bob", "2")])).await;
    service.push(json!([message("carol", "0")])).await;
    assert_eq!(texts(&phone.quiet().await), ["0", "1", "own"]);
    assert_eq!(texts(&tablet.quiet().await), ["0", "1"], "the phone's own counts too");
    assert_eq!(texts(&carol.quiet().await), ["0"]);
    assert_eq!(texts(&a_minute_later(&hub, &mut phone).await), ["2"]);
    tablet.ask(json!({"type": "ping"})).await;
    assert_eq!(texts(&tablet.quiet().await), ["2"]);
}

#[tokio::test]
async fn p3_what_is_critical_passes_and_settled_entries_are_not_counted() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let mut critical = message("bob", "critical");
    critical["priority"] = json!("critical");
    let many: Vec<_> = (0..5).map(|n| message("bob", &n.to_string())).collect();
    service.push(json!(many)).await;
    let receipts = service.push(json!([critical])).await;
    assert_eq!((&receipts[0]["delivered"], &receipts[0]["held"]), (&json!(1), &json!(0)));
    assert_eq!(texts(&bob.quiet().await), ["0", "1", "2", "critical"]);
}

#[tokio::test]
async fn p3_triggers_over_the_limit_merge_into_one_about_all_their_domains() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let full: Vec<_> = (0..3).map(|n| message("bob", &n.to_string())).collect();
    service.push(json!(full)).await;
    let sent = service
        .push(json!([
            trigger("bob", &["ticket"]),
            message("bob", "between"),
            trigger("bob", &["task", "ticket"]),
            trigger("bob", &["journal"]),
        ]))
        .await;
    assert_eq!(pushes(&bob.quiet().await).len(), 3);
    let frames = a_minute_later(&hub, &mut bob).await;
    let got = pushes(&frames);
    assert_eq!(got.len(), 2, "{frames:?}");
    assert_eq!(got[0]["domains"], json!(["ticket", "task", "journal"]));
    assert_eq!(got[0]["push_id"], sent[3]["push_id"], "the newest stands for all");
    assert_eq!(texts(&frames), ["between"]);
}

#[tokio::test]
async fn c2_inv5_p3_a_cursor_stays_before_what_waits_so_that_a_reconnect_brings_it() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let many: Vec<_> = (0..5).map(|n| message("bob", &n.to_string())).collect();
    service.push(json!(many)).await;
    assert_eq!(texts(&bob.quiet().await), ["0", "1", "2"]);
    let cursor = bob.cursor.clone().unwrap();
    bob.send(&json!({"type": "ack", "cursor": cursor})).await;
    bob.ask(json!({"type": "ping"})).await;
    bob.close().await;
    let (mut bob, frames) = Peer::live(&hub, &back("bob", "phone", Some(&cursor))).await;
    assert_eq!(texts(&frames), ["3", "4"], "neither those that came nor none");
    assert_eq!(texts(&bob.quiet().await), [""; 0]);
    let cursor = bob.cursor.clone();
    bob.close().await;
    let (_bob, frames) = Peer::live(&hub, &back("bob", "phone", cursor.as_ref())).await;
    assert_eq!(pushes(&frames).len(), 0);
}

/// Who has an answer's place owed is told of it when what waits has gone.
#[tokio::test]
async fn c7_p3_a_position_past_an_answer_comes_when_nothing_waits_any_more() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let many: Vec<_> = (0..4).map(|n| message("bob", &n.to_string())).collect();
    service.push(json!(many)).await;
    let seq = bob.commit(json!([crate::support::ticket(uuid::Uuid::now_v7(), "fire")])).await;
    let frames = bob.quiet().await;
    let places = |frames: &[Value]| -> u64 {
        frames
            .iter()
            .filter(|frame| frame["type"] == "position")
            .filter_map(|frame| frame["seq"].as_u64())
            .max()
            .unwrap_or(0)
    };
    assert!(places(&frames) < seq);
    let frames = a_minute_later(&hub, &mut bob).await;
    assert_eq!(texts(&frames), ["3"]);
    assert!(places(&frames) >= seq, "{frames:?}");
}

#[tokio::test]
async fn p3_of_what_waits_only_the_newest_stay_and_what_ends_meanwhile_is_not_sent() {
    let hub = Hub::with(|settings| {
        settings.push.per_minute = 1;
        settings.push.queue = 2;
    });
    let hub = hub.start().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let mut many: Vec<_> = (0..5).map(|n| message("bob", &n.to_string())).collect();
    many[3]["ttl_secs"] = json!(30);
    service.push(json!(many)).await;
    let frames = bob.quiet().await;
    assert_eq!(texts(&frames), ["0"]);
    let told: Vec<_> = pushes(&frames).into_iter().filter_map(|push| push["reason"].as_str()).collect();
    assert_eq!(told, ["queue_overflow"]);
    let frames = a_minute_later(&hub, &mut bob).await;
    let told: Vec<_> = pushes(&frames).into_iter().filter_map(|push| push["reason"].as_str()).collect();
    assert_eq!((texts(&frames).len(), &told[..]), (0, &["queue_expired"][..]));
    assert_eq!(texts(&a_minute_later(&hub, &mut bob).await), ["4"]);
}
