//! What services have pushed to a tenant, and what of it is for whom (P1, P2): the book that devices are
//! judged by. It asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::conflicts::Conflict;
use crate::ledger::{Event, Fate, Ledger};
use crate::model::{Batch, Push, Scope};

/// A user and a device.
pub(crate) type Who = (String, String);

/// How urgent a push is, by name.
pub(crate) const PRIORITIES: [&str; 4] = ["low", "normal", "high", "critical"];
pub(crate) const NORMAL: usize = 1;
/// `critical` passes where others wait.
pub(crate) const CRITICAL: usize = 3;
/// What battery saver lets through.
pub(crate) const HIGH: usize = 2;

/// A push that was published.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) push: Push,
    pub(crate) seq: u64,
    pub(crate) time_us: i64,
    pub(crate) expires_us: i64,
    /// What its frame says beside its id and time.
    pub(crate) said: Value,
    /// The latest time that the clock had shown by then.
    pub(crate) at_us: i64,
}

impl Posted {
    pub(crate) fn id(&self) -> &str {
        &self.push.id
    }

    pub(crate) fn is_trigger(&self) -> bool {
        self.said["type"] == "sync_trigger"
    }

    /// Whether the limit of pushes a minute counts it (P3).
    pub(crate) fn is_limited(&self) -> bool {
        self.said["type"] != "entry_settled"
    }

    /// Whether it may have to wait for its user's next minute.
    pub(crate) fn may_wait(&self) -> bool {
        self.is_limited() && self.push.priority < CRITICAL
    }

    /// The domains that a trigger names; empty: all.
    pub(crate) fn domains(&self) -> BTreeSet<&str> {
        domains(&self.said)
    }
}

/// The domains of a trigger's frame; empty: all.
pub(crate) fn domains(frame: &Value) -> BTreeSet<&str> {
    frame["domains"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether a trigger about `all` tells what one about `some` does.
pub(crate) fn covers(all: &BTreeSet<&str>, some: &BTreeSet<&str>) -> bool {
    all.is_empty() || !some.is_empty() && all.is_superset(some)
}

/// A request to publish and what it was answered.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) body: Value,
    pub(crate) answer: Value,
}

/// The pushes of a tenant, as its store knows them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Post {
    pub(crate) posted: Vec<Posted>,
    /// The conflicts that some of them tell of.
    pub(crate) conflicts: BTreeMap<String, Conflict>,
    /// How many there were when a device said its first hello: those are not for it.
    pub(crate) registered: BTreeMap<Who, usize>,
    /// What may be asked again (O1).
    pub(crate) requests: Vec<Request>,
}

impl Post {
    /// A device said hello.
    pub(crate) fn register(&mut self, who: Who) {
        self.registered.entry(who).or_insert(self.posted.len());
    }

    /// The devices that a scope names now.
    pub(crate) fn devices(&self, scope: &Scope) -> usize {
        self.registered.keys().filter(|who| is_addressed(scope, who)).count()
    }

    /// The pushes for a device, in the order of the log.
    pub(crate) fn of(&self, who: &Who) -> impl Iterator<Item = &Posted> {
        let first = self.registered.get(who).copied().unwrap_or(self.posted.len());
        let who = who.clone();
        self.posted[first..].iter().filter(move |posted| is_addressed(&posted.push.scope, &who))
    }

    /// The push with an id.
    pub(crate) fn find(&self, id: &str) -> Option<&Posted> {
        self.posted.iter().find(|posted| posted.id() == id)
    }
}

fn is_addressed(scope: &Scope, (user, device): &Who) -> bool {
    match scope {
        Scope::Tenant => true,
        Scope::User(of) => of == user,
        Scope::Device(of, id) => (of, id) == (user, device),
        Scope::Unit(_) => false,
    }
}

/// What a device was ever sent of pushes, whatever it remembers of it itself.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    pub(crate) came: BTreeSet<String>,
    /// Triggers that others told of with their own (P3).
    pub(crate) merged: BTreeSet<String>,
    /// What came before a hub crashed, which may have forgotten that it did.
    pub(crate) doubtful: BTreeSet<String>,
    /// Whether the device ever saved battery.
    pub(crate) saved: bool,
    /// Whether it was told that some were dropped: too many of them, or too late.
    pub(crate) overflowed: bool,
    pub(crate) expired: bool,
}

impl Inbox {
    pub(crate) fn has(&self, posted: &Posted) -> bool {
        self.came.contains(posted.id()) || self.merged.contains(posted.id())
    }

    /// Whether the hub has to know that a push came. Of one that another told of by chance it does not.
    pub(crate) fn is_sure(&self, posted: &Posted) -> bool {
        self.came.contains(posted.id()) && !self.doubtful.contains(posted.id())
    }

    /// A push came, or was told of with another.
    pub(crate) fn take(&mut self, id: &str, with_another: bool) {
        self.doubtful.remove(id);
        let those = if with_another { &mut self.merged } else { &mut self.came };
        those.insert(id.to_owned());
    }

    /// The hub has lost what it had in memory.
    pub(crate) fn doubt(&mut self) {
        self.doubtful = self.came.union(&self.merged).cloned().collect();
    }
}

impl Ledger {
    /// Enters what somebody trusted asked for, with what became of it.
    pub(crate) fn note_service(&mut self, batch: Batch, fate: Fate, epoch: u64) {
        let uids = Vec::new();
        self.events.push(Event { device: None, batch, fate, may_fail: false, epoch, uids });
    }
}

impl Event {
    /// The place of the last push that came with it.
    pub(crate) fn pushed_upto(&self) -> Option<u64> {
        match &self.fate {
            Fate::Answered(frame) if !self.batch.pushes.is_empty() => frame["seq"].as_u64(),
            _ => None,
        }
    }
}
