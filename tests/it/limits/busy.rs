//! Before the node gets slow: who is in is asked to wait, who comes is told to come back.

use serde_json::json;
use synchub_protocol::Encoding;

use super::{SECOND_US, batch, turned_away};
use crate::support::{Gate, Hello, Hub, Peer, Publisher, tickets};

/// Waits until a batch that was sent is in the committer's hands: its own commit runs behind the gate.
async fn until_loaded(hub: &Hub, least: u64) {
    let waited = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while hub.node.deps().engine.load_percent() < least {
            hub.clock.advance(1000);
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("the load never shows");
}

#[tokio::test]
async fn ws7_behind_a_slow_commit_hellos_are_turned_away_and_batches_are_asked_to_wait() {
    let hub = Hub::start().await;
    let publisher = Publisher::of(&hub, "acme").await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    let gate = Gate::close(&hub, &publisher).await;
    let id = peer.request(batch(&tickets(1).0)).await;
    until_loaded(&hub, 80).await;

    let mut late = Peer::open(&hub, Encoding::Json).await;
    let (reason, after, code) = turned_away(&hub, &mut late, &Hello::of("ben", "phone")).await;
    assert_eq!((reason.as_str(), code), ("overloaded", 4004));
    assert!((2000..=7000).contains(&after), "{after}");
    assert_eq!(hub.metric("synchub_limited_total{limit=\"load\"}"), 1);

    gate.open().await;
    let answer = peer.answer(id).await;
    let backoff = answer["backoff_ms"].as_u64().unwrap();
    assert!((1000..=4000).contains(&backoff), "{backoff}");
    // What was slow says nothing for long: a hub that lets nobody in would never learn better.
    hub.clock.advance(5 * SECOND_US);
    late = Peer::open(&hub, Encoding::Json).await;
    late.greet(&hub, &Hello::of("ben", "phone")).await;
    let answer = late.ask(batch(&tickets(1).0)).await;
    assert_eq!((&answer["type"], &answer["backoff_ms"]), (&json!("sync_result"), &json!(null)));
    assert_eq!(hub.metric("synchub_backoffs_total"), 1);
    hub.stop().await;
}

#[tokio::test]
async fn ws7_what_waits_to_be_committed_is_load() {
    let hub = Hub::with(|settings| {
        settings.admission.slow_commit_ms = 0;
        (settings.admission.busy_percent, settings.admission.full_percent) = (2, 4);
        settings.limits.max_in_flight = 10;
    })
    .start()
    .await;
    let publisher = Publisher::of(&hub, "acme").await;
    let (mut peer, _) = Peer::hello(&hub, &Hello::of("anna", "phone")).await;
    let gate = Gate::close(&hub, &publisher).await;
    let mut ids = Vec::new();
    // The first is being committed, four thousand entries of fifty thousand wait.
    for _ in 0..5 {
        ids.push(peer.request(batch(&tickets(1000).0)).await);
    }
    until_loaded(&hub, 6).await;
    let mut late = Peer::open(&hub, Encoding::Json).await;
    let (reason, _, code) = turned_away(&hub, &mut late, &Hello::of("ben", "phone")).await;
    assert_eq!((reason.as_str(), code), ("overloaded", 4004));

    gate.open().await;
    let mut asked = Vec::new();
    for id in ids {
        asked.push(!peer.answer(id).await["backoff_ms"].is_null());
    }
    assert!(asked[0] && !asked[4], "while much waits, and no longer: {asked:?}");
    late = Peer::open(&hub, Encoding::Json).await;
    late.greet(&hub, &Hello::of("ben", "phone")).await;
    hub.stop().await;
}

#[tokio::test]
async fn bw3_the_batch_size_follows_the_quality_of_the_network() {
    let hub = Hub::start().await;
    for (quality, size) in
        [("excellent", 100), ("good", 50), ("fair", 25), ("poor", 10), ("unknown", 100), ("5G", 100)]
    {
        let hello = Hello::of("anna", "phone").with(json!({"network_quality": quality}));
        let (peer, welcome) = Peer::hello(&hub, &hello).await;
        assert_eq!(welcome["limits"]["recommended_batch"], size, "{quality}");
        peer.close().await;
    }
    let (_, welcome) = Peer::hello(&hub, &Hello::of("anna", "tablet")).await;
    assert_eq!(welcome["limits"]["recommended_batch"], 100);
    hub.stop().await;
}
