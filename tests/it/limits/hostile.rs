//! Who goes on regardless is closed with 4507, whatever it sends.

use serde_json::json;
use synchub_protocol::Encoding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::{SECOND_US, hub};
use crate::support::{Hello, Hub, Peer, ticket};

/// What passes, is told, may have been under way, and comes too early: the next one is too many.
const MOST: usize = 5 + 1 + 16 + 20;

async fn strict() -> Hub {
    hub(|rates| (rates.device_frames, rates.refusals) = (5, 20)).await
}

#[tokio::test]
async fn ws7_who_ignores_refusals_is_closed() {
    let hub = strict().await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    for number in 0..MOST {
        let answer = peer.ask(json!({"type": "ping"})).await;
        assert_eq!(answer["type"], if number < 5 { "pong" } else { "error" });
    }
    peer.request(json!({"type": "ping"})).await;
    assert_eq!(peer.close_code().await, 4507);
    assert_eq!(hub.metric("synchub_closes_total{reason=\"rate_limit_ignored\"}"), 1);
    hub.stop().await;
}

#[tokio::test]
async fn ws7_who_waits_is_not_closed_however_often_it_is_refused() {
    let hub = strict().await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    for _ in 0..20 {
        for _ in 0..5 {
            assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
        }
        for _ in 0..9 {
            assert_eq!(peer.ask(json!({"type": "ping"})).await["code"], "rate_limited");
        }
        hub.clock.advance(6 * SECOND_US);
    }
    hub.stop().await;
}

#[tokio::test]
async fn ws7_pings_and_pongs_of_the_carrier_are_frames_too() {
    for message in [Message::Ping(vec![1].into()), Message::Pong(vec![].into())] {
        let hub = strict().await;
        let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
        for _ in 0..=MOST {
            peer.send_message(message.clone()).await;
        }
        assert_eq!(peer.close_code().await, 4507, "{message:?}");
        hub.stop().await;
    }
}

#[tokio::test]
async fn ws7_batches_and_acks_without_end_are_closed() {
    for frame in [
        json!({"type": "sync", "batch_id": uuid::Uuid::now_v7(), "entries": [ticket(uuid::Uuid::now_v7(), "a")]}),
        json!({"type": "ack", "cursor": "nothing"}),
        json!({"type": "ping"}),
    ] {
        let hub = strict().await;
        let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
        for _ in 0..=MOST {
            peer.request(frame.clone()).await;
        }
        assert_eq!(peer.close_code().await, 4507, "{frame}");
        hub.stop().await;
    }
}

/// A masked frame with an empty mask.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if let Ok(length @ 0..126) = u8::try_from(payload.len()) {
        frame.push(0x80 | length);
    } else {
        frame.push(0xfe);
        frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A connection of bytes, after its hello.
async fn raw_session(hub: &Hub) -> TcpStream {
    let mut io = TcpStream::connect(hub.node.address()).await.unwrap();
    let head = "GET /ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    io.write_all(head.as_bytes()).await.unwrap();
    let hello = Hello::of("anna", "phone").frame(hub);
    io.write_all(&raw(0x81, &Encoding::Json.encode(&hello))).await.unwrap();
    read_until(&mut io, b"\"welcome\"").await;
    io
}

async fn read_until(io: &mut TcpStream, wanted: &[u8]) {
    let mut read = Vec::new();
    while !read.windows(wanted.len()).any(|window| window == wanted) {
        let count = io.read_buf(&mut read).await.unwrap();
        assert!(count > 0, "ended before {wanted:?}: {read:?}");
    }
}

#[tokio::test]
async fn ws7_parts_of_nothing_without_end_are_closed() {
    let hub = hub(|rates| rates.device_frames = 5).await;
    let mut io = raw_session(&hub).await;
    let parts: Vec<u8> =
        std::iter::once(raw(0x01, b"")).chain((0..5000).map(|_| raw(0x00, b""))).flatten().collect();
    io.write_all(&parts).await.unwrap();
    read_until(&mut io, &4507_u16.to_be_bytes()).await;
    hub.stop().await;
}

#[tokio::test]
async fn ws7_a_message_in_parts_counts_as_many_frames() {
    let hub = hub(|rates| rates.device_frames = 8).await;
    let mut io = raw_session(&hub).await;
    let ping = r#"{"type":"ping","id":7}"#.as_bytes();
    let mut parts = raw(0x01, &ping[..3]);
    parts.extend((3..9).flat_map(|at| raw(0x00, &ping[at..=at])));
    parts.extend(raw(0x80, &ping[9..]));
    io.write_all(&parts).await.unwrap();
    read_until(&mut io, b"\"pong\"").await;
    io.write_all(&raw(0x81, ping)).await.unwrap();
    read_until(&mut io, b"\"rate_limited\"").await;
    hub.stop().await;
}
