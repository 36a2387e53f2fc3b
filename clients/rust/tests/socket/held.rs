//! What is held back (C9): told to the app, and asked for.

use synchub_client::{Client, DeviceState, Event, MemoryStorage};
use synchub_protocol::server::{CaughtUp, ErrorFrame, SyncTrigger, TriggerReason};
use synchub_protocol::{ClientFrame, ErrorCode, ServerFrame, Timestamp};
use tokio::sync::broadcast::Receiver;
use tokio_util::task::TaskTracker;

use crate::hub::{FakeHub, Peer, caught_up};

fn held_back(push_id: &str) -> ServerFrame {
    ServerFrame::SyncTrigger(SyncTrigger {
        push_id: push_id.to_owned(),
        domains: vec!["task".to_owned()],
        reason: TriggerReason::HeldBack,
        server_timestamp: Timestamp(0),
    })
}

/// The id of the next `catch_up`.
async fn catch_up(peer: &mut Peer) -> u64 {
    loop {
        if let ClientFrame::CatchUp(request) = peer.next().await {
            return request.id;
        }
    }
}

fn answer(id: u64) -> ServerFrame {
    ServerFrame::CaughtUp(CaughtUp { cursor: "c2".to_owned(), seq: 12, id: Some(id) })
}

async fn find(events: &mut Receiver<Event>, is_it: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.recv().await.unwrap();
        if is_it(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn c9_the_app_is_told_of_what_is_held_back_and_asks_for_it_when_it_suits() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let mut events = client.events();
    client.set_device_state(DeviceState { battery_saver: Some(true), ..DeviceState::default() });
    let (mut peer, _) = hub.welcome(0).await;
    peer.send(caught_up("c1", 10)).await;
    peer.send(held_back("a")).await;
    let told =
        find(&mut events, |event| matches!(event, Event::HeldBack { .. } | Event::SyncTrigger(_))).await;
    assert!(matches!(told, Event::HeldBack { domains } if domains == ["task"]));
    match peer.next().await {
        ClientFrame::Settings(settings) => assert_eq!(settings.battery_saver, Some(true)),
        other => panic!("settings, not {other:?}"),
    }

    let asking = client.clone();
    let waits = TaskTracker::new().spawn(async move { asking.catch_up().await });
    let id = catch_up(&mut peer).await;
    peer.send(caught_up("c1", 11)).await;
    find(&mut events, |event| matches!(event, Event::CaughtUp { seq: 11 })).await;
    assert!(!waits.is_finished(), "another caught_up is no answer");
    drop(peer);
    let (mut peer, _) = hub.welcome(0).await;
    let again = catch_up(&mut peer).await;
    peer.send(answer(again)).await;
    waits.await.unwrap().unwrap();
    assert_eq!(client.position(), Some(12), "{id}");

    let asking = client.clone();
    let waits = TaskTracker::new().spawn(async move { asking.catch_up().await });
    let id = catch_up(&mut peer).await;
    peer.send(ServerFrame::Error(ErrorFrame::new(Some(id), ErrorCode::UnknownType, "an older hub"))).await;
    waits.await.unwrap().unwrap();
    find(&mut events, |event| matches!(event, Event::Refused { code: ErrorCode::UnknownType, .. })).await;
    client.stop().await;
    assert!(client.catch_up().await.is_err());
}
