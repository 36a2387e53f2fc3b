//! Messages that are no frames, and frames that cannot be taken (protocol: Carrier, Closing).

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub_protocol::Encoding;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, tickets};

async fn live(hub: &Hub, encoding: Encoding) -> Peer {
    let (mut peer, _) = Peer::hello_in(hub, &Hello::of("alice", "a"), encoding).await;
    peer.until("caught_up").await;
    peer
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test]
async fn what_is_no_frame_closes_with_4503_before_hello_and_after() {
    let hub = Hub::start().await;
    let text = |text: &str| Message::text(text);
    let packed = |value: &Value| Message::Binary(Encoding::MessagePack.encode(value));
    let mut trailing = Encoding::MessagePack.encode(&json!({"type": "ping", "id": 1})).to_vec();
    trailing.push(0xc0);
    let deep = json!({"type": "ping", "id": 1, "deep": nested(32)});
    let cases = [
        (Encoding::Json, text("{")),
        (Encoding::Json, text("[]")),
        (Encoding::Json, text("{\"id\":1}")),
        (Encoding::Json, text("{\"type\":7,\"id\":1}")),
        (Encoding::Json, text("{\"type\":\"ping\",\"id\":NaN}")),
        (Encoding::Json, text("{\"type\":\"ping\",\"id\":1}{}")),
        (Encoding::Json, text(&deep.to_string())),
        (Encoding::Json, packed(&json!({"type": "ping", "id": 1}))),
        (Encoding::MessagePack, Message::Binary(vec![0xc1].into())),
        (Encoding::MessagePack, Message::Binary(trailing.into())),
        (Encoding::MessagePack, packed(&json!(["type", "ping"]))),
        (Encoding::MessagePack, packed(&deep)),
        (Encoding::MessagePack, text("{\"type\":\"ping\",\"id\":1}")),
    ];
    for (encoding, message) in cases {
        let mut before = Peer::open(&hub, encoding).await;
        before.send_message(message.clone()).await;
        assert_eq!(before.close_code().await, 4503, "before hello: {message:?}");
        let mut after = live(&hub, encoding).await;
        after.send_message(message.clone()).await;
        assert_eq!(after.close_code().await, 4503, "after hello: {message:?}");
    }
    assert!(hub.metric("synchub_closes_total{reason=\"undecodable\"}") >= 26);
}

#[tokio::test]
async fn what_is_allowed_is_no_reason_to_close() {
    let hub = Hub::start().await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let mut peer = live(&hub, encoding).await;
        for ping in [
            json!({"type": "ping", "new": {"a": [1, null, "x"]}}),
            json!({"type": "ping", "deep": nested(31)}),
            json!({"type": "ping", "client_time": "2026-01-01T00:00:00Z"}),
        ] {
            let pong = peer.ask(ping).await;
            assert_eq!(
                (&pong["type"], &pong["server_time"]),
                (&json!("pong"), &json!("2026-01-01T00:00:00.000000Z"))
            );
        }
        peer.send_message(Message::Ping(b"hi".as_slice().into())).await;
        assert_eq!(peer.message().await.unwrap().unwrap(), Message::Pong(b"hi".as_slice().into()));
    }
}

#[tokio::test]
async fn a_request_before_hello_is_unauthorized_and_hello_still_counts() {
    let hub = Hub::start().await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let mut peer = Peer::open(&hub, encoding).await;
        for request in [
            json!({"type": "ping", "id": 5}),
            json!({"type": "sync", "id": 5, "batch_id": Uuid::now_v7(), "entries": []}),
            json!({"type": "subscribe", "id": 5, "subscriptions": []}),
            json!({"type": "never heard of", "id": 5}),
        ] {
            peer.send(&request).await;
            let error = peer.next().await;
            assert_eq!((&error["code"], &error["id"]), (&json!("unauthorized"), &json!(5)), "{request}");
        }
        peer.send(&json!({"type": "hello", "id": 6, "device": 7})).await;
        let error = peer.next().await;
        assert_eq!((&error["code"], &error["id"]), (&json!("bad_request"), &json!(6)));
        peer.greet(&hub, &Hello::of("alice", "a")).await;
    }
}

#[tokio::test]
async fn without_a_hello_in_time_the_socket_closes_with_4005() {
    let hub = Hub::with(|settings| settings.limits.hello_timeout_secs = 1).start().await;
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    assert_eq!(peer.close_code().await, 4005);
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    peer.send(&json!({"type": "ping", "id": 1})).await;
    assert_eq!(peer.close_code().await, 4005);
    let mut peer = live(&hub, Encoding::Json).await;
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
}

#[tokio::test]
async fn a_second_hello_closes_with_4506() {
    let hub = Hub::start().await;
    let mut peer = live(&hub, Encoding::Json).await;
    peer.send(&Hello::of("alice", "a").frame(&hub)).await;
    assert_eq!(peer.close_code().await, 4506);
}

#[tokio::test]
async fn ten_forbidden_requests_in_a_minute_close_with_4506() {
    let hub = Hub::start().await;
    let token = hub.token("acme", "service", |grant| grant.role = Role::Publisher);
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    peer.send(&json!({"type": "hello", "id": 1, "token": token})).await;
    peer.until("caught_up").await;
    for _ in 0..9 {
        let batch = json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": tickets(1).0});
        let error = peer.ask(batch).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("forbidden")));
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
    }
    peer.send(&json!({"type": "sync", "id": 1, "batch_id": Uuid::now_v7(), "entries": tickets(1).0})).await;
    assert_eq!(peer.close_code().await, 4506);
    assert!(hub.store().find_log("acme", 0, 10).await.unwrap().is_empty(), "nothing was written");
}

#[tokio::test]
async fn unknown_types_and_bad_requests_are_answered_with_their_id() {
    let hub = Hub::start().await;
    for encoding in [Encoding::Json, Encoding::MessagePack] {
        let mut peer = live(&hub, encoding).await;
        let error = peer.ask(json!({"type": "teleport"})).await;
        assert_eq!(
            (&error["type"], &error["code"], &error["temporary"]),
            (&json!("error"), &json!("unknown_type"), &json!(false))
        );
        for request in [
            json!({"type": "sync", "entries": []}),
            json!({"type": "sync", "batch_id": "no uuid", "entries": tickets(1).0}),
            json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": []}),
            json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": {}}),
            json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": tickets(1).0, "first_client_seq": 1}),
            json!({"type": "subscribe", "subscriptions": [{}]}),
            json!({"type": "subscribe", "subscriptions": [{"domain": "ticket", "filter": {"group": {"gt": 1}}}]}),
            json!({"type": "unsubscribe"}),
            json!({"type": "ping", "client_time": "yesterday"}),
        ] {
            let error = peer.ask(request.clone()).await;
            assert_eq!(
                (&error["type"], &error["code"]),
                (&json!("error"), &json!("bad_request")),
                "{request}: {error}"
            );
        }
        peer.send(&json!({"type": "ping", "id": "one"})).await;
        let error = peer.next().await;
        assert_eq!((&error["code"], error.get("id")), (&json!("bad_request"), None));
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong", "the socket goes on");
    }
}

#[tokio::test]
async fn a_session_takes_64_domains_at_most() {
    let hub = Hub::with(|settings| settings.limits.max_subscriptions = 2).start().await;
    let mut peer = Peer::open(&hub, Encoding::Json).await;
    let hello = Hello::of("alice", "a");
    peer.send(&hello.clone().to(&["ticket", "journal", "task"]).frame(&hub)).await;
    assert_eq!(peer.next().await["code"], "bad_request");
    peer.greet(&hub, &hello.to(&["ticket", "journal"])).await;
    let error = peer.ask(json!({"type": "subscribe", "subscriptions": [{"domain": "task"}]})).await;
    assert_eq!(error["code"], "bad_request");
}

#[tokio::test]
async fn a_close_is_answered_with_a_close() {
    let hub = Hub::start().await;
    for hello in [true, false] {
        let mut peer =
            if hello { live(&hub, Encoding::Json).await } else { Peer::open(&hub, Encoding::Json).await };
        peer.say_close().await;
        let message = peer.message().await.expect("a close");
        assert!(matches!(message, Ok(Message::Close(_))), "{message:?}");
        assert!(peer.message().await.is_none(), "a clean end");
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_counts_as_gone_and_frees_its_place() {
    let hub = Hub::start().await;
    for _ in 0..3 {
        live(&hub, Encoding::Json).await.cut();
        Peer::open(&hub, Encoding::Json).await.cut();
    }
    let gone = async {
        while hub.metric("synchub_closes_total{reason=\"peer_closed\"}") < 6
            || hub.metric("synchub_sockets") > 0
        {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), gone).await.expect("all are gone");
    assert!(hub.node.deps().devices.mailboxes().is_empty());
    assert!(hub.metric("synchub_sessions{encoding=\"json\"}") == 0);
}
