//! Holding back (C9) in numbers: who is sent too much in a second, and more than is taken at once.

use serde_json::{Value, json};
use uuid::Uuid;

use super::c9_held::{changed, places, reader, told, urgent, writer};
use crate::support::{Copy, Hub};

#[tokio::test]
async fn c9_who_is_sent_too_much_in_a_second_is_delayed_and_resumed() {
    let hub = Hub::with(|settings| settings.feed.changes_per_sec = 3).start().await;
    let (mut alice, mut bob) = (writer(&hub).await, reader(&hub, "all").await);
    let mut copy = Copy::default();
    for round in 0..3 {
        let ids: Vec<_> = (0..8).map(|_| Uuid::now_v7()).collect();
        let entries: Value = ids.iter().map(|id| urgent(*id, "critical")).collect();
        let seq = alice.commit(entries).await;
        let frames = bob.quiet().await;
        assert_eq!(
            (changed(&frames).len(), told(&frames)),
            (3, vec![json!(["ticket"])]),
            "round {round}: {frames:?}"
        );
        assert!(places(&frames).iter().all(|place| *place <= seq - 5), "{frames:?}");
        copy.take(&frames);
        hub.clock.advance(999_000);
        bob.ask(json!({"type": "ping"})).await;
        assert_eq!(changed(&bob.quiet().await).len(), 0, "the second is not over");
        hub.clock.advance(1_000);
        bob.ask(json!({"type": "ping"})).await;
        let frames = bob.until("caught_up").await;
        assert_eq!(changed(&frames).len(), 5);
        copy.take(&frames);
        assert!(ids.iter().all(|id| copy.version("ticket", *id) == Some(1)));
    }
    assert_eq!(hub.metric("synchub_catch_ups_total{cause=\"limit\"}"), 3);
    assert_eq!(hub.metric("synchub_changes_held_total{cause=\"limit\"}"), 15);
}

/// More than is taken at once is held back, and what comes behind it is not stuck.
#[tokio::test]
async fn c9_what_passes_is_not_stuck_behind_what_is_held_back() {
    let hub = Hub::start().await;
    let (mut alice, mut bob) = (writer(&hub).await, reader(&hub, "high").await);
    let last = Uuid::now_v7();
    let low = (0..300).map(|_| urgent(Uuid::now_v7(), "low"));
    alice.commit(low.chain([urgent(last, "high")]).collect()).await;
    assert_eq!(bob.find("data_update").await["mobile_id"], last.to_string());
}
