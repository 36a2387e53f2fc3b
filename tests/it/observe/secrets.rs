//! What is in frames, tokens and keys never gets into the log, at whatever level.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use synchub::auth::{Grant, Role, Signer};
use synchub::clock::{Clock as _, SystemClock};
use synchub::config::{AuthSettings, Secret};
use synchub_protocol::Encoding;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use uuid::Uuid;

use super::lines::LoggingHub;
use super::page;
use crate::support::{Peer, ticket};

/// A part of everything that must not be seen.
const SECRET: &str = "hunter2";
const KEY: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";

fn token(role: Role, user: &str) -> String {
    let auth = AuthSettings { hs256_secret: Some(Secret::new(KEY)), ..AuthSettings::default() };
    let mut grant = Grant::new("acme", user, role);
    grant.ttl_secs = 3600;
    Signer::new(&auth).unwrap().sign(&grant, SystemClock.now_us()).unwrap()
}

async fn open(hub: &LoggingHub, encoding: Encoding) -> Peer {
    let mut request = format!("ws://127.0.0.1:{}/ws", hub.port).into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", encoding.subprotocol().parse().unwrap());
    Peer::open_as(request, encoding).await
}

fn hello(token: &str, device: &str) -> Value {
    json!({"type": "hello", "id": 1, "token": token, "device": {"id": device, "kind": "phone"},
        "subscriptions": [{"domain": "ticket", "filters": {"subject": {"eq": SECRET}}}]})
}

/// Says and is told all kinds of things with secrets in them; the tokens, and a batch's id.
async fn talk(hub: &LoggingHub) -> (Vec<String>, Uuid) {
    let tokens = [token(Role::Device, "anna"), token(Role::Publisher, "service")];
    let mut anna = open(hub, Encoding::Json).await;
    anna.send(
        &json!({"type": "hello", "id": 1, "token": tokens[0], "device": {"id": "phone-a", "kind": "phone"},
        "subscriptions": [{"domain": "ticket"}]}),
    )
    .await;
    anna.find("caught_up").await;
    let (id, batch_id) = (Uuid::now_v7(), Uuid::now_v7());
    let entries = json!([ticket(id, SECRET), {"domain": SECRET, "mobile_id": id, "version": 0, "data": {SECRET: SECRET}}]);
    anna.ask(json!({"type": "sync", "batch_id": batch_id, "entries": entries})).await;
    anna.ask(json!({"type": "sync", "batch_id": batch_id, "entries": [ticket(Uuid::now_v7(), SECRET)]}))
        .await;
    anna.ask(json!({"type": "sync", "batch_id": Uuid::now_v7(), "entries": SECRET})).await;
    anna.ask(json!({"type": SECRET})).await;
    anna.send(&json!({"type": "ack", "cursor": SECRET})).await;
    anna.send(&json!(SECRET)).await;
    assert_eq!(anna.close_code().await, 4503);

    let mut service = open(hub, Encoding::MessagePack).await;
    service.send(&json!({"type": "hello", "id": 1, "token": tokens[1]})).await;
    service.find("welcome").await;
    let push = json!({"kind": "message", "to": {"user": "anna"}, "topic": SECRET, "data": {"text": SECRET}});
    service.ask(json!({"type": "publish", "request_id": Uuid::now_v7(), "pushes": [push]})).await;
    service.send(&json!([SECRET])).await;
    assert_eq!(service.close_code().await, 4503);

    for (frame, code) in [
        (hello(&format!("{}{SECRET}", tokens[0]), "phone-b"), 4500),
        (hello(SECRET, "phone-b"), 4500),
        (json!([SECRET]), 4503),
    ] {
        let mut stranger = open(hub, Encoding::Json).await;
        stranger.send(&frame).await;
        assert_eq!(stranger.close_code().await, code);
    }
    let mut bad = open(hub, Encoding::Json).await;
    bad.send(&hello(&tokens[0], "phone-b")).await;
    bad.next().await;
    (tokens.to_vec(), batch_id)
}

#[tokio::test]
async fn no_contents_no_tokens_and_no_keys_get_into_the_log() {
    let folder = TempDir::new().unwrap();
    let headers = format!("{{\"x-key\": \"{SECRET}\"}}");
    let variables = [
        ("SYNCHUB_AUTH_HS256_SECRET", KEY),
        ("SYNCHUB_LOG_LEVEL", "debug"),
        ("SYNCHUB_TRACE_ENDPOINT", "http://127.0.0.1:9"),
        ("SYNCHUB_TRACE_SAMPLE_ONE_IN", "1"),
        ("SYNCHUB_TRACE_HEADERS", &headers),
        ("SYNCHUB_DRAIN_SECS", "0"),
    ];
    let hub = LoggingHub::start(folder.path(), &variables);
    let (tokens, batch_id) = talk(&hub).await;
    let lines = tokio::task::spawn_blocking(|| hub.stop()).await.unwrap();

    let all = lines.join("\n");
    assert!(!all.contains(SECRET), "{}", lines.iter().find(|line| line.contains(SECRET)).unwrap());
    for part in tokens.iter().flat_map(|token| token.split('.')) {
        assert!(!all.contains(part), "a part of a token: {part}");
    }
    let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered = lines.iter().find(|line| line["message"] == "a batch was answered").unwrap();
    assert_eq!(answered["batch_id"], batch_id.to_string(), "{answered}");
    let session = answered["spans"][0].as_object().unwrap();
    for (field, expected) in
        [("name", "connection"), ("tenant", "acme"), ("user", "anna"), ("device", "phone-a")]
    {
        assert_eq!(session[field], expected, "{answered}");
    }
    assert!(Uuid::parse_str(session["session"].as_str().unwrap()).is_ok(), "{answered}");
    assert_known_fields(&lines);
}

/// Every field of the hub's own lines stands on the page.
fn assert_known_fields(lines: &[Value]) {
    let on_page: BTreeSet<String> =
        page::rows("Log fields").iter().flat_map(|row| page::names(&row[0])).collect();
    let always = ["timestamp", "level", "target", "message", "span", "spans", "name"];
    let own = lines.iter().filter(|line| line["target"].as_str().unwrap().starts_with("synchub"));
    let mut known = 0;
    for line in own {
        let spans = line["spans"].as_array().into_iter().flatten();
        for object in spans.chain([line]) {
            for field in object.as_object().unwrap().keys().filter(|field| !always.contains(&field.as_str()))
            {
                assert!(on_page.contains(field), "`{field}` does not stand on the page: {line}");
                known += 1;
            }
        }
    }
    assert!(known > 20, "only {known}");
}
