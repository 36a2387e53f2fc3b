//! One living session for each device (C11).

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer, ticket};

fn alice(more: Value) -> Hello {
    Hello::of("alice", "a").to(&["ticket"]).with(more)
}

#[expect(clippy::needless_pass_by_value, reason = "calls read like the frames they make")]
fn install(id: Uuid, attempt: Value) -> Hello {
    alice(json!({"device": {"install_id": id}, "attempt": attempt}))
}

#[tokio::test]
async fn c11_a_newer_hello_of_the_device_takes_over() {
    let hub = Hub::start().await;
    let (mut first, _) = Peer::live(&hub, &alice(json!({}))).await;
    let (mut other_device, _) = Peer::live(&hub, &Hello::of("alice", "b")).await;
    let (mut other_user, _) = Peer::live(&hub, &Hello::of("bob", "a")).await;
    let elsewhere = Hello { tenant: "other".into(), ..alice(json!({})) };
    let (mut other_tenant, _) = Peer::live(&hub, &elsewhere).await;
    let (mut second, _) = Peer::live(&hub, &alice(json!({}))).await;
    assert_eq!(first.close_code().await, 4504);
    for peer in [&mut second, &mut other_device, &mut other_user, &mut other_tenant] {
        assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
    }
}

/// Batches in flight when the device comes back are decided once: before, or when they are sent again.
#[tokio::test]
async fn c11_batches_of_a_session_that_was_replaced_are_refused_or_were_decided_before() {
    let hub = Hub::start().await;
    let mut decided = 0;
    for _ in 0..20 {
        let id = Uuid::now_v7();
        let (mut first, welcome) = Peer::hello(&hub, &install(id, json!(1))).await;
        let begin = welcome["last_client_seq"].as_u64().unwrap() + 1;
        let batches: Vec<_> = (0..4)
            .map(|n| {
                let entries = json!([ticket(Uuid::now_v7(), "fire")]);
                json!({"type": "sync", "id": 10 + n, "batch_id": Uuid::now_v7(), "first_client_seq": begin + n, "entries": entries})
            })
            .collect();
        let mut second = Peer::open(&hub, Encoding::Json).await;
        for batch in &batches {
            first.send(batch).await;
        }
        let welcome = second.greet(&hub, &install(id, json!(2))).await;
        assert_eq!(first.close_code().await, 4504);
        let mark = welcome["last_client_seq"].as_u64().unwrap();
        decided += mark;
        for (n, batch) in (begin..).zip(&batches) {
            let answer = second.ask(batch.clone()).await;
            let result = &answer["results"][0];
            assert_eq!(
                (&result["status"], &result["server_version"]),
                (&json!("created"), &json!(1)),
                "{answer}"
            );
            assert_eq!(
                answer["repeated"],
                n <= mark,
                "what welcome counted was decided, nothing else: {answer}"
            );
        }
        second.close().await;
    }
    assert!(decided <= 80);
}

#[tokio::test]
async fn c11_a_lower_attempt_of_the_same_install_is_the_late_one() {
    let hub = Hub::start().await;
    let id = Uuid::now_v7();
    let (mut living, _) = Peer::live(&hub, &install(id, json!(7))).await;
    let mut late = Peer::open(&hub, Encoding::Json).await;
    late.send(&install(id, json!(6)).frame(&hub)).await;
    assert_eq!(late.close_code().await, 4504);
    let answer = living
        .ask(json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": [ticket(Uuid::now_v7(), "x")]}));
    assert_eq!(answer.await["results"][0]["status"], "created", "its generation still holds");
}

#[tokio::test]
async fn c11_an_equal_or_absent_attempt_and_another_install_take_over() {
    let hub = Hub::start().await;
    let id = Uuid::now_v7();
    let (mut living, _) = Peer::live(&hub, &install(id, json!(7))).await;
    let newer = [
        install(id, json!(7)),
        install(id, Value::Null),
        install(id, json!(1)),
        install(Uuid::now_v7(), json!(0)),
        alice(json!({"attempt": 0})),
    ];
    for hello in newer {
        let (next, _) = Peer::live(&hub, &hello).await;
        assert_eq!(living.close_code().await, 4504, "{hello:?}");
        living = next;
    }
}

#[tokio::test]
async fn c11_a_device_may_come_back_with_a_lower_attempt_once_its_session_is_gone() {
    let hub = Hub::start().await;
    let id = Uuid::now_v7();
    let (mut peer, _) = Peer::live(&hub, &install(id, json!(7))).await;
    peer.say_close().await;
    while peer.message().await.is_some() {}
    Peer::live(&hub, &install(id, json!(1))).await;
}

#[tokio::test]
async fn c11_publishers_and_operators_may_hold_several_sockets() {
    let hub = Hub::start().await;
    for role in [Role::Publisher, Role::Operator] {
        let token = hub.token("acme", "service", |grant| grant.role = role);
        let hello =
            json!({"type": "hello", "id": 1, "token": token, "subscriptions": [{"domain": "ticket"}]});
        let mut peers = Vec::new();
        for _ in 0..3 {
            let mut peer = Peer::open(&hub, Encoding::Json).await;
            peer.send(&hello).await;
            assert_eq!(peer.next().await["type"], "welcome");
            peer.until("caught_up").await;
            peers.push(peer);
        }
        for peer in &mut peers {
            assert_eq!(peer.ask(json!({"type": "ping"})).await["type"], "pong");
        }
    }
}
