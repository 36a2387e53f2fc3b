//! The flood of one device, user or tenant is not felt by the others.

use serde_json::json;

use super::{SECOND_US, assert_limited, batch, hub, wait_for};
use crate::support::{Hello, Peer, ticket, tickets};

fn hello(tenant: &str, user: &str, device: &str) -> Hello {
    Hello { tenant: tenant.to_owned(), ..Hello::of(user, device) }
}

#[tokio::test]
async fn ws7_the_flood_of_a_device_touches_neither_its_tenant_nor_another() {
    let hub = hub(|rates| (rates.device_frames, rates.device_entries) = (20, 20)).await;
    let (mut flood, _) = Peer::hello(&hub, &hello("acme", "anna", "phone")).await;
    let (mut same_user, _) = Peer::hello(&hub, &hello("acme", "anna", "tablet")).await;
    let (mut same_tenant, _) = Peer::live(&hub, &hello("acme", "ben", "phone").to(&["ticket"])).await;
    let (mut other_tenant, _) = Peer::hello(&hub, &hello("bolt", "anna", "phone")).await;
    let (entries, _) = tickets(20);
    assert_eq!(flood.ask(batch(&entries)).await["type"], "sync_result");
    for round in 0..5 {
        for _ in 0..5 {
            let answer = flood.ask(batch(&json!([ticket(uuid::Uuid::now_v7(), "flood")]))).await;
            assert_eq!(answer["code"], "rate_limited", "{answer}");
        }
        for peer in [&mut same_user, &mut same_tenant, &mut other_tenant] {
            let (entries, _) = tickets(3);
            assert_eq!(peer.ask(batch(&entries)).await["type"], "sync_result", "in round {round}");
        }
    }
    assert_eq!(hub.metric("synchub_entries_total{status=\"created\"}"), 20 + 5 * 9);
    hub.stop().await;
}

#[tokio::test]
async fn ws7_the_flood_of_a_user_and_of_a_tenant_end_at_theirs() {
    let hub = hub(|rates| (rates.user_entries, rates.tenant_entries) = (10, 15)).await;
    let mut peers = Vec::new();
    for (tenant, user, device) in
        [("acme", "anna", "1"), ("acme", "anna", "2"), ("acme", "ben", "3"), ("bolt", "anna", "1")]
    {
        peers.push(Peer::hello(&hub, &hello(tenant, user, device)).await.0);
    }
    let (entries, _) = tickets(10);
    assert_eq!(peers[0].ask(batch(&entries)).await["type"], "sync_result");
    let (entries, _) = tickets(5);
    assert_limited(&peers[1].ask(batch(&entries)).await, 500);
    assert_eq!(peers[2].ask(batch(&entries)).await["type"], "sync_result");
    let (entries, _) = tickets(3);
    assert_limited(&peers[2].ask(batch(&entries)).await, 200);
    let (entries, _) = tickets(10);
    assert_eq!(peers[3].ask(batch(&entries)).await["type"], "sync_result", "another tenant goes on");
    hub.clock.advance(SECOND_US);
    assert_eq!(peers[1].ask(batch(&tickets(10).0)).await["type"], "sync_result");
    hub.stop().await;
}

#[tokio::test]
async fn ws7_a_device_that_comes_back_has_what_it_had_left() {
    let hub = hub(|rates| rates.device_entries = 10).await;
    let (mut peer, _) = Peer::hello(&hub, &hello("acme", "anna", "phone")).await;
    assert_eq!(peer.ask(batch(&tickets(10).0)).await["type"], "sync_result");
    peer.close().await;
    wait_for(&hub, |hub| hub.metric("synchub_sockets") == 0).await;
    assert!(hub.node.deps().limits.forget_idle() > 0, "what is used is not forgotten");
    let (mut peer, _) = Peer::hello(&hub, &hello("acme", "anna", "phone")).await;
    assert_limited(&peer.ask(batch(&tickets(1).0)).await, 100);
    hub.stop().await;
}

#[tokio::test]
async fn ws7_a_tenant_may_have_limits_of_its_own() {
    let hub = hub(|rates| {
        rates.device_entries = 5;
        let own = [(synchub::config::RateName::DeviceEntries, 50)];
        rates.tenants.insert("bolt".to_owned(), own.into());
    })
    .await;
    let (mut acme, _) = Peer::hello(&hub, &hello("acme", "anna", "phone")).await;
    let (mut bolt, _) = Peer::hello(&hub, &hello("bolt", "anna", "phone")).await;
    for (peer, count) in [(&mut acme, 5), (&mut bolt, 50)] {
        assert_eq!(peer.ask(batch(&tickets(count).0)).await["type"], "sync_result");
        assert_eq!(peer.ask(batch(&tickets(1).0)).await["code"], "rate_limited");
    }
    hub.stop().await;
}
