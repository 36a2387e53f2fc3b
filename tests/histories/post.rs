//! What services have pushed to a tenant, and what of it is for whom (P1, P2): the book that devices are
//! judged by. It asks nobody.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::ledger::{Event, Fate};
use crate::model::{Push, Scope};

/// A user and a device.
pub(crate) type Who = (String, String);

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
    /// Whether it was told that some were dropped: too many of them, or too late.
    pub(crate) overflowed: bool,
    pub(crate) expired: bool,
}

impl Inbox {
    pub(crate) fn has(&self, posted: &Posted) -> bool {
        self.came.contains(posted.id()) || self.merged.contains(posted.id())
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
