//! Signs of life, from both sides (protocol: Carrier).

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Hello, Hub, Peer};

#[tokio::test]
async fn the_heartbeat_that_is_asked_for_is_held_between_10_and_300_seconds() {
    let hub = Hub::start().await;
    for (asked, given) in
        [(json!(60), 60), (json!(1), 10), (json!(9000), 300), (json!(0), 10), (Value::Null, 25)]
    {
        let hello = Hello::of("alice", "a").with(json!({"heartbeat_secs": asked}));
        let (_, welcome) = Peer::hello(&hub, &hello).await;
        assert_eq!(welcome["heartbeat_secs"], given);
    }
}

#[tokio::test]
async fn a_silent_peer_is_closed_with_4002() {
    let hub = Hub::with(|settings| settings.limits.heartbeat_secs = 1).start().await;
    let (mut peer, welcome) = Peer::hello(&hub, &Hello::of("alice", "a")).await;
    assert_eq!(welcome["heartbeat_secs"], 1);
    // A peer that is polled answers the hub's pings, and says nothing else.
    assert_eq!(peer.close_code().await, 4002);
}

#[tokio::test]
async fn the_hub_says_something_every_heartbeat_and_a_peer_that_speaks_stays() {
    let hub = Hub::with(|settings| settings.limits.heartbeat_secs = 1).start().await;
    let (mut peer, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let mut pings = 0;
    while pings < 4 {
        let message = peer.message().await.unwrap().unwrap();
        assert!(matches!(message, Message::Ping(_) | Message::Pong(_) | Message::Text(_)), "{message:?}");
        if message.is_ping() {
            pings += 1;
            // A frame and a ping of the WebSocket are signs of life.
            let sign = [Message::text(r#"{"type":"ping","id":7}"#), Message::Ping("".into())];
            peer.send_message(sign[pings % 2].clone()).await;
        }
    }
    assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
}
