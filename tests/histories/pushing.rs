//! Services that push: over the socket and by POST, once more where the answer was lost, and again under a
//! request's id (O1, P1).

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub_protocol::Encoding;

use crate::conflicts::Conflict;
use crate::edits;
use crate::ledger::Fate;
use crate::model::{Batch, Push, Scope};
use crate::post::{PRIORITIES, Posted, Request, Who};
use crate::support::Peer;
use crate::world::World;

const SECOND_US: i64 = 1_000_000;

impl World {
    /// A service pushes, perhaps with changes of its own; or asks once more for what it had.
    pub(crate) async fn post(&mut self, tenant: usize) {
        if self.chance.percent(15) && !self.ledgers[tenant].post.requests.is_empty() {
            return self.post_again(tenant).await;
        }
        let many = if self.chance.percent(25) { 12 } else { 3 };
        let to = self.chance.percent(40).then(|| self.somebody(tenant));
        let pushes: Vec<_> =
            (0..=self.chance.below(many)).map(|_| self.some_push(tenant, to.as_ref())).collect();
        let changes = if self.chance.percent(30) { vec![self.some_change(tenant)] } else { Vec::new() };
        let body = json!({"request_id": self.chance.uuid(), "changes": changes, "pushes": pushes});
        let name = self.ledgers[tenant].tenant.clone();
        let before = (self.host.head(&name), self.host.latest_us());
        let received_us = self.host.now_us;
        self.note(format!("{tenant} is pushed {body}"));
        let answer = self.publish_somehow(tenant, &body).await;
        if self.is_for_nobody(tenant, &pushes, &answer) {
            return;
        }
        let receipts = answer["pushes"].as_array().unwrap().clone();
        let wanted: Vec<_> =
            pushes.iter().zip(&receipts).map(|(push, receipt)| self.wanted(tenant, push, receipt)).collect();
        let pushes = wanted.iter().map(|(push, _)| push.clone()).collect();
        let seq = self.book(tenant, before, wanted.into_iter());
        let id = body["request_id"].as_str().unwrap().to_owned();
        let install = self.host.publisher(&name);
        let batch = Batch { entries: changes, pushes, ..Batch::of_service(install, received_us, id) };
        let fate = Fate::Answered(json!({"results": answer["results"], "seq": seq, "repeated": false}));
        let epoch = self.host.epoch();
        self.ledgers[tenant].note_service(batch, fate, epoch);
        self.ledgers[tenant].post.requests.push(Request { body, answer });
    }

    /// Whether a request was refused, since it names somebody or a conflict that the tenant does not have.
    fn is_for_nobody(&mut self, tenant: usize, pushes: &[Value], answer: &Value) -> bool {
        let (is_done, post) = (answer["pushes"].is_array(), &self.ledgers[tenant].post);
        let is_unknown = |push: &Value| {
            let id = push["conflict_id"].as_str();
            id.is_some_and(|id| !post.conflicts.contains_key(id))
        };
        let must_fail = pushes.iter().any(is_unknown);
        // A user may be known without a device: as an owner.
        let may_fail = pushes.iter().map(scope).any(|to| to != Scope::Tenant && post.devices(&to) == 0);
        let is_refused = answer["error"]["code"] == "not_found" && (must_fail || may_fail);
        assert!(is_done && !must_fail || is_refused, "P1: {pushes:?} are answered {answer}");
        if !is_done {
            self.ledgers[tenant].count("push to nobody");
        }
        !is_done
    }

    /// What a service has asked for, as the log is to have it, and what its frame says; its receipt counts the
    /// devices that it is for (P1).
    fn wanted(&self, tenant: usize, push: &Value, receipt: &Value) -> (Push, Value) {
        let (post, scope) = (&self.ledgers[tenant].post, scope(push));
        let reach: u64 =
            ["delivered", "queued", "held"].iter().map(|part| receipt[part].as_u64().unwrap()).sum();
        assert_eq!(reach, post.devices(&scope) as u64, "P1: the devices of {push}: {receipt}");
        let asked = push["priority"].as_str().unwrap_or("normal");
        let asked = PRIORITIES.iter().position(|name| *name == asked).unwrap();
        let conflict = push["conflict_id"].as_str().map(|id| &post.conflicts[id]);
        let priority = conflict.map_or(asked, Conflict::level);
        let ttl_us = push["ttl_secs"].as_i64().unwrap_or(3600) * SECOND_US;
        let id = receipt["push_id"].as_str().unwrap().to_owned();
        (Push { id, scope, priority, ttl_us }, said(push))
    }

    /// Enters pushes into the book: each is one row of the log behind `before`, which goes with the latest time
    /// that the clock had shown. Returns the place of the last.
    pub(crate) fn book(
        &mut self,
        tenant: usize,
        (before, at_us): (u64, i64),
        wanted: impl Iterator<Item = (Push, Value)>,
    ) -> Option<u64> {
        let log = self.host.log(&self.ledgers[tenant].tenant, before);
        let ledger = &mut self.ledgers[tenant];
        let mut last = None;
        for (push, said) in wanted {
            let rows: Vec<_> = log.iter().filter(|row| row.key.1 == push.id).collect();
            let [row] = rows[..] else {
                panic!("P1, O1: a push is {} rows of the log: {push:?}", rows.len())
            };
            ledger.count(format!("push {} {}", said["type"].as_str().unwrap(), PRIORITIES[push.priority]));
            let (seq, time_us, expires_us) = (row.seq, row.time_us, row.time_us + push.ttl_us);
            ledger.post.posted.push(Posted { push, seq, time_us, expires_us, said, at_us });
            last = Some(seq);
        }
        last
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

    /// Somebody with a device, mostly one who is there.
    fn somebody(&mut self, tenant: usize) -> Who {
        let of = self.devices.iter().filter(|device| device.tenant == tenant);
        let (there, away): (Vec<_>, Vec<_>) = of.partition(|device| device.link.is_some());
        let is_away = there.is_empty() || !away.is_empty() && self.chance.percent(25);
        let from = if is_away { away } else { there };
        let device = self.chance.pick(&from);
        (device.user.to_owned(), device.id.to_owned())
    }

    /// Something to tell a device, a user or everybody.
    fn some_push(&mut self, tenant: usize, to: Option<&Who>) -> Value {
        let (user, device) = to.cloned().unwrap_or_else(|| self.somebody(tenant));
        let to = match self.chance.below(4) {
            0 if to.is_none() => json!({"tenant": true}),
            1 => json!({"user": user, "device": device}),
            _ => json!({"user": user}),
        };
        let mut push = json!({"kind": "message", "to": to});
        match self.chance.below(20) {
            0..8 => {
                push["kind"] = json!("sync_trigger");
                let count = self.chance.below(3);
                let names: std::collections::BTreeSet<_> =
                    (0..count).map(|_| *self.chance.pick(&self.domains)).collect();
                push["domains"] = json!(names);
            }
            8..10 => self.make_alert(tenant, &mut push),
            _ => {
                push["data"] = json!({"text": self.uid(), "more": "x".repeat(self.chance.below(300))});
                if self.chance.percent(50) {
                    push["topic"] = json!("news");
                }
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

    /// Makes a push an alert of a conflict, now and then of one that the tenant does not have.
    fn make_alert(&mut self, tenant: usize, push: &mut Value) {
        push["kind"] = json!("conflict_alert");
        let conflicts = self.host.conflicts(&self.ledgers[tenant].tenant);
        if conflicts.is_empty() || self.chance.percent(5) {
            push["conflict_id"] = json!(self.chance.uuid());
            return;
        }
        let conflict = self.chance.pick(&conflicts).clone();
        push["conflict_id"] = json!(conflict.id);
        self.ledgers[tenant].post.conflicts.insert(conflict.id.clone(), conflict);
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
    if push["kind"] == "conflict_alert" {
        return json!({"type": "conflict_alert", "conflict_id": push["conflict_id"]});
    }
    let priority = push["priority"].as_str().unwrap_or("normal");
    let mut said = json!({"type": "message", "priority": priority, "data": push["data"]});
    if !push["topic"].is_null() {
        said["topic"] = push["topic"].clone();
    }
    said
}
