//! Who may open a session, and for how long (protocol: Authentication).

use serde_json::json;
use synchub::auth::{Grant, Role, Signer};
use synchub::config::{AuthSettings, Secret};
use synchub_protocol::Encoding;

use crate::support::{Hello, Hub, NOW_US, Peer, request};

/// What becomes of a hello with this token: 0 or the code of the close.
async fn greeted(hub: &Hub, token: &str) -> u16 {
    let hello = Hello::of("alice", "a").with(json!({"token": token}));
    let mut peer = Peer::open(hub, Encoding::Json).await;
    peer.send(&hello.frame(hub)).await;
    peer.next_or_close().await.map_or_else(|code| code, |frame| u16::from(frame["type"] != "welcome"))
}

fn foreign(secret: &str) -> String {
    let auth = AuthSettings { hs256_secret: Some(Secret::new(secret)), ..AuthSettings::default() };
    let mut grant = Grant::new("acme", "alice", Role::Device);
    grant.ttl_secs = 3600;
    Signer::new(&auth).unwrap().sign(&grant, NOW_US).unwrap()
}

#[tokio::test]
async fn a_token_that_is_no_good_closes_with_4500() {
    let hub = Hub::start().await;
    let good = hub.token("acme", "alice", |_| {});
    assert_eq!(greeted(&hub, &good).await, 0);
    let bound = hub.token("acme", "alice", |grant| grant.device = Some("a".into()));
    assert_eq!(greeted(&hub, &bound).await, 0);
    let other_device = hub.token("acme", "alice", |grant| grant.device = Some("b".into()));
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    for token in [
        other_device,
        unsigned,
        foreign("another secret of more than 32 bytes, of no hub"),
        format!("{good}x"),
        "nonsense".into(),
        String::new(),
    ] {
        assert_eq!(greeted(&hub, &token).await, 4500, "{token}");
    }
    hub.clock.advance(3600 * 1_000_000);
    assert_eq!(greeted(&hub, &good).await, 4500, "expired");
    assert!(hub.metric("synchub_closes_total{reason=\"invalid_token\"}") >= 7);
}

#[tokio::test]
async fn a_token_may_come_in_the_authorization_header() {
    let hub = Hub::start().await;
    for scheme in ["Bearer", "bearer"] {
        let mut request = request(&hub, Encoding::Json);
        let value = format!("{scheme} {}", hub.token("acme", "alice", |_| {}));
        request.headers_mut().insert("Authorization", value.parse().unwrap());
        let mut peer = Peer::open_as(request, Encoding::Json).await;
        peer.send(&json!({"type": "hello", "id": 4, "device": {"id": "a", "kind": "phone"}})).await;
        assert_eq!(peer.next().await["id"], 4);
        peer.until("caught_up").await;
    }
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    peer.send(&json!({"type": "hello", "id": 4, "device": {"id": "a", "kind": "phone"}})).await;
    assert_eq!(peer.close_code().await, 4500, "no token at all");
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let hub = Hub::start().await;
    let token = hub.token("acme", "alice", |grant| grant.ttl_secs = 1);
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("alice", "a").with(json!({"token": token}))).await;
    assert_eq!(peer.close_code().await, 4501);
}

#[tokio::test]
async fn a_device_has_to_name_itself() {
    let hub = Hub::start().await;
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    let token = hub.token("acme", "alice", |_| {});
    for device in [
        json!({"id": "", "kind": "phone"}),
        json!({"id": "x".repeat(129), "kind": "phone"}),
        json!({"id": "a\n", "kind": "phone"}),
    ] {
        peer.send(&json!({"type": "hello", "id": 1, "token": token, "device": device})).await;
        assert_eq!(peer.next().await["code"], "bad_request");
    }
    peer.send(&json!({"type": "hello", "id": 1, "token": token})).await;
    assert_eq!(peer.next().await["code"], "bad_request");
    peer.greet(&hub, &Hello::of("alice", "a")).await;
}
