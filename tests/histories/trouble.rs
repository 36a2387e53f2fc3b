//! Steps that need more than a device: a store that cannot write, publishers, people who move, two sockets
//! of one device.

use serde_json::{Value, json};
use synchub_rules::group::{BatchAnswer, Belonging as Asked};

use crate::edits;
use crate::ledger::Fate;
use crate::model::{Batch, Belonging};
use crate::reading::Until;
use crate::support::{Hello, Peer, Publisher};
use crate::world::{World, subscriptions};

const DAY_US: i64 = 86_400_000_000;
const UNITS: [Option<&str>; 3] = [Some("north"), Some("south"), None];

impl World {
    /// The store refuses what several devices send at once; they send it again (O1, O3).
    pub(crate) async fn refuse(&mut self) {
        if !fail::has_failpoints() {
            return;
        }
        let how = *self.chance.pick(&["1*return(unavailable)", "1*return(refused)", "2*return(refused)"]);
        fail::cfg("store::commit", how).unwrap();
        self.refuses = true;
        for ledger in &mut self.ledgers {
            ledger.may_fail();
        }
        let start = self.chance.below(self.devices.len());
        let who: Vec<usize> = (0..2).map(|n| (start + n) % self.devices.len()).collect();
        for &at in &who {
            self.edit(at);
            while self.is_online(at) && self.send(at).await {}
        }
        for &at in &who {
            self.read(at, Until::Answered).await;
        }
        fail::cfg("store::commit", "off").unwrap();
        self.refuses = false;
    }

    /// Days pass, and what is past its time goes (D3). All is judged before: nobody could compare it afterwards.
    pub(crate) async fn purge(&mut self) {
        self.judge().await;
        let days = 1 + i64::try_from(self.chance.below(25)).unwrap();
        self.host.advance(days * DAY_US);
        self.host.hub().node.purge().await.unwrap();
        let now_us = self.host.now_us;
        for ledger in &mut self.ledgers {
            ledger.model.purge(now_us - 30 * DAY_US, now_us - DAY_US, now_us - 365 * DAY_US);
            ledger.post.requests.clear();
            ledger.count("purge");
        }
        self.judge().await;
    }

    /// A person is given another unit; the next token says so.
    pub(crate) fn move_user(&mut self, at: usize) {
        self.cut(at);
        self.devices[at].unit = self.chance.pick(&UNITS).map(str::to_owned);
    }

    /// A second socket of a device takes over; the first can do nothing any more (C11).
    pub(crate) async fn twin(&mut self, at: usize) {
        if !self.is_online(at) {
            return;
        }
        self.edit(at);
        while self.send(at).await {}
        let mut ghost = self.devices[at].link.take().unwrap();
        self.connect(at).await;
        let key = edits::key(&self.domains, &mut self.chance);
        let entry = json!({"domain": key.0, "mobile_id": key.1, "version": 0, "data": {}});
        let batch_id = self.chance.uuid().to_string();
        let frame = json!({"type": "sync", "id": 1_000_000, "batch_id": batch_id, "entries": [entry]});
        ghost.peer.send(&frame).await;
        let code = ghost.peer.close_code().await;
        assert!([0, 4504].contains(&code), "C11: the older socket closed with {code}");
        assert!(
            self.host.batch(ghost.install_no, &batch_id).is_none(),
            "C11: an older socket decided a batch"
        );
    }

    /// A hello that was overtaken by a newer one of its install is the late one (C11).
    pub(crate) async fn late(&mut self, at: usize) {
        let device = &self.devices[at];
        let Some(link) = &device.link else { return };
        let hello = Hello {
            tenant: self.ledgers[device.tenant].tenant.clone(),
            unit: device.unit.clone(),
            ..Hello::of(device.user, device.id)
        };
        let hello = hello.with(json!({
            "device": {"kind": device.kind, "install_id": link.install},
            "attempt": device.attempt - 1,
            "subscriptions": subscriptions(&device.disk.wish, device.urgency),
        }));
        let mut peer = Peer::open(self.host.hub(), synchub_protocol::Encoding::Json).await;
        peer.send(&hello.frame(self.host.hub())).await;
        let code = peer.close_code().await;
        // The living session may have ended without the device having noticed.
        assert!([0, 4504].contains(&code), "C11: a late hello closed with {code}");
    }

    /// A service writes, or makes a record belong to somebody else (V1, V2).
    pub(crate) async fn publish(&mut self, tenant: usize) {
        let name = self.ledgers[tenant].tenant.clone();
        let publisher = Publisher::of(self.host.hub(), &name).await;
        let stored = self.host.records(&name);
        let known = if stored.is_empty() { None } else { Some(self.chance.pick(&stored).clone()) };
        let (key, version) = match known.filter(|_| self.chance.percent(90)) {
            Some(record) => (record.key, record.version),
            None => (edits::key(&self.domains, &mut self.chance), 0),
        };
        let mut entry = json!({"domain": key.0, "mobile_id": key.1, "version": version, "data": {}});
        match self.chance.below(6) {
            0 => entry["operation"] = json!("delete"),
            1 | 2 => {
                entry["data"] = Value::Object(edits::fields(&key.0, version == 0, &mut self.chance));
                entry["delta"] = json!(version > 0);
            }
            _ => {}
        }
        edits::dress(&mut entry, self.host.now_us, &mut self.chance);
        let mut belonging = Belonging::default();
        let mut asked = Asked { unit: None, owner: None };
        if self.chance.percent(70) {
            let unit = *self.chance.pick(&UNITS);
            belonging.unit = Some(unit.map(str::to_owned));
            asked.unit = Some(match unit {
                Some(unit) => Some(publisher.unit(self.host.hub(), unit).await),
                None => None,
            });
        }
        if self.chance.percent(50) {
            let owner = *self.chance.pick(&["alice", "bob", "carol"]);
            belonging.owner = Some(Some(owner.to_owned()));
            asked.owner = Some(Some(publisher.user(self.host.hub(), owner).await));
        }
        let (install, id) = (self.host.publisher(&name), self.chance.uuid().to_string());
        let batch = Batch {
            entries: vec![entry.clone()],
            belonging: Some(belonging),
            ..Batch::of_service(install, self.host.now_us, id)
        };
        let answer = publisher.publish(self.host.hub(), entry, Some(asked)).await;
        let fate = Fate::Answered(as_frame(&answer));
        self.ledgers[tenant].note_service(batch, fate, self.host.epoch());
    }
}

/// The answer to a publisher as a device would be sent it.
fn as_frame(answer: &BatchAnswer) -> Value {
    let outcomes = answer.outcomes.iter().map(|outcome| {
        let stored = &outcome.stored;
        json!({
            "mobile_id": outcome.mobile_id,
            "status": stored.status,
            "server_version": stored.version,
            "server_data": outcome.server_data,
            "deleted": stored.deleted.then_some(true),
            "conflict": stored.conflict,
            "error": stored.error,
        })
    });
    json!({"results": outcomes.collect::<Value>(), "seq": answer.seq, "repeated": answer.repeated})
}
