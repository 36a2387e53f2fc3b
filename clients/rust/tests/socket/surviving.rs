//! What must hold over kills, floods and listeners that do not listen.

use synchub_client::{Client, Event, MemoryStorage, SqliteStorage};
use synchub_protocol::ServerFrame;
use synchub_protocol::server::Snapshot;
use uuid::Uuid;

use crate::hub::{FakeHub, caught_up, data, position, snapshot, subscription, update};

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn page(first: bool, last: bool, record: u128, cursor: &str) -> ServerFrame {
    match snapshot(&[(id(record), 1)], cursor) {
        ServerFrame::Snapshot(page) => ServerFrame::Snapshot(Snapshot { first, last, ..page }),
        other => other,
    }
}

#[tokio::test]
async fn c4_a_snapshot_broken_by_a_restart_goes_on_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.db");
    let hub = FakeHub::start().await;
    let start = async || {
        let mut config = hub.config(&MemoryStorage::default());
        config.storage = Box::new(SqliteStorage::open(&path).unwrap());
        Client::start(config).await.unwrap()
    };

    let client = start().await;
    let (mut peer, hello) = hub.welcome(0).await;
    peer.send(page(true, true, 9, "c0")).await;
    peer.send(page(true, false, 1, "c1")).await;
    peer.send(update(id(2), 5, "live")).await;
    client.wait_for_version("task", id(2), 5).await.unwrap();
    let ticket = client.edit("task", id(1), data("mine"));
    ticket.stored().await.unwrap();
    let install = hello.device.unwrap().install_id;
    client.stop().await;

    let client = start().await;
    assert_eq!(client.shown("task", id(1)).unwrap()["title"], "mine");
    let (mut peer, hello) = hub.welcome(0).await;
    assert_eq!(hello.cursor.as_deref(), Some("c1"));
    assert_eq!((hello.device.unwrap().install_id, hello.attempt), (install, Some(2)));
    assert_eq!(peer.sync().await.first_client_seq, Some(1));
    peer.send(page(false, true, 3, "c2")).await;
    peer.send(caught_up("c3", 7)).await;
    while client.position() != Some(7) {
        client.wait_for_version("task", id(3), 1).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut held: Vec<Uuid> = client.records("task").into_iter().map(|(id, _)| id).collect();
    held.sort_unstable();
    assert_eq!(held, [id(1), id(2), id(3)], "record 9 came neither in a page nor in a frame");
    client.stop().await;
}

#[tokio::test]
async fn a_flood_is_applied_whole_and_a_lazy_listener_is_told_what_it_missed() {
    let hub = FakeHub::start().await;
    let mut config = hub.config(&MemoryStorage::default());
    config.event_capacity = 16;
    let client = Client::start(config).await.unwrap();
    let mut lazy = client.events();
    let (mut peer, _) = hub.welcome(0).await;
    for number in 1..=2000 {
        peer.send(update(id(number), 1, "flood")).await;
    }
    peer.send(caught_up("c1", 2000)).await;
    client.wait_until_settled(Some(2000)).await.unwrap();
    assert_eq!(client.records("task").len(), 2000);
    assert_eq!((client.stats().data_updates, client.stats().version_regressions), (2000, 0));
    assert!(lazy.recv().await.is_err(), "it missed some");
    assert!(lazy.recv().await.is_ok(), "and goes on");
    client.stop().await;
}

#[tokio::test]
async fn c3_a_domain_that_was_left_goes_with_the_next_cursor() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let mut events = client.events();
    let (mut peer, _) = hub.welcome(0).await;
    peer.send(snapshot(&[(id(1), 1)], "c1")).await;
    peer.send(caught_up("c2", 1)).await;
    client.wait_until_settled(None).await.unwrap();
    client.unsubscribe(&["task".to_owned()]);
    client.subscribe(vec![subscription("journal")]);
    let (mut left, mut added) = (false, false);
    while !(left && added) {
        use synchub_protocol::ClientFrame::{Subscribe, Unsubscribe};
        let (id, subscriptions) = match peer.next().await {
            Unsubscribe(request) => (request.id, Vec::new()),
            Subscribe(request) => (request.id, request.subscriptions),
            _ => continue,
        };
        (left, added) = (true, !subscriptions.is_empty());
        let subscribed = synchub_protocol::server::Subscribed { id, subscriptions, fresh: Vec::new() };
        peer.send(ServerFrame::Subscribed(subscribed)).await;
    }
    assert!(client.record("task", id(1)).is_some());
    peer.send(position("c3", 2)).await;
    loop {
        if let Event::Changed { mobile_id, .. } = events.recv().await.unwrap()
            && client.record("task", mobile_id).is_none()
        {
            break;
        }
    }
    client.stop().await;
}
