//! Pushing over HTTP, for services without a socket, and the command that does it.

use std::process::{Command, Output};

use serde_json::{Value, json};
use synchub::auth::Role;
use uuid::Uuid;

use super::service::{message, pushes, texts};
use crate::support::{Hello, Hub, Peer};

/// An answer: its status and what it says.
type Answer = (u16, Value);

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
}

async fn post(hub: &Hub, token: Option<&str>, key: Option<Uuid>, body: &Value) -> Answer {
    let request = reqwest::Client::new().post(format!("{}/api/v2/push", hub.http())).body(body.to_string());
    let request = token.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
    answer(key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key.to_string())))
        .await
}

async fn deliveries(hub: &Hub, token: &str, query: &str) -> Answer {
    let deps = hub.node.deps();
    deps.deliveries.flush(hub.store().as_ref()).await;
    let url = format!("{}/api/v2/push/deliveries{query}", hub.http());
    answer(reqwest::Client::new().get(url).bearer_auth(token)).await
}

fn token(hub: &Hub, role: Role) -> String {
    hub.token("acme", "service", |grant| grant.role = role)
}

#[tokio::test]
async fn p1_a_post_does_what_publish_does_and_once_under_its_key() {
    let hub = Hub::start().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone").to(&["task"])).await;
    let publisher = token(&hub, Role::Publisher);
    let change = json!({"domain": "task", "mobile_id": Uuid::now_v7(), "data": {"jobdesc": "dig"}});
    let body = json!({"changes": [change], "pushes": [message("bob", "by post")]});
    let key = Uuid::now_v7();
    let (status, first) = post(&hub, Some(&publisher), Some(key), &body).await;
    assert_eq!((status, &first["request_id"]), (200, &json!(key)), "{first}");
    assert_eq!(first["results"][0]["status"], "created");
    assert_eq!((&first["pushes"][0]["delivered"], &first["pushes"][0]["queued"]), (&json!(1), &json!(0)));
    let (_, again) = post(&hub, Some(&publisher), Some(key), &body).await;
    assert_eq!(again, first, "o1");
    let (status, reused) =
        post(&hub, Some(&publisher), Some(key), &json!({"pushes": [message("bob", "x")]})).await;
    assert_eq!((status, &reused["error"]["code"]), (409, &json!("idempotency_key_reused")));
    let frames = bob.quiet().await;
    assert_eq!(texts(&frames), ["by post"]);
    assert_eq!(frames.iter().filter(|frame| frame["type"] == "data_update").count(), 1);
    for expected in [1, 2] {
        let (status, _) =
            post(&hub, Some(&publisher), None, &json!({"pushes": [message("bob", "twice")]})).await;
        assert_eq!(
            (status, bob.find("message").await["data"]["text"].as_str()),
            (200, Some("twice")),
            "{expected}"
        );
    }
}

#[tokio::test]
async fn inv9_a_post_needs_a_token_that_may() {
    let hub = Hub::start().await;
    let (_bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let (publisher, device) = (token(&hub, Role::Publisher), token(&hub, Role::Device));
    let body = json!({"pushes": [message("bob", "x")]});
    let to_nobody = json!({"pushes": [message("nobody", "x")]});
    let huge =
        json!({"pushes": [{"kind": "message", "to": {"user": "bob"}, "data": {"x": "x".repeat(70_000)}}]});
    for (token, body, expected) in [
        (None, &body, (401, "unauthorized")),
        (Some("nonsense"), &body, (401, "unauthorized")),
        (Some(device.as_str()), &body, (403, "forbidden")),
        (Some(&publisher), &to_nobody, (404, "not_found")),
        (Some(&publisher), &huge, (413, "too_large")),
        (Some(&publisher), &json!([]), (400, "bad_request")),
        (Some(&publisher), &json!({}), (400, "bad_request")),
        (Some(&publisher), &json!({"pushes": [{"kind": "message"}]}), (400, "bad_request")),
        (Some(&publisher), &json!({"request_id": 7, "pushes": [message("bob", "x")]}), (400, "bad_request")),
    ] {
        let (status, said) = post(&hub, token, None, body).await;
        assert_eq!((status, said["error"]["code"].as_str().unwrap()), expected, "{said}");
        assert!(said["error"]["message"].is_string() && said["error"]["temporary"] == false);
    }
    assert_eq!(hub.store().find_log("acme", 0, 10).await.unwrap().len(), 0);
}

#[tokio::test]
async fn p4_operators_read_the_delivery_log_of_their_tenant() {
    let hub = Hub::start().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let (_carol, _) = Peer::live(&hub, &Hello::of("carol", "phone")).await;
    let operator = token(&hub, Role::Operator);
    let all = json!({"kind": "message", "to": {"tenant": true}, "data": {}});
    let (_, sent) = post(&hub, Some(&operator), None, &json!({"pushes": [all, message("bob", "x")]})).await;
    bob.quiet().await;
    let (status, found) = deliveries(&hub, &operator, "").await;
    let lines = found["deliveries"].as_array().unwrap();
    assert_eq!((status, lines.len()), (200, 3), "{found}");
    assert!(lines.iter().all(|line| line["status"] == "delivered"), "{found}");
    let second = sent["pushes"][1]["push_id"].as_str().unwrap();
    for (query, count) in [
        ("?user=carol".to_owned(), 1),
        ("?user=bob&device=phone&limit=1".to_owned(), 1),
        (format!("?push_id={second}"), 1),
        (format!("?after={}", lines[0]["seq"]), 1),
        ("?device=none".to_owned(), 0),
    ] {
        let (_, found) = deliveries(&hub, &operator, &query).await;
        assert_eq!(found["deliveries"].as_array().unwrap().len(), count, "{query}: {found}");
    }
    for query in ["?limit=0", "?after=x", "?push_id=x", "?what=1"] {
        assert_eq!(deliveries(&hub, &operator, query).await.0, 400, "{query}");
    }
    assert_eq!(deliveries(&hub, &token(&hub, Role::Publisher), "").await.0, 403);
    let stranger = hub.token("umbrella", "service", |grant| grant.role = Role::Operator);
    assert_eq!(deliveries(&hub, &stranger, "").await.1, json!({"deliveries": []}), "inv9");
}

/// Runs the command line beside the hub.
async fn synchub(hub: &Hub, args: &[&str]) -> Output {
    let file = hub.database().with_file_name("push.token");
    std::fs::write(&file, token(hub, Role::Operator)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_synchub"));
    command
        .arg("push")
        .args(args)
        .args(["--tenant", "acme", "--url", &hub.http(), "--token-file"])
        .arg(&file);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_pushes_messages_and_triggers_and_says_what_is_wrong() {
    let hub = Hub::start().await;
    let (mut bob, _) = Peer::live(&hub, &Hello::of("bob", "phone")).await;
    let args = [
        "message",
        "--user",
        "bob",
        "--device",
        "phone",
        "--topic",
        "news",
        "--data",
        r#"{"text":"hi"}"#,
        "--priority",
        "high",
        "--ttl",
        "90s",
    ];
    let done = synchub(&hub, &args).await;
    let receipt: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}"));
    let got = bob.find("message").await;
    assert_eq!(
        (&got["push_id"], &got["priority"], &got["topic"]),
        (&receipt["push_id"], &json!("high"), &json!("news"))
    );
    let done = synchub(&hub, &["trigger", "--everybody", "--domains", "ticket,task"]).await;
    assert!(done.status.success(), "{done:?}");
    let got = bob.find("sync_trigger").await;
    assert_eq!((&got["domains"], &got["reason"]), (&json!(["ticket", "task"]), &json!("operator")));
    let done = synchub(&hub, &["message", "--user", "nobody"]).await;
    assert_eq!(done.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&done.stderr).contains("no user `nobody`"), "{done:?}");
    let done = synchub(&hub, &["message", "--user", "bob", "--data", "[1]"]).await;
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert_eq!(pushes(&bob.quiet().await).len(), 0);
}
