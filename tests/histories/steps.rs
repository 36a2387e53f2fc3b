//! The steps of a history, drawn by chance.

use serde_json::{Value, json};

use crate::device::{Disk, Try};
use crate::edits;
use crate::ledger::{Event, Fate};
use crate::model::{Batch, Key};
use crate::reading::Until;
use crate::world::{World, everything, some, subscriptions};

/// How often each step is drawn, out of their sum.
const STEPS: [(&str, usize); 27] = [
    ("edit", 34),
    ("odd", 10),
    ("connect", 10),
    ("sync", 16),
    ("burst", 8),
    ("read", 14),
    ("drop", 5),
    ("lose", 7),
    ("subscribe", 6),
    ("ack", 2),
    ("clock", 5),
    ("skew", 2),
    ("backup", 1),
    ("restore", 1),
    ("crash", 1),
    ("refuse", 3),
    ("publish", 5),
    ("post", 12),
    ("raise", 8),
    ("deliveries", 3),
    ("unit", 1),
    ("twin", 2),
    ("late", 1),
    ("purge", 2),
    ("judge", 4),
    ("saver", 6),
    ("catch up", 2),
];

/// Those of a history in which the store is put back.
const DISASTERS: [(&str, usize); 2] = [("save", 6), ("put back", 7)];

impl World {
    /// One step; says which.
    pub(crate) async fn step(&mut self) {
        let disasters = if self.ruin.is_some() { &DISASTERS[..] } else { &[] };
        let steps = STEPS.iter().chain(disasters);
        let total = steps.clone().map(|(_, weight)| weight).sum();
        let mut drawn = self.chance.below(total);
        let (kind, _) = steps
            .into_iter()
            .find(|(_, weight)| {
                drawn < *weight || {
                    drawn -= weight;
                    false
                }
            })
            .unwrap();
        let at = self.chance.below(self.devices.len());
        self.note(format!("-- {kind} {} {}", self.devices[at].tenant, self.devices[at].name()));
        match *kind {
            "edit" => self.edit(at),
            "odd" => self.odd(at).await,
            "connect" => self.come_back(at).await,
            "sync" => self.sync(at).await,
            "burst" => self.burst().await,
            "read" => self.read_some(at).await,
            "drop" => self.cut(at),
            "lose" => self.lose(at).await,
            "subscribe" => self.subscribe(at).await,
            "ack" => self.ack(at).await,
            "clock" => self.clock().await,
            "skew" => self.devices[at].skew_us = self.chance.around(2_000_000),
            "backup" => self.devices[at].backup = Some(self.devices[at].disk.clone()),
            "restore" => self.restore_phone(at),
            "crash" => self.crash().await,
            "refuse" => self.refuse().await,
            "publish" => self.publish(self.devices[at].tenant).await,
            "post" => self.post(self.devices[at].tenant).await,
            "raise" => self.raise(self.devices[at].tenant).await,
            "deliveries" => self.check_deliveries_now().await,
            "purge" => self.purge().await,
            "unit" => self.move_user(at),
            "twin" => self.twin(at).await,
            "late" => self.late(at).await,
            "saver" => self.save_battery(at).await,
            "catch up" => self.catch_up(at).await,
            "save" => self.save().await,
            "put back" => self.put_back().await,
            _ => self.judge().await,
        }
    }

    /// The user writes something, online or not.
    pub(crate) fn edit(&mut self, at: usize) {
        for _ in 0..=self.chance.below(3) {
            let key = self.some_key(at);
            let device = &self.devices[at];
            let pending: Vec<&Value> = device
                .disk
                .outbox
                .iter()
                .map(|item| &item.entry)
                .filter(|entry| is_of(entry, &key))
                .collect();
            let held = device.disk.copy.get(&key).map(|(version, data)| (*version, data));
            let entry = edits::sensible((&key.0, &key.1), held, &pending, &mut self.chance);
            let Some(mut entry) = entry else { continue };
            let device_us = self.host.now_us + self.devices[at].skew_us;
            edits::dress(&mut entry, device_us, &mut self.chance);
            let uid = self.uid();
            self.devices[at].disk.enqueue(uid, entry);
        }
    }

    /// A record that the device holds, or any.
    fn some_key(&mut self, at: usize) -> Key {
        let held: Vec<Key> = self.devices[at].disk.copy.keys().cloned().collect();
        if held.is_empty() || self.chance.percent(45) {
            edits::key(&self.domains, &mut self.chance)
        } else {
            self.chance.pick(&held).clone()
        }
    }

    /// A new socket; mostly the device stays until it has everything.
    async fn come_back(&mut self, at: usize) {
        self.connect(at).await;
        if self.chance.percent(70) {
            self.read(at, Until::Head).await;
        }
    }

    /// Something that no app would do: odd entries, with or without numbers, a batch id again.
    async fn odd(&mut self, at: usize) {
        let key = self.some_key(at);
        let mut entry = edits::odd((&key.0, &key.1), &mut self.chance);
        edits::dress(&mut entry, self.host.now_us, &mut self.chance);
        if self.chance.percent(60) {
            let uid = self.uid();
            return self.devices[at].disk.enqueue(uid, entry);
        }
        if !self.is_online(at) || self.devices[at].link.as_ref().unwrap().flights.len() >= 4 {
            return;
        }
        let device = &self.devices[at];
        let answered: Vec<_> = self.ledgers[device.tenant]
            .events
            .iter()
            .filter(|event| event.device == Some(at) && matches!(event.fate, Fate::Answered(_)))
            .map(|event| event.batch.clone())
            .collect();
        let plain: Vec<_> = answered.iter().filter(|batch| batch.first.is_none()).cloned().collect();
        let answered = if plain.is_empty() || self.chance.percent(50) { answered } else { plain };
        if !answered.is_empty() && self.chance.percent(40) {
            // What was answered, once more as it was (O1).
            let Batch { id, atomic, first, entries, install, .. } = self.chance.pick(&answered).clone();
            let again = Try { batch_id: id, uids: Vec::new(), atomic };
            let first = first
                .filter(|_| self.devices[at].link.as_ref().is_some_and(|link| link.install_no == install));
            return self.submit(at, &again, first, entries, Vec::new()).await;
        }
        // Of two batches with one id and as many entries nobody could tell which one the store remembers.
        let is_known = |event: &&Event| {
            matches!(event.fate, Fate::Answered(_) | Fate::Stored(_)) || event.batch.entries.len() > 1
        };
        let used: Vec<String> = self.ledgers[device.tenant]
            .events
            .iter()
            .filter(|event| event.device == Some(at))
            .filter(is_known)
            .map(|event| event.batch.id.clone())
            .collect();
        let batch_id = if used.is_empty() || self.chance.percent(50) {
            self.chance.uuid().to_string()
        } else {
            self.chance.pick(&used).clone()
        };
        let atomic = self.chance.percent(30);
        let first = self.chance.percent(25).then(|| 1 + self.chance.below(12) as u64);
        let first = first.filter(|_| device_is_idle(&self.devices[at]));
        let batch = Try { batch_id, uids: Vec::new(), atomic };
        // A number that the app never gave out would be taken for one of its edits.
        let first = first.filter(|first| {
            *first + 1
                < self.devices[at]
                    .disk
                    .outbox
                    .first()
                    .map_or(self.devices[at].disk.given + 1, |item| item.number)
        });
        self.submit(at, &batch, first, vec![entry], Vec::new()).await;
    }

    /// Sends what waits, in several batches, and takes the answers.
    async fn sync(&mut self, at: usize) {
        if !self.is_online(at) {
            self.connect(at).await;
        }
        for _ in 0..=self.chance.below(4) {
            self.send(at).await;
        }
        if self.chance.percent(80) {
            self.read(at, Until::Answered).await;
            self.change_install(at);
        }
    }

    /// When the numbers of a restored app are through, the next hello names the new install (O4).
    pub(crate) fn change_install(&mut self, at: usize) {
        let device = &self.devices[at];
        let next = device.disk.outbox.first().map_or(device.disk.install, |item| item.install);
        if device.link.as_ref().is_some_and(|link| link.flights.is_empty() && link.install != next) {
            self.cut(at);
        }
    }

    /// Several devices send at once.
    async fn burst(&mut self) {
        let start = self.chance.below(self.devices.len());
        let count = 2 + self.chance.below(4);
        let who: Vec<usize> = (0..count).map(|n| (start + n) % self.devices.len()).collect();
        for &at in &who {
            if !self.is_online(at) {
                self.connect(at).await;
            }
            self.edit(at);
        }
        // Somebody's snapshots and replays run meanwhile.
        let reader = self.chance.below(self.devices.len());
        match self.chance.below(3) {
            0 => self.connect(reader).await,
            1 if self.is_online(reader) => self.subscribe(reader).await,
            _ => {}
        }
        for _ in 0..3 {
            for &at in &who {
                self.send(at).await;
            }
        }
        for &at in &who {
            if self.chance.percent(75) {
                self.read(at, Until::Answered).await;
            }
        }
    }

    async fn read_some(&mut self, at: usize) {
        if !self.is_online(at) {
            self.connect(at).await;
        }
        let until = match self.chance.below(4) {
            0 | 1 => Until::Head,
            _ => Until::Frames(1 + self.chance.below(12)),
        };
        self.read(at, until).await;
    }

    /// Sends, and is cut off before the answers; perhaps after some of what was on the way.
    async fn lose(&mut self, at: usize) {
        if !self.is_online(at) {
            self.connect(at).await;
        }
        self.edit(at);
        while self.send(at).await {}
        if self.chance.percent(50) {
            let count = 1 + self.chance.below(3);
            self.read(at, Until::Frames(count)).await;
        }
        self.cut(at);
        if self.chance.percent(50) {
            self.connect(at).await;
        }
    }

    /// Wants other domains or other filters.
    async fn subscribe(&mut self, at: usize) {
        let mut wish = some(&self.devices[at].disk.wish, &mut self.chance);
        if self.chance.percent(20) {
            wish = everything();
        }
        let old = std::mem::replace(&mut self.devices[at].disk.wish, wish.clone());
        if !self.is_online(at) {
            return;
        }
        let gone: Vec<&String> = old.keys().filter(|domain| !wish.contains_key(*domain)).collect();
        let kept = old.iter().filter(|(domain, _)| wish.contains_key(*domain));
        let kept = kept.map(|(domain, filters)| (domain.clone(), filters.clone())).collect();
        self.ask(at, json!({"type": "unsubscribe", "domains": gone}), kept).await;
        self.devices[at].link.as_mut().unwrap().is_plain = false;
        self.devices[at].urgency = self.chance.urgency();
        let all = subscriptions(&wish, self.devices[at].urgency);
        self.ask(at, json!({"type": "subscribe", "subscriptions": all}), wish).await;
    }

    /// Time goes on, or the hub's clock is set back. Nothing may be on the way: the model has to know when
    /// each batch came.
    async fn clock(&mut self) {
        self.resolve().await;
        let us = self.chance.around(1_000_000) + if self.chance.percent(75) { 1_500_000 } else { 0 };
        self.host.advance(us);
    }

    /// The phone is put back to what a backup has, or the app is installed anew: under another install (O4).
    fn restore_phone(&mut self, at: usize) {
        self.cut(at);
        let install = self.chance.uuid();
        let device = &mut self.devices[at];
        device.was_restored = true;
        let disk = device.backup.clone().unwrap_or_else(|| Disk::new(install, everything()));
        device.disk = Disk { install, given: 0, ..disk };
    }

    /// The hub is gone at once, with everything that it had in memory.
    pub(crate) async fn crash(&mut self) {
        self.crash_with(None).await;
    }

    /// What the hub had in memory alone is gone.
    pub(crate) fn forget(&mut self) {
        self.crashed = true;
        for ledger in &mut self.ledgers {
            ledger.told.clear();
        }
        for device in &mut self.devices {
            device.inbox.doubt();
        }
    }

    /// The same; `copy` names where the files of the dead hub are copied to.
    pub(crate) async fn crash_with(&mut self, copy: Option<std::path::PathBuf>) {
        self.host.crash(copy.as_deref()).await;
        self.forget();
        for at in 0..self.devices.len() {
            self.cut(at);
            let tenant = self.devices[at].tenant;
            self.ledgers[tenant].resolve(&self.host, at);
        }
    }

    /// Waits until everything that was sent is decided or lost for good.
    pub(crate) async fn resolve(&mut self) {
        for tenant in 0..self.ledgers.len() {
            for at in self.ledgers[tenant].open_devices() {
                if self.is_online(at) {
                    self.read(at, Until::Answered).await;
                }
                if self.ledgers[tenant].open_devices().contains(&at) {
                    self.connect(at).await;
                }
            }
        }
    }

    pub(crate) async fn judge(&mut self) {
        self.resolve().await;
        for ledger in &mut self.ledgers {
            ledger.judge(&self.host);
        }
    }
}

fn is_of(entry: &Value, key: &Key) -> bool {
    entry["domain"] == key.0 && entry["mobile_id"] == key.1
}

fn device_is_idle(device: &crate::device::Device) -> bool {
    device.link.as_ref().is_some_and(|link| link.flights.is_empty() && link.install == device.disk.install)
}
