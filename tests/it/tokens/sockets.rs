//! Hubs with public keys and with a set of keys, over real sockets.

use jsonwebtoken::Algorithm;
use serde_json::json;
use synchub_protocol::Encoding;

use crate::support::{Hello, Hub, Issuer, KeyServer, PUBLIC, Peer};

/// What becomes of a hello with this token: 0 or the code of the close.
async fn greeted(hub: &Hub, token: &str) -> u16 {
    let hello = Hello::of("alice", "a").with(json!({"token": token}));
    let mut peer = Peer::open(hub, Encoding::Json).await;
    peer.send(&hello.frame(hub)).await;
    peer.next_or_close().await.map_or_else(|code| code, |frame| u16::from(frame["type"] != "welcome"))
}

#[tokio::test]
async fn tokens_of_every_algorithm_open_sessions() {
    let issuers = PUBLIC.map(|algorithm| Issuer::new(algorithm, "2026"));
    let keys = issuers.iter().map(Issuer::settings).collect();
    let hub = Hub::with(|settings| settings.auth.keys = keys).start().await;
    for issuer in &issuers {
        assert_eq!(greeted(&hub, &issuer.token(&json!({}))).await, 0, "{:?}", issuer.algorithm);
        let now = issuer.token(&json!({"exp": crate::support::NOW_US / 1_000_000}));
        assert_eq!(greeted(&hub, &now).await, 4500, "expired");
        let stranger = Issuer::new(issuer.algorithm, "2026");
        assert_eq!(greeted(&hub, &stranger.token(&json!({}))).await, 4500, "another key");
        let unknown = Issuer::new(issuer.algorithm, "2027");
        assert_eq!(greeted(&hub, &unknown.token(&json!({}))).await, 4500, "an unknown key");
    }
    assert_eq!(greeted(&hub, &hub.token("acme", "alice", |_| {})).await, 0, "HS256 goes on");
}

#[tokio::test]
async fn a_hub_follows_the_rotation_of_its_issuer() {
    let [old, new] = ["old", "new"].map(|kid| Issuer::new(Algorithm::ES256, kid));
    let server = KeyServer::start(&[&old]);
    let hub = Hub::with(|settings| settings.auth.jwks_url = Some(server.url())).start().await;
    assert_eq!(greeted(&hub, &old.token(&json!({}))).await, 0);
    assert_eq!(greeted(&hub, &new.token(&json!({}))).await, 4500, "not published yet");
    assert_eq!(server.asked(), 1);

    server.publish(&[&old, &new]);
    hub.clock.advance(10_000_000);
    let (one, two) = (new.token(&json!({})), new.token(&json!({"sub": "bob"})));
    assert_eq!(tokio::join!(greeted(&hub, &one), greeted(&hub, &two)), (0, 0));
    assert_eq!(greeted(&hub, &old.token(&json!({}))).await, 0);
    assert_eq!(server.asked(), 2);

    server.publish(&[&new]);
    hub.clock.advance(10_000_000);
    assert_eq!(greeted(&hub, &Issuer::new(Algorithm::ES256, "made up").token(&json!({}))).await, 4500);
    assert_eq!(greeted(&hub, &old.token(&json!({}))).await, 4500, "taken out");
    assert_eq!(greeted(&hub, &new.token(&json!({}))).await, 0);
    assert_eq!(server.asked(), 3);
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_without_its_set_starts_and_tells_devices_to_come_back() {
    let issuer = Issuer::new(Algorithm::RS256, "2026");
    let server = KeyServer::start(&[&issuer]);
    server.fail("503 Busy");
    let hub = Hub::with(|settings| settings.auth.jwks_url = Some(server.url())).start().await;
    assert_eq!(greeted(&hub, &issuer.token(&json!({}))).await, 4004);
    assert_eq!(greeted(&hub, &hub.token("acme", "alice", |_| {})).await, 0, "HS256 needs no set");
    assert_eq!(greeted(&hub, "nonsense").await, 4500);

    server.publish(&[&issuer]);
    hub.clock.advance(10_000_000);
    assert_eq!(greeted(&hub, &issuer.token(&json!({}))).await, 0);
    server.fail("503 Busy");
    hub.clock.advance(10_000_000);
    assert_eq!(greeted(&hub, &Issuer::new(Algorithm::RS256, "2027").token(&json!({}))).await, 4004);
    assert_eq!(greeted(&hub, &issuer.token(&json!({}))).await, 0, "the last good set goes on");
}

#[tokio::test]
async fn a_session_is_renewed_with_a_key_that_is_asked_for() {
    let [old, new, newer] = ["old", "new", "newer"].map(|kid| Issuer::new(Algorithm::EdDSA, kid));
    let server = KeyServer::start(&[&old]);
    let hub = Hub::with(|settings| settings.auth.jwks_url = Some(server.url())).start().await;
    let hello = Hello::of("alice", "a").with(json!({"token": old.token(&json!({}))}));
    let (mut peer, _) = Peer::hello(&hub, &hello).await;
    let renewal = |id: u64, token: String| json!({"type": "token", "id": id, "token": token});
    server.publish(&[&new]);
    hub.clock.advance(10_000_000);

    let held = server.hold().await;
    peer.send(&renewal(5, new.token(&json!({})))).await;
    server.until_asked(2).await;
    peer.send(&renewal(6, new.token(&json!({})))).await;
    let busy = peer.find("error").await;
    assert_eq!((&busy["id"], &busy["code"]), (&json!(6), &json!("too_many_in_flight")));
    peer.send(&json!({"type": "ping", "id": 7})).await;
    assert_eq!(peer.find("pong").await["id"], 7, "the session goes on meanwhile");
    drop(held);
    assert_eq!(peer.find("token_accepted").await["id"], 5);

    server.fail("503 Busy");
    hub.clock.advance(10_000_000);
    for (id, token, code) in
        [(8, newer.token(&json!({})), "unavailable"), (9, new.token(&json!({"sub": "bob"})), "forbidden")]
    {
        peer.send(&renewal(id, token)).await;
        let error = peer.find("error").await;
        assert_eq!((&error["id"], &error["code"]), (&json!(id), &json!(code)));
    }
    peer.send(&renewal(10, new.token(&json!({})))).await;
    assert_eq!(peer.find("token_accepted").await["id"], 10);
}
