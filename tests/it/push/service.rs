//! A service with a socket, and what tests say about pushes.

use serde_json::{Value, json};
use synchub::auth::{Grant, Role};
use synchub_protocol::Encoding;
use uuid::Uuid;

use crate::support::{Hello, Hub, Peer};

/// A service of tenant `acme`.
pub(crate) struct Service(pub(crate) Peer);

impl Service {
    /// A publisher that may write everything.
    pub(crate) async fn start(hub: &Hub) -> Self {
        Self::with(hub, Role::Publisher, |_| {}).await
    }

    /// A service with any rights.
    pub(crate) async fn with(hub: &Hub, role: Role, change: impl FnOnce(&mut Grant)) -> Self {
        let token = hub.token("acme", "service", |grant| {
            grant.role = role;
            change(grant);
        });
        let mut peer = Peer::open(hub, Encoding::Json).await;
        peer.send(&json!({"type": "hello", "id": 1, "token": token})).await;
        peer.find("caught_up").await;
        Self(peer)
    }

    /// Publishes under an id of its own; the answer, whatever it is.
    pub(crate) async fn ask(&mut self, mut request: Value) -> Value {
        request["type"] = json!("publish");
        if request["request_id"].is_null() {
            request["request_id"] = json!(Uuid::now_v7());
        }
        self.0.ask(request).await
    }

    /// Publishes pushes and takes their receipts.
    pub(crate) async fn push(&mut self, pushes: Value) -> Vec<Value> {
        let answer = self.ask(json!({"pushes": pushes})).await;
        assert_eq!(answer["type"], "published", "{answer}");
        answer["pushes"].as_array().unwrap().clone()
    }

    /// Publishes one push; its id.
    pub(crate) async fn send(&mut self, push: Value) -> String {
        self.push(json!([push])).await[0]["push_id"].as_str().unwrap().to_owned()
    }
}

/// A message to a user.
pub(crate) fn message(user: &str, text: &str) -> Value {
    json!({"kind": "message", "to": {"user": user}, "topic": "news", "data": {"text": text}})
}

/// A trigger to a user.
pub(crate) fn trigger(user: &str, domains: &[&str]) -> Value {
    json!({"kind": "sync_trigger", "to": {"user": user}, "domains": domains})
}

/// The pushes among frames: id and what it says.
pub(crate) fn pushes(frames: &[Value]) -> Vec<&Value> {
    let kinds = ["message", "sync_trigger", "conflict_alert", "entry_settled"];
    frames.iter().filter(|frame| kinds.contains(&frame["type"].as_str().unwrap())).collect()
}

/// The texts of the messages among frames.
pub(crate) fn texts(frames: &[Value]) -> Vec<&str> {
    let messages = frames.iter().filter(|frame| frame["type"] == "message");
    messages.map(|frame| frame["data"]["text"].as_str().unwrap()).collect()
}

/// So many seconds pass on the hub's clock.
pub(crate) fn pass(hub: &Hub, secs: i64) {
    hub.clock.advance(secs * 1_000_000);
}

/// A device that comes back with the last cursor that it stored, if it has one.
pub(crate) fn back(user: &str, device: &str, cursor: Option<&String>) -> Hello {
    let hello = Hello::of(user, device);
    match cursor {
        Some(cursor) => hello.with(json!({"cursor": cursor})),
        None => hello,
    }
}
