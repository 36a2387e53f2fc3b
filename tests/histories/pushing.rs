//! Services that push: over the socket and by POST, once more where the answer was lost, and again under a
//! request's id (O1, P1).

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub_protocol::Encoding;

use crate::edits;
use crate::ledger::{Event, Fate};
use crate::model::{Batch, Belonging, Push, Scope};
use crate::post::{Posted, Request};
use crate::support::Peer;
use crate::world::World;

const PRIORITIES: [&str; 4] = ["low", "normal", "high", "critical"];
const SECOND_US: i64 = 1_000_000;

impl World {
    /// A service pushes, perhaps with changes of its own; or asks once more for what it had.
    pub(crate) async fn post(&mut self, tenant: usize) {
        if self.chance.percent(15) && !self.ledgers[tenant].post.requests.is_empty() {
            return self.post_again(tenant).await;
        }
        let many = if self.chance.percent(20) { 12 } else { 3 };
        let pushes: Vec<_> = (0..=self.chance.below(many)).map(|_| self.some_push(tenant)).collect();
        let changes = if self.chance.percent(30) { vec![self.some_change(tenant)] } else { Vec::new() };
        let body = json!({"request_id": self.chance.uuid(), "changes": changes, "pushes": pushes});
        let name = self.ledgers[tenant].tenant.clone();
        let before = self.host.head(&name);
        let (at_us, received_us) = (self.host.latest_us(), self.host.now_us);
        self.note(format!("{tenant} is pushed {body}"));
        let answer = self.publish_somehow(tenant, &body).await;
        let scopes: Vec<_> = pushes.iter().map(scope).collect();
        let post = &self.ledgers[tenant].post;
        if scopes.iter().any(|scope| *scope != Scope::Tenant && post.devices(scope) == 0) {
            // A user may be known without a device: as an owner.
            let is_done = answer["pushes"].is_array();
            assert!(is_done || answer["error"]["code"] == "not_found", "P1: {body} is answered {answer}");
            if !is_done {
                return self.ledgers[tenant].count("push to nobody");
            }
        }
        assert!(answer["pushes"].is_array(), "P1: {body} is answered {answer}");
        let log = self.host.log(&name, before);
        let mut due = Vec::new();
        for (asked, (receipt, scope)) in
            pushes.iter().zip(answer["pushes"].as_array().unwrap().iter().zip(scopes))
        {
            let id = receipt["push_id"].as_str().unwrap();
            let row = log.iter().find(|row| row.key.1 == id);
            let row = row.unwrap_or_else(|| panic!("P1: a push that is no row of the log: {receipt}"));
            let reach: u64 =
                ["delivered", "queued", "held"].iter().map(|part| receipt[part].as_u64().unwrap()).sum();
            let post = &mut self.ledgers[tenant].post;
            assert_eq!(reach, post.devices(&scope) as u64, "P1: the devices of {asked}: {receipt}");
            let priority = asked["priority"].as_str().unwrap_or("normal");
            let priority = PRIORITIES.iter().position(|name| *name == priority).unwrap();
            let ttl_us = asked["ttl_secs"].as_i64().unwrap_or(3600) * SECOND_US;
            let push = Push { id: id.to_owned(), scope, priority, ttl_us };
            due.push(push.clone());
            let (seq, time_us) = (row.seq, row.time_us);
            let said = said(asked);
            post.posted.push(Posted { push, seq, time_us, expires_us: time_us + ttl_us, said, at_us });
            self.ledgers[tenant].count(format!(
                "push {} {}",
                asked["kind"].as_str().unwrap(),
                PRIORITIES[priority]
            ));
        }
        let seq = self.ledgers[tenant].post.posted.last().map(|last| last.seq);
        let batch = Batch {
            device: "service".to_owned(),
            install: self.host.publisher(&name),
            user: "service".to_owned(),
            unit: None,
            priority: 0,
            offset_us: 0,
            received_us,
            id: body["request_id"].as_str().unwrap().to_owned(),
            first: None,
            atomic: false,
            entries: changes,
            trusted: true,
            belonging: Some(Belonging::default()),
            pushes: due,
        };
        let fate = Fate::Answered(json!({"results": answer["results"], "seq": seq, "repeated": false}));
        let (epoch, uids) = (self.host.epoch(), Vec::new());
        let ledger = &mut self.ledgers[tenant];
        ledger.events.push(Event { device: None, batch, fate, may_fail: false, epoch, uids });
        ledger.post.requests.push(Request { body, answer });
    }

    /// What was answered is asked for once more: nothing is done again, which the log proves (O1).
    async fn post_again(&mut self, tenant: usize) {
        let Request { mut body, answer } = self.chance.pick(&self.ledgers[tenant].post.requests).clone();
        if self.chance.percent(25) {
            body["pushes"] = json!([{"kind": "message", "to": {"tenant": true}, "data": {"other": true}}]);
            let refused = self.by_post(tenant, &body).await;
            assert_eq!(refused["error"]["code"], "idempotency_key_reused", "O1: {body}: {refused}");
            return self.ledgers[tenant].count("push request reused");
        }
        let again = if self.chance.percent(50) {
            self.by_post(tenant, &body).await
        } else {
            self.by_socket(tenant, &body, true).await
        };
        let ids = |answer: &Value| -> Vec<Value> {
            answer["pushes"].as_array().into_iter().flatten().map(|push| push["push_id"].clone()).collect()
        };
        assert_eq!(ids(&again), ids(&answer), "O1: {body} was answered {answer}, then {again}");
        let results = |answer: &Value| -> Vec<Value> {
            let results = answer["results"].as_array().into_iter().flatten();
            results
                .map(|result| json!([result["status"], result["server_version"], result["error"]["code"]]))
                .collect()
        };
        assert_eq!(results(&again), results(&answer), "O1: {body} was answered {answer}, then {again}");
        self.ledgers[tenant].count("push request repeated");
    }

    /// Sends a request in one of the ways; where its answer is lost, it is sent again.
    async fn publish_somehow(&mut self, tenant: usize, body: &Value) -> Value {
        match self.chance.below(8) {
            0..=2 => self.by_socket(tenant, body, true).await,
            3 => {
                self.by_socket(tenant, body, false).await;
                if self.chance.percent(15) {
                    self.crash().await;
                }
                self.ledgers[tenant].count("push whose answer was lost");
                self.by_post(tenant, body).await
            }
            _ => self.by_post(tenant, body).await,
        }
    }

    fn service_token(&self, tenant: usize) -> String {
        let name = &self.ledgers[tenant].tenant;
        self.host.hub().token(name, "service", |grant| grant.role = Role::Publisher)
    }

    async fn by_post(&mut self, tenant: usize, body: &Value) -> Value {
        let url = format!("{}/api/v2/push", self.host.hub().http());
        let request = self.http.post(url).bearer_auth(self.service_token(tenant)).body(body.to_string());
        let response = request.send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    /// Over a socket of its own; without waiting for the answer nothing is returned.
    async fn by_socket(&mut self, tenant: usize, body: &Value, waits: bool) -> Value {
        let encoding = if self.chance.percent(50) { Encoding::Json } else { Encoding::MessagePack };
        let mut peer = Peer::open(self.host.hub(), encoding).await;
        peer.send(&json!({"type": "hello", "id": 1, "token": self.service_token(tenant)})).await;
        assert_eq!(peer.next().await["type"], "welcome");
        let mut frame = body.clone();
        frame["type"] = json!("publish");
        let id = peer.request(frame).await;
        if !waits {
            return Value::Null;
        }
        let answer = peer.answer(id).await;
        if answer["type"] == "error" { json!({ "error": answer }) } else { answer }
    }

    /// Something to tell a device, a user or everybody.
    fn some_push(&mut self, tenant: usize) -> Value {
        let whom: Vec<_> = self.devices.iter().filter(|device| device.tenant == tenant).collect();
        let whom = self.chance.pick(&whom);
        let to = match self.chance.below(4) {
            0 => json!({"tenant": true}),
            1 => json!({"user": whom.user, "device": whom.id}),
            _ => json!({"user": whom.user}),
        };
        let mut push = json!({"kind": "message", "to": to});
        if self.chance.percent(40) {
            push["kind"] = json!("sync_trigger");
            let count = self.chance.below(3);
            let names: std::collections::BTreeSet<_> =
                (0..count).map(|_| *self.chance.pick(&self.domains)).collect();
            push["domains"] = json!(names);
        } else {
            push["data"] = json!({"text": self.uid(), "more": "x".repeat(self.chance.below(300))});
            if self.chance.percent(50) {
                push["topic"] = json!("news");
            }
        }
        if self.chance.percent(60) {
            push["priority"] = json!(*self.chance.pick(&PRIORITIES));
        }
        if self.chance.percent(40) {
            push["ttl_secs"] = json!(*self.chance.pick(&[1, 3, 60, 7 * 86_400]));
        }
        push
    }

    /// A change that a service makes on a record as it stands, or a new one.
    fn some_change(&mut self, tenant: usize) -> Value {
        let stored = self.host.records(&self.ledgers[tenant].tenant);
        let (key, version) = if stored.is_empty() || self.chance.percent(30) {
            (edits::key(&self.domains, &mut self.chance), 0)
        } else {
            let record = self.chance.pick(&stored).clone();
            (record.key, record.version)
        };
        let data = edits::fields(&key.0, version == 0, &mut self.chance);
        let mut entry = json!({"domain": key.0, "mobile_id": key.1, "version": version, "data": data});
        entry["delta"] = json!(version > 0);
        edits::dress(&mut entry, self.host.now_us, &mut self.chance);
        entry
    }
}

fn scope(push: &Value) -> Scope {
    match (push["to"]["user"].as_str(), push["to"]["device"].as_str()) {
        (Some(user), Some(device)) => Scope::Device(user.to_owned(), device.to_owned()),
        (Some(user), None) => Scope::User(user.to_owned()),
        _ => Scope::Tenant,
    }
}

/// What the frame of a push says beside its id and time.
fn said(push: &Value) -> Value {
    if push["kind"] == "sync_trigger" {
        return json!({"type": "sync_trigger", "domains": push["domains"], "reason": "server_update"});
    }
    let priority = push["priority"].as_str().unwrap_or("normal");
    let mut said = json!({"type": "message", "priority": priority, "data": push["data"]});
    if !push["topic"].is_null() {
        said["topic"] = push["topic"].clone();
    }
    said
}
