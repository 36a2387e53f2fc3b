//! Peers that say next to nothing, at every stage from the first byte to a frame: each is ended by its time-out, and its
//! place is free again.

use std::time::Duration;

use serde_json::json;
use synchub::auth::Role;
use synchub_protocol::Encoding;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Hello, Hub, Peer};

/// Between two bytes of those who go on; far below the time-outs.
const DRIP: Duration = Duration::from_millis(40);
/// Far above the time-outs.
const PATIENCE: Duration = Duration::from_secs(20);

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: hub\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A masked text frame with an empty mask.
fn frame(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&[0x81, 0xfe], &length[..], &[0; 4], text].concat()
}

/// Somebody slow: what is said at once, and what follows byte by byte, again and again.
struct Slow {
    stage: &'static str,
    at_once: Vec<u8>,
    drip: Vec<u8>,
}

fn stages(hub: &Hub) -> Vec<Slow> {
    let slow = |stage, at_once: Vec<u8>, drip: &[u8]| Slow { stage, at_once, drip: drip.to_vec() };
    let token = hub.token("acme", "service", |grant| grant.role = Role::Publisher);
    let post = format!(
        "POST /api/v2/push HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {token}\r\nContent-Length: 1000\r\n\r\n"
    );
    let hello = |device: &str| frame(&Encoding::Json.encode(&Hello::of("anna", device).frame(hub)));
    let half = frame(&[b'x'; 1000])[..500].to_vec();
    let upgraded = |then: &[u8]| [UPGRADE.as_bytes(), then].concat();
    let known = |device: &str| upgraded(&[&hello(device)[..], &half].concat());
    vec![
        slow("no byte", vec![], b""),
        slow("half a request line", b"GET /w".to_vec(), b""),
        slow("headers byte by byte", b"GET /ws HTTP/1.1\r\n".to_vec(), b"X-A: b\r\n"),
        slow("a body that never comes", post.clone().into_bytes(), b""),
        slow("a body byte by byte", post.into_bytes(), b" "),
        slow(
            "a second request that never comes",
            b"GET /health/live HTTP/1.1\r\nHost: hub\r\n\r\n".to_vec(),
            b"",
        ),
        slow("no hello", upgraded(b""), b""),
        slow("half a hello", upgraded(&half), b""),
        slow("a hello byte by byte", upgraded(&half), b"x"),
        slow("half a frame after the hello", known("phone"), b""),
        slow("a frame byte by byte after the hello", known("tablet"), b"x"),
    ]
}

/// Plays somebody slow until the hub ends the connection; what it said.
async fn play(hub: &Hub, slow: &Slow) -> Vec<u8> {
    let (mut reads, mut writes) = TcpStream::connect(hub.node.address()).await.unwrap().into_split();
    writes.write_all(&slow.at_once).await.unwrap();
    let drip = async {
        for byte in slow.drip.iter().cycle() {
            tokio::time::sleep(DRIP).await;
            if writes.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let mut said = Vec::new();
    let listen = async {
        // An end with a reset is an end.
        while reads.read_buf(&mut said).await.is_ok_and(|count| count > 0) {}
    };
    tokio::select! {
        () = listen => {}
        () = drip => {}
        () = tokio::time::sleep(PATIENCE) => panic!("{}: it goes on for ever", slow.stage),
    }
    said
}

fn holds(said: &[u8], wanted: &[u8]) -> bool {
    said.windows(wanted.len()).any(|window| window == wanted)
}

#[tokio::test]
async fn inv5_whoever_is_slow_at_any_stage_is_ended_and_gives_its_place_back() {
    let hub = Hub::with(|settings| {
        (settings.limits.hello_timeout_secs, settings.limits.heartbeat_secs) = (1, 1);
        settings.limits.max_connections = 13;
    });
    let hub = hub.start().await;
    let stages = stages(&hub);
    assert_eq!(stages.len(), 11, "two places are left");
    let busy = async {
        // Whoever needs one has one; that of who has just left may be taken for a moment longer.
        for number in 0..5 {
            let (mut peer, _) = Peer::live(&hub, &Hello::of("ben", &number.to_string())).await;
            assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
            peer.say_close().await;
            while peer.message().await.is_some_and(|message| message.is_ok()) {}
        }
    };
    let (said, ()) =
        tokio::join!(futures::future::join_all(stages.iter().map(|slow| play(&hub, slow))), busy);
    for (slow, said) in stages.iter().zip(&said) {
        let code = |code: u16| holds(said, &code.to_be_bytes());
        let as_it_should = match slow.stage {
            stage if stage.starts_with("a body") => holds(said, b"HTTP/1.1 408 "),
            stage if stage.ends_with("after the hello") => holds(said, b"\"welcome\"") && code(4002),
            stage if stage.ends_with("hello") || stage.starts_with("a hello") => code(4005),
            _ => !holds(said, b"HTTP/1.1 5"),
        };
        assert!(as_it_should, "{}: {}", slow.stage, said.escape_ascii());
    }
    // The places are free again.
    let mut peers = Vec::new();
    for number in 0..12 {
        peers.push(Peer::live(&hub, &Hello::of("carl", &number.to_string())).await);
    }
    hub.stop().await;
}
