//! The delivery log as operators read it over HTTP, each line held against what the device saw (P4).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use synchub::auth::Role;
use synchub_protocol::Timestamp;

use crate::post::{HIGH, PRIORITIES, Posted};
use crate::reading::Until;
use crate::world::World;

/// Who a line is about and what the judge knows of the two.
struct Case<'a> {
    posted: &'a Posted,
    at: usize,
    /// Whether the device has read all that it was sent.
    has_read: bool,
    /// Whether it came since the last hello.
    is_here: bool,
    /// Whether a hub that crashed may have forgotten that it was dropped.
    was_lost: bool,
}

impl World {
    /// Whoever is there reads what it was sent; then the delivery log has to be true.
    pub(crate) async fn check_deliveries_now(&mut self) {
        for at in 0..self.devices.len() {
            if self.is_online(at) {
                self.read(at, Until::Head).await;
            }
        }
        for tenant in 0..self.ledgers.len() {
            let lines = self.delivery_log(tenant).await;
            for line in &lines {
                let status = self.check_line(tenant, line);
                self.ledgers[tenant].count(format!("delivery {status}"));
            }
            let (post, name) = (&self.ledgers[tenant].post, &self.ledgers[tenant].tenant);
            let kept = |posted: &&Posted| self.host.row_time(name, posted.seq).is_some();
            let due: usize = post.registered.keys().map(|who| post.of(who).filter(kept).count()).sum();
            assert_eq!(lines.len(), due, "P4: the lines of the delivery log of {tenant}");
        }
    }

    /// All lines of a tenant, in pages.
    async fn delivery_log(&mut self, tenant: usize) -> Vec<Value> {
        let deps = self.host.hub().node.deps();
        deps.deliveries.flush(self.host.hub().store().as_ref()).await;
        // The hub may write some of them itself at this moment: what comes behind them has waited for them.
        self.host.hub().store().note_deliveries(Vec::new()).await.unwrap();
        let limit = *self.chance.pick(&[10, 100, 1000]);
        let (mut lines, mut after): (Vec<Value>, u64) = (Vec::new(), 0);
        loop {
            let page = self.ask_deliveries(tenant, &format!("after={after}&limit={limit}")).await;
            let is_last = page.len() < limit;
            let last = page.last().map_or(0, |line| line["seq"].as_u64().unwrap());
            // A page may end among the devices of a push.
            lines.extend(page.into_iter().filter(|line| is_last || line["seq"] != last));
            if is_last {
                break;
            }
            after = last - 1;
        }
        if !lines.is_empty() {
            let line = self.chance.pick(&lines);
            let text = |name: &str| line[name].as_str().unwrap();
            let query =
                format!("user={}&device={}&push_id={}", text("user"), text("device"), text("push_id"));
            let found = self.ask_deliveries(tenant, &query).await;
            // What became of it may have gone on.
            let facts = |line: &Value| ["seq", "push_id", "user", "device"].map(|name| line[name].clone());
            let found: Vec<_> = found.iter().map(facts).collect();
            assert_eq!(found, [facts(line)], "P4: asked for {query}");
        }
        lines
    }

    async fn ask_deliveries(&self, tenant: usize, query: &str) -> Vec<Value> {
        let hub = self.host.hub();
        let token = hub.token(&self.ledgers[tenant].tenant, "boss", |grant| grant.role = Role::Operator);
        let url = format!("{}/api/v2/push/deliveries?{query}", hub.http());
        let response = self.http.get(url).bearer_auth(token).send().await.unwrap();
        let answer: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        answer["deliveries"].as_array().unwrap_or_else(|| panic!("P4: {query}: {answer}")).clone()
    }

    /// A line says what was pushed, to whom, what became of it, and when what happened.
    fn check_line(&self, tenant: usize, line: &Value) -> String {
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let (post, who, status) =
            (&self.ledgers[tenant].post, (text("user"), text("device")), text("status"));
        let posted = post.of(&who).find(|posted| line["push_id"] == posted.id());
        let posted = posted.unwrap_or_else(|| panic!("P4: no push was published as {line}"));
        let is_its = |at: &usize| self.devices[*at].tenant == tenant && self.who(*at) == who;
        let at = (0..self.devices.len()).find(is_its).unwrap();
        check_facts(posted, line);
        let session = self.devices[at].link.as_ref();
        let case = Case {
            posted,
            at,
            has_read: session.is_some_and(|link| link.caught_up && link.asked.is_empty()),
            is_here: session.is_some_and(|link| link.pushed.iter().any(|one| one.seq == posted.seq)),
            was_lost: self.crashed && self.may_be_dropped(at, posted),
        };
        let inbox = &self.devices[at].inbox;
        assert!(
            self.is_true(&case, &status),
            "P4: the delivery log says {line} of {posted:?}; it came: {}, and the hub must know: {}",
            inbox.has(posted),
            inbox.is_sure(posted)
        );
        for event in line["events"].as_array().unwrap() {
            let what = event["what"].as_str().unwrap();
            assert!(self.happened(&case, what), "P4: `{what}` is not true: {line} of {posted:?}");
            let when: Timestamp = event["at"].as_str().unwrap().parse().unwrap();
            assert!(self.host.times.contains(&when.0), "P4: at no time: {line}");
        }
        status
    }

    /// Whether a push's status is what the device knows.
    fn is_true(&self, case: &Case<'_>, status: &str) -> bool {
        let (inbox, Case { posted, has_read, is_here, was_lost, .. }) = (&self.devices[case.at].inbox, case);
        let may_have_come = inbox.has(posted) || *was_lost || !has_read;
        match status {
            "delivered" => may_have_come,
            "acknowledged" => inbox.has(posted) || *was_lost,
            "merged" => posted.is_trigger() && may_have_come,
            "expired" => self.was_over(posted) && (!is_here || self.came_back(posted)),
            // Who was to be told of it may have heard in the end that its time was over.
            "dropped" => {
                let was_told = inbox.overflowed || inbox.expired && self.was_over(posted);
                !is_here && self.are_too_many(case.at, posted) && (was_told || !has_read)
            }
            "held" => !inbox.is_sure(posted) && (posted.may_wait() || inbox.saved),
            // Who has read everything has been sent everything, or it was held.
            "queued" => !inbox.is_sure(posted) && (!has_read || inbox.has(posted) || *was_lost),
            _ => false,
        }
    }

    /// Whether what the log says of a push can have happened.
    fn happened(&self, case: &Case<'_>, what: &str) -> bool {
        let (inbox, posted) = (&self.devices[case.at].inbox, case.posted);
        match what {
            "held: the user had the most of a minute" => posted.may_wait() && self.had_most(case.at, posted),
            "held: the device saves battery" => inbox.saved && posted.push.priority < HIGH,
            "delivered" => inbox.has(posted) || case.was_lost || !case.has_read,
            "merged: a later trigger said the same" => posted.is_trigger(),
            "dropped: too many were queued" => self.are_too_many(case.at, posted),
            "dropped: its time was over" => self.was_over(posted) && (inbox.expired || !case.has_read),
            _ => false,
        }
    }

    /// Whether a push's time was over at some moment.
    fn was_over(&self, posted: &Posted) -> bool {
        posted.expires_us <= self.host.latest_us()
    }

    /// Whether its time was over, and then was not, since the clock was set back.
    fn came_back(&self, posted: &Posted) -> bool {
        let over = self.host.times.iter().position(|time_us| *time_us >= posted.expires_us);
        over.is_some_and(|over| self.host.times[over..].iter().any(|time_us| *time_us < posted.expires_us))
    }

    /// Whether there were so many other pushes that a push's user may have had the most of a minute: another
    /// device of the user may have been sent later ones first.
    fn had_most(&self, at: usize, posted: &Posted) -> bool {
        let device = &self.devices[at];
        let post = &self.ledgers[device.tenant].post;
        let theirs = post.registered.keys().filter(|(user, _)| user == device.user);
        let others: BTreeSet<u64> = theirs
            .flat_map(|who| post.of(who))
            .filter(|one| one.seq != posted.seq && one.may_wait())
            .map(|one| one.seq)
            .collect();
        others.len() >= self.host.per_minute
    }
}

/// A line names its push, without contents.
fn check_facts(posted: &Posted, line: &Value) {
    let said = &posted.said;
    let about = match said["type"].as_str().unwrap() {
        "message" => json!({"topic": said["topic"]}),
        "sync_trigger" => json!({"domains": posted.domains(), "reason": "server_update"}),
        "conflict_alert" => json!({"conflict_id": said["conflict_id"]}),
        _ => json!({"mobile_id": said["mobile_id"], "outcome": said["outcome"]}),
    };
    let due = json!({
        "seq": posted.seq,
        "kind": said["type"],
        "about": about,
        "priority": PRIORITIES[posted.push.priority],
        "time": Timestamp(posted.time_us),
        "expires": Timestamp(posted.expires_us),
    });
    for (field, value) in due.as_object().unwrap() {
        assert_eq!(line[field], *value, "P4: `{field}` of {line}");
    }
}
