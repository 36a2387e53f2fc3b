//! Too many sockets or hellos: `goaway` with a hint, then 4004, and nobody else is kept out.

use std::sync::Arc;

use synchub_protocol::Encoding;

use super::{SECOND_US, from_address, hub, sent_away, turned_away, wait_for};
use crate::support::{Hello, Peer};

#[tokio::test]
async fn ws7_an_address_has_so_many_sockets_and_others_have_theirs() {
    let hub = hub(|rates| rates.address_connections = 2).await;
    let one = from_address(&hub, "2001:db8::1").await;
    let _two = from_address(&hub, "2001:db8::2").await;
    let (reason, after, code) = sent_away(&mut from_address(&hub, "2001:db8::3").await).await;
    assert_eq!((reason.as_str(), code), ("too_many_connections", 4004));
    assert!((5000..=10_000).contains(&after), "{after}");
    assert_eq!(hub.metric("synchub_limited_total{limit=\"address_connection\"}"), 1);
    let mut other = from_address(&hub, "2001:db8:0:1::1").await;
    other.greet(&hub, &Hello::of("anna", "phone")).await;
    for number in 0..5 {
        let mut beside = Peer::open(&hub, Encoding::Json).await;
        beside.greet(&hub, &Hello::of("ben", &number.to_string())).await;
    }
    one.close().await;
    wait_for(&hub, |hub| hub.metric("synchub_sockets") <= 2).await;
    let mut again = from_address(&hub, "2001:db8::4").await;
    again.greet(&hub, &Hello::of("carl", "phone")).await;
    hub.stop().await;
}

#[tokio::test]
async fn ws7_without_a_proxy_the_peer_itself_counts_whatever_it_claims() {
    let hub = hub(|rates| {
        rates.proxies = String::new();
        rates.address_connections = 2;
    })
    .await;
    let _one = from_address(&hub, "192.0.2.1").await;
    let _two = from_address(&hub, "192.0.2.2").await;
    let (_, _, code) = sent_away(&mut from_address(&hub, "192.0.2.3").await).await;
    assert_eq!(code, 4004);
    hub.stop().await;
}

#[tokio::test]
async fn ws7_a_tenant_has_so_many_sessions_and_a_device_that_comes_back_is_let_in() {
    let hub = hub(|rates| rates.tenant_connections = 2).await;
    let (_one, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    let (two, _) = Peer::hello(&hub, &Hello::of("ben", "phone")).await;
    let mut three = Peer::open(&hub, Encoding::Json).await;
    let (reason, _, code) = turned_away(&hub, &mut three, &Hello::of("carl", "phone")).await;
    assert_eq!((reason.as_str(), code), ("too_many_connections", 4004));
    let bolt = Hello { tenant: "bolt".to_owned(), ..Hello::of("carl", "phone") };
    let _other = Peer::hello(&hub, &bolt).await;
    // Its line broke, and the hub does not know yet.
    let (mut back, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    assert_eq!(back.ask(serde_json::json!({"type": "ping"})).await["type"], "pong");
    two.close().await;
    wait_for(&hub, |hub| hub.metric("synchub_sessions{encoding=\"json\"}") <= 2).await;
    let _three = Peer::hello(&hub, &Hello::of("carl", "phone")).await;
    hub.stop().await;
}

#[tokio::test]
async fn ws7_hellos_of_an_address_are_held_before_any_token_is_looked_at() {
    let hub = hub(|rates| rates.address_hellos = 3).await;
    let bad = Hello::of("anna", "phone").with(serde_json::json!({"token": "made up"}));
    for _ in 0..3 {
        let mut peer = from_address(&hub, "192.0.2.1").await;
        peer.send(&bad.frame(&hub)).await;
        assert_eq!(peer.close_code().await, 4500);
    }
    let mut peer = from_address(&hub, "192.0.2.1").await;
    let (reason, after, code) = turned_away(&hub, &mut peer, &bad).await;
    assert_eq!((reason.as_str(), code), ("rate_limited", 4004));
    assert!((334..=5334).contains(&after), "{after}");
    let good = Hello::of("anna", "phone");
    from_address(&hub, "192.0.2.2").await.greet(&hub, &good).await;
    hub.clock.advance(SECOND_US);
    from_address(&hub, "192.0.2.1").await.greet(&hub, &good).await;
    hub.stop().await;
}

#[tokio::test]
async fn ws7_hellos_of_a_device_are_held_before_anything_is_written() {
    let hub = hub(|rates| rates.device_hellos = 2).await;
    let phone = Hello::of("anna", "phone");
    let mut welcomed = Vec::new();
    for _ in 0..2 {
        welcomed.push(Peer::hello(&hub, &phone).await);
    }
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    let (reason, _, code) = turned_away(&hub, &mut peer, &phone).await;
    assert_eq!((reason.as_str(), code), ("rate_limited", 4004));
    let rows = hub.store().find_devices("acme", Some("anna"), Some("phone")).await.unwrap();
    assert_eq!(rows[0]["generation"], 2, "a hello that was turned away took no generation");
    let _ = Peer::hello(&hub, &Hello::of("anna", "tablet")).await;
    hub.clock.advance(SECOND_US);
    let _ = Peer::hello(&hub, &phone).await;
    hub.stop().await;
}

#[tokio::test]
async fn ws7_limits_forget_who_has_gone() {
    let hub = hub(|rates| {
        (rates.address_connections, rates.address_hellos, rates.device_hellos) = (9, 9, 9);
        (rates.device_frames, rates.user_frames, rates.tenant_frames) = (9, 9, 9);
    })
    .await;
    let limits = Arc::clone(&hub.node.deps().limits);
    for number in 0..20 {
        let mut peer = from_address(&hub, &format!("192.0.2.{number}")).await;
        peer.greet(&hub, &Hello::of(&format!("user {number}"), "phone")).await;
        peer.close().await;
    }
    wait_for(&hub, |hub| hub.metric("synchub_sockets") == 0).await;
    assert!(limits.forget_idle() >= 40, "hellos and what was sent are remembered");
    hub.clock.advance(SECOND_US);
    assert_eq!(limits.forget_idle(), 0);
    hub.stop().await;
}
