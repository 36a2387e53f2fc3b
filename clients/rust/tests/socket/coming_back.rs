//! When the client comes back, when it does not, and what it says then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use synchub_client::{Client, End, Event, Install, MemoryStorage, StopReason, TokenError};
use synchub_protocol::server::Goaway;
use synchub_protocol::{ServerFrame, server::Welcome};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use crate::hub::{FakeHub, caught_up, data, welcome};

async fn disconnected(events: &mut Receiver<Event>) -> (End, Option<Duration>) {
    loop {
        let event = timeout(Duration::from_secs(10), events.recv()).await.expect("the client goes");
        if let Event::Disconnected { reason, retry_in } = event.unwrap() {
            return (reason, retry_in);
        }
    }
}

async fn stopped(events: &mut Receiver<Event>) -> StopReason {
    loop {
        let event = timeout(Duration::from_secs(10), events.recv()).await.expect("the client stops");
        if let Event::Stopped { reason } = event.unwrap() {
            return reason;
        }
    }
}

#[tokio::test]
async fn it_comes_back_after_4001_and_not_before_goaway_said() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let mut events = client.events();
    let (mut peer, _) = hub.welcome(0).await;
    peer.send(caught_up("c1", 1)).await;
    let goaway = Goaway { reason: "shutdown".to_owned(), reconnect_after_ms: 300 };
    peer.send(ServerFrame::Goaway(goaway)).await;
    let before = Instant::now();
    peer.close(4001).await;
    let (reason, retry_in) = disconnected(&mut events).await;
    assert_eq!(reason, End::Closed { code: 4001, text: "scripted".to_owned() });
    assert!(retry_in.unwrap() >= Duration::from_millis(300));
    let (_peer, hello) = hub.welcome(0).await;
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert_eq!((hello.cursor.as_deref(), hello.attempt), (Some("c1"), Some(2)));
    client.stop().await;
}

#[tokio::test]
async fn it_stops_where_the_hub_does_not_want_it() {
    for code in [4502, 4503, 4506] {
        let hub = FakeHub::start().await;
        let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
        let mut events = client.events();
        let ticket = client.create("task", data("a"));
        let (peer, _) = hub.welcome(0).await;
        peer.close(code).await;
        let reason = stopped(&mut events).await;
        assert_eq!(reason, StopReason::NotWanted(End::Closed { code, text: "scripted".to_owned() }));
        assert_eq!(ticket.await.unwrap_err().reason, reason);
        assert_eq!(client.wait_until_settled(None).await.unwrap_err().reason, reason);
        assert_eq!(client.create("task", data("b")).await.unwrap_err().reason, reason);
    }
}

#[tokio::test]
async fn a_pause_of_4504_ends_when_the_user_acts() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let mut events = client.events();
    let (peer, _) = hub.welcome(0).await;
    peer.close(4504).await;
    let (_, retry_in) = disconnected(&mut events).await;
    assert!(retry_in.unwrap() >= Duration::from_mins(1));
    assert!(timeout(Duration::from_millis(100), hub.accept()).await.is_err());
    client.reconnect();
    hub.welcome(0).await;
    client.stop().await;
}

#[tokio::test]
async fn a_refused_token_is_fetched_anew_and_the_same_again_stops_it() {
    let hub = FakeHub::start().await;
    let mut config = hub.config(&MemoryStorage::default());
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    config.token_in_hello = true;
    config.token = Arc::new(move || {
        let number = count.fetch_add(1, Ordering::Relaxed).min(1);
        async move { Ok::<_, TokenError>(format!("token {number}")) }
    });
    let client = Client::start(config).await.unwrap();
    let mut events = client.events();
    for token in ["token 0", "token 1"] {
        let mut peer = hub.accept().await;
        assert_eq!(peer.authorization, None);
        assert_eq!(peer.hello().await.token.as_deref(), Some(token));
        peer.close(4500).await;
    }
    assert!(matches!(
        stopped(&mut events).await,
        StopReason::TokenRefused(End::SameToken { code: 4500, .. })
    ));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_token_source_that_fails_is_asked_again() {
    let hub = FakeHub::start().await;
    let mut config = hub.config(&MemoryStorage::default());
    let asked = AtomicU64::new(0);
    config.token = Arc::new(move || {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        async move { if first { Err(TokenError("no network".to_owned())) } else { Ok("t".to_owned()) } }
    });
    let client = Client::start(config).await.unwrap();
    let (peer, _) = hub.welcome(0).await;
    assert_eq!(peer.authorization.as_deref(), Some("Bearer t"));
    client.stop().await;
}

#[tokio::test]
async fn a_silent_client_pings_and_a_silent_hub_is_left() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let mut events = client.events();
    let mut peer = hub.accept().await;
    let hello = peer.hello().await;
    peer.send(ServerFrame::Welcome(Welcome { heartbeat_secs: 1, ..welcome(hello.id, 0) })).await;
    let before = Instant::now();
    assert!(matches!(peer.next().await, synchub_protocol::ClientFrame::Ping(_)));
    assert!(before.elapsed() < Duration::from_secs(1), "within a heartbeat");
    assert_eq!(disconnected(&mut events).await.0, End::Silent);
    assert!(before.elapsed() >= Duration::from_millis(1900), "after two heartbeats");
    client.stop().await;
}

#[tokio::test]
async fn o4_a_restored_outbox_goes_out_under_its_old_install_and_new_edits_under_the_new() {
    let (old, new) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let storage = MemoryStorage::default();
    let mut config = FakeHub::start().await.config(&storage);
    config.install = Install::KeptApart(old);
    let client = Client::start(config).await.unwrap();
    client.create("task", data("before the backup")).stored().await.unwrap();
    client.stop().await;

    let hub = FakeHub::start().await;
    let mut config = hub.config(&MemoryStorage::holding(storage.stored()));
    config.install = Install::KeptApart(new);
    let client = Client::start(config).await.unwrap();
    let ticket = client.create("task", data("after the restore"));
    for install in [old, new] {
        let (mut peer, hello) = hub.welcome(0).await;
        assert_eq!(hello.device.unwrap().install_id, Some(install));
        let sync = peer.sync().await;
        assert_eq!((sync.first_client_seq, sync.entries.len()), (Some(1), 1));
        peer.answer(&sync, 1).await;
        if install == old {
            peer.gone().await;
        }
    }
    ticket.await.unwrap();
    client.stop().await;
}
