//! Which requests are answered to whom, and what a hub does not offer yet.

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, tickets};

async fn live(hub: &Hub, role: Role, encoding: Encoding) -> Peer {
    let mut peer = Peer::open(hub, encoding).await;
    let token = hub.token("acme", "somebody", |grant| grant.role = role);
    let mut hello = json!({"type": "hello", "id": 1, "token": token});
    if role == Role::Device {
        hello["device"] = json!({"id": "d", "kind": "phone"});
    }
    peer.send(&hello).await;
    peer.until("caught_up").await;
    peer
}

/// The type of the answer, or the code of the error.
async fn outcome(peer: &mut Peer, request: Value) -> String {
    let answer = peer.ask(request).await;
    let what = if answer["type"] == "error" { &answer["code"] } else { &answer["type"] };
    what.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_request_is_answered_as_its_role_may_ask() {
    let hub = Hub::start().await;
    for role in [Role::Device, Role::Publisher, Role::Operator] {
        let token = hub.token("acme", "somebody", |grant| grant.role = role);
        let own = role == Role::Device;
        let batch = json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": tickets(1).0});
        for (request, offered, expected) in [
            (json!({"type": "ping"}), true, "pong"),
            (json!({"type": "token", "token": token}), true, "token_accepted"),
            (json!({"type": "subscribe", "subscriptions": [{"domain": "ticket"}]}), true, "subscribed"),
            (json!({"type": "unsubscribe", "domains": ["ticket"]}), true, "subscribed"),
            (batch, own, "sync_result"),
            (json!({"type": "settings", "battery_saver": true}), own, "settings_applied"),
            (json!({"type": "catch_up"}), own, "caught_up"),
        ] {
            let mut peer = live(&hub, role, Encoding::Json).await;
            let expected = if offered { expected } else { "forbidden" };
            assert_eq!(outcome(&mut peer, request.clone()).await, expected, "{role} {request}");
        }
        let mut peer = live(&hub, role, Encoding::Json).await;
        peer.send(&json!({"type": "ack", "cursor": "c"})).await;
        peer.send(&json!({"type": "ping", "id": 7})).await;
        let answer = peer.next().await;
        assert_eq!(answer["type"], if own { "pong" } else { "error" }, "{role} ack");
    }
}

#[tokio::test]
async fn what_is_not_offered_yet_is_an_unknown_type_whatever_its_fields_say() {
    let hub = Hub::start().await;
    let id = Uuid::now_v7();
    for role in [Role::Device, Role::Publisher, Role::Operator] {
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            let mut peer = live(&hub, role, encoding).await;
            for request in [
                json!({"type": "pull"}),
                json!({"type": "pull", "limit": "many", "filter": []}),
                json!({"type": "resolve", "conflict_id": id, "resolution": "client", "server_version": 1}),
                json!({"type": "resolve", "resolution": 5}),
                json!({"type": "conflicts"}),
                json!({"type": "conflicts", "limit": -1}),
                json!({"type": "presence", "users": ["ann"]}),
                json!({"type": "presence"}),
                json!({"type": "teleport"}),
            ] {
                assert_eq!(outcome(&mut peer, request.clone()).await, "unknown_type", "{role} {request}");
            }
            peer.send(&json!({"type": "pull", "id": "one"})).await;
            assert_eq!(peer.next().await["code"], "unknown_type", "without an id that can be read too");
            assert_eq!(outcome(&mut peer, json!({"type": "ping"})).await, "pong", "the socket goes on");
        }
    }
}

#[tokio::test]
async fn settings_are_kept_and_said_back() {
    let hub = Hub::start().await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let hello = Hello::of("alice", "a").with(json!({"network_quality": "good"}));
        let (mut peer, _) = Peer::hello_in(&hub, &hello, encoding).await;
        peer.until("caught_up").await;
        for (said, saver, quality, state) in [
            (json!({}), false, "good", "foreground"),
            (json!({"battery_saver": true}), true, "good", "foreground"),
            (json!({"network_quality": "poor", "app_state": "background"}), true, "poor", "background"),
            (json!({"battery_saver": null, "app_state": "foreground"}), true, "poor", "foreground"),
            (json!({"battery_saver": false, "later": [1]}), false, "poor", "foreground"),
        ] {
            let mut request = json!({"type": "settings"});
            request.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
            let mut applied = peer.ask(request).await;
            applied.as_object_mut().unwrap().remove("id");
            let expected = json!({
                "type": "settings_applied", "battery_saver": saver, "network_quality": quality, "app_state": state,
            });
            assert_eq!(applied, expected, "{said}");
        }
        for wrong in [
            json!({"type": "settings", "battery_saver": "on"}),
            json!({"type": "settings", "app_state": "asleep", "battery_saver": true}),
            json!({"type": "settings", "network_quality": 4}),
            json!({"type": "settings", "network_quality": ""}),
        ] {
            assert_eq!(outcome(&mut peer, wrong.clone()).await, "bad_request", "{wrong}");
        }
        let applied = peer.ask(json!({"type": "settings"})).await;
        assert_eq!(applied["battery_saver"], false, "nothing of a bad request is done");
    }
    let (mut peer, _) = Peer::live(&hub, &Hello::of("alice", "b")).await;
    assert_eq!(peer.ask(json!({"type": "settings"})).await["network_quality"], "unknown");
}

#[tokio::test]
async fn what_a_newer_client_says_is_passed_over() {
    let hub = Hub::start().await;
    let newer = json!({
        "features": ["telepathy", "order"], "compression": ["brotli", "zstd"], "later": {"a": [1]},
        "device": {"battery": 7}, "subscriptions": [{"domain": "ticket", "order": "newest"}],
    });
    let (mut peer, welcome) = Peer::hello(&hub, &Hello::of("alice", "a").with(newer)).await;
    assert_eq!(welcome["features"], json!([]), "what both know");
    assert_eq!(welcome.get("compression"), None);
    peer.until("caught_up").await;
    let mut entry = tickets(1).0;
    entry[0]["colour"] = json!("red");
    let batch = json!({
        "type": "sync", "batch_id": Uuid::now_v7(), "entries": entry,
        "predict": true, "cross_device": true, "later": 5,
    });
    let answer = peer.ask(batch).await;
    assert_eq!(answer["results"][0]["status"], "created", "{answer}");
    assert_eq!(answer["results"][0].get("prediction"), None);
}

#[tokio::test]
async fn before_hello_everything_is_unauthorized_whatever_its_fields_say() {
    let hub = Hub::start().await;
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    for request in [
        json!({"type": "settings", "id": 5, "battery_saver": "on"}),
        json!({"type": "token", "id": 5, "token": "nonsense"}),
        json!({"type": "sync", "id": 5}),
        json!({"type": "publish", "id": 5}),
    ] {
        peer.send(&request).await;
        let error = peer.next().await;
        assert_eq!((&error["code"], &error["id"]), (&json!("unauthorized"), &json!(5)), "{request}");
    }
    peer.greet(&hub, &Hello::of("alice", "a")).await;
}
