//! Pushes to who is connected (P1).

use serde_json::json;
use synchub::auth::Role;
use synchub_protocol::Encoding;
use uuid::Uuid;

use super::service::{Service, message, pushes, trigger};
use crate::support::{Hello, Hub, Peer, ticket};

#[tokio::test]
async fn p1_a_push_goes_to_the_tenant_the_user_or_the_device() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let (mut phone, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let (mut tablet, _) = Peer::live(&hub, &Hello::of("bob", "tablet")).await;
    let (mut carol, _) = Peer::live(&hub, &Hello::of("carol", "phone")).await;
    let (mut stranger, _) =
        Peer::live(&hub, &Hello { tenant: "umbrella".into(), ..Hello::of("bob", "phone") }).await;
    let sent = service
        .push(json!([
            {"kind": "message", "to": {"tenant": true}, "topic": "all", "data": {"n": 1}, "priority": "high"},
            {"kind": "message", "to": {"user": "bob"}, "data": {"n": 2}},
            {"kind": "sync_trigger", "to": {"user": "bob", "device": "tablet"}, "domains": ["ticket"]},
        ]))
        .await;
    for (peer, expected) in [(&mut phone, &[0, 1][..]), (&mut tablet, &[0, 1, 2]), (&mut carol, &[0])] {
        let frames = peer.quiet().await;
        let ids: Vec<_> = pushes(&frames).into_iter().map(|push| push["push_id"].clone()).collect();
        let expected: Vec<_> = expected.iter().map(|n: &usize| sent[*n]["push_id"].clone()).collect();
        assert_eq!(ids, expected, "in the order of the log");
    }
    assert_eq!(pushes(&stranger.quiet().await).len(), 0, "inv9: another tenant hears nothing");
    let counts = |n: usize| ["delivered", "queued", "held"].map(|field| sent[n][field].as_u64().unwrap());
    assert_eq!([counts(0), counts(1), counts(2)], [[3, 0, 0], [2, 0, 0], [1, 0, 0]]);
}

#[tokio::test]
async fn p1_every_field_of_a_message_and_a_trigger_arrives() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let mut operator = Service::with(&hub, Role::Operator, |_| {}).await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let (mut bob, _) = Peer::hello_in(&hub, &Hello::of("bob", "phone"), encoding).await;
        bob.find("caught_up").await;
        let data = json!({"text": "fire ".repeat(400), "at": [1, {"x": null}], "ok": true});
        let id = service
            .send(json!({"kind": "message", "to": {"user": "bob"}, "topic": "news", "data": data,
                         "priority": "critical"}))
            .await;
        let got = bob.find("message").await;
        assert_eq!(got["push_id"], id);
        assert_eq!(
            (&got["topic"], &got["data"], &got["priority"]),
            (&json!("news"), &data, &json!("critical"))
        );
        assert!(got["server_timestamp"].is_string());
        let id = service.send(trigger("bob", &["ticket", "task"])).await;
        let got = bob.find("sync_trigger").await;
        assert_eq!((got["push_id"].as_str(), &got["domains"]), (Some(&*id), &json!(["ticket", "task"])));
        assert_eq!(got["reason"], "server_update");
        operator.send(json!({"kind": "sync_trigger", "to": {"user": "bob"}})).await;
        let got = bob.find("sync_trigger").await;
        assert_eq!((&got["reason"], &got["domains"]), (&json!("operator"), &json!([])));
        bob.close().await;
    }
}

#[tokio::test]
async fn p1_pushes_and_changes_share_one_log_and_one_order() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone").to(&["ticket"])).await;
    let mut sent = Vec::new();
    for n in 0..6 {
        if n % 2 == 0 {
            let id = Uuid::now_v7();
            bob.commit(json!([ticket(id, "fire")])).await;
            sent.push(id.to_string());
        } else {
            sent.push(service.send(message("bob", "now")).await);
        }
    }
    let frames = bob.quiet().await;
    let data: Vec<_> = frames
        .iter()
        .filter_map(|frame| frame["mobile_id"].as_str().or_else(|| frame["push_id"].as_str()))
        .collect();
    assert_eq!(data, sent);
    assert!(frames.iter().any(|frame| frame["type"] == "position"), "positions follow");
    let log = hub.store().find_log("acme", 0, 100).await.unwrap();
    let kinds: Vec<_> = log.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["create", "push", "create", "push", "create", "push"]);
}

#[tokio::test]
async fn p1_services_hear_what_is_for_the_tenant_or_their_user_and_nothing_is_kept_for_them() {
    let hub = Hub::start().await;
    let mut service = Service::start(&hub).await;
    let mut operator = Service::with(&hub, Role::Operator, |_| {}).await;
    let (_bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let all = json!({"kind": "message", "to": {"tenant": true}, "data": {"text": "all"}});
    service.push(json!([all, message("bob", "bob"), message("service", "own")])).await;
    for peer in [&mut service.0, &mut operator.0] {
        let frames = peer.quiet().await;
        let texts: Vec<_> = pushes(&frames).into_iter().map(|push| push["data"]["text"].clone()).collect();
        assert_eq!(texts, ["all", "own"]);
    }
    let mut later = Service::start(&hub).await;
    assert_eq!(pushes(&later.0.quiet().await).len(), 0);
}
