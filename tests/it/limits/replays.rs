//! What a tenant is sent again: above its rate the next page waits, and nobody else does.

use serde_json::{Value, json};

use super::{batch, wait_for};
use crate::support::{Hello, Hub, Peer, tickets};

/// Records of each tenant: ten more than may come at once.
const RECORDS: usize = 110;

/// A hub that sends each tenant a hundred records a second again, in pages of twenty.
async fn hub(tail_bytes: usize) -> Hub {
    let change = move |settings: &mut synchub::config::Settings| {
        (settings.rates.burst_secs, settings.rates.tenant_replayed) = (1, 100);
        (settings.catch_up.page_rows, settings.feed.tail_bytes) = (20, tail_bytes);
    };
    Hub::with(change).start().await
}

fn of(tenant: &str, device: &str) -> Hello {
    Hello { tenant: tenant.to_owned(), ..Hello::of("anna", device) }
}

/// Reads until so many records or changes have come; whether the last frame said that this is all.
async fn read(peer: &mut Peer, count: usize) -> bool {
    let (mut come, mut is_all) = (0, false);
    while come < count {
        let frame = peer.next().await;
        come += match frame["type"].as_str() {
            Some("snapshot") => frame["records"].as_array().unwrap().len(),
            Some("data_update") => 1,
            _ => 0,
        };
        is_all = frame["last"] == json!(true);
    }
    assert_eq!(come, count);
    is_all
}

async fn read_to_the_end(peer: &mut Peer) -> Value {
    loop {
        let frame = peer.next().await;
        if frame["type"] == "caught_up" {
            return frame;
        }
    }
}

/// Lets time pass as the hub sees it until something has come.
async fn advancing<T>(hub: &Hub, come: impl Future<Output = T>) -> T {
    let passing = async {
        loop {
            hub.clock.advance(10_000);
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        come = come => come,
        () = passing => unreachable!("time does not end"),
    }
}

fn waited(hub: &Hub) -> bool {
    hub.metric("synchub_limited_total{limit=\"replay\"}") > 0
}

#[tokio::test]
async fn ws7_snapshots_wait_above_the_rate_of_their_tenant_and_nobody_else_does() {
    let hub = hub(1 << 20).await;
    for tenant in ["acme", "bolt"] {
        let (mut writer, _) = Peer::hello(&hub, &of(tenant, "writer")).await;
        assert_eq!(writer.ask(batch(&tickets(RECORDS).0)).await["type"], "sync_result");
    }
    let (mut flood, _) = Peer::hello(&hub, &of("acme", "phone").to(&["ticket"])).await;
    assert!(!read(&mut flood, 100).await);
    wait_for(&hub, waited).await;
    let pong = flood.ask(json!({"type": "ping"})).await;
    assert_eq!(pong["type"], "pong", "only what is sent again waits: {pong}");
    let answer = flood.ask(batch(&tickets(1).0)).await;
    assert_eq!(answer["type"], "sync_result", "{answer}");
    let (mut other, _) = Peer::hello(&hub, &of("bolt", "phone").to(&["ticket"])).await;
    assert!(!read(&mut other, 100).await, "another tenant has its own hundred");
    advancing(&hub, async {
        read_to_the_end(&mut flood).await;
        read_to_the_end(&mut other).await;
    })
    .await;
    hub.stop().await;
}

#[tokio::test]
async fn ws7_replays_wait_too_whether_memory_or_the_store_has_them() {
    for tail_bytes in [1 << 20, 0] {
        let hub = hub(tail_bytes).await;
        let (mut writer, _) = Peer::hello(&hub, &of("acme", "writer")).await;
        let phone = of("acme", "phone").to(&["ticket"]);
        let (mut peer, _) = Peer::hello(&hub, &phone).await;
        let cursor = read_to_the_end(&mut peer).await["cursor"].as_str().unwrap().to_owned();
        peer.close().await;
        assert_eq!(writer.ask(batch(&tickets(RECORDS).0)).await["type"], "sync_result");
        let (mut peer, _) = Peer::hello(&hub, &phone.clone().with(json!({"cursor": cursor}))).await;
        read(&mut peer, 100).await;
        wait_for(&hub, waited).await;
        advancing(&hub, read_to_the_end(&mut peer)).await;
        hub.stop().await;
    }
}
