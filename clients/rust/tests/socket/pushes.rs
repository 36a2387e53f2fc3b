//! Pushes that come in, and what a service publishes.

use std::sync::Arc;

use serde_json::json;
use synchub_client::{Client, Event, MemoryStorage, Publication, PublishError};
use synchub_protocol::client::{Publish, Push, PushKind, Target};
use synchub_protocol::server::{
    ConflictAlert, ErrorFrame, Message, Published, PushReceipt, Resolution, Strategy, SyncTrigger,
    TriggerReason,
};
use synchub_protocol::{ClientFrame, ErrorCode, Priority, ServerFrame, Timestamp};
use tokio::sync::broadcast::Receiver;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::hub::{FakeHub, Peer, caught_up, data};

fn message(push_id: &str) -> ServerFrame {
    ServerFrame::Message(Message {
        push_id: push_id.to_owned(),
        priority: Priority::Normal,
        topic: None,
        data: Arc::new(data("hi")),
        server_timestamp: Timestamp(0),
    })
}

fn trigger(push_id: &str) -> ServerFrame {
    let (domains, reason) = (vec!["task".to_owned()], TriggerReason::ServerUpdate);
    let push_id = push_id.to_owned();
    ServerFrame::SyncTrigger(SyncTrigger { push_id, domains, reason, server_timestamp: Timestamp(0) })
}

fn alert(push_id: &str) -> ServerFrame {
    ServerFrame::ConflictAlert(ConflictAlert {
        push_id: Some(push_id.to_owned()),
        conflict_id: Uuid::from_u128(5),
        domain: "task".to_owned(),
        mobile_id: Uuid::from_u128(6),
        action_required: true,
        strategy: Strategy::Manual,
        resolution: Resolution::ManualRequired,
        reason: "both".to_owned(),
        server_version: 2,
        server_data: None,
        client_data: None,
        server_timestamp: Timestamp(0),
    })
}

/// The pushes that the app was told of up to `caught_up`.
async fn told(events: &mut Receiver<Event>) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        told.push(match events.recv().await.unwrap() {
            Event::Message(message) => message.push_id,
            Event::SyncTrigger(trigger) => trigger.push_id,
            Event::ConflictAlert(alert) => alert.push_id.unwrap(),
            Event::CaughtUp { .. } => return told,
            _ => continue,
        });
    }
}

#[tokio::test]
async fn p2_p5_a_push_is_told_once_and_an_open_conflict_after_each_hello() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let mut events = client.events();
    let open = Uuid::from_u128(5).to_string();
    for expected in [vec!["a", "b", "c", &open], vec![&open, "d"]] {
        let (mut peer, _) = hub.welcome(0).await;
        let ids = if expected.len() == 4 { "abca" } else { "acbd" };
        for id in ids.chars().map(String::from) {
            let frame = match id.as_str() {
                "b" => trigger("b"),
                "c" => alert("c"),
                id => message(id),
            };
            if id == "d" {
                peer.send(alert(&open)).await;
            }
            peer.send(frame).await;
        }
        if expected.len() == 4 {
            peer.send(alert(&open)).await;
        }
        peer.send(caught_up("c1", 10)).await;
        assert_eq!(told(&mut events).await, expected);
    }
    client.stop().await;
}

fn publication(request: u128) -> Publication {
    let push = Push {
        kind: PushKind::Message,
        to: Target::Tenant,
        priority: None,
        topic: None,
        data: json!({"text": "hi"}).as_object().cloned(),
        domains: None,
        conflict_id: None,
        ttl_secs: None,
    };
    Publication { request_id: Uuid::from_u128(request), changes: Vec::new(), pushes: vec![push] }
}

async fn publish(peer: &mut Peer) -> Publish {
    loop {
        match peer.next().await {
            ClientFrame::Publish(publish) => return publish,
            ClientFrame::Ping(_) => {}
            other => panic!("publish, not {other:?}"),
        }
    }
}

fn published(id: u64) -> ServerFrame {
    let receipt = PushReceipt { push_id: "p".to_owned(), delivered: 1, queued: 0, held: 0 };
    ServerFrame::Published(Published { id, results: Vec::new(), pushes: vec![receipt] })
}

#[tokio::test]
async fn o1_what_a_service_publishes_is_asked_for_until_it_is_answered() {
    let hub = FakeHub::start().await;
    let mut config = hub.config(&MemoryStorage::default());
    config.is_service = true;
    let client = Client::start(config).await.unwrap();
    let (mut peer, hello) = hub.welcome(0).await;
    assert_eq!(hello.device, None);
    peer.send(caught_up("c1", 10)).await;
    let asking = client.clone();
    let first = TaskTracker::new().spawn(async move { asking.publish(publication(1)).await });
    assert_eq!(publish(&mut peer).await.request_id, Uuid::from_u128(1));
    drop(peer);
    let (mut peer, _) = hub.welcome(0).await;
    let again = publish(&mut peer).await;
    assert_eq!((again.request_id, again.pushes), (Uuid::from_u128(1), publication(1).pushes));
    peer.send(published(again.id)).await;
    assert_eq!(first.await.unwrap().unwrap().pushes[0].push_id, "p");

    let asking = client.clone();
    let second = TaskTracker::new().spawn(async move { asking.publish(publication(2)).await });
    let request = publish(&mut peer).await;
    let busy = ErrorFrame {
        retry_after_ms: Some(1),
        ..ErrorFrame::new(Some(request.id), ErrorCode::Unavailable, "")
    };
    peer.send(ServerFrame::Error(busy)).await;
    let request = publish(&mut peer).await;
    peer.send(ServerFrame::Error(ErrorFrame::new(Some(request.id), ErrorCode::NotFound, "nobody"))).await;
    match second.await.unwrap() {
        Err(PublishError::Refused { code: ErrorCode::NotFound, .. }) => {}
        other => panic!("{other:?}"),
    }
    client.stop().await;
    assert!(matches!(client.publish(publication(3)).await, Err(PublishError::Stopped(_))));
}
