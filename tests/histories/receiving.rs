//! What devices are sent of pushes, judged as it comes (P1-P3).

use serde_json::Value;
use synchub_protocol::Timestamp;

use crate::post::{HIGH, Posted, Who, covers, domains};
use crate::world::World;

/// What a user may be sent so much in, with room for a clock that is set back (P3).
const WINDOW_US: i64 = 40_000_000;

impl World {
    pub(crate) fn who(&self, at: usize) -> Who {
        (self.devices[at].user.to_owned(), self.devices[at].id.to_owned())
    }

    /// A session is told once that pushes were dropped, for each reason (P3).
    fn told(&mut self, at: usize, reason: &str) {
        let device = &mut self.devices[at];
        let is_new = device.link.as_mut().unwrap().told.insert(reason.to_owned());
        assert!(is_new, "P3: {} is told {reason} twice in a session", device.name());
        device.inbox.overflowed |= reason == "queue_overflow";
        device.inbox.expired |= reason == "queue_expired";
        self.ledgers[device.tenant].count(format!("told {reason}"));
    }

    /// Takes a push, or a trigger that the session raised for itself.
    pub(crate) fn pushed(&mut self, at: usize, frame: &Value) {
        if let Some(reason @ ("queue_overflow" | "queue_expired")) = frame["reason"].as_str() {
            return self.told(at, reason);
        }
        let (name, who) = (self.devices[at].name(), self.who(at));
        let post = &self.ledgers[self.devices[at].tenant].post;
        let id = frame["push_id"].as_str().unwrap();
        let posted = post.find(id);
        let posted =
            posted.unwrap_or_else(|| panic!("P1, R1: {name} is sent a push that is not: {frame}")).clone();
        let due: Vec<Posted> = post.of(&who).cloned().collect();
        assert!(due.iter().any(|one| one.id() == id), "P1: {name} is sent what is not for it: {frame}");
        self.check_contents(at, &posted, frame);
        self.check_time(at, &posted);
        self.check_order(at, &posted);
        self.check_saved(at, &posted);
        self.check_queue(at);
        self.devices[at].inbox.take(id, false);
        if posted.is_trigger() {
            self.merge(at, &posted, &due, frame);
        }
        self.check_rate(at, &posted);
    }

    /// The same id means the same contents, whoever is sent it and when (P2); the domains are judged apart.
    fn check_contents(&mut self, at: usize, posted: &Posted, frame: &Value) {
        if let Some(conflict) = posted.said["conflict_id"].as_str() {
            let post = &self.ledgers[self.devices[at].tenant].post;
            assert_eq!(frame["type"], "conflict_alert", "P2: {posted:?} is sent as {frame}");
            return self.check_alert(at, &post.conflicts[conflict].clone(), frame);
        }
        let mut theirs = frame.as_object().unwrap().clone();
        theirs.remove("push_id");
        let time = theirs.remove("server_timestamp");
        let due = serde_json::to_value(Timestamp(posted.time_us)).ok();
        assert_eq!(time, due.filter(|_| posted.is_limited()), "P2: the time of {frame}");
        let mut ours = posted.said.as_object().unwrap().clone();
        if posted.is_trigger() {
            ours.remove("domains");
            theirs.remove("domains");
        }
        assert_eq!(
            theirs,
            ours,
            "P2: {} is sent other contents than were published",
            self.devices[at].name()
        );
    }

    /// Nothing is sent after its end (P1), nor what a hello's cursor has passed (P2).
    fn check_time(&self, at: usize, posted: &Posted) {
        let (name, link) = (self.devices[at].name(), self.devices[at].link.as_ref().unwrap());
        let since = self.host.times[link.opened..].iter().min().unwrap();
        assert!(posted.expires_us > *since, "P1: {name} is sent what had ended: {posted:?}");
        let passed = link.from.is_some_and(|from| posted.seq <= from);
        assert!(!passed, "P2: {name} said a cursor at {:?} and is sent {posted:?}", link.from);
    }

    /// Each once a session, in the order of the log: only what is critical, not limited or told with an older
    /// trigger overtakes what waits, and what battery saver lets through (P3).
    fn check_order(&mut self, at: usize, posted: &Posted) {
        let name = self.devices[at].name();
        let link = self.devices[at].link.as_mut().unwrap();
        let again = link.pushed.iter().any(|one| one.seq == posted.seq);
        assert!(!again, "P2: {name} is sent a push twice in a session: {posted:?}");
        let saved = link.saved && posted.push.priority < HIGH;
        let overtakes = |one: &&Posted| {
            let may = one.is_trigger() || !one.may_wait() && posted.may_wait();
            one.seq > posted.seq && !saved && !may
        };
        if let Some(one) = link.pushed.iter().find(overtakes) {
            panic!("P1: {name} is sent {posted:?} after {one:?}");
        }
        link.pushed.push(posted.clone());
    }

    /// What is below high is held back while battery is saved (P3, C9).
    fn check_saved(&self, at: usize, posted: &Posted) {
        let (device, link) = (&self.devices[at], self.devices[at].link.as_ref().unwrap());
        let is_held = link.saves_after.is_some_and(|after| posted.seq > after) && posted.push.priority < HIGH;
        assert!(!is_held, "P3, C9: {} saves battery and is sent {posted:?}", device.name());
    }

    /// Of what is owed at hello only the newest are sent (P3).
    fn check_queue(&self, at: usize) {
        let (device, link) = (&self.devices[at], self.devices[at].link.as_ref().unwrap());
        let count = link.pushed.iter().filter(|posted| posted.seq <= link.head).count();
        assert!(count <= self.host.queue, "P3: {} is sent {count} pushes that were owed", device.name());
    }

    /// A trigger may tell what older ones would, and nothing else (P3).
    fn merge(&mut self, at: usize, posted: &Posted, due: &[Posted], frame: &Value) {
        let (all, own) = (domains(frame), posted.domains());
        let older = || due.iter().filter(|one| one.is_trigger() && one.seq < posted.seq);
        if all != own {
            self.ledgers[self.devices[at].tenant].count("push trigger with others' domains");
            let of_others =
                all.iter().all(|name| own.contains(name) || older().any(|one| one.domains().contains(name)));
            let about_all = !all.is_empty() || older().any(|one| one.domains().is_empty());
            assert!(covers(&all, &own) && of_others && about_all, "P3: a trigger of {posted:?} says {frame}");
        }
        for one in older().filter(|one| covers(&all, &one.domains())) {
            self.devices[at].inbox.take(one.id(), true);
        }
    }

    /// Of what comes live no more is sent to a user in a minute than the limit (P3). Only sessions that never
    /// had another reason to catch up tell live pushes from those that they are owed.
    fn check_rate(&mut self, at: usize, posted: &Posted) {
        let device = &self.devices[at];
        let link = device.link.as_ref().unwrap();
        let is_live = posted.seq > link.head && link.is_plain && self.host.is_wide;
        if !is_live || !posted.may_wait() {
            return;
        }
        let (user, most, now_us) = (device.user, self.host.per_minute, self.host.latest_us());
        let ledger = &mut self.ledgers[device.tenant];
        let told = ledger.told.entry(user.to_owned()).or_default();
        told.insert(posted.id().to_owned(), posted.at_us);
        told.retain(|_, at_us| *at_us > now_us - WINDOW_US);
        let count = told.len();
        assert!(
            count <= most,
            "P3: {user} is sent {count} pushes in a minute; the limit is {most}: {told:?}"
        );
    }

    /// A cursor stands behind what was sent, and before what waits (C2, P2): says that everything for the
    /// device up to its place has come, or has ended.
    pub(crate) fn check_passed(&mut self, at: usize, frame: &Value) {
        let Some(seq) = frame["seq"].as_u64() else { return };
        let (device, who) = (&self.devices[at], self.who(at));
        let post = &self.ledgers[device.tenant].post;
        let passed = post.of(&who).filter(|posted| posted.seq <= seq && !device.inbox.has(posted));
        for posted in passed {
            assert!(self.may_be_dropped(at, posted), "P2: {} is at {seq} without {posted:?}", device.name());
        }
    }

    /// Whether a push may never have been sent to a device, which was told that some were not.
    pub(crate) fn may_be_dropped(&self, at: usize, posted: &Posted) -> bool {
        let inbox = &self.devices[at].inbox;
        let is_over = posted.expires_us <= self.host.latest_us();
        // Whether something was in a log that was purged nobody knows.
        let is_gone = self.host.row_time(&self.ledgers[self.devices[at].tenant].tenant, posted.seq).is_none();
        is_over && (inbox.expired || is_gone) || inbox.overflowed && self.are_too_many(at, posted)
    }

    /// Whether more came after a push than may wait for a device.
    pub(crate) fn are_too_many(&self, at: usize, posted: &Posted) -> bool {
        let post = &self.ledgers[self.devices[at].tenant].post;
        post.of(&self.who(at)).filter(|one| one.seq > posted.seq).count() >= self.host.queue
    }

    /// Whether all that a device was not sent yet may wait for its user's next minute (P3).
    pub(crate) fn waits_for_a_minute(&self, at: usize) -> bool {
        let device = &self.devices[at];
        let (post, who) = (&self.ledgers[device.tenant].post, self.who(at));
        let mut missing = post.of(&who).filter(|posted| !device.inbox.has(posted));
        let is_ready = device.link.as_ref().is_some_and(|link| link.caught_up && !link.held);
        let may_wait = |posted: &Posted| {
            let is_over = posted.expires_us <= self.host.latest_us();
            is_over || posted.may_wait() || self.are_too_many(at, posted)
        };
        is_ready && self.is_owed(at, 0) && missing.all(may_wait)
    }

    /// Whether something after a place that is for a device did not come itself: it may wait, even if another
    /// told of it.
    pub(crate) fn is_owed(&self, at: usize, place: u64) -> bool {
        let (device, who) = (&self.devices[at], self.who(at));
        let mut due = self.ledgers[device.tenant].post.of(&who);
        due.any(|posted| posted.seq > place && !device.inbox.came.contains(posted.id()))
    }
}
