//! Golden frames with something wrong in them, over sockets: each ends in an answer or in a code of the table.

use std::fs;
use std::path::Path;

use serde_json::json;
use synchub::entropy::{Entropy as _, SeededEntropy};
use synchub_protocol::Encoding;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Hello, Hub, Peer};

/// What a frame may be closed with: no frame, too large, a second hello.
const CODES: [u16; 3] = [4503, 4505, 4506];

async fn live(hub: &Hub, encoding: Encoding) -> Peer {
    let (mut peer, _) = Peer::hello_in(hub, &Hello::of("alice", "a"), encoding).await;
    peer.until("caught_up").await;
    peer
}

/// The frames in an encoding, each with a byte changed, added or taken away.
fn mutated(encoding: Encoding) -> Vec<Message> {
    let chance = SeededEntropy::new(7);
    let extension = if encoding == Encoding::Json { "json" } else { "msgpack" };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol/golden/frames");
    let paths = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    paths.sort();
    let below = |bound: usize| usize::try_from(chance.below(bound as u64)).unwrap();
    let mutate = |mut bytes: Vec<u8>| {
        let at = below(bytes.len().max(1));
        match below(3) {
            0 => bytes.insert(at.min(bytes.len()), u8::try_from(below(256)).unwrap()),
            1 if !bytes.is_empty() => drop(bytes.remove(at)),
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << below(8)),
        }
        match (encoding, String::from_utf8(bytes)) {
            (Encoding::Json, Ok(text)) => Message::text(text),
            (_, Ok(text)) => Message::Binary(text.into_bytes().into()),
            (_, Err(error)) => Message::Binary(error.into_bytes().into()),
        }
    };
    paths.iter().map(|path| mutate(fs::read(path).unwrap())).collect()
}

#[tokio::test]
async fn mutated_frames_end_in_an_answer_or_a_code_of_the_table() {
    let hub = Hub::start().await;
    for encoding in [Encoding::MessagePack, Encoding::Json] {
        let messages = mutated(encoding);
        assert!(messages.len() > 150, "only {} frames", messages.len());
        let mut peer = live(&hub, encoding).await;
        let mut closed = 0;
        for message in messages {
            peer.send_message(message.clone()).await;
            peer.send(&json!({"type": "ping", "id": 987_654})).await;
            loop {
                match peer.next_or_close().await {
                    Ok(frame) if frame["type"] == "pong" && frame["id"] == 987_654 => break,
                    Ok(_) => {}
                    Err(code) => {
                        assert!(CODES.contains(&code), "{code} for {message:?}");
                        closed += 1;
                        peer = live(&hub, encoding).await;
                        break;
                    }
                }
            }
        }
        assert!(closed > 10, "only {closed} were no frames");
    }
}
