//! The HTTP side: upgrades that are refused, subprotocols, health and metrics.

use serde_json::json;
use synchub_protocol::Encoding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, ticket};

const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn get(hub: &Hub, path: &str, headers: &str) -> String {
    request(hub, &format!("GET {path}"), headers).await
}

/// The head of the answer, and what follows it where the connection ends.
async fn request(hub: &Hub, line: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(hub.node.address()).await.unwrap();
    let request = format!("{line} HTTP/1.1\r\nHost: hub\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
    }
    if !headers.contains("Upgrade") {
        stream.read_to_end(&mut answer).await.unwrap();
    }
    String::from_utf8(answer).unwrap().to_lowercase()
}

#[tokio::test]
async fn an_upgrade_that_is_wrong_is_an_http_error() {
    let hub = Hub::start().await;
    let close = "Connection: close\r\n";
    let without = |part: &str| {
        UPGRADE.split_inclusive("\r\n").filter(|line| !line.starts_with(part)).collect::<String>()
    };
    for (path, headers, status) in [
        ("/nowhere", close.to_owned(), 404),
        ("/ws", close.to_owned(), 426),
        ("/ws", without("Upgrade"), 426),
        ("/ws", without("Sec-WebSocket-Version"), 426),
        ("/ws", UPGRADE.replace("13", "8"), 426),
        ("/ws", without("Sec-WebSocket-Key"), 400),
        ("/ws", format!("{UPGRADE}Sec-WebSocket-Protocol: chat, superchat\r\n"), 400),
        ("/ws", UPGRADE.to_owned(), 101),
    ] {
        let answer = get(&hub, path, &headers).await;
        assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{path} {headers}: {answer}");
        if status == 426 {
            assert!(answer.contains("upgrade: websocket\r\n"), "{answer}");
        }
    }
    for method in ["HEAD", "POST", "OPTIONS"] {
        let answer =
            request(&hub, &format!("{method} /ws"), &format!("{UPGRADE}Connection: close\r\n")).await;
        assert!(answer.starts_with("http/1.1 400 "), "rfc 6455, 4.1: {method}: {answer}");
    }
    let answer = get(&hub, "/ws", UPGRADE).await;
    assert!(
        answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "rfc 6455, 1.3: {answer}"
    );
}

#[tokio::test]
async fn the_subprotocol_chooses_the_encoding() {
    let hub = Hub::start().await;
    for (offered, chosen, encoding) in [
        (None, None, Encoding::Json),
        (Some("synchub.v1.json"), Some("synchub.v1.json"), Encoding::Json),
        (Some("synchub.v1.msgpack"), Some("synchub.v1.msgpack"), Encoding::MessagePack),
        (Some("chat, synchub.v1.msgpack"), Some("synchub.v1.msgpack"), Encoding::MessagePack),
        (Some("synchub.v1.json, synchub.v1.msgpack"), Some("synchub.v1.json"), Encoding::Json),
    ] {
        let mut request = hub.url().into_client_request().unwrap();
        if let Some(offered) = offered {
            request.headers_mut().insert("Sec-WebSocket-Protocol", offered.parse().unwrap());
        }
        let mut peer = Peer::open_as(request.clone(), encoding).await;
        peer.greet(&hub, &Hello::of("alice", "a")).await;
        if offered.is_some() {
            let (_, response) = connect_async(request).await.unwrap();
            let echoed =
                response.headers().get("Sec-WebSocket-Protocol").map(|value| value.to_str().unwrap());
            assert_eq!(echoed, chosen);
        }
    }
}

/// The check of the store writes little: what devices sent may be too much for the disk all the same.
#[tokio::test]
async fn a_node_that_could_not_write_what_devices_sent_is_not_ready() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let lock = rusqlite::Connection::open(hub.database()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let batch =
        json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": [ticket(Uuid::now_v7(), "fire")]});
    assert_eq!(peer.ask(batch.clone()).await["code"], "unavailable");
    lock.execute_batch("ROLLBACK").unwrap();
    let close = "Connection: close\r\n";
    let answer = get(&hub, "/health/ready", close).await;
    assert!(answer.starts_with("http/1.1 503 ") && answer.contains("disk"), "{answer}");
    assert_eq!(peer.ask(batch).await["results"][0]["status"], "created");
    let answer = get(&hub, "/health/ready", close).await;
    assert!(answer.starts_with("http/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn health_and_metrics_answer() {
    let hub = Hub::start().await;
    let _peer = Peer::live(&hub, &Hello::of("alice", "a")).await;
    let close = "Connection: close\r\n";
    for (path, expected) in [
        ("/health/live", "\r\n\r\nlive\n"),
        ("/health/ready", "\r\n\r\nready\n"),
        ("/metrics", "synchub_sessions{encoding=\"json\"} 1\n"),
        ("/metrics", "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"),
        ("/metrics", "# eof\n"),
    ] {
        let answer = get(&hub, path, close).await;
        assert!(answer.starts_with("http/1.1 200 ") && answer.contains(expected), "{path}: {answer}");
    }
    assert!(hub.http().starts_with("http://127.0.0.1:"));
}
