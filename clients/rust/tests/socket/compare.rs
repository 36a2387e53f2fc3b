//! Comparing with a hub whose answers come at the worst moment: only a copy that stands exactly at the
//! hub's place says anything.

use std::collections::BTreeMap;

use synchub_client::{Client, CompareError, Comparison, MemoryStorage};
use synchub_protocol::server::{DigestResult, ErrorFrame};
use synchub_protocol::{Digest, ErrorCode, ServerFrame};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::hub::{FakeHub, Peer, caught_up, position, snapshot, update};

const ID: Uuid = Uuid::from_u128(7);

fn of(version: u64) -> Digest {
    let mut digest = Digest::default();
    digest.add(ID, version);
    digest
}

fn answer(id: u64, seq: u64, digest: Digest) -> ServerFrame {
    let domains = BTreeMap::from([("task".to_owned(), digest.into())]);
    ServerFrame::DigestResult(DigestResult { id, seq, domains })
}

/// A client that has caught up to place 10 with one record at version 3, and compares.
async fn comparing(hub: &FakeHub) -> (Client, Peer, JoinHandle<Result<Comparison, CompareError>>) {
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let (mut peer, _) = hub.welcome(0).await;
    peer.send(snapshot(&[(ID, 3)], "c1")).await;
    peer.send(caught_up("c2", 10)).await;
    let comparing = client.clone();
    (client, peer, TaskTracker::new().spawn(async move { comparing.compare().await }))
}

#[tokio::test]
async fn en13_a_copy_that_is_past_the_hubs_place_asks_again() {
    let hub = FakeHub::start().await;
    let (client, mut peer, comparing) = comparing(&hub).await;
    let id = peer.digest().await;
    peer.send(update(ID, 4, "newer")).await;
    peer.send(answer(id, 10, of(3))).await;
    peer.send(position("c3", 11)).await;
    let id = peer.digest().await;
    // The answer may overtake what it counts.
    peer.send(answer(id, 12, of(5))).await;
    peer.send(update(ID, 5, "newest")).await;
    peer.send(position("c4", 12)).await;
    let compared = comparing.await.unwrap().unwrap();
    assert!(compared.is_equal());
    assert_eq!((compared.domains[0].hub, client.digest("task")), (of(5), of(5)));
    client.stop().await;
}

#[tokio::test]
async fn en13_a_difference_counts_when_it_is_met_again() {
    let hub = FakeHub::start().await;
    let (client, mut peer, comparing) = comparing(&hub).await;
    for _ in 0..3 {
        let id = peer.digest().await;
        peer.send(answer(id, 10, of(4))).await;
    }
    let compared = comparing.await.unwrap().unwrap();
    assert!(!compared.is_equal());
    assert_eq!((compared.domains[0].hub, compared.domains[0].copy), (of(4), of(3)));
    client.stop().await;
}

#[tokio::test]
async fn en13_what_a_broken_connection_left_unanswered_is_asked_again() {
    let hub = FakeHub::start().await;
    let (client, mut peer, comparing) = comparing(&hub).await;
    peer.digest().await;
    drop(peer);
    let (mut peer, _) = hub.welcome(0).await;
    peer.send(caught_up("c3", 11)).await;
    let id = peer.digest().await;
    peer.send(answer(id, 11, of(3))).await;
    assert!(comparing.await.unwrap().unwrap().is_equal());
    client.stop().await;
}

#[tokio::test]
async fn en13_a_hub_that_refuses_is_said_so_and_a_client_that_stops_waits_no_longer() {
    let hub = FakeHub::start().await;
    let (client, mut peer, refused) = comparing(&hub).await;
    let id = peer.digest().await;
    peer.send(ServerFrame::Error(ErrorFrame::new(Some(id), ErrorCode::UnknownType, "no digests here"))).await;
    let error = refused.await.unwrap().unwrap_err();
    assert!(matches!(error, CompareError::Refused { code: ErrorCode::UnknownType, .. }), "{error}");
    let waiting = client.clone();
    let waiting = TaskTracker::new().spawn(async move { waiting.compare().await });
    peer.digest().await;
    client.stop().await;
    assert!(matches!(waiting.await.unwrap(), Err(CompareError::Stopped(_))));
}
