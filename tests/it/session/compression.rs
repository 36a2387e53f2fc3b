//! Compressed frames, both ways in both encodings, and messages that only claim to be some.

use serde_json::{Value, json};
use synchub_protocol::{Encoding, gzip};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, edit, tickets};

const LIMIT: usize = 64 * 1024;
const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::MessagePack];

async fn hub() -> Hub {
    Hub::with(|settings| settings.limits.max_frame_bytes = LIMIT).start().await
}

fn hello(user: &str) -> Hello {
    Hello::of(user, "d").to(&["ticket"]).with(json!({"compression": ["gzip"]}))
}

async fn live(hub: &Hub, user: &str, encoding: Encoding) -> Peer {
    let (mut peer, welcome) = Peer::hello_in(hub, &hello(user), encoding).await;
    assert_eq!(welcome["compression"], json!(["gzip"]));
    peer.until("caught_up").await;
    peer
}

fn long_ticket(id: Uuid) -> Value {
    edit("ticket", id, 0, &json!({"subject": "fire ".repeat(1000), "status": "NEW"}))
}

/// A ping whose frame has about that many bytes and is compressed well.
fn ping(padding: usize) -> Value {
    json!({"type": "ping", "id": 9, "padding": "x".repeat(padding)})
}

#[tokio::test]
async fn changes_snapshots_and_replays_come_compressed_in_both_encodings() {
    let hub = hub().await;
    for (turn, encoding) in BOTH.into_iter().enumerate() {
        let mut reader = live(&hub, "reader", encoding).await;
        let (mut plain, welcome) =
            Peer::hello_in(&hub, &Hello::of("plain", "d").to(&["ticket"]), encoding).await;
        assert_eq!(welcome.get("compression"), None, "only who asks for it is told of it");
        plain.until("caught_up").await;
        let cursor = reader.cursor.clone();
        let (before, id) = (reader.compressed, Uuid::now_v7());
        let mut writer = live(&hub, "writer", encoding).await;
        writer.sync(json!([long_ticket(id)])).await;
        let update = reader.find("data_update").await;
        assert_eq!((&update["mobile_id"], reader.compressed), (&json!(id), before + 1), "live");
        assert_eq!(update["data"], plain.find("data_update").await["data"]);
        drop(reader);
        let again = hello("reader").with(json!({"cursor": cursor}));
        let (mut reader, _) = Peer::hello_in(&hub, &again, encoding).await;
        reader.until("caught_up").await;
        assert_eq!(reader.compressed, 1, "the replay");
        let (mut reader, _) = Peer::hello_in(&hub, &hello("newcomer"), encoding).await;
        let snapshot = reader.find("snapshot").await;
        assert_eq!((snapshot["records"].as_array().unwrap().len(), reader.compressed), (turn + 1, 1));
        assert_eq!(plain.compressed, 0);
    }
}

#[tokio::test]
async fn small_frames_come_as_they_are() {
    let hub = hub().await;
    for encoding in BOTH {
        let mut peer = live(&hub, "alice", encoding).await;
        peer.sync(tickets(3).0).await;
        peer.until("position").await;
        assert_eq!(peer.compressed, 0);
    }
}

#[tokio::test]
async fn batches_are_taken_compressed_and_their_long_answers_come_so() {
    let hub = hub().await;
    for encoding in BOTH {
        let mut peer = live(&hub, "alice", encoding).await;
        let batch = json!({"type": "sync", "id": 5, "batch_id": Uuid::now_v7(), "entries": tickets(100).0});
        peer.send_compressed(&batch).await;
        let answer = peer.find("sync_result").await;
        assert_eq!(answer["results"].as_array().unwrap().len(), 100);
        assert!(peer.compressed > 0);
        peer.send(&ping(0)).await;
        assert_eq!(peer.find("pong").await["id"], 9, "what is not compressed is taken as well");
    }
}

#[tokio::test]
async fn an_inflated_frame_may_have_four_times_the_limit_and_not_more() {
    let hub = hub().await;
    for encoding in BOTH {
        let mut peer = live(&hub, "alice", encoding).await;
        peer.send_compressed(&ping(4 * LIMIT - 100)).await;
        assert_eq!(peer.next().await["type"], "pong");
        peer.send_compressed(&ping(4 * LIMIT)).await;
        assert_eq!(peer.close_code().await, 4505);
    }
}

#[tokio::test]
async fn a_bomb_closes_with_4505() {
    let hub = Hub::start().await;
    let bomb = gzip::deflate(&vec![b'x'; 64 << 20]).unwrap();
    assert!(bomb.len() < 1 << 20, "the message itself is within the limit");
    for encoding in BOTH {
        let mut peer = live(&hub, "alice", encoding).await;
        peer.send_message(Message::Binary(bomb.clone())).await;
        assert_eq!(peer.close_code().await, 4505);
    }
}

/// A compressed message is held to the limit of messages before anything is inflated.
#[tokio::test]
async fn a_compressed_message_over_the_limit_is_too_large_as_it_was_sent() {
    let hub = hub().await;
    for encoding in BOTH {
        let mut peer = live(&hub, "alice", encoding).await;
        let mut message = vec![0x1f, 0x8b];
        message.resize(LIMIT + 1, 0);
        peer.send_message(Message::Binary(message.into())).await;
        assert_eq!(peer.next().await["code"], "too_large");
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong", "the socket goes on");
    }
}

#[tokio::test]
async fn what_is_no_whole_gzip_stream_of_a_frame_closes_with_4503() {
    let hub = hub().await;
    for encoding in BOTH {
        let good = gzip::deflate(&encoding.encode(&ping(2000))).unwrap().to_vec();
        let mut flipped = good.clone();
        let checksum = flipped.len() - 5;
        flipped[checksum] ^= 1;
        let noise = gzip::deflate(&[0xc1; 5000]).unwrap().to_vec();
        for message in [
            good[..good.len() - 1].to_vec(),
            [good.as_slice(), &[0]].concat(),
            [good.as_slice(), good.as_slice()].concat(),
            flipped,
            noise,
            vec![0x1f, 0x8b],
        ] {
            let mut peer = live(&hub, "alice", encoding).await;
            peer.send_message(Message::Binary(message.clone().into())).await;
            assert_eq!(peer.close_code().await, 4503, "{message:?}");
        }
    }
}

#[tokio::test]
async fn gzip_that_was_not_offered_closes_with_4503() {
    for (offers, asks) in [(false, true), (true, false)] {
        let hub = Hub::with(|settings| settings.compression = offers).start().await;
        let asked = if asks { json!(["gzip"]) } else { json!(["brotli"]) };
        for encoding in BOTH {
            let said = Hello::of("alice", "d").with(json!({"compression": asked}));
            let (mut peer, welcome) = Peer::hello_in(&hub, &said, encoding).await;
            assert_eq!(welcome.get("compression"), None);
            peer.until("caught_up").await;
            peer.send_compressed(&ping(2000)).await;
            assert_eq!(peer.close_code().await, 4503);
        }
    }
    let hub = hub().await;
    for encoding in BOTH {
        let mut peer = Peer::open(&hub, encoding).await;
        peer.send_compressed(&hello("alice").with(json!({"later": "x".repeat(2000)})).frame(&hub)).await;
        assert_eq!(peer.close_code().await, 4503, "nothing was offered before the welcome");
    }
}
