//! A token that takes the place of another on a live socket (protocol: Authentication).

use serde_json::{Value, json};
use synchub::auth::{Grant, Role};
use synchub_protocol::Encoding;

use crate::support::{Hello, Hub, Peer};

async fn live(hub: &Hub, token: &str) -> Peer {
    let mut peer = Peer::open(hub, Encoding::Json).await;
    let device = json!({"id": "d", "kind": "phone"});
    peer.send(&json!({"type": "hello", "id": 1, "token": token, "device": device})).await;
    peer.until("caught_up").await;
    peer
}

async fn renew(peer: &mut Peer, token: &str) -> Value {
    peer.ask(json!({"type": "token", "token": token})).await
}

#[tokio::test]
async fn a_renewed_session_outlives_its_first_token() {
    let hub = Hub::start().await;
    let short = hub.token("acme", "alice", |grant| grant.ttl_secs = 1);
    let mut renewed = live(&hub, &short).await;
    let answer = renew(&mut renewed, &hub.token("acme", "alice", |grant| grant.ttl_secs = 7200)).await;
    assert_eq!(
        (&answer["type"], &answer["expires_at"]),
        (&json!("token_accepted"), &json!("2026-01-01T02:00:00.000000Z"))
    );
    // This one says hello later, so it ends after the other would have ended.
    let (mut other, _) = Peer::hello(
        &hub,
        &Hello::of("bob", "b").with(json!({"token": hub.token("acme", "bob", |grant| grant.ttl_secs = 1)})),
    )
    .await;
    assert_eq!(other.close_code().await, 4501);
    assert_eq!(renewed.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn the_new_tokens_end_counts_even_if_it_is_sooner() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, &hub.token("acme", "alice", |_| {})).await;
    let answer = renew(&mut peer, &hub.token("acme", "alice", |grant| grant.ttl_secs = 1)).await;
    assert_eq!(answer["type"], "token_accepted");
    assert_eq!(peer.close_code().await, 4501);
}

#[tokio::test]
async fn a_token_of_somebody_else_is_forbidden_and_the_old_one_goes_on() {
    let hub = Hub::start().await;
    let token = |tenant, user, change: fn(&mut Grant)| {
        hub.token(tenant, user, |grant| {
            (grant.unit, grant.device) = (Some("north".into()), Some("d".into()));
            change(grant);
        })
    };
    let mut peer = live(&hub, &token("acme", "alice", |_| {})).await;
    for other in [
        token("other", "alice", |_| {}),
        token("acme", "bob", |_| {}),
        token("acme", "alice", |grant| grant.unit = Some("south".into())),
        token("acme", "alice", |grant| grant.unit = None),
        token("acme", "alice", |grant| grant.device = Some("e".into())),
        token("acme", "alice", |grant| grant.device = None),
        token("acme", "alice", |grant| grant.role = Role::Operator),
    ] {
        let error = renew(&mut peer, &other).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("forbidden")), "{other}");
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
    }
    let answer = renew(&mut peer, &token("acme", "alice", |_| {})).await;
    assert_eq!(answer["type"], "token_accepted");
}

#[tokio::test]
async fn a_token_that_is_no_good_is_forbidden_and_the_old_one_goes_on() {
    let hub = Hub::start().await;
    let short = hub.token("acme", "alice", |grant| grant.ttl_secs = 60);
    let mut peer = live(&hub, &hub.token("acme", "alice", |_| {})).await;
    hub.clock.advance(60 * 1_000_000);
    for token in [short.as_str(), "nonsense", ""] {
        let error = renew(&mut peer, token).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("forbidden")), "{token}");
    }
    let error = peer.ask(json!({"type": "token"})).await;
    assert_eq!(error["code"], "bad_request");
    assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn a_publishers_renewal_keeps_what_it_may_write() {
    let hub = Hub::start().await;
    let token = |units: &[&str], domains: Option<&[&str]>| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        hub.token("acme", "service", |grant| {
            grant.role = Role::Publisher;
            (grant.units, grant.domains) = (Some(owned(units)), domains.map(owned));
        })
    };
    let mut peer = live(&hub, &token(&["north", "south"], Some(&["ticket"]))).await;
    for other in [
        token(&["north"], Some(&["ticket"])),
        token(&["north", "south", "west"], Some(&["ticket"])),
        token(&["north", "south"], Some(&["ticket", "task"])),
        token(&["north", "south"], None),
    ] {
        assert_eq!(renew(&mut peer, &other).await["code"], "forbidden");
    }
    let same = token(&["south", "north"], Some(&["ticket"]));
    assert_eq!(renew(&mut peer, &same).await["type"], "token_accepted", "in any order");
}

#[tokio::test]
async fn ten_refused_renewals_in_a_minute_close_with_4506() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, &hub.token("acme", "alice", |_| {})).await;
    for _ in 0..9 {
        assert_eq!(renew(&mut peer, "nonsense").await["code"], "forbidden");
    }
    peer.send(&json!({"type": "token", "id": 1, "token": "nonsense"})).await;
    assert_eq!(peer.close_code().await, 4506);
}
