//! A device as PROTOCOL.md says a client is: a copy, an outbox with numbers, a cursor, stored together; and
//! the one socket that it has at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::Value;
use uuid::Uuid;

use crate::model::{Filters, Key};
use crate::post::{Inbox, Posted};
use crate::support::Peer;

/// How long a client keeps what was accepted (R2).
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// The filters of each domain that is subscribed to.
pub(crate) type Wish = BTreeMap<String, Filters>;

/// An edit that waits to be answered.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Its name in this history.
    pub(crate) uid: u64,
    pub(crate) entry: Value,
    pub(crate) number: u64,
    pub(crate) install: Uuid,
}

/// A batch that was sent and not answered: it may be sent again as it was.
#[derive(Debug, Clone)]
pub(crate) struct Try {
    pub(crate) batch_id: String,
    pub(crate) uids: Vec<u64>,
    pub(crate) atomic: bool,
}

/// Where a cursor stands, as far as the frame with it said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    pub(crate) seq: u64,
    /// The time of the row there.
    pub(crate) time_us: i64,
}

/// What survives a restart of the app, and what a backup of the phone holds.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) copy: BTreeMap<Key, (u64, Value)>,
    pub(crate) cursor: Option<String>,
    /// The epoch and the place that the cursor names; no place where the device cannot know it.
    pub(crate) epoch: u64,
    pub(crate) place: Option<Place>,
    /// The place alone, where the frame with the cursor named it.
    pub(crate) passed: Option<u64>,
    /// Whether the copy holds what the cursor does not cover.
    pub(crate) is_ahead: bool,
    /// Whether the copy may hold what a store that was put back has lost, until all has come anew.
    pub(crate) doubts: bool,
    /// The versions with which records were taken away.
    pub(crate) removed: BTreeMap<Key, u64>,
    /// By domain that a snapshot runs of: what came since `first`.
    pub(crate) came: BTreeMap<String, BTreeSet<Key>>,
    /// What the user wants, and what the hub has confirmed.
    pub(crate) wish: Wish,
    pub(crate) confirmed: Wish,
    pub(crate) outbox: Vec<Item>,
    /// What was accepted, and when (R2).
    pub(crate) accepted: Vec<(Item, i64)>,
    pub(crate) tries: Vec<Try>,
    /// The install that new edits go under, and the last number that it gave out.
    pub(crate) install: Uuid,
    pub(crate) given: u64,
}

impl Disk {
    pub(crate) fn new(install: Uuid, wish: Wish) -> Self {
        Self {
            copy: BTreeMap::new(),
            cursor: None,
            epoch: 0,
            place: None,
            passed: None,
            is_ahead: false,
            doubts: false,
            removed: BTreeMap::new(),
            came: BTreeMap::new(),
            wish,
            confirmed: Wish::new(),
            outbox: Vec::new(),
            accepted: Vec::new(),
            tries: Vec::new(),
            install,
            given: 0,
        }
    }

    /// Keeps an edit under the next number.
    pub(crate) fn enqueue(&mut self, uid: u64, entry: Value) {
        self.given += 1;
        self.outbox.push(Item { uid, entry, number: self.given, install: self.install });
    }

    /// What the hub says it has decided: what it forgot goes again (R2), and what waits above is numbered
    /// anew (O2).
    pub(crate) fn renumber(&mut self, install: Uuid, last: u64, now_us: i64) -> usize {
        self.accepted.retain(|(_, at_us)| now_us - at_us < DAY_US);
        let is_forgotten = |(item, _): &mut (Item, i64)| item.install == install && item.number > last;
        let forgotten: Vec<Item> = self.accepted.extract_if(.., is_forgotten).map(|(item, _)| item).collect();
        let count = forgotten.len();
        self.outbox.extend(forgotten);
        self.outbox.sort_by_key(|item| item.uid);
        let mut next = last;
        for item in self.outbox.iter_mut().filter(|item| item.install == install && item.number > last) {
            next += 1;
            item.number = next;
        }
        if install == self.install {
            assert!(last <= self.given, "O2: the hub decided number {last}; {} were given out", self.given);
            self.given = next.max(last);
        }
        count
    }

    /// Takes a frame of the data lane (C4, C6), and stores its cursor with the copy.
    /// A frame with the whole record in place of the fields that changed; none where the copy is past it.
    pub(crate) fn whole(&self, frame: &Value) -> Option<Value> {
        let Some(base) = frame["base_version"].as_u64() else { return Some(frame.clone()) };
        let id = frame["mobile_id"].as_str().unwrap();
        let key = (frame["domain"].as_str().unwrap().to_owned(), id.to_owned());
        let version = frame["version"].as_u64().unwrap();
        let Some((held, data)) = self.copy.get(&key) else {
            let gone = self.removed.get(&key);
            assert!(
                gone.is_some_and(|gone| *gone >= version),
                "BW2: a delta of what was never sent: {frame}"
            );
            return None;
        };
        if *held >= version {
            return None;
        }
        assert_eq!(*held, base, "BW2: a delta on a version that was not sent: {frame}");
        let mut whole = frame.clone();
        whole["data"] = data.clone();
        whole.as_object_mut().unwrap().remove("base_version");
        let fields = whole["data"].as_object_mut().unwrap();
        for name in frame["changed"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            match frame["data"].get(name) {
                Some(value) => drop(fields.insert(name.to_owned(), value.clone())),
                None => drop(fields.remove(name)),
            }
        }
        Some(whole)
    }

    pub(crate) fn take(&mut self, frame: &Value) {
        let domain = frame["domain"].as_str().unwrap_or_default();
        let known = self.confirmed.contains_key(domain);
        match frame["type"].as_str().unwrap() {
            "snapshot" if known => self.snapshot(domain, frame),
            "data_update" if known => self.change(domain, frame),
            _ => {}
        }
        if let Some(cursor) = frame["cursor"].as_str() {
            self.cursor = Some(cursor.to_owned());
            self.passed = frame["seq"].as_u64();
            let confirmed = &self.confirmed;
            self.copy.retain(|key, _| confirmed.contains_key(&key.0));
        }
    }

    fn snapshot(&mut self, domain: &str, frame: &Value) {
        if frame["first"] == true {
            self.came.insert(domain.to_owned(), BTreeSet::new());
        }
        let came = self.came.get_mut(domain).expect("C4: a snapshot begins with `first`");
        for record in frame["records"].as_array().unwrap() {
            let key = (domain.to_owned(), record["mobile_id"].as_str().unwrap().to_owned());
            let version = record["version"].as_u64().unwrap();
            came.insert(key.clone());
            let held = self.copy.insert(key, (version, record["data"].clone()));
            let held = held.map_or(0, |(held, _)| held);
            assert!(self.doubts || held <= version, "a version went down in a copy, from {held}: {record}");
        }
        if frame["last"] == true {
            let came = self.came.remove(domain).unwrap();
            self.copy.retain(|key, _| key.0 != domain || came.contains(key));
        }
    }

    fn change(&mut self, domain: &str, frame: &Value) {
        let key = (domain.to_owned(), frame["mobile_id"].as_str().unwrap().to_owned());
        let version = frame["version"].as_u64().unwrap();
        if let Some(came) = self.came.get_mut(domain) {
            came.insert(key.clone());
        }
        if self.copy.get(&key).is_some_and(|(held, _)| *held >= version) {
            return;
        }
        match frame["operation"].as_str().unwrap() {
            "create" | "update" => drop(self.copy.insert(key, (version, frame["data"].clone()))),
            _ => {
                self.copy.remove(&key);
                self.removed.insert(key, version);
            }
        }
    }
}

/// A batch that was more than a device may send.
#[derive(Debug, Clone)]
pub(crate) struct Limited {
    pub(crate) uids: Vec<u64>,
    pub(crate) until_us: i64,
    /// Whether nothing else was on the wire that may take what it waits for.
    pub(crate) is_alone: bool,
}

impl Limited {
    /// Whether these edits are the ones that have waited, and nobody took what they waited for (WS7).
    pub(crate) fn must_pass(&self, uids: &[u64]) -> bool {
        self.is_alone && self.uids == uids && !uids.is_empty()
    }
}

/// A batch on the wire.
#[derive(Debug, Clone)]
pub(crate) struct Flight {
    pub(crate) id: u64,
    pub(crate) items: Vec<Item>,
    /// Its event in the ledger.
    pub(crate) event: usize,
    /// Whether it was refused for its rate before: it goes alone, since others would take what it needs.
    pub(crate) waited: bool,
    /// Whether it waited as long as it was told, and nobody else took anything: then it passes (WS7).
    pub(crate) must_pass: bool,
}

/// A socket after its welcome.
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    pub(crate) install: Uuid,
    pub(crate) install_no: i64,
    pub(crate) epoch: u64,
    /// Whether everything is to come anew.
    pub(crate) renews: bool,
    pub(crate) unit: Option<String>,
    /// Measurements of the device's clock (T2).
    pub(crate) samples: VecDeque<i64>,
    /// The last place that a `position` or `caught_up` named.
    pub(crate) place: Option<u64>,
    /// Whether every snapshot that was announced has come, and `caught_up` after it.
    pub(crate) caught_up: bool,
    pub(crate) flights: VecDeque<Flight>,
    /// What was asked with which request, and not confirmed yet.
    pub(crate) asked: Vec<(u64, Wish)>,
    /// Whether the hub said that it holds something back, and nothing has caught up since (C9).
    pub(crate) held: bool,
    /// The `catch_up` that is not answered yet.
    pub(crate) catches_up: Option<u64>,
    /// The place of the hello's cursor, where the hub went on from it and the device knows it.
    pub(crate) from: Option<u64>,
    /// The log's head, the number of pushes and of the clock's times at hello.
    pub(crate) head: u64,
    pub(crate) opened: usize,
    /// The pushes that came.
    pub(crate) pushed: Vec<Posted>,
    /// Why pushes were dropped, as far as it was told.
    pub(crate) told: BTreeSet<String>,
    /// The conflicts that awaited the user at hello, and those of which it was alerted again (P5).
    pub(crate) awaiting: BTreeSet<String>,
    pub(crate) alerted: BTreeSet<String>,
    /// Whether it ever saved battery, and whether it does as far as it asked.
    pub(crate) saved: bool,
    pub(crate) wants_saver: bool,
    /// Settings that are not answered yet.
    pub(crate) settings: usize,
    /// While the hub knows that battery is saved, and holds back what is to be: the log's head since then.
    pub(crate) saves_after: Option<u64>,
    /// Whether it asked for nothing that makes it catch up.
    pub(crate) is_plain: bool,
}

impl Link {
    /// Notes a measurement; returns nothing that a device would know.
    pub(crate) fn sample(&mut self, offset_us: i64) {
        if self.samples.len() == 8 {
            self.samples.pop_front();
        }
        self.samples.push_back(offset_us);
    }

    pub(crate) fn offset_us(&self) -> i64 {
        self.samples.iter().copied().min().unwrap_or(0)
    }
}

/// A device of a user.
pub(crate) struct Device {
    pub(crate) tenant: usize,
    pub(crate) user: &'static str,
    pub(crate) id: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) priority: i64,
    pub(crate) unit: Option<String>,
    /// The priority of its first subscription of each domain (C9).
    pub(crate) urgency: &'static str,
    pub(crate) disk: Disk,
    pub(crate) backup: Option<Disk>,
    /// Whether it was ever put back to a backup.
    pub(crate) was_restored: bool,
    /// The edits that were accepted, and when: a day long none of them may be missing (R2).
    pub(crate) promised: BTreeMap<u64, i64>,
    /// What its clock is ahead of the hub's.
    pub(crate) skew_us: i64,
    pub(crate) attempt: u64,
    pub(crate) link: Option<Link>,
    pub(crate) inbox: Inbox,
    /// What was refused for its rate, and when it may come again by the time that nobody sets (WS7).
    pub(crate) limited: Option<Limited>,
}

impl Device {
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.user, self.id)
    }

    /// All that it may be sent now: what is confirmed and what it has asked for.
    pub(crate) fn sets(&self) -> Vec<Wish> {
        let asked = self.link.iter().flat_map(|link| link.asked.iter().map(|(_, wish)| wish.clone()));
        std::iter::once(self.disk.confirmed.clone()).chain(asked).collect()
    }
}
