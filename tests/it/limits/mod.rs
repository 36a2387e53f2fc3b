//! Limits on the way in, over real sockets, with a clock that is held: what is over them is refused with a hint
//! and nothing else feels it; who goes on is closed.

mod busy;
mod floods;
mod frames;
mod hostile;
mod line;
mod places;
mod replays;

use serde_json::{Value, json};
use synchub::config::{RateSettings, Settings};
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer};

pub(super) const SECOND_US: i64 = 1_000_000;

/// A hub with these rates and no others; a second's worth may come at once.
async fn hub(change: impl FnOnce(&mut RateSettings)) -> Hub {
    let change = |settings: &mut Settings| {
        settings.rates.burst_secs = 1;
        change(&mut settings.rates);
    };
    Hub::with(change).start().await
}

/// A batch of these entries.
fn batch(entries: &Value) -> Value {
    json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": entries})
}

/// What is said of a request that is over a limit.
fn assert_limited(error: &Value, retry_after_ms: u64) {
    let expected = json!({"type": "error", "code": "rate_limited", "temporary": true});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&error[key], value, "{error}");
    }
    assert_eq!(error["retry_after_ms"], retry_after_ms, "{error}");
}

/// A socket as if it came through a proxy beside the hub, from this address.
async fn from_address(hub: &Hub, address: &str) -> Peer {
    let encoding = synchub_protocol::Encoding::Json;
    let mut request = crate::support::request(hub, encoding);
    request.headers_mut().insert("X-Forwarded-For", address.parse().unwrap());
    Peer::open_as(request, encoding).await
}

/// What a peer is told that has to go: the reason of `goaway`, when to come back, and the code.
async fn sent_away(peer: &mut Peer) -> (String, u64, u16) {
    let goaway = peer.next().await;
    assert_eq!(goaway["type"], "goaway", "{goaway}");
    let reason = goaway["reason"].as_str().unwrap().to_owned();
    (reason, goaway["reconnect_after_ms"].as_u64().unwrap(), peer.close_code().await)
}

/// Says hello on a socket and is told to go.
async fn turned_away(hub: &Hub, peer: &mut Peer, hello: &Hello) -> (String, u64, u16) {
    peer.send(&hello.frame(hub)).await;
    sent_away(peer).await
}

/// Waits until something is so.
async fn wait_for(hub: &Hub, is_so: impl Fn(&Hub) -> bool) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while !is_so(hub) {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("it does not come to that");
}
