//! Subscriptions that change on a live socket (C3).

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Copy, Hello, Hub, Peer, journal, journals, ticket, tickets};

fn alice(domains: &[&str]) -> Hello {
    Hello::of("alice", "a").to(domains)
}

#[expect(clippy::needless_pass_by_value, reason = "calls read like the frames they make")]
fn subscribe(subscriptions: Value) -> Value {
    json!({"type": "subscribe", "subscriptions": subscriptions})
}

/// What the cursor covers: what is fresh for a hello with it and both domains.
async fn fresh(hub: &Hub, cursor: Option<&String>) -> Value {
    let hello = alice(&["journal", "ticket"]).with(json!({"cursor": cursor}));
    let (peer, welcome) = Peer::hello(hub, &hello).await;
    peer.close().await;
    welcome["fresh"].clone()
}

#[tokio::test]
async fn c3_a_domain_that_is_added_comes_fresh_and_cursors_cover_it_afterwards() {
    let hub = Hub::start().await;
    let (mut peer, frames) = Peer::live(&hub, &alice(&["ticket"])).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    let (entries, ids) = journals(3);
    let seq = peer.commit(entries).await;
    copy.follow(&mut peer, seq).await;
    assert!(copy.records.is_empty());
    let subscribed = peer.ask(subscribe(json!([{"domain": "journal"}]))).await;
    assert_eq!(subscribed["type"], "subscribed");
    assert_eq!(subscribed["subscriptions"], json!([{"domain": "journal"}, {"domain": "ticket"}]));
    assert_eq!(subscribed["fresh"], json!([{"domain": "journal", "reason": "new"}]));
    let frames = peer.until("caught_up").await;
    assert_eq!(frames[0]["type"], "snapshot", "{frames:?}");
    copy.take(&frames);
    assert!(ids.iter().all(|id| copy.version("journal", *id) == Some(1)));
    let seq = peer.commit(json!([journal(Uuid::now_v7(), "live"), ticket(Uuid::now_v7(), "live")])).await;
    copy.follow(&mut peer, seq).await;
    assert_eq!(copy.records.len(), 5);
    assert_eq!(fresh(&hub, copy.cursor.as_ref()).await, json!([]));
}

#[tokio::test]
async fn c3_a_filter_that_changes_makes_its_domain_fresh_with_reason_changed() {
    let hub = Hub::start().await;
    let (mut peer, frames) = Peer::live(&hub, &alice(&["journal", "ticket"])).await;
    let mut copy = Copy::default();
    copy.take(&frames);
    let (fire, smoke) = (Uuid::now_v7(), Uuid::now_v7());
    let seq = peer
        .commit(json!([ticket(fire, "fire"), ticket(smoke, "smoke"), journal(Uuid::now_v7(), "x")]))
        .await;
    copy.follow(&mut peer, seq).await;
    let change = subscribe(json!([{"domain": "ticket", "filter": {"subject": "fire"}}]));
    let subscribed = peer.ask(change.clone()).await;
    assert_eq!(subscribed["fresh"], json!([{"domain": "ticket", "reason": "changed"}]));
    copy.take(&peer.until("caught_up").await);
    assert_eq!((copy.version("ticket", fire), copy.version("ticket", smoke)), (Some(1), None));
    assert_eq!(copy.records.len(), 2, "the journal stays");
    assert_eq!(fresh(&hub, copy.cursor.as_ref()).await, json!([{"domain": "ticket", "reason": "changed"}]));
}

#[tokio::test]
async fn c3_the_same_subscription_again_makes_nothing_fresh() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::live(&hub, &alice(&["journal", "ticket"])).await;
    let subscribed = peer.ask(subscribe(json!([{"domain": "ticket", "priority": "high"}]))).await;
    assert_eq!(subscribed["fresh"], json!([]));
    let after = peer.next().await;
    assert!(["position", "caught_up"].contains(&after["type"].as_str().unwrap()), "{after}");
}

#[tokio::test]
async fn c3_a_domain_that_is_left_brings_nothing_more_and_cursors_after_the_position_leave_it_out() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::live(&hub, &alice(&["journal", "ticket"])).await;
    let subscribed = peer.ask(json!({"type": "unsubscribe", "domains": ["journal"]})).await;
    assert_eq!(subscribed["subscriptions"], json!([{"domain": "ticket"}]));
    assert_eq!(subscribed["fresh"], json!([]));
    let position = peer.next().await;
    assert_eq!(position["type"], "position");
    let cursor = position["cursor"].as_str().map(str::to_owned);
    peer.commit(json!([journal(Uuid::now_v7(), "unheard"), ticket(Uuid::now_v7(), "heard")])).await;
    let frames = peer.quiet().await;
    let came: Vec<_> = frames.iter().filter(|frame| frame["type"] == "data_update").collect();
    assert!(came.iter().all(|frame| frame["domain"] == "ticket"), "{frames:?}");
    assert_eq!(fresh(&hub, cursor.as_ref()).await, json!([{"domain": "journal", "reason": "new"}]));
}

/// What was offered before the set changed stands in the data lane before `subscribed` or not at all.
#[tokio::test]
async fn c3_subscribed_stands_in_the_order_of_the_data_lane() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::live(&hub, &alice(&["ticket"])).await;
    let (mut writer, _) = Peer::live(&hub, &Hello::of("bob", "b")).await;
    for _ in 0..10 {
        writer.commit(tickets(20).0).await;
        peer.send(&json!({"type": "unsubscribe", "id": 7, "domains": ["ticket"]})).await;
        let frames = peer.until("subscribed").await;
        let after = peer.until("position").await;
        assert_eq!(after.len(), 1, "nothing of the domain comes after `subscribed`: {after:?}");
        assert!(frames.iter().all(|frame| frame["type"] != "caught_up"));
        peer.ask(subscribe(json!([{"domain": "ticket"}]))).await;
        peer.until("caught_up").await;
    }
}

#[tokio::test]
async fn c3_an_unknown_domain_refuses_the_whole_request() {
    let hub = Hub::start().await;
    let (mut peer, _) = Peer::live(&hub, &alice(&["ticket"])).await;
    for request in [
        subscribe(json!([{"domain": "journal"}, {"domain": "nonsense"}])),
        json!({"type": "unsubscribe", "domains": ["ticket", "nonsense"]}),
    ] {
        let error = peer.ask(request).await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("unknown_domain")));
    }
    let id = Uuid::now_v7();
    peer.commit(json!([journal(Uuid::now_v7(), "unheard"), ticket(id, "heard")])).await;
    assert_eq!(peer.find("data_update").await["mobile_id"], json!(id), "the set is as it was");
}

/// The set changes again and again while snapshots run; in the end the copy is whole.
#[tokio::test]
async fn c3_subscriptions_that_change_during_snapshots_lose_nothing() {
    let hub = Hub::with(|settings| settings.catch_up.page_rows = 2).start().await;
    let (mut writer, _) = Peer::live(&hub, &Hello::of("alice", "w")).await;
    writer.commit(tickets(30).0).await;
    writer.commit(journals(30).0).await;
    let (mut peer, _) = Peer::hello(&hub, &alice(&["ticket"])).await;
    let mut copy = Copy::default();
    for round in 0..12 {
        let request = match round % 4 {
            0 => subscribe(json!([{"domain": "journal"}])),
            1 => json!({"type": "unsubscribe", "domains": ["ticket"]}),
            2 => subscribe(json!([{"domain": "ticket"}])),
            _ => json!({"type": "unsubscribe", "domains": ["journal"]}),
        };
        writer.commit(json!([ticket(Uuid::now_v7(), "new"), journal(Uuid::now_v7(), "new")])).await;
        peer.send(&request).await;
        for _ in 0..=round {
            let frame = peer.next().await;
            copy.take(std::slice::from_ref(&frame));
            if frame["type"] == "caught_up" || frame["type"] == "position" {
                break;
            }
        }
    }
    peer.send(&json!({"type": "subscribe", "id": 99, "subscriptions": [{"domain": "journal"}, {"domain": "ticket"}]})).await;
    loop {
        let frame = peer.next().await;
        copy.take(std::slice::from_ref(&frame));
        if frame["type"] == "subscribed" && frame["id"] == 99 {
            break;
        }
    }
    let seq = writer.commit(json!([ticket(Uuid::now_v7(), "end")])).await;
    copy.take(&peer.until("caught_up").await);
    copy.follow(&mut peer, seq).await;
    assert_eq!(copy.records.len(), 30 + 30 + 12 + 12 + 1);
}
