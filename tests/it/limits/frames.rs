//! Frames, entries and bytes over the limit: `rate_limited`, and nothing of the request is done.

use serde_json::json;
use synchub::auth::Role;
use uuid::Uuid;

use super::{SECOND_US, assert_limited, batch, hub};
use crate::push::service::Service;
use crate::support::{Hello, Peer, tickets};

#[tokio::test]
async fn ws7_a_request_over_the_limit_is_refused_with_a_hint_and_passes_when_it_has_passed() {
    let hub = hub(|rates| rates.device_frames = 4).await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    for _ in 0..4 {
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
    }
    assert_limited(&peer.ask(json!({"type": "ping"})).await, 250);
    assert_limited(&peer.ask(json!({"type": "nonsense"})).await, 250);
    assert_limited(&peer.ask(json!({"type": "subscribe", "subscriptions": 5})).await, 250);
    hub.clock.advance(SECOND_US / 4);
    assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
    assert_eq!(hub.metric("synchub_limited_total{limit=\"frame\"}"), 3);
    hub.stop().await;
}

#[tokio::test]
async fn ws7_nothing_of_a_refused_request_is_done() {
    let hub = hub(|rates| rates.device_entries = 10).await;
    let (mut peer, _) = Peer::live(&hub, &Hello::of("anna", "phone").to(&["ticket"])).await;
    let (entries, _) = tickets(8);
    assert_eq!(peer.ask(batch(&entries)).await["type"], "sync_result");
    let (more, _) = tickets(5);
    let refused = batch(&more);
    assert_limited(&peer.ask(refused.clone()).await, 300);
    assert!(peer.quiet().await.iter().all(|frame| frame["operation"] != "create" || frame["version"] == 1));
    let digest = peer.ask(json!({"type": "digest"})).await;
    assert_eq!(digest["domains"]["ticket"]["count"], 8, "{digest}");

    hub.clock.advance(3 * SECOND_US / 10);
    let answer = peer.ask(refused).await;
    assert_eq!((&answer["type"], &answer["repeated"]), (&json!("sync_result"), &json!(false)));
    hub.stop().await;
}

#[tokio::test]
async fn ws7_bytes_count_and_a_frame_larger_than_the_burst_passes_alone() {
    let hub = hub(|rates| rates.device_bytes = 1000).await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    let (entries, _) = tickets(20);
    let large = batch(&entries);
    assert!(large.to_string().len() > 1000);
    assert_eq!(peer.ask(large).await["type"], "sync_result");
    assert_eq!(peer.ask(json!({"type": "ping"})).await["code"], "rate_limited");
    hub.clock.advance(SECOND_US);
    assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
    hub.stop().await;
}

#[tokio::test]
async fn o2_a_refused_batch_leaves_no_gap_and_answers_keep_their_order() {
    let hub = hub(|rates| rates.device_entries = 10).await;
    let device = json!({"device": {"install_id": Uuid::now_v7()}});
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone").with(device)).await;
    let mut ids = Vec::new();
    // Of 6, 6 and 2 the second has no room; the third has, and is out of order.
    for (first, count) in [(1, 6), (7, 6), (13, 2)] {
        let (entries, _) = tickets(count);
        let mut batch = batch(&entries);
        batch["first_client_seq"] = json!(first);
        ids.push((peer.request(batch.clone()).await, batch));
    }
    let mut answers = Vec::new();
    while answers.len() < 3 {
        let frame = peer.next().await;
        if ids.iter().any(|(id, _)| frame["id"] == *id) {
            answers.push(frame);
        }
    }
    assert_eq!(answers[0]["id"], ids[0].0);
    assert_eq!(answers[0]["type"], "sync_result");
    assert_eq!(answers[1]["id"], ids[1].0, "in the order sent");
    assert_limited(&answers[1], 200);
    assert_eq!((&answers[2]["id"], &answers[2]["code"]), (&json!(ids[2].0), &json!("out_of_order")));

    hub.clock.advance(SECOND_US);
    for (_, batch) in ids.drain(1..) {
        let answer = peer.ask(batch).await;
        assert_eq!(answer["type"], "sync_result", "{answer}");
    }
    peer.close().await;
    let rows = hub.store().find_devices("acme", Some("anna"), Some("phone")).await.unwrap();
    assert_eq!(rows[0]["installs"][0]["mark"], 14, "every number was decided: {}", rows[0]);
    hub.stop().await;
}

#[tokio::test]
async fn ws7_an_ack_over_the_limit_has_no_answer_and_closes_nothing() {
    let hub = hub(|rates| rates.device_frames = 2).await;
    let (mut peer, _) = Peer::live(&hub, &Hello::of("anna", "phone").to(&["ticket"])).await;
    let cursor = peer.cursor.clone().unwrap();
    for _ in 0..10 {
        peer.send(&json!({"type": "ack", "cursor": cursor})).await;
    }
    assert!(peer.quiet().await.is_empty());
    hub.clock.advance(SECOND_US);
    assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
    hub.stop().await;
}

#[tokio::test]
async fn ws7_ten_thousand_offline_entries_pass_under_the_defaults() {
    let hub = hub(|rates| *rates = synchub::config::RateSettings::default()).await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    for _ in 0..10 {
        let (entries, _) = tickets(1000);
        let answer = peer.ask(batch(&entries)).await;
        assert_eq!(answer["type"], "sync_result", "{answer}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn o2_what_is_out_of_order_behind_a_refused_batch_does_not_keep_it_out() {
    let hub = hub(|rates| rates.device_entries = 10).await;
    let hello = Hello::of("anna", "phone").with(json!({"device": {"install_id": Uuid::now_v7()}}));
    let (mut peer, _) = Peer::hello(&hub, &hello).await;
    let numbered = |count: usize, first: u64| {
        let mut batch = batch(&tickets(count).0);
        batch["first_client_seq"] = json!(first);
        batch
    };
    assert_eq!(peer.ask(numbered(8, 1)).await["type"], "sync_result");
    let refused = numbered(5, 9);
    assert_limited(&peer.ask(refused.clone()).await, 300);
    for _ in 0..3 {
        assert_eq!(peer.ask(numbered(2, 14)).await["code"], "out_of_order");
    }
    hub.clock.advance(3 * SECOND_US / 10);
    assert_eq!(peer.ask(refused).await["type"], "sync_result");
    hub.stop().await;
}

#[tokio::test]
async fn p1_what_a_service_publishes_is_held_to_the_limits_on_its_socket_and_over_http() {
    let hub = hub(|rates| rates.publisher_entries = 4).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone").to(&["task"])).await;
    let token = hub.token("acme", "service", |grant| grant.role = Role::Publisher);
    let mut service = Service::with(&hub, Role::Publisher, |_| {}).await;
    let message = json!({"kind": "message", "to": {"user": "bob"}, "data": {"text": "come"}});
    let change = json!({"domain": "task", "mobile_id": Uuid::now_v7(), "data": {"jobdesc": "dig"}});
    let both = json!({"changes": [change], "pushes": [message]});
    assert_eq!(service.ask(both).await["type"], "published");
    let three = json!({"pushes": [message, message, message]});
    assert_limited(&service.ask(three.clone()).await, 250);

    let post = || {
        let request = reqwest::Client::new().post(format!("{}/api/v2/push", hub.http())).bearer_auth(&token);
        request.body(json!({"pushes": [message, message, message]}).to_string()).send()
    };
    let refused = post().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["Retry-After"]), (429, &"1".parse().unwrap()));
    let said: serde_json::Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
    assert_eq!(
        (&said["error"]["code"], &said["error"]["retry_after_ms"]),
        (&json!("rate_limited"), &json!(250))
    );
    assert_eq!(hub.metric("synchub_limited_total{limit=\"entries\"}"), 2);

    hub.clock.advance(SECOND_US / 4);
    assert_eq!(post().await.unwrap().status().as_u16(), 200);
    assert_limited(&service.ask(three).await, 750);
    let messages = bob.quiet().await.iter().filter(|frame| frame["type"] == "message").count();
    assert_eq!(messages, 4, "nothing of what was refused was done");
    hub.stop().await;
}
