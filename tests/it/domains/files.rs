//! Definition files end to end.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer};

async fn come(hub: &Hub, tenant: &str, user: &str) -> Peer {
    let hello = Hello { tenant: tenant.into(), ..Hello::of(user, "d") };
    Peer::live(hub, &hello.unit("north")).await.0
}

async fn send(peer: &mut Peer, domain: &str, id: Uuid, version: u64, data: Value) -> Value {
    let entry = json!({"domain": domain, "mobile_id": id, "version": version, "data": data});
    peer.sync(json!([entry])).await.remove(0)
}

/// The example of the page on domains, as a reader would save it.
fn example() -> &'static str {
    let page = include_str!("../../../docs/domains.md");
    let begin = page.find("```toml\n").unwrap() + "```toml\n".len();
    &page[begin..begin + page[begin..].find("```").unwrap()]
}

#[tokio::test]
async fn inv8_the_documented_example_answers_what_its_page_says() {
    let hub = Hub::with(|_| {}).definition("delivery.toml", example()).start().await;
    let mut driver = come(&hub, "acme", "driver").await;
    let (mut other, _) = Peer::live(&hub, &Hello::of("other", "d").unit("north").to(&["delivery"])).await;
    let id = Uuid::now_v7();
    let refused = send(&mut driver, "delivery", id, 0, json!({"status": "PLANNED"})).await;
    assert_eq!(refused["error"]["code"], "validation_failed");
    assert!(refused["error"]["message"].as_str().unwrap().contains("address is missing"), "{refused}");
    let parcel = json!({"address": "Main Street 1", "status": "PLANNED", "urgency": "EXPRESS", "colour": "red",
                        "code": "AB123456", "scans": [{"id": 1, "place": "depot"}]});
    assert_eq!(send(&mut driver, "delivery", id, 0, parcel.clone()).await["status"], "created");
    let update = other.find("data_update").await;
    assert_eq!((&update["data"], &update["priority"]), (&parcel, &json!("high")));
    for (data, code, field, says) in [
        (json!({"weight_kg": -2}), "validation_failed", "weight_kg", "above 0"),
        (json!({"status": "DELIVERED"}), "invalid_transition", "status", "LOADED"),
        (json!({"code": "nonsense"}), "validation_failed", "code", "[A-Z]{2}"),
        (
            json!({"due_from": "2026-01-01T12:00:00Z", "due_until": "2026-01-01T11:00:00Z"}),
            "validation_failed",
            "due_from",
            "earlier",
        ),
        (json!({"address": null}), "validation_failed", "address", "address"),
    ] {
        let error = send(&mut driver, "delivery", id, 1, data.clone()).await["error"].clone();
        assert_eq!((&error["code"], &error["field"]), (&json!(code), &json!(field)), "{data}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(says), "{data}: {message}");
    }
    let loaded = json!({"status": "LOADED", "code": null, "scans": [{"id": 2, "place": "van"}]});
    assert_eq!(send(&mut driver, "delivery", id, 1, loaded).await["status"], "updated");
    let data = &other.find("data_update").await["data"];
    assert_eq!((&data["code"], data["scans"].as_array().unwrap().len()), (&Value::Null, 2));
    hub.stop().await;
}

const PARCEL: &str = "name = \"parcel\"\nstrategy = \"client_wins\"\nvisibility = \"tenant\"\n";

#[tokio::test]
async fn inv8_inv9_a_domain_of_one_tenant_does_not_exist_for_others() {
    let hub = Hub::with(|_| {}).definition("acme/parcel.toml", PARCEL).start().await;
    let mut acme = come(&hub, "acme", "alice").await;
    let mut umbrella = come(&hub, "umbrella", "alice").await;
    let wish = |name: &str| json!({"type": "subscribe", "subscriptions": [{"domain": name}]});
    assert_eq!(acme.ask(wish("parcel")).await["type"], "subscribed");
    let mut answers = Vec::new();
    for name in ["parcel", "no-such"] {
        let refused = umbrella.ask(wish(name)).await;
        assert_eq!((&refused["type"], &refused["code"]), (&json!("error"), &json!("unknown_domain")));
        let result = send(&mut umbrella, name, Uuid::nil(), 0, json!({})).await;
        assert_eq!(result["error"]["code"], "unknown_domain");
        answers.push((refused["message"].clone(), result.to_string()).1.replace(name, "NAME"));
    }
    assert_eq!(answers[0], answers[1], "like one that exists nowhere");
    assert_eq!(send(&mut acme, "parcel", Uuid::now_v7(), 0, json!({"n": 1})).await["status"], "created");
    hub.stop().await;
}

#[tokio::test]
async fn inv8_one_tenant_may_have_a_workflow_of_its_own() {
    let ticket = include_str!("../../../domains/ticket.toml");
    let own = ticket.replace("NEW = [\"OPEN\"]", "NEW = [\"OPEN\", \"CLOSED\"]");
    assert_ne!(own, ticket);
    let hub = Hub::with(|_| {}).definition("acme/ticket.toml", &own).start().await;
    for (tenant, status) in [("acme", "updated"), ("umbrella", "error")] {
        let mut peer = come(&hub, tenant, "alice").await;
        let id = Uuid::now_v7();
        send(&mut peer, "ticket", id, 0, json!({"subject": "fire", "status": "NEW"})).await;
        let result = send(&mut peer, "ticket", id, 1, json!({"status": "CLOSED"})).await;
        assert_eq!(result["status"], status, "{tenant}: {result}");
    }
    hub.stop().await;
}

/// Comes to a hub with a cursor and returns what it is told of the domain `parcel`.
async fn fresh(hub: &Hub, cursor: Option<&str>) -> (Value, String) {
    let hello = Hello::of("alice", "a").to(&["parcel"]).with(json!({"cursor": cursor}));
    let (mut peer, welcome) = Peer::hello(hub, &hello).await;
    peer.until("caught_up").await;
    (welcome["fresh"].clone(), peer.cursor.unwrap())
}

#[tokio::test]
async fn c1_a_changed_visibility_makes_a_domain_fresh_and_other_changes_do_not() {
    let hub = Hub::with(|_| {}).definition("parcel.toml", PARCEL).start().await;
    let file = hub.database().with_file_name("domains").join("parcel.toml");
    let (_, cursor) = fresh(&hub, None).await;
    std::fs::write(&file, PARCEL.replace("client_wins", "server_wins") + "unknown_fields = \"refuse\"\n")
        .unwrap();
    let hub = hub.restart().await;
    let (told, cursor) = fresh(&hub, Some(&cursor)).await;
    assert_eq!(told, json!([]));
    std::fs::write(&file, PARCEL.replace("\"tenant\"", "\"unit\"")).unwrap();
    let hub = hub.restart().await;
    let (told, _) = fresh(&hub, Some(&cursor)).await;
    assert_eq!(told, json!([{"domain": "parcel", "reason": "changed"}]));
    hub.stop().await;
}

#[tokio::test]
async fn v2_a_narrowed_visibility_hides_the_records_that_were_there() {
    let hub = Hub::with(|_| {}).definition("parcel.toml", PARCEL).start().await;
    let file = hub.database().with_file_name("domains").join("parcel.toml");
    let north = Hello::of("alice", "a").unit("north").to(&["parcel"]);
    let south = Hello::of("bob", "b").unit("south").to(&["parcel"]);
    let (mut alice, _) = Peer::live(&hub, &north).await;
    let entry = json!({"domain": "parcel", "mobile_id": Uuid::now_v7(), "version": 0, "data": {"text": "x"}});
    alice.sync(json!([entry])).await;
    let records =
        |frames: Vec<Value>| frames.iter().filter_map(|frame| frame["records"].as_array()).flatten().count();
    let (bob, frames) = Peer::live(&hub, &south).await;
    assert_eq!(records(frames), 1, "everyone in the tenant");
    let cursor = bob.cursor.clone();
    std::fs::write(&file, PARCEL.replace("\"tenant\"", "\"unit\"")).unwrap();
    let hub = hub.restart().await;
    for cursor in [cursor.as_deref(), None] {
        let (_bob, frames) = Peer::live(&hub, &south.clone().with(json!({"cursor": cursor}))).await;
        assert_eq!(records(frames), 0, "only the unit");
    }
    let (_alice, frames) = Peer::live(&hub, &north).await;
    assert_eq!(records(frames), 1);
}
