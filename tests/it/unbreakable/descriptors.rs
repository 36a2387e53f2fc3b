//! A hub that has no file descriptors left: who is there goes on, who comes waits, and is let in when some are free.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;
use synchub::clock::{Clock as _, SystemClock};
use tempfile::TempDir;
use tokio::net::TcpStream;
use uuid::Uuid;

use super::process::{Process, hello, live, open, serve};
use crate::support::{Peer, ticket};

const DESCRIPTORS: u32 = 64;
const SAID: &str = "a connection could not be accepted";

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(30), async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("it does not come to that: {what}"));
}

/// Everything that a session may need is asked for: a batch, a snapshot, a digest.
async fn goes_on(peer: &mut Peer) {
    peer.commit(json!([ticket(Uuid::now_v7(), "fire")])).await;
    let domains = json!([{"domain": "ticket"}, {"domain": "journal"}]);
    peer.request(json!({"type": "subscribe", "subscriptions": domains})).await;
    peer.until("caught_up").await;
    assert_eq!(peer.ask(json!({"type": "digest"})).await["type"], "digest_result");
    peer.request(json!({"type": "unsubscribe", "domains": ["ticket", "journal"]})).await;
    peer.until("subscribed").await;
}

#[tokio::test]
async fn inv5_without_descriptors_who_is_there_goes_on_and_who_comes_waits() {
    let folder = TempDir::new().unwrap();
    let hub = Process::start(serve(folder.path(), 120, Some(DESCRIPTORS)));
    let now_us = SystemClock.now_us();
    let mut peers = Vec::new();
    for number in 0..5 {
        peers.push(live(hub.address, &hello(&format!("user {number}"), now_us)).await.0);
    }
    for _ in 0..2 {
        // The system takes them into its queue, whatever the hub has room for.
        let mut strangers = Vec::new();
        let said = hub.said(SAID);
        for _ in 0..DESCRIPTORS {
            strangers.push(TcpStream::connect(hub.address).await.unwrap());
        }
        until("no descriptor is left", || hub.said(SAID) > said).await;
        // At once: each needs a reader of the store.
        join_all(peers.iter_mut().map(goes_on)).await;
        drop(strangers);
        let mut late = open(hub.address).await;
        late.send(&hello("late", now_us)).await;
        late.until("caught_up").await;
        goes_on(&mut late).await;
        late.close().await;
    }
    hub.terminate();
    for peer in &mut peers {
        assert_eq!(peer.close_code().await, 4001);
    }
    let (ended, lines) = hub.ended();
    assert!(ended.success(), "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains(SAID) && line.contains("Too many open files")),
        "{lines:#?}"
    );
    assert!(!lines.iter().any(|line| line.contains("panicked") || line.contains("\"ERROR\"")), "{lines:#?}");
}
