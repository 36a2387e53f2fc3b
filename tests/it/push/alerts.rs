//! Alerts of conflicts and how refused entries ended: written by the engine for whoever calls it (P1, P5, V3).

use serde_json::{Value, json};
use synchub::store::PartyKind;
use synchub_protocol::server::Outcome;
use synchub_rules::group::Decision;
use synchub_rules::push::{PushBody, SubmittedPush};
use synchub_rules::record::Scope;
use uuid::Uuid;

use super::service::{Service, pass, pushes};
use crate::support::{Hello, Hub, Peer, Publisher, edit};

const NOTE: &str = "name = \"note\"\nstrategy = \"manual\"\nvisibility = \"unit\"\n";

/// Bob's phone meets what alice wrote: a conflict that awaits a person. The record and the conflict.
async fn conflict(hub: &Hub, alice: &mut Peer, bob: &mut Peer) -> (Uuid, Uuid) {
    let id = Uuid::now_v7();
    alice.commit(json!([edit("note", id, 0, &json!({"text": "one"}))])).await;
    alice.commit(json!([edit("note", id, 1, &json!({"text": "two"}))])).await;
    let results = bob.sync(json!([edit("note", id, 1, &json!({"text": "three"}))])).await;
    let conflict = results[0]["conflict"]["conflict_id"].as_str().unwrap_or_else(|| panic!("{results:?}"));
    assert!(hub.node.deps().store.epoch() == 0);
    (id, conflict.parse().unwrap())
}

async fn people(hub: &Hub) -> (Peer, Peer) {
    let (alice, _) = Peer::live(hub, &Hello::of("alice", "a").unit("north")).await;
    let (bob, _) = Peer::live(hub, &Hello::of("bob", "phone").unit("north")).await;
    (alice, bob)
}

fn raised(body: PushBody, scope: Scope) -> SubmittedPush {
    SubmittedPush { id: Uuid::now_v7(), scope, priority: None, ttl_us: 3_600_000_000, body }
}

async fn user(hub: &Hub, name: &str) -> (i64, Scope) {
    let tenant = Publisher::of(hub, "acme").await.tenant();
    let no = hub.store().party(tenant, PartyKind::User, name.to_owned()).await.unwrap();
    (tenant, Scope::Party(no))
}

async fn raise(hub: &Hub, body: PushBody, to: &str) -> Decision {
    let (tenant, scope) = user(hub, to).await;
    let deps = hub.node.deps();
    let push = raised(body, scope);
    deps.engine.push(tenant, Uuid::now_v7(), vec![push], deps.clock.now_us()).await.unwrap().unwrap()
}

#[tokio::test]
async fn p1_v3_an_alert_shows_its_data_only_to_who_may_see_the_record() {
    let hub = Hub::with(|_| {}).definition("note.toml", NOTE).start().await;
    let (mut alice, mut bob) = people(&hub).await;
    let (mut carol, _) = Peer::live(&hub, &Hello::of("carol", "c").unit("south")).await;
    let (id, conflict_id) = conflict(&hub, &mut alice, &mut bob).await;
    for name in ["bob", "carol"] {
        assert!(matches!(
            raise(&hub, PushBody::ConflictAlert { conflict_id }, name).await,
            Decision::Answered(_)
        ));
    }
    let alert = bob.find("conflict_alert").await;
    assert_eq!(alert["conflict_id"], conflict_id.to_string());
    assert_eq!((&alert["domain"], &alert["mobile_id"]), (&json!("note"), &json!(id)));
    assert_eq!((&alert["strategy"], &alert["resolution"]), (&json!("manual"), &json!("manual_required")));
    assert_eq!((&alert["action_required"], &alert["server_version"]), (&json!(true), &json!(2)));
    assert_eq!(
        (&alert["server_data"], &alert["client_data"]),
        (&json!({"text": "two"}), &json!({"text": "three"}))
    );
    assert!(alert["reason"].as_str().unwrap().ends_with("somebody has to decide."));
    let hidden = carol.find("conflict_alert").await;
    assert!(hidden["server_data"].is_null() && hidden["client_data"].is_null(), "{hidden}");
    // The record stands as it does when the alert is sent, not as when it was raised.
    bob.close().await;
    alice.commit(json!([edit("note", id, 2, &json!({"text": "four"}))])).await;
    let (_bob, frames) = Peer::live(&hub, &Hello::of("bob", "phone").unit("north")).await;
    let again = pushes(&frames)[0];
    assert_eq!((&again["push_id"], &again["server_data"]), (&alert["push_id"], &json!({"text": "four"})));
    assert_eq!(again["server_version"], 3);
}

#[tokio::test]
async fn p5_conflicts_that_await_the_user_are_alerted_after_every_hello_whatever_the_expiry() {
    let hub = Hub::with(|_| {}).definition("note.toml", NOTE).start().await;
    let (mut alice, mut bob) = people(&hub).await;
    let (_, conflict_id) = conflict(&hub, &mut alice, &mut bob).await;
    let cursor = loop {
        let frame = bob.next().await;
        if frame["type"] == "position" {
            break frame["cursor"].clone();
        }
    };
    bob.close().await;
    pass(&hub, 172_800);
    for device in ["phone", "phone", "tablet"] {
        let hello = Hello::of("bob", device).unit("north").with(json!({"cursor": cursor}));
        let (bob, frames) = Peer::live(&hub, &hello).await;
        let alerts: Vec<_> = frames.iter().filter(|frame| frame["type"] == "conflict_alert").collect();
        assert_eq!(alerts.len(), 1, "{frames:?}");
        assert_eq!(alerts[0]["conflict_id"], conflict_id.to_string());
        assert_eq!(frames[0]["type"], "conflict_alert", "first");
        bob.close().await;
    }
    let (_alice, frames) = Peer::live(&hub, &Hello::of("alice", "b").unit("north")).await;
    assert_eq!(pushes(&frames).len(), 0, "it awaits bob");
    let database = rusqlite::Connection::open(hub.database()).unwrap();
    database.execute("UPDATE review SET state = 2", []).unwrap();
    let (_bob, frames) = Peer::live(&hub, &Hello::of("bob", "phone").unit("north")).await;
    assert_eq!(pushes(&frames).len(), 0, "it was decided");
}

#[tokio::test]
async fn p1_a_settled_entry_is_told_with_its_number() {
    let hub = Hub::start().await;
    let (_, mut bob) = people(&hub).await;
    let id = Uuid::now_v7();
    let body = PushBody::EntrySettled {
        client_seq: Some(7),
        mobile_id: id,
        outcome: Outcome::Applied,
        server_version: Some(3),
    };
    raise(&hub, body, "bob").await;
    let settled = bob.find("entry_settled").await;
    assert!(settled["push_id"].is_string());
    let told = ["client_seq", "mobile_id", "outcome", "server_version"].map(|field| settled[field].clone());
    assert_eq!(Value::from(told.to_vec()), json!([7, id, "applied", 3]));
}

#[tokio::test]
async fn p1_an_alert_of_a_conflict_that_the_tenant_does_not_have_is_refused() {
    let hub = Hub::with(|_| {}).definition("note.toml", NOTE).start().await;
    let (mut alice, mut bob) = people(&hub).await;
    let (_, conflict_id) = conflict(&hub, &mut alice, &mut bob).await;
    let unknown = Uuid::now_v7();
    let decision = raise(&hub, PushBody::ConflictAlert { conflict_id: unknown }, "bob").await;
    assert_eq!(decision, Decision::UnknownConflict(unknown));
    let mut service = Service::start(&hub).await;
    let alert = |id: Uuid| json!({"kind": "conflict_alert", "to": {"user": "bob"}, "conflict_id": id});
    let answer = service.ask(json!({"pushes": [super::service::message("bob", "x"), alert(unknown)]})).await;
    assert_eq!(answer["code"], "not_found", "{answer}");
    service.send(alert(conflict_id)).await;
    let frames = bob.quiet().await;
    assert_eq!(pushes(&frames).len(), 1, "nothing of the refused request was done");
    assert_eq!(pushes(&frames)[0]["type"], "conflict_alert");
}

/// P3: an alert that has to be decided is high, another normal; neither passes the limit.
#[tokio::test]
async fn p3_an_alert_counts_and_waits_like_a_message() {
    let hub = Hub::with(|settings| settings.push.per_minute = 1).definition("note.toml", NOTE).start().await;
    let (mut alice, mut bob) = people(&hub).await;
    let (_, conflict_id) = conflict(&hub, &mut alice, &mut bob).await;
    for _ in 0..2 {
        raise(&hub, PushBody::ConflictAlert { conflict_id }, "bob").await;
    }
    assert_eq!(pushes(&bob.quiet().await).len(), 1);
    pass(&hub, 60);
    bob.ask(json!({"type": "ping"})).await;
    assert_eq!(pushes(&bob.quiet().await).len(), 1);
    let log = hub.store().find_log("acme", 0, 100).await.unwrap();
    let priorities: Vec<_> =
        log.iter().filter(|row| row["kind"] == "push").map(|row| &row["priority"]).collect();
    assert_eq!(priorities, ["high", "high"]);
}

/// What an alert shows is read first; meanwhile nothing that came after it goes.
#[tokio::test]
async fn p1_what_follows_an_alert_does_not_overtake_it() {
    let hub = Hub::with(|_| {}).definition("note.toml", NOTE).start().await;
    let (mut alice, mut bob) = people(&hub).await;
    let (_, conflict_id) = conflict(&hub, &mut alice, &mut bob).await;
    bob.quiet().await;
    let mut service = Service::start(&hub).await;
    let alert = json!({"kind": "conflict_alert", "to": {"user": "bob"}, "conflict_id": conflict_id});
    let [message, trigger] = [super::service::message("bob", "x"), super::service::trigger("bob", &[])];
    let sent = service.push(json!([message, alert, trigger, message])).await;
    let frames = bob.quiet().await;
    let came: Vec<_> = pushes(&frames).into_iter().map(|push| &push["push_id"]).collect();
    assert_eq!(came, sent.iter().map(|receipt| &receipt["push_id"]).collect::<Vec<_>>());
}

/// More conflicts than one read takes, of several devices: each is told once, the newest push too.
#[tokio::test]
async fn p5_p2_many_alerts_come_in_pages_each_once() {
    let hub = Hub::with(|_| {}).definition("note.toml", NOTE).start().await;
    let (mut alice, mut bob) = people(&hub).await;
    let (mut tablet, _) = Peer::live(&hub, &Hello::of("bob", "tablet").unit("north")).await;
    let mut conflicts = std::collections::BTreeSet::new();
    for n in 0..20 {
        let device = if n % 2 == 0 { &mut bob } else { &mut tablet };
        conflicts.insert(conflict(&hub, &mut alice, device).await.1.to_string());
    }
    bob.close().await;
    tablet.close().await;
    let (tenant, scope) = user(&hub, "bob").await;
    let raise = |id: &String| raised(PushBody::ConflictAlert { conflict_id: id.parse().unwrap() }, scope);
    let pushes: Vec<_> = conflicts.iter().map(raise).collect();
    let deps = hub.node.deps();
    deps.engine.push(tenant, Uuid::now_v7(), pushes, deps.clock.now_us()).await.unwrap().unwrap();
    let (_bob, frames) = Peer::live(&hub, &Hello::of("bob", "phone").unit("north")).await;
    let alerts: Vec<_> = frames.iter().filter(|frame| frame["type"] == "conflict_alert").collect();
    let told = |own: bool| {
        let of = alerts.iter().filter(|alert| (alert["push_id"] == alert["conflict_id"]) == own);
        of.map(|alert| alert["conflict_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for own in [false, true] {
        assert_eq!(told(own).len(), 20, "{own}");
        assert_eq!(told(own).into_iter().collect::<std::collections::BTreeSet<_>>(), conflicts);
    }
}
