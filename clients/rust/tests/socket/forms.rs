//! Compressed frames, tokens that are renewed, the device's state, and what a newer hub may say.

use serde_json::json;
use synchub_client::{Client, DeviceState, End, Event, MemoryStorage};
use synchub_protocol::client::AppState;
use synchub_protocol::server::{ErrorFrame, SettingsApplied, TokenAccepted, Welcome};
use synchub_protocol::{ClientFrame, Encoding, ErrorCode, ServerFrame, Timestamp};
use tokio::sync::broadcast::Receiver;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::hub::{FakeHub, Peer, caught_up, data, update, welcome};

/// A client and its peer, up to a welcome that offers gzip.
async fn start(hub: &FakeHub, encoding: Encoding) -> (Client, Peer) {
    let mut config = hub.config(&MemoryStorage::default());
    config.encoding = encoding;
    let client = Client::start(config).await.unwrap();
    let mut peer = hub.accept().await;
    let hello = peer.hello().await;
    assert_eq!(hello.compression, ["gzip"]);
    let offers = Welcome { compression: Some(vec!["gzip".to_owned()]), ..welcome(hello.id, 0) };
    peer.send(ServerFrame::Welcome(offers)).await;
    (client, peer)
}

async fn event(events: &mut Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.recv().await.unwrap();
        if wanted(&event) {
            return event;
        }
    }
}

/// The next request; acks and pings before it are skipped.
async fn request(peer: &mut Peer) -> ClientFrame {
    loop {
        match peer.next().await {
            ClientFrame::Ack(_) | ClientFrame::Ping(_) => {}
            frame => return frame,
        }
    }
}

#[tokio::test]
async fn long_frames_go_and_come_compressed_in_both_encodings() {
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let hub = FakeHub::start().await;
        let (client, mut peer) = start(&hub, encoding).await;
        let id = Uuid::from_u128(1);
        peer.send_compressed(&update(id, 3, &"fire ".repeat(1000))).await;
        client.wait_for_version("task", id, 3).await.unwrap();
        assert_eq!(client.record("task", id).unwrap().data["title"], "fire ".repeat(1000));
        let ticket = client.create("task", data(&"rain ".repeat(1000)));
        let sync = peer.sync().await;
        assert_eq!(peer.compressed, 1);
        peer.answer(&sync, 4).await;
        ticket.await.unwrap();
        client.create("task", data("short"));
        peer.sync().await;
        assert_eq!(peer.compressed, 1, "a short frame goes as it is");
        client.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_compressed_for_a_hub_that_does_not_offer_it() {
    let hub = FakeHub::start().await;
    let client = Client::start(hub.config(&MemoryStorage::default())).await.unwrap();
    let (mut peer, _) = hub.welcome(0).await;
    client.create("task", data(&"rain ".repeat(1000)));
    peer.sync().await;
    assert_eq!(peer.compressed, 0);
    client.stop().await;
}

#[tokio::test]
async fn a_message_that_is_no_whole_gzip_or_too_much_ends_the_connection() {
    let bomb = synchub_protocol::gzip::deflate(&vec![b'x'; 20 << 20]).unwrap();
    for message in [vec![0x1f, 0x8b, 8], vec![b'{', b'}'], bomb.to_vec()] {
        let hub = FakeHub::start().await;
        let (client, mut peer) = start(&hub, Encoding::Json).await;
        let mut events = client.events();
        peer.send_message(Message::Binary(message.into())).await;
        let end = event(&mut events, |event| matches!(event, Event::Disconnected { .. })).await;
        assert!(matches!(end, Event::Disconnected { reason: End::Unreadable(_), .. }), "{end:?}");
        client.stop().await;
    }
}

#[tokio::test]
async fn a_token_is_renewed_on_the_open_connection() {
    let hub = FakeHub::start().await;
    let (client, mut peer) = start(&hub, Encoding::Json).await;
    let mut events = client.events();
    peer.send(caught_up("c", 1)).await;
    event(&mut events, |event| matches!(event, Event::CaughtUp { .. })).await;
    client.renew_token("the next");
    let ClientFrame::Token(token) = request(&mut peer).await else { panic!("no token") };
    assert_eq!(token.token, "the next");
    peer.send(ServerFrame::TokenAccepted(TokenAccepted { id: token.id, expires_at: Timestamp(7) })).await;
    let renewed = event(&mut events, |event| matches!(event, Event::TokenRenewed { .. })).await;
    assert!(matches!(renewed, Event::TokenRenewed { expires_at: Timestamp(7) }));
    client.renew_token("of somebody else");
    let ClientFrame::Token(token) = request(&mut peer).await else { panic!("no token") };
    peer.send(ServerFrame::Error(ErrorFrame::new(Some(token.id), ErrorCode::Forbidden, "no"))).await;
    event(&mut events, |event| matches!(event, Event::Refused { code: ErrorCode::Forbidden, .. })).await;
    client.create("task", data("the session goes on"));
    peer.sync().await;
    client.stop().await;
}

#[tokio::test]
async fn the_devices_state_is_said_and_said_again_on_the_next_connection() {
    let hub = FakeHub::start().await;
    let (client, mut peer) = start(&hub, Encoding::MessagePack).await;
    let mut events = client.events();
    client.set_device_state(DeviceState { battery_saver: Some(true), ..DeviceState::default() });
    let ClientFrame::Settings(settings) = request(&mut peer).await else { panic!("no settings") };
    assert_eq!((settings.battery_saver, settings.app_state), (Some(true), None));
    peer.send(ServerFrame::SettingsApplied(SettingsApplied {
        id: settings.id,
        battery_saver: true,
        network_quality: "poor".parse().unwrap(),
        app_state: AppState::Foreground,
    }))
    .await;
    event(&mut events, |event| matches!(event, Event::SettingsApplied(_))).await;
    let poor = Some("poor".parse().unwrap());
    client.set_device_state(DeviceState { network_quality: poor.clone(), ..DeviceState::default() });
    request(&mut peer).await;
    peer.close(4001).await;
    let (mut peer, hello) = hub.welcome(0).await;
    assert_eq!(hello.network_quality, poor);
    let ClientFrame::Settings(settings) = request(&mut peer).await else { panic!("no settings") };
    assert_eq!((settings.battery_saver, settings.network_quality), (Some(true), poor));
    client.stop().await;
}

#[tokio::test]
async fn what_a_newer_hub_says_is_passed_over() {
    let hub = FakeHub::start().await;
    let (client, mut peer) = start(&hub, Encoding::Json).await;
    for frame in [
        json!({"type": "telepathy", "id": 5}),
        json!({"type": "sync_trigger", "push_id": "p", "domains": [], "reason": "weather",
               "server_timestamp": "2026-01-01T00:00:00Z", "later": 5}),
        json!({"type": "position", "cursor": "c", "seq": 3, "later": {"a": 1}}),
    ] {
        peer.send_message(Message::text(frame.to_string())).await;
    }
    peer.send(update(Uuid::from_u128(1), 3, "fire")).await;
    client.wait_for_version("task", Uuid::from_u128(1), 3).await.unwrap();
    client.stop().await;
}
