//! The world of a history: tenants, their devices, the hub, and what happens to them.
//!
//! A step does one thing; nothing is judged before everything that is on the way has been decided.

use serde_json::{Value, json};
use synchub_protocol::Timestamp;

use crate::chance::Chance;
use crate::device::{Device, Disk, Flight, Item, Try, Wish};
use crate::disaster::Ruin;
use crate::edits;
use crate::host::Host;
use crate::ledger::{Event, Fate, Ledger};
use crate::model::{Batch, DOMAINS};
use crate::post::Inbox;

/// The devices of each tenant: user, device, kind, priority, unit.
const DEVICES: [(&str, &str, &str, i64, Option<&str>); 6] = [
    ("alice", "desk", "desktop", 100, Some("north")),
    ("alice", "phone", "phone", 40, Some("north")),
    ("bob", "tab", "tablet", 60, Some("north")),
    ("carol", "lap", "laptop", 80, Some("south")),
    ("carol", "phone", "phone", 40, Some("south")),
    ("dave", "phone", "phone", 40, None),
];
/// The most batches on the wire, as the hub allows.
const IN_FLIGHT: usize = 4;

pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) chance: Chance,
    pub(crate) ledgers: Vec<Ledger>,
    pub(crate) devices: Vec<Device>,
    /// What this history writes: few domains, so that people meet.
    pub(crate) domains: Vec<&'static str>,
    pub(crate) uids: u64,
    /// Where the store is put back now and then: the backups.
    pub(crate) ruin: Option<Ruin>,
    /// Whether the store is made to refuse.
    pub(crate) refuses: bool,
    /// The way of services without a socket.
    pub(crate) http: reqwest::Client,
    /// Whether the hub has ever lost what it had in memory.
    pub(crate) crashed: bool,
    /// What happened, to be read when it ends badly.
    pub(crate) diary: Vec<String>,
}

impl World {
    pub(crate) async fn start(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let host = Host::start(&mut chance).await;
        let ledgers = vec![Ledger::new("acme".into()), Ledger::new("umbrella".into())];
        let domains = (0..4).map(|_| chance.pick(&DOMAINS).name).collect();
        let mut devices = Vec::new();
        for tenant in 0..2 {
            let count = if tenant == 0 { DEVICES.len() } else { 2 };
            for (user, id, kind, priority, unit) in DEVICES.into_iter().take(count) {
                let wish = if chance.percent(50) { everything() } else { some(&everything(), &mut chance) };
                let disk = Disk::new(chance.uuid(), wish);
                devices.push(Device {
                    tenant,
                    user,
                    id,
                    kind,
                    priority,
                    unit: unit.map(str::to_owned),
                    urgency: "all",
                    disk,
                    backup: None,
                    was_restored: false,
                    promised: std::collections::BTreeMap::new(),
                    skew_us: 0,
                    attempt: 0,
                    link: None,
                    inbox: Inbox::default(),
                    limited: None,
                });
            }
        }
        Self {
            host,
            chance,
            ledgers,
            devices,
            domains,
            uids: 0,
            ruin: Ruin::of(seed),
            refuses: false,
            http: reqwest::Client::new(),
            crashed: false,
            diary: Vec::new(),
        }
    }

    pub(crate) fn note(&mut self, text: String) {
        self.diary.push(text);
    }

    /// Adds what the hub counted since it was last started.
    pub(crate) fn tell_hub(&self, tally: &mut std::collections::BTreeMap<String, u64>) {
        let text = self.host.hub().node.deps().metrics.render();
        for line in text.lines().filter(|line| line.starts_with("synchub_catch_ups_total")) {
            let (name, count) = line.split_once(' ').unwrap();
            *tally.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap_or(0);
        }
    }

    pub(crate) fn uid(&mut self) -> u64 {
        self.uids += 1;
        self.uids
    }

    /// Drops the socket without a word; what was on the wire may be sent again as it was.
    pub(crate) fn cut(&mut self, at: usize) {
        let Some(link) = self.devices[at].link.take() else { return };
        link.peer.cut();
        if self.chance.percent(50) {
            self.devices[at].disk.tries.clear();
        }
    }

    /// Whether a device has a socket.
    pub(crate) fn is_online(&self, at: usize) -> bool {
        self.devices[at].link.is_some()
    }

    /// The next batch from an outbox: one that was sent before, or so many edits with consecutive numbers.
    fn next_batch(&mut self, at: usize) -> Option<(Try, Vec<Item>)> {
        let device = &mut self.devices[at];
        let link = device.link.as_ref()?;
        let is_flying =
            |item: &&Item| link.flights.iter().flat_map(|f| &f.items).any(|one| one.uid == item.uid);
        let free: Vec<&Item> = device.disk.outbox.iter().skip_while(is_flying).collect();
        let first = free.first().filter(|item| item.install == link.install)?;
        let follows = |(place, item): &(usize, &&Item)| {
            item.install == first.install && item.number == first.number + *place as u64
        };
        let free: Vec<Item> =
            free.iter().enumerate().take_while(follows).map(|(_, item)| (**item).clone()).collect();
        let same = |known: &Try| {
            known.uids.len() <= free.len() && known.uids.iter().zip(&free).all(|(uid, item)| *uid == item.uid)
        };
        let known = device.disk.tries.iter().find(|known| same(known)).cloned();
        if let Some(known) = known {
            let items = free[..known.uids.len()].to_vec();
            return Some((known, items));
        }
        let count = (1 + self.chance.below(4)).min(free.len());
        let items = free[..count].to_vec();
        let uids = items.iter().map(|item| item.uid).collect();
        let batch = Try { batch_id: self.chance.uuid().to_string(), uids, atomic: self.chance.percent(12) };
        self.devices[at].disk.tries.push(batch.clone());
        Some((batch, items))
    }

    /// Sends the next batch; says whether there was one.
    pub(crate) async fn send(&mut self, at: usize) -> bool {
        let full = self.devices[at].link.as_ref().is_none_or(|link| link.flights.len() >= IN_FLIGHT);
        if full || self.is_limited(at) || self.goes_alone(at) {
            return false;
        }
        let Some((batch, items)) = self.next_batch(at) else { return false };
        let entries = items.iter().map(|item| item.entry.clone()).collect();
        let first = Some(items[0].number);
        self.submit(at, &batch, first, entries, items).await;
        true
    }

    /// Puts a batch on the wire and into the ledger.
    pub(crate) async fn submit(
        &mut self,
        at: usize,
        batch: &Try,
        first: Option<u64>,
        entries: Vec<Value>,
        items: Vec<Item>,
    ) {
        // What is refused for its rate measures no clock (T2), and the next ones are on their way by then.
        let says_time = self.chance.percent(30) && self.host.entries.is_none();
        let drift_us = self.chance.around(3);
        let device = &mut self.devices[at];
        let link = device.link.as_mut().unwrap();
        let mut frame = json!({"type": "sync", "batch_id": batch.batch_id, "entries": entries});
        if let Some(first) = first {
            frame["first_client_seq"] = json!(first);
        }
        if batch.atomic {
            frame["atomic"] = json!(true);
        }
        if says_time {
            let offset_us = drift_us - device.skew_us;
            frame["client_time"] = json!(Timestamp(self.host.now_us - offset_us));
            link.sample(offset_us);
        }
        let submitted = Batch {
            device: format!("{}/{}", device.user, device.id),
            install: link.install_no,
            user: device.user.to_owned(),
            unit: link.unit.clone(),
            priority: device.priority,
            offset_us: link.offset_us(),
            received_us: self.host.now_us,
            id: batch.batch_id.clone(),
            first,
            atomic: batch.atomic,
            entries,
            trusted: false,
            belonging: None,
            pushes: Vec::new(),
        };
        let ledger = &mut self.ledgers[device.tenant];
        let event = ledger.sent();
        ledger.events.push(Event {
            device: Some(at),
            batch: submitted,
            fate: Fate::Open,
            may_fail: self.refuses,
            epoch: link.epoch,
            uids: if device.was_restored { Vec::new() } else { items.iter().map(|item| item.uid).collect() },
        });
        let id = link.peer.request(frame).await;
        let limited = device.limited.take();
        let waited = limited.is_some();
        let must_pass =
            limited.is_some_and(|limited| link.flights.is_empty() && limited.must_pass(&batch.uids));
        link.flights.push_back(Flight { id, items, event, waited, must_pass });
        let text = format!("{} {} sends {first:?}+{}", device.tenant, device.name(), batch.uids.len());
        self.note(text);
    }
}

/// All domains, unfiltered.
pub(crate) fn everything() -> Wish {
    DOMAINS.iter().map(|domain| (domain.name.to_owned(), vec![json!(null)])).collect()
}

/// A wish with other domains and other filters.
pub(crate) fn some(wish: &Wish, chance: &mut Chance) -> Wish {
    let mut wish = wish.clone();
    for domain in &DOMAINS {
        match chance.below(5) {
            0 => drop(wish.remove(domain.name)),
            1 | 2 => {
                let filters = (0..=chance.below(2)).map(|_| edits::filter(chance)).collect();
                wish.insert(domain.name.to_owned(), filters);
            }
            _ => {}
        }
    }
    wish
}

/// A wish as frames say it, the first subscription of each domain with this priority.
pub(crate) fn subscriptions(wish: &Wish, urgency: &str) -> Value {
    let one = |domain: &String, place: usize, filter: &Value| {
        let mut one = json!({"domain": domain});
        if !filter.is_null() {
            one["filter"] = filter.clone();
        }
        if place == 0 {
            one["priority"] = json!(urgency);
        }
        one
    };
    wish.iter()
        .flat_map(|(domain, filters)| {
            filters.iter().enumerate().map(move |(place, filter)| one(domain, place, filter))
        })
        .collect()
}
