//! The batch size that the hub recommends follows what it measures of the line. The clock is held: a batch comes in
//! parts, and time passes between them as on a slow line.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::batch;
use crate::support::{Hello, Hub, Peer, tickets};

const MILLI_US: i64 = 1000;
/// The id of requests that come slowly.
const SLOW_ID: u64 = 1_000_000;

fn part(bytes: &[u8], code: Data, is_last: bool) -> Message {
    Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(code), is_last))
}

/// Waits until the hub has read what was sent before, and has begun to read on.
async fn until_read(peer: &mut Peer) {
    // The second ping is read by a read that began after the first one was taken.
    for _ in 0..2 {
        peer.send_message(Message::Ping("read".into())).await;
        while !peer.message().await.unwrap().unwrap().is_pong() {}
    }
}

/// Sends so many entries as one batch that takes so long to come in; gives the answer.
async fn slowly(hub: &Hub, peer: &mut Peer, entries: usize, took_ms: i64) -> Value {
    let mut frame = batch(&tickets(entries).0);
    frame["id"] = json!(SLOW_ID);
    let text = frame.to_string();
    let (first, rest) = text.as_bytes().split_at(text.len() / 2);
    peer.send_message(part(first, Data::Text, false)).await;
    until_read(peer).await;
    hub.clock.advance(took_ms * MILLI_US);
    peer.send_message(part(rest, Data::Continue, true)).await;
    let answer = peer.answer(SLOW_ID).await;
    assert_eq!(answer["type"], "sync_result", "{answer}");
    answer
}

/// What a hub recommends in the answers to batches that take so long, in turn.
async fn recommended(hub: &Hub, peer: &mut Peer, entries: usize, each_took_ms: &[i64]) -> Vec<Value> {
    let mut recommended = Vec::new();
    for took_ms in each_took_ms {
        recommended.push(slowly(hub, peer, entries, *took_ms).await["recommended_batch"].clone());
    }
    recommended
}

#[tokio::test]
async fn bw3_slow_batches_make_the_hub_recommend_smaller_ones_and_quick_ones_larger() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    let said = recommended(&hub, &mut peer, 100, &[1500, 200, 1500, 1500, 200]).await;
    assert_eq!(json!(said), json!([null, null, null, 50, null]), "told once, after two slow ones in a row");
    assert_eq!(json!(recommended(&hub, &mut peer, 50, &[1500, 1500]).await), json!([null, 25]));

    let hello = Hello::of("anna", "tablet").with(json!({"network_quality": "poor"}));
    let (mut peer, welcome) = Peer::hello(&hub, &hello).await;
    assert_eq!(welcome["limits"]["recommended_batch"], 10);
    let said = recommended(&hub, &mut peer, 10, &[50, 50, 50, 50, 300, 300]).await;
    assert_eq!(json!(said), json!([null, null, null, 25, null, null]));
    hub.stop().await;
}

#[tokio::test]
async fn bw3_a_long_round_trip_is_measured_and_makes_no_batch_slow() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    // The answer brings a ping, which is answered as soon as the peer reads on: here, late.
    let answer = peer.ask(batch(&tickets(1).0)).await;
    assert_eq!(answer["type"], "sync_result");
    hub.clock.advance(600 * MILLI_US);
    until_read(&mut peer).await;
    let said = recommended(&hub, &mut peer, 100, &[2100, 2100, 2300, 2300]).await;
    assert_eq!(json!(said), json!([null, null, null, 50]), "a second and two round trips");
    hub.stop().await;
}

#[tokio::test]
async fn bw3_another_quality_in_settings_is_followed_with_the_next_answer() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    for (quality, said) in [("poor", json!(10)), ("5G", Value::Null), ("good", json!(50))] {
        peer.ask(json!({"type": "settings", "network_quality": quality})).await;
        assert_eq!(peer.ask(batch(&tickets(1).0)).await["recommended_batch"], said, "{quality}");
    }
    hub.stop().await;
}
