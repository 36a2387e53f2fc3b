//! Two tenants of people who look at records of three visibilities, and the hands that write them.

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub::config::Settings;
use synchub_rules::group::Belonging;
use uuid::Uuid;

use super::copy::Copy;
use super::table::{Act, Case, Hand, Looker};
use crate::support::{Hello, Hub, Peer, Publisher};

/// A definition that has nothing but a visibility.
pub(super) fn definition(name: &str, visibility: &str) -> String {
    format!(
        "name = \"{name}\"\nstrategy = \"most_recent_wins\"\nvisibility = \"{visibility}\"\n\
         [fields.state]\ntype = \"string\"\n"
    )
}

/// A hub with the domains `hall` (tenant), `desk` (unit) and `diary` (owner).
pub(super) async fn hub(change: impl FnOnce(&mut Settings)) -> Hub {
    Hub::with(change)
        .definition("hall.toml", &definition("hall", "tenant"))
        .definition("desk.toml", &definition("desk", "unit"))
        .definition("diary.toml", &definition("diary", "owner"))
        .start()
        .await
}

pub(super) const DOMAINS: [&str; 3] = ["hall", "desk", "diary"];

/// The hello of somebody who looks at open records.
pub(super) fn hello(hub: &Hub, looker: Looker) -> Hello {
    let subscriptions: Vec<_> =
        DOMAINS.iter().map(|domain| json!({"domain": domain, "filter": {"state": "open"}})).collect();
    let service = |role, units: Option<Vec<String>>| {
        let token = hub.token("acme", "service", |grant| (grant.role, grant.units) = (role, units));
        Hello::of("service", "").with(json!({"token": token, "device": null}))
    };
    let hello = match looker {
        Looker::Second => Hello::of("alice", "a2").unit("north"),
        Looker::Elsewhere => Hello::of("alice", "a3").unit("south"),
        Looker::Colleague => Hello::of("bob", "b1").unit("north"),
        Looker::OtherUnit => Hello::of("carol", "c1").unit("south"),
        Looker::NoUnit => Hello::of("dave", "d2"),
        Looker::OtherTenant => Hello { tenant: "umbrella".into(), ..Hello::of("alice", "a2") }.unit("north"),
        Looker::Operator => service(Role::Operator, None),
        Looker::Publisher => service(Role::Publisher, Some(vec!["north".into()])),
    };
    hello.with(json!({"subscriptions": subscriptions}))
}

/// One who looks, with a copy and every data frame that came.
pub(super) struct Watcher {
    pub(super) looker: Looker,
    pub(super) peer: Peer,
    pub(super) copy: Copy,
    pub(super) frames: Vec<Value>,
    pub(super) fresh: Value,
}

impl Watcher {
    /// Says hello, with what was kept from before if there is a cursor, and takes all up to `caught_up`.
    pub(super) async fn start(hub: &Hub, looker: Looker, kept: Option<(String, Copy)>) -> Self {
        let (cursor, copy) = kept.unzip();
        let hello = hello(hub, looker).with(json!({"cursor": cursor}));
        Self::say(hub, looker, &hello, copy.unwrap_or_default()).await
    }

    /// Says hello without a cursor, though something was kept.
    pub(super) async fn start_afresh(hub: &Hub, looker: Looker, copy: Copy) -> Self {
        Self::say(hub, looker, &hello(hub, looker), copy).await
    }

    async fn say(hub: &Hub, looker: Looker, hello: &Hello, copy: Copy) -> Self {
        let (peer, welcome) = Peer::hello(hub, hello).await;
        let fresh = welcome["fresh"].clone();
        let mut watcher = Self { looker, peer, copy, frames: Vec::new(), fresh };
        watcher.take("caught_up", |_| true).await;
        watcher
    }

    /// Takes frames up to the first of a kind that is the one waited for.
    pub(super) async fn take(&mut self, kind: &str, is_last: impl Fn(&Value) -> bool) {
        loop {
            let frame = self.peer.next().await;
            let last = frame["type"] == kind && is_last(&frame);
            self.copy.apply(&frame);
            self.frames.push(frame);
            if last {
                return;
            }
        }
    }

    /// Goes away with a cursor and a copy.
    pub(super) async fn leave(self) -> (String, Copy) {
        let kept = (self.peer.cursor.clone().unwrap(), self.copy);
        self.peer.close().await;
        kept
    }

    /// The changes of a record that came.
    pub(super) fn changes(&self, domain: &str, id: Uuid) -> Vec<&Value> {
        let of = |frame: &&Value| frame["domain"] == domain && frame["mobile_id"] == json!(id);
        self.frames.iter().filter(|frame| frame["type"] == "data_update").filter(of).collect()
    }

    /// The records of snapshots that came.
    pub(super) fn snapshots(&self, domain: &str, id: Uuid) -> Vec<&Value> {
        let of = |frame: &&Value| frame["type"] == "snapshot" && frame["domain"] == domain;
        let records = self.frames.iter().filter(of).flat_map(|frame| frame["records"].as_array().unwrap());
        records.filter(|record| record["mobile_id"] == json!(id)).collect()
    }
}

/// Those who write.
pub(super) struct Hands {
    alice: Peer,
    dave: Peer,
    stranger: Peer,
    publisher: Publisher,
}

impl Hands {
    pub(super) async fn new(hub: &Hub) -> Self {
        let (alice, _) = Peer::live(hub, &Hello::of("alice", "a1").unit("north")).await;
        let (dave, _) = Peer::live(hub, &Hello::of("dave", "d1")).await;
        let stranger = Hello { tenant: "umbrella".into(), ..Hello::of("alice", "a1") }.unit("north");
        let (stranger, _) = Peer::live(hub, &stranger).await;
        Self { alice, dave, stranger, publisher: Publisher::of(hub, "acme").await }
    }

    /// Makes a record's next version. What the creator may no longer reach, a publisher does.
    pub(super) async fn act(&mut self, hub: &Hub, case: &Case, id: Uuid, version: usize) {
        let act = case.steps[version - 1].0;
        let mut entry = json!({"domain": case.domain, "mobile_id": id, "version": version - 1, "data": {}});
        let belonging = match act {
            Act::Write(..) => {
                entry["data"] = case.data(version);
                None
            }
            Act::Delete => {
                entry["operation"] = json!("delete");
                None
            }
            Act::Unit(name) => {
                let unit = match name {
                    Some(name) => Some(self.publisher.unit(hub, name).await),
                    None => None,
                };
                Some(Belonging { unit: Some(unit), owner: None })
            }
            Act::Owner(name) => {
                let owner = self.publisher.user(hub, name).await;
                Some(Belonging { unit: None, owner: Some(Some(owner)) })
            }
        };
        let moved = |act: &Act| matches!(act, Act::Unit(_) | Act::Owner(_));
        if case.steps[..version].iter().any(|(act, _)| moved(act)) {
            let answer = self.publisher.publish(hub, entry, belonging).await;
            assert_eq!(answer.outcomes[0].stored.version, Some(version as u64), "{}: {answer:?}", case.name);
            return;
        }
        let hand = match case.hand {
            Hand::Alice => &mut self.alice,
            Hand::Dave => &mut self.dave,
        };
        let results = hand.sync(json!([entry])).await;
        assert_eq!(results[0]["server_version"], json!(version), "{}: {}", case.name, results[0]);
    }

    /// Writes something that everyone of both tenants sees, so that its coming says that all else came.
    pub(super) async fn mark(&mut self) -> Uuid {
        let id = Uuid::now_v7();
        let entry = json!([{"domain": "hall", "mobile_id": id, "version": 0, "data": {"state": "open"}}]);
        self.alice.sync(entry.clone()).await;
        self.stranger.sync(entry).await;
        id
    }
}
