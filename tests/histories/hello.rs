//! Devices that come: a socket, a hello as PROTOCOL.md says, and the session that its welcome begins.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Value, json};
use synchub_protocol::{Encoding, Timestamp};
use uuid::Uuid;

use crate::device::{DAY_US, Link};
use crate::support::{Hello, Peer};
use crate::world::{World, subscriptions};

impl World {
    /// Opens a socket and says hello as PROTOCOL.md says; the old one goes without a word.
    pub(crate) async fn connect(&mut self, at: usize) {
        self.cut(at);
        while !self.hello(at).await {}
    }

    /// Says hello once; says whether it was welcomed, and not sent away for a new epoch.
    async fn hello(&mut self, at: usize) -> bool {
        let install = self.hello_install(at);
        let foreseen = self.foresee(at);
        let encoding = if self.chance.percent(50) { Encoding::Json } else { Encoding::MessagePack };
        let mut peer = if self.chance.percent(25) {
            Peer::open_narrow(self.host.hub(), encoding).await
        } else {
            Peer::open(self.host.hub(), encoding).await
        };
        let says_time = self.chance.percent(80);
        let awaiting = self.awaiting(at);
        let hello = self.hello_frame(at, install, says_time);
        peer.send(&hello).await;
        let welcome = peer.next().await;
        if welcome["type"] == "goaway" {
            self.rise(at, foreseen, &welcome, peer).await;
            return false;
        }
        let epoch = self.check_welcome(at, foreseen, &welcome);
        let mut link = self.link(at, peer, (install, epoch), &welcome);
        link.awaiting = awaiting;
        if says_time {
            link.sample(-self.devices[at].skew_us);
        }
        self.devices[at].link = Some(link);
        self.welcomed(at, install, &welcome);
        true
    }

    /// The hello of a device, the next of its install.
    fn hello_frame(&mut self, at: usize, install: Uuid, says_time: bool) -> Value {
        let urgency = self.chance.urgency();
        let device = &mut self.devices[at];
        device.attempt += 1;
        device.urgency = urgency;
        let hello = Hello {
            tenant: self.ledgers[device.tenant].tenant.clone(),
            unit: device.unit.clone(),
            ..Hello::of(device.user, device.id)
        };
        let mut more = json!({
            "device": {"kind": device.kind, "install_id": install},
            "attempt": device.attempt,
            "subscriptions": subscriptions(&device.disk.wish, device.urgency),
        });
        if let Some(cursor) = &device.disk.cursor {
            more["cursor"] = json!(cursor);
        }
        if self.chance.percent(50) {
            more["features"] = json!(["delta"]);
        }
        if self.chance.percent(25) {
            more["network_quality"] = json!("poor");
        }
        if says_time {
            more["client_time"] = json!(Timestamp(self.host.now_us + device.skew_us));
        }
        hello.with(more).frame(self.host.hub())
    }

    /// The session that a welcome begins.
    fn link(&mut self, at: usize, peer: Peer, (install, epoch): (Uuid, u64), welcome: &Value) -> Link {
        let useless = ["cursor_expired", "cursor_invalid", "epoch_changed"];
        let fresh = welcome["fresh"].as_array().unwrap();
        let is_usable = fresh.iter().all(|fresh| useless.iter().all(|reason| fresh["reason"] != *reason));
        let head = self.host.head(&self.ledgers[self.devices[at].tenant].tenant);
        let device = &self.devices[at];
        let who = (device.user.to_owned(), device.id.to_owned());
        self.ledgers[device.tenant].post.register(who);
        let is_usable = is_usable && !device.disk.wish.is_empty() && device.disk.epoch == epoch;
        let install_no =
            self.host.install(&self.ledgers[device.tenant].tenant, device.user, device.id, install);
        Link {
            peer,
            install,
            install_no,
            epoch,
            renews: device.disk.cursor.is_none() || device.disk.epoch < epoch,
            unit: device.unit.clone(),
            samples: VecDeque::new(),
            place: None,
            caught_up: false,
            flights: VecDeque::new(),
            asked: Vec::new(),
            held: false,
            catches_up: None,
            from: device.disk.passed.filter(|_| is_usable && device.disk.cursor.is_some()),
            head,
            opened: self.host.times.len() - 1,
            pushed: Vec::new(),
            told: BTreeSet::new(),
            awaiting: BTreeSet::new(),
            alerted: BTreeSet::new(),
            saved: false,
            wants_saver: false,
            settings: 0,
            saves_after: None,
            is_plain: true,
        }
    }

    /// Takes what the welcome says of numbers.
    fn welcomed(&mut self, at: usize, install: Uuid, welcome: &Value) {
        let device = &mut self.devices[at];
        device.disk.confirmed = device.disk.wish.clone();
        let last = welcome["last_client_seq"].as_u64().unwrap();
        device.promised.retain(|_, at_us| self.host.now_us - *at_us < DAY_US);
        let forgotten = device.disk.renumber(install, last, self.host.now_us);
        let (tenant, name) = (device.tenant, device.name());
        self.ledgers[tenant].resolve(&self.host, at);
        self.ledgers[tenant].count_all("edit that the hub forgot (R2)", forgotten);
        for fresh in welcome["fresh"].as_array().unwrap() {
            self.ledgers[tenant].count(format!("fresh {}", fresh["reason"]));
        }
        self.note(format!("{tenant} {name} says hello: {}", welcome["fresh"]));
    }

    /// The install of the first edit that waits; the numbers of a restored app come first (O4).
    fn hello_install(&self, at: usize) -> Uuid {
        let disk = &self.devices[at].disk;
        disk.outbox.first().map_or(disk.install, |item| item.install)
    }
}
