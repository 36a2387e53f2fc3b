//! Edits out, changes in, and back again after the connection broke.

use std::time::Duration;

use synchub_client::{Client, MemoryStorage, Reached};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::hub::{FakeHub, caught_up, data, position, snapshot, update};

const ID: Uuid = Uuid::from_u128(7);

#[tokio::test]
async fn a_client_copies_sends_and_acknowledges_in_both_encodings() {
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let hub = FakeHub::start().await;
        let mut config = hub.config(&MemoryStorage::default());
        config.encoding = encoding;
        let client = Client::start(config).await.unwrap();
        let (mut peer, hello) = hub.welcome(0).await;
        assert_eq!(peer.authorization.as_deref(), Some("Bearer token"));
        assert_eq!((hello.token, hello.cursor, hello.attempt), (None, None, Some(1)));
        peer.send(snapshot(&[(ID, 3)], "c1")).await;
        peer.send(caught_up("c2", 10)).await;
        client.wait_until_settled(Some(10)).await.unwrap();
        assert_eq!(client.record("task", ID).unwrap().version, 3);
        assert_eq!(peer.ack().await, "c2");

        let ticket = client.edit("task", ID, data("mine"));
        let sync = peer.sync().await;
        let entry = sync.entries[0].entry.clone().unwrap();
        assert_eq!((entry.version, entry.delta, sync.first_client_seq), (3, true, Some(1)));
        assert_eq!(client.record("task", ID).unwrap().data["title"], "snapshot");
        assert_eq!(client.shown("task", ID).unwrap()["title"], "mine");
        peer.answer(&sync, 11).await;
        ticket.await.unwrap();
        peer.send(update(ID, 4, "mine")).await;
        peer.send(position("c3", 11)).await;
        assert_eq!(client.wait_for_version("task", ID, 4).await.unwrap(), Reached::Held(4));
        client.wait_until_settled(Some(11)).await.unwrap();
        client.stop().await;
    }
}

#[tokio::test]
async fn o2_what_a_broken_connection_left_unanswered_is_sent_again_under_its_numbers() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let (mut peer, first_hello) = hub.welcome(0).await;
    let tickets = [client.create("task", data("a")), client.create("task", data("b"))];
    let mut sent = peer.sync().await.entries.len();
    while sent < 2 {
        sent += peer.sync().await.entries.len();
    }
    drop(peer);

    let (mut peer, hello) = hub.welcome(1).await;
    assert_eq!(hello.attempt, Some(2));
    assert_eq!(hello.device.unwrap().install_id, first_hello.device.unwrap().install_id);
    let sync = peer.sync().await;
    assert_eq!((sync.first_client_seq, sync.entries.len()), (Some(1), 2));
    peer.answer(&sync, 5).await;
    for ticket in tickets {
        let id = ticket.mobile_id();
        assert_eq!(ticket.await.unwrap().mobile_id, Some(id));
    }
    assert_eq!(client.outbox_len(), 0);
    client.stop().await;
}

#[tokio::test]
async fn c1_a_killed_client_goes_on_from_what_was_stored() {
    let hub = FakeHub::start().await;
    let storage = MemoryStorage::default();
    let client = Client::start(hub.config(&storage)).await.unwrap();
    let (mut peer, _) = hub.welcome(0).await;
    peer.send(snapshot(&[(ID, 3)], "c1")).await;
    peer.send(caught_up("c2", 10)).await;
    client.wait_until_settled(Some(10)).await.unwrap();
    let ticket = client.create("task", data("unanswered"));
    let sent = peer.sync().await;
    let picture = storage.stored();
    client.stop().await;
    assert!(ticket.await.is_err());

    let client = Client::start(hub.config(&MemoryStorage::holding(picture))).await.unwrap();
    assert_eq!(client.record("task", ID).unwrap().version, 3);
    assert_eq!((client.outbox_len(), client.position()), (1, Some(10)));
    let (mut peer, hello) = hub.welcome(1).await;
    assert_eq!(hello.cursor.as_deref(), Some("c2"));
    let again = peer.sync().await;
    assert_eq!(again.first_client_seq, Some(1));
    assert_eq!(again.entries, sent.entries);
    client.stop().await;
}

#[tokio::test]
async fn an_app_can_go_offline_work_and_come_back() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let (mut peer, _) = hub.welcome(0).await;
    client.disconnect().await;
    peer.gone().await;
    assert!(!client.is_live());
    let ticket = client.create("task", data("offline"));
    tokio::time::timeout(Duration::from_secs(5), ticket.stored()).await.unwrap().unwrap();
    client.reconnect();
    let (mut peer, _) = hub.welcome(0).await;
    let sync = peer.sync().await;
    peer.answer(&sync, 1).await;
    ticket.await.unwrap();
    client.stop().await;
}
