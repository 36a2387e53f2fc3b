//! What devices are sent: read as far as asked, taken into their copies and outboxes, noted for the judgement.

use std::time::Duration;

use serde_json::{Value, json};

use crate::device::{Limited, Wish};
use crate::edits;
use crate::ledger::{Fate, Sighting};
use crate::world::World;

/// How long a device waits for what it should have by now, before it asks where it stands.
const NUDGE: Duration = Duration::from_millis(50);
/// How often it asks, at most.
const NUDGES: usize = 300;
/// How long an answer may take; far above what it ever does.
const PATIENCE: Duration = Duration::from_secs(15);

/// How far to read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Until {
    /// Every batch and request on the wire is answered.
    Answered,
    /// So many frames, or all that there are.
    Frames(usize),
    /// The device holds everything up to the log's head.
    Head,
}

impl World {
    /// Reads as far as asked; a socket that ends is gone.
    pub(crate) async fn read(&mut self, at: usize, until: Until) {
        let mut left = if let Until::Frames(count) = until { count } else { usize::MAX };
        let mut asked = None;
        let mut nudges = 0;
        while left > 0 && self.is_online(at) {
            let head = self.host.head(&self.ledgers[self.devices[at].tenant].tenant);
            let link = self.devices[at].link.as_mut().unwrap();
            let is_answered = link.flights.is_empty() && link.asked.is_empty();
            let done = match until {
                Until::Answered => is_answered,
                Until::Head => is_answered && link.caught_up && link.place.is_some_and(|place| place >= head),
                Until::Frames(_) => asked.is_some() && link.asked.is_empty(),
            };
            if done {
                return;
            }
            if link.asked.is_empty() && asked.is_none() {
                // What this is answered stands in the data lane, with a position behind it.
                let wish = self.devices[at].disk.wish.clone();
                asked = Some(self.ask(at, json!({"type": "unsubscribe", "domains": []}), wish).await);
            }
            if until == Until::Head && self.devices[at].link.as_ref().is_some_and(|link| link.held) {
                self.catch_up(at).await;
            }
            let waits = asked.is_some() && self.devices[at].link.as_ref().unwrap().asked.is_empty();
            let one = tokio::time::timeout(if waits { NUDGE } else { PATIENCE }, self.read_one(at));
            if one.await.is_ok() {
                left -= 1;
            } else {
                assert!(waits, "{} hears nothing any more", self.devices[at].name());
                asked = None;
                nudges += 1;
                assert!(nudges < NUDGES, "C2, P3: {} does not come to the head", self.devices[at].name());
                if until == Until::Head && self.waits_for_a_minute(at) {
                    return;
                }
            }
        }
    }

    /// Sends a request about subscriptions; `wish` is what it makes of them.
    pub(crate) async fn ask(&mut self, at: usize, request: Value, wish: Wish) -> u64 {
        self.note(format!("{} asks {request}", self.devices[at].name()));
        let link = self.devices[at].link.as_mut().unwrap();
        let id = link.peer.request(request).await;
        link.asked.push((id, wish));
        id
    }

    /// The device begins or ends to save battery (C9).
    pub(crate) async fn save_battery(&mut self, at: usize) {
        let saves = self.chance.percent(60);
        if let Some(link) = &mut self.devices[at].link {
            link.saved |= saves;
            (link.wants_saver, link.is_plain) = (saves, false);
            link.settings += 1;
            link.saves_after = link.saves_after.filter(|_| saves);
            self.devices[at].inbox.saved |= saves;
            let link = self.devices[at].link.as_mut().unwrap();
            link.peer.request(json!({"type": "settings", "battery_saver": saves})).await;
        }
    }

    /// The hub has taken a setting.
    fn applied(&mut self, at: usize, frame: &Value) {
        let head = self.host.head(&self.ledgers[self.devices[at].tenant].tenant);
        let link = self.devices[at].link.as_mut().unwrap();
        link.settings -= 1;
        if link.settings > 0 {
            return;
        }
        assert_eq!(frame["battery_saver"], link.wants_saver, "C9: not what was asked: {frame}");
        // From here on what is below high is held back, unless something asked for makes the hub send all.
        if link.wants_saver && link.catches_up.is_none() {
            link.saves_after.get_or_insert(head);
        }
    }

    /// The device asks for what was held back, whether something was or not (C9).
    pub(crate) async fn catch_up(&mut self, at: usize) {
        if let Some(link) = self.devices[at].link.as_mut().filter(|link| link.catches_up.is_none()) {
            (link.is_plain, link.saves_after) = (false, None);
            link.catches_up = Some(link.peer.request(json!({"type": "catch_up"})).await);
        }
    }

    pub(crate) async fn ack(&mut self, at: usize) {
        let device = &mut self.devices[at];
        if let (Some(link), Some(cursor)) = (&mut device.link, &device.disk.cursor) {
            link.peer.send(&json!({"type": "ack", "cursor": cursor})).await;
        }
    }

    async fn read_one(&mut self, at: usize) {
        let link = self.devices[at].link.as_mut().unwrap();
        match link.peer.next_or_close().await {
            Ok(frame) => self.take(at, &frame),
            Err(code) => {
                self.note(format!("{} closed with {code}", self.devices[at].name()));
                assert!([0, 4001].contains(&code), "closed with {code}");
                self.cut(at);
            }
        }
    }

    pub(crate) fn take(&mut self, at: usize, frame: &Value) {
        let Some(frame) = &self.devices[at].disk.whole(frame) else { return };
        let kind = frame["type"].as_str().unwrap();
        let part = |name: &str| frame[name].as_str().unwrap_or_default().to_owned();
        self.ledgers[self.devices[at].tenant].count(format!(
            "frame {kind} {}{}",
            part("operation"),
            part("code")
        ));
        match kind {
            "sync_result" | "error" => return self.answered(at, frame),
            "snapshot" | "data_update" => self.sight(at, frame),
            "settings_applied" => return self.applied(at, frame),
            "subscribed" | "position" | "caught_up" => {}
            "sync_trigger" if frame["reason"] == "held_back" => {}
            "conflict_alert" if frame["push_id"] == frame["conflict_id"] => {
                return self.alerted_again(at, frame);
            }
            "sync_trigger" | "message" | "conflict_alert" | "entry_settled" => {
                let text = format!("    {} is pushed {frame}", self.devices[at].name());
                self.note(text);
                return self.pushed(at, frame);
            }
            other => panic!("an unexpected frame {other}: {frame}"),
        }
        self.note(format!(
            "    {} {} takes {}",
            self.devices[at].tenant,
            self.devices[at].name(),
            short(frame)
        ));
        self.check_awaiting(at, kind);
        self.check_passed(at, frame);
        let device = &mut self.devices[at];
        let link = device.link.as_mut().unwrap();
        if kind == "subscribed" {
            let (id, wish) = link.asked.remove(0);
            assert_eq!(frame["id"], id, "`subscribed` in another order: {frame}");
            device.disk.confirmed = wish;
            // A position follows: what the device has left goes with it.
            link.place = None;
            link.caught_up &= frame["fresh"].as_array().unwrap().is_empty();
        } else {
            if kind == "sync_trigger" {
                assert!(frame["reason"] == "held_back" && !link.held, "C9: said twice, or unknown: {frame}");
            }
            link.held = kind == "sync_trigger" || link.held && kind != "caught_up";
            link.catches_up = link.catches_up.filter(|id| frame["id"] != *id);
            link.caught_up = kind == "caught_up" || link.caught_up && kind != "snapshot";
            link.place = frame["seq"].as_u64().or(link.place);
            device.disk.take(frame);
        }
        self.note_place(at, frame);
    }

    /// Notes what a device was sent.
    fn sight(&mut self, at: usize, frame: &Value) {
        let device = &self.devices[at];
        let domain = frame["domain"].as_str().unwrap();
        let single = [frame.clone()];
        let records = frame["records"].as_array().map_or(&single[..], |records| records);
        let sets = device.sets();
        let sightings = records.iter().map(|record| Sighting {
            by: device.name(),
            user: device.user.to_owned(),
            unit: device.link.as_ref().unwrap().unit.clone(),
            sets: sets.clone(),
            key: (domain.to_owned(), record["mobile_id"].as_str().unwrap().to_owned()),
            version: record["version"].as_u64().unwrap(),
            data: record.get("data").cloned(),
            priority: record["priority"].clone(),
        });
        self.ledgers[device.tenant].sightings.extend(sightings);
    }

    /// Settles what an answer is about.
    fn answered(&mut self, at: usize, frame: &Value) {
        let device = &mut self.devices[at];
        let ledger = &mut self.ledgers[device.tenant];
        let link = device.link.as_mut().unwrap();
        let flight = link.flights.pop_front().unwrap_or_else(|| panic!("nobody asked: {frame}"));
        assert_eq!(frame["id"], flight.id, "answers to `sync` in another order: {frame}");
        let event = &mut ledger.events[flight.event];
        if frame["type"] == "error" {
            let code = frame["code"].as_str().unwrap();
            if code == "rate_limited" {
                event.fate = Fate::Dropped;
                assert!(
                    self.host.entries.is_some() && !flight.must_pass,
                    "WS7: told to wait, and waited: {frame}"
                );
                let uids = flight.items.iter().map(|item| item.uid).collect();
                let wait_us = i64::try_from(frame["retry_after_ms"].as_u64().unwrap()).unwrap() * 1000;
                let until_us = self.host.ticks_us + wait_us;
                let is_alone = link.flights.is_empty();
                device.limited.get_or_insert(Limited { uids, until_us, is_alone });
                ledger.count("batch refused for its rate");
                return;
            }
            let again = ["unavailable", "internal"].contains(&code);
            assert!(!again || event.may_fail, "nothing made the store fail: {frame}");
            event.fate = if again { Fate::Dropped } else { Fate::Refused(code.to_owned()) };
            if code == "idempotency_key_reused" {
                device.disk.tries.clear();
            }
            let hello_again = code == "out_of_order" && link.flights.is_empty();
            self.diary.push(format!("{} is refused: {code}", device.name()));
            if hello_again {
                self.cut(at);
            }
            return;
        }
        event.fate = Fate::Answered(frame.clone());
        device.disk.outbox.retain(|item| flight.items.iter().all(|one| one.uid != item.uid));
        for (item, result) in flight.items.iter().zip(frame["results"].as_array().unwrap()) {
            if result["error"].is_null() {
                device.disk.accepted.push((item.clone(), self.host.now_us));
                device.promised.insert(item.uid, self.host.now_us);
            } else {
                device.promised.remove(&item.uid);
            }
            let refused = result["status"] == "error" && result["error"]["code"] == "validation_failed";
            if refused && item.install == device.disk.install && self.chance.percent(50) {
                let mut entry = item.entry.clone();
                let domain = entry["domain"].as_str().unwrap().to_owned();
                entry["data"] = Value::Object(edits::fields(&domain, true, &mut self.chance));
                entry["corrects"] = json!(item.number);
                self.uids += 1;
                device.disk.enqueue(self.uids, entry);
            }
        }
    }
}

/// A frame of the data lane in a line.
fn short(frame: &Value) -> String {
    let tail = |id: &Value| id.as_str().map(|id| id[id.len() - 3..].to_owned()).unwrap_or_default();
    let one = |record: &Value| format!("{} v{}", tail(&record["mobile_id"]), record["version"]);
    let records: Vec<_> = frame["records"].as_array().into_iter().flatten().map(one).collect();
    let mut line = frame["type"].as_str().unwrap().to_owned();
    for name in ["domain", "operation", "version", "first", "last", "seq", "fresh"] {
        if !frame[name].is_null() {
            line = format!("{line} {name}={}", frame[name]);
        }
    }
    format!("{line} {} {}", tail(&frame["mobile_id"]), records.join(", "))
}
