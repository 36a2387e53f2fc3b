//! The hub stops in good order (invariant 12).

use std::time::Duration;

use serde_json::{Value, json};
use synchub_protocol::Encoding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, ticket};

/// Reads to the end: the frames and the code.
async fn rest(mut peer: Peer) -> (Vec<Value>, u16) {
    let mut frames = Vec::new();
    loop {
        match peer.next_or_close().await {
            Ok(frame) => frames.push(frame),
            Err(code) => return (frames, code),
        }
    }
}

#[tokio::test]
async fn inv12_every_session_is_told_when_to_come_back_and_closed_with_4001() {
    let hub = Hub::with(|settings| settings.drain.reconnect_ms = 1000).start().await;
    let mut peers = Vec::new();
    for n in 0..20 {
        let encoding = if n % 2 == 0 { Encoding::Json } else { Encoding::MessagePack };
        let hello = Hello::of("alice", &format!("{n}")).to(&["ticket"]);
        peers.push(Peer::hello_in(&hub, &hello, encoding).await.0);
    }
    let address = hub.node.address();
    let told = futures::future::join_all(peers.into_iter().map(rest));
    let ((), told) = tokio::join!(hub.stop(), told);
    let mut delays = Vec::new();
    for (frames, code) in told {
        assert_eq!(code, 4001);
        // What the data lane still holds may come after it.
        let goaway = frames.iter().find(|frame| frame["type"] == "goaway").unwrap();
        assert_eq!(goaway["reason"], "shutting_down");
        delays.push(goaway["reconnect_after_ms"].as_u64().unwrap());
    }
    assert!(delays.iter().all(|delay| *delay <= 1000));
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 10, "spread out: {delays:?}");
    assert!(TcpStream::connect(address).await.is_err(), "nothing listens any more");
}

#[tokio::test]
async fn inv12_batches_in_flight_are_answered_before_the_close_or_decided_once_later() {
    let hub = Hub::start().await;
    let mut peers = Vec::new();
    for n in 0..20 {
        let (mut peer, _) = Peer::hello(&hub, &Hello::of("alice", &format!("{n}"))).await;
        peer.until("caught_up").await;
        peers.push(peer);
    }
    let stop = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        hub.restart().await
    };
    let work = peers.into_iter().map(|mut peer| async move {
        let mut unanswered = Vec::new();
        loop {
            let entries = json!([ticket(Uuid::now_v7(), "fire")]);
            let batch = json!({"type": "sync", "id": 1, "batch_id": Uuid::now_v7(), "entries": entries});
            peer.send(&batch).await;
            unanswered.push(batch);
            loop {
                match peer.next_or_close().await {
                    Ok(frame) if frame["type"] == "sync_result" => {
                        assert_eq!(frame["results"][0]["status"], "created");
                        unanswered.pop();
                        break;
                    }
                    Ok(frame) if frame["type"] == "error" => {
                        assert_eq!(frame["code"], "unavailable");
                        break;
                    }
                    Ok(_) => {}
                    Err(code) => {
                        assert_eq!(code, 4001);
                        return unanswered;
                    }
                }
            }
        }
    });
    let (hub, unanswered) = tokio::join!(stop, futures::future::join_all(work));
    let written = hub.store().find_log("acme", 0, 100_000).await.unwrap().len();
    let mut later = 0;
    for (n, batches) in unanswered.into_iter().enumerate() {
        let (mut peer, _) = Peer::hello(&hub, &Hello::of("alice", &format!("{n}"))).await;
        for batch in batches {
            let answer = peer.ask(batch).await;
            assert_eq!(answer["results"][0]["server_version"], 1);
            later += usize::from(answer["repeated"] == false);
        }
    }
    assert_eq!(hub.store().find_log("acme", 0, 100_000).await.unwrap().len(), written + later, "each once");
}

/// A commit that is under way when the hub stops is finished and answered.
#[tokio::test]
async fn inv12_a_batch_that_is_being_committed_is_answered_before_the_close() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("alice", "a")).await;
    peer.until("caught_up").await;
    let lock = rusqlite::Connection::open(hub.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch = |id| json!({"type": "sync", "id": id, "batch_id": Uuid::now_v7(), "entries": [ticket(Uuid::now_v7(), "fire")]});
    peer.send(&batch(7)).await;
    peer.ask(json!({"type": "ping"})).await;
    let talk = async {
        assert_eq!(peer.next().await["type"], "goaway");
        peer.send(&batch(8)).await;
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong", "it is still heard");
        lock.execute_batch("ROLLBACK").unwrap();
        let answer = peer.find("sync_result").await;
        assert_eq!((&answer["id"], &answer["results"][0]["status"]), (&json!(7), &json!("created")));
        let refused = peer.next().await;
        assert_eq!((&refused["id"], &refused["code"]), (&json!(8), &json!("unavailable")));
        assert_eq!(peer.close_code().await, 4001);
    };
    tokio::join!(hub.stop(), talk);
}

#[tokio::test]
async fn inv12_who_has_not_said_hello_is_sent_away_too() {
    let hub = Hub::start().await;
    let mut stranger = Peer::open(&hub, Encoding::Json).await;
    let mut kept = TcpStream::connect(hub.node.address()).await.unwrap();
    kept.write_all(b"GET /health/live HTTP/1.1\r\nHost: hub\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    let ((), code) = tokio::join!(hub.stop(), stranger.close_code());
    assert_eq!(code, 4001);
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(1), kept.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "a connection that is only kept open ends with the hub");
}

/// Nothing is left behind by a hub that stopped: another one takes its folder at once.
#[tokio::test]
async fn inv12_a_stopped_hub_lets_go_of_its_store() {
    let mut hub = Hub::start().await;
    for round in 1..=3_u64 {
        let (mut peer, _) = Peer::hello(&hub, &Hello::of("alice", "a").to(&["ticket"])).await;
        assert_eq!(peer.commit(json!([ticket(Uuid::now_v7(), "fire")])).await, round);
        let (restarted, _) = tokio::join!(hub.restart(), rest(peer));
        hub = restarted;
    }
}
