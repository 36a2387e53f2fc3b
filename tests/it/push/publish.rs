//! `publish` on the socket: changes within the token's rights, pushes, and once each (O1, V1, invariant 9).

use serde_json::{Value, json};
use synchub::auth::Role;
use uuid::Uuid;

use super::service::{Service, message, pushes};
use crate::support::{Hello, Hub, Peer, edit, ticket};

const DUTY: &str = "name = \"duty\"\nstrategy = \"most_recent_wins\"\nvisibility = \"unit\"\n";

async fn hub() -> Hub {
    Hub::with(|_| {}).definition("duty.toml", DUTY).start().await
}

fn statuses(answer: &Value) -> Vec<String> {
    let results = answer["results"].as_array().unwrap_or_else(|| panic!("{answer}")).iter();
    let code =
        |result: &Value| result["error"]["code"].as_str().or(result["status"].as_str()).unwrap().to_owned();
    results.map(code).collect()
}

#[tokio::test]
async fn v1_a_change_without_a_version_goes_on_the_record_as_it_stands() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone").to(&["ticket"])).await;
    let id = Uuid::now_v7();
    bob.commit(json!([ticket(id, "fire")])).await;
    bob.commit(json!([edit("ticket", id, 1, &json!({"subject": "smoke"}))])).await;
    let change = |data: Value| json!({"domain": "ticket", "mobile_id": id, "data": data, "delta": true});
    let new =
        json!({"domain": "ticket", "mobile_id": Uuid::now_v7(), "data": {"subject": "new", "status": "NEW"}});
    let gone = json!({"domain": "ticket", "mobile_id": Uuid::now_v7(), "operation": "delete"});
    let old = json!({"domain": "ticket", "mobile_id": id, "version": 1, "data": {"subject": "late"}});
    let changes = json!([change(json!({"subject": "water"})), new, gone, old]);
    let answer = service.ask(json!({"changes": changes})).await;
    assert_eq!(statuses(&answer)[..3], ["updated", "created", "not_found"], "{answer}");
    assert_eq!(answer["results"][0]["server_version"], 3);
    assert_ne!(statuses(&answer)[3], "updated", "one that names an old version is held against it");
    assert_eq!(answer["pushes"], json!([]));
    let update = loop {
        let frame = bob.find("data_update").await;
        if frame["version"] == 3 {
            break frame;
        }
    };
    assert_eq!((&update["data"]["subject"], &update["origin"]["user"]), (&json!("water"), &json!("service")));
}

#[tokio::test]
async fn v1_a_service_says_to_whom_a_record_belongs() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut north, _) = Peer::live(&hub, &Hello::of("bob", "phone").unit("north").to(&["duty"])).await;
    let (mut south, _) = Peer::live(&hub, &Hello::of("carol", "phone").unit("south").to(&["duty"])).await;
    let id = Uuid::now_v7();
    let change = |unit: &str| json!({"changes": [{"domain": "duty", "mobile_id": id, "data": {"n": 1}, "unit": unit}]});
    service.ask(change("north")).await;
    assert_eq!(north.find("data_update").await["operation"], "create");
    service.ask(change("south")).await;
    assert_eq!(north.find("data_update").await["operation"], "remove");
    assert_eq!(south.find("data_update").await["operation"], "create");
}

#[tokio::test]
async fn inv9_a_service_writes_only_what_its_token_names() {
    let hub = hub().await;
    let units = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let mut all = Service::start(&hub).await;
    let hidden = Uuid::now_v7();
    all.ask(json!({"changes": [{"domain": "duty", "mobile_id": hidden, "data": {"n": 1}, "unit": "south"}]}))
        .await;
    let service = Service::with(&hub, Role::Publisher, |grant| {
        grant.units = units(&["north"]);
        grant.domains = units(&["duty", "journal"]);
    });
    let mut service = service.await;
    let id = Uuid::now_v7();
    let changes = json!([
        {"domain": "duty", "mobile_id": id, "data": {"n": 1}},
        {"domain": "duty", "mobile_id": Uuid::now_v7(), "data": {"n": 1}, "unit": "south"},
        {"domain": "duty", "mobile_id": hidden, "data": {"n": 2}},
        {"domain": "duty", "mobile_id": id, "data": {"n": 2}, "unit": "south"},
        {"domain": "ticket", "mobile_id": Uuid::now_v7(), "data": {"subject": "x", "status": "NEW"}},
        {"domain": "journal", "mobile_id": Uuid::now_v7(), "data": {}},
        {"domain": "nothing", "mobile_id": Uuid::now_v7(), "data": {}},
    ]);
    let answer = service.ask(json!({"changes": changes})).await;
    let expected =
        ["created", "forbidden", "not_found", "forbidden", "forbidden", "forbidden", "unknown_domain"];
    assert_eq!(statuses(&answer), expected, "{answer}");
    let record = hub.store().find_record("acme", "duty", id).await.unwrap().unwrap();
    assert_eq!(record["unit"], "north", "its only unit, where it names none");
    let refused =
        json!({"pushes": [{"kind": "sync_trigger", "to": {"tenant": true}, "domains": ["ticket"]}]});
    assert_eq!(service.ask(refused).await["code"], "forbidden");
}

#[tokio::test]
async fn o1_the_same_request_is_answered_again_and_not_done_again() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let change = json!({"domain": "duty", "mobile_id": Uuid::now_v7(), "data": {"n": 1}});
    let request =
        json!({"request_id": Uuid::now_v7(), "changes": [change], "pushes": [message("bob", "once")]});
    let first = service.ask(request.clone()).await;
    assert_eq!(statuses(&first), ["created"]);
    let mut other = Service::start(&hub).await;
    let again = other.ask(request.clone()).await;
    assert_eq!((&again["results"], &again["pushes"]), (&first["results"], &first["pushes"]));
    assert_eq!(pushes(&bob.quiet().await).len(), 1);
    let mut changed = request.clone();
    changed["pushes"][0]["data"]["text"] = json!("twice");
    assert_eq!(service.ask(changed).await["code"], "idempotency_key_reused");
    let hub = hub.restart().await;
    let mut service = Service::start(&hub).await;
    let again = service.ask(request).await;
    assert_eq!(again["pushes"][0]["push_id"], first["pushes"][0]["push_id"]);
    let log = hub.store().find_log("acme", 0, 100).await.unwrap();
    assert_eq!(log.len(), 2, "inv2");
}

#[tokio::test]
async fn p1_a_request_with_an_unknown_recipient_does_nothing() {
    let hub = hub().await;
    let mut service = Service::start(&hub).await;
    let (_bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let change = json!({"domain": "duty", "mobile_id": Uuid::now_v7(), "data": {"n": 1}});
    for to in [json!({"user": "nobody"}), json!({"user": "bob", "device": "watch"})] {
        let push = json!({"kind": "message", "to": to, "data": {}});
        let answer = service.ask(json!({"changes": [change], "pushes": [message("bob", "x"), push]})).await;
        assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_found")), "{answer}");
    }
    assert_eq!(hub.store().find_log("acme", 0, 100).await.unwrap().len(), 0);
}

#[tokio::test]
async fn requests_that_are_wrong_are_refused_whole() {
    let hub = Hub::with(|settings| settings.limits.max_batch_entries = 3).start().await;
    let mut service = Service::start(&hub).await;
    let (_bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let with = |more: Value| {
        let mut push = message("bob", "x");
        push.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"pushes": [push]})
    };
    let four: Vec<_> = (0..4).map(|_| message("bob", "x")).collect();
    for (request, code) in [
        (json!({}), "bad_request"),
        (json!({"pushes": four}), "too_many_entries"),
        (with(json!({"ttl_secs": 0})), "bad_request"),
        (with(json!({"kind": "conflict_alert"})), "bad_request"),
        (with(json!({"kind": "sync_trigger", "domains": ["nothing"]})), "unknown_domain"),
        (with(json!({"kind": "sync_trigger", "domains": ["metrics"]})), "unknown_domain"),
        (with(json!({"data": {"text": "x".repeat(70_000)}})), "too_large"),
        (with(json!({"to": {"user": "bob", "tenant": true}})), "bad_request"),
        (with(json!({"kind": "entry_settled"})), "bad_request"),
    ] {
        let answer = service.ask(request).await;
        assert_eq!(answer["code"], code, "{answer}");
    }
    assert_eq!(hub.store().find_log("acme", 0, 100).await.unwrap().len(), 0);
}

#[tokio::test]
async fn inv9_devices_do_not_publish() {
    let hub = Hub::start().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let request = json!({"type": "publish", "request_id": Uuid::now_v7(), "pushes": [message("bob", "x")]});
    assert_eq!(bob.ask(request).await["code"], "forbidden");
}
