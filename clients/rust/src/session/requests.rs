//! The requests of a session that are not batches: ids, and subscriptions on the way.

use std::collections::HashMap;
use std::time::Duration;

use synchub_protocol::ClientFrame;
use synchub_protocol::client::{Subscribe, Subscription, Unsubscribe};
use synchub_protocol::server::ErrorFrame;
use tokio::time::Instant;

/// How long to wait before a refused subscription is asked for again, where the hub does not say.
const PAUSE: Duration = Duration::from_secs(5);

/// Counts request ids and brings the hub's set of subscriptions to the one that is wished for.
#[derive(Debug)]
pub(crate) struct Requests {
    next_id: u64,
    /// What the hub has confirmed.
    confirmed: Vec<Subscription>,
    /// What the hub will have confirmed when all that is on the way is answered.
    asked: Vec<Subscription>,
    on_the_way: HashMap<u64, Vec<String>>,
    not_before: Option<Instant>,
}

impl Requests {
    pub(crate) fn new(next_id: u64) -> Self {
        Self {
            next_id,
            confirmed: Vec::new(),
            asked: Vec::new(),
            on_the_way: HashMap::new(),
            not_before: None,
        }
    }

    pub(crate) fn next_id_mut(&mut self) -> &mut u64 {
        &mut self.next_id
    }

    /// The id of a request that somebody else keeps.
    pub(crate) fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// The welcome has confirmed what the hello asked for.
    pub(crate) fn confirm(&mut self, subscriptions: Vec<Subscription>) {
        self.asked.clone_from(&subscriptions);
        self.confirmed = subscriptions;
    }

    /// A `subscribe` or `unsubscribe` was answered with the whole set.
    pub(crate) fn subscribed(&mut self, request: u64, subscriptions: Vec<Subscription>) {
        self.on_the_way.remove(&request);
        self.confirmed = subscriptions;
    }

    /// The frame that brings the hub nearer to the wish, if one is needed now.
    pub(crate) fn subscriptions(&mut self, wish: &[Subscription], now: Instant) -> Option<ClientFrame> {
        if self.not_before.is_some_and(|instant| now < instant) {
            return None;
        }
        self.not_before = None;
        let left: Vec<String> = domains(&self.asked).filter(|domain| !names(wish, domain)).collect();
        if !left.is_empty() {
            self.asked.retain(|old| !left.contains(&old.domain));
            let id = self.request(left.clone());
            return Some(ClientFrame::Unsubscribe(Unsubscribe { id, domains: left }));
        }
        let changed: Vec<String> =
            domains(wish).filter(|domain| of(wish, domain) != of(&self.asked, domain)).collect();
        if changed.is_empty() {
            return None;
        }
        let wanted: Vec<Subscription> =
            wish.iter().filter(|wanted| changed.contains(&wanted.domain)).cloned().collect();
        self.asked.retain(|old| !changed.contains(&old.domain));
        self.asked.extend(wanted.iter().cloned());
        let id = self.request(changed);
        Some(ClientFrame::Subscribe(Subscribe { id, subscriptions: wanted }))
    }

    /// A request was refused. What may succeed later is asked for again after a while; what never will is
    /// taken out of the wish. Says whether the request was one of these.
    pub(crate) fn refused(
        &mut self,
        request: u64,
        error: &ErrorFrame,
        now: Instant,
        wish: &mut Vec<Subscription>,
    ) -> bool {
        let Some(refused) = self.on_the_way.remove(&request) else { return false };
        let confirmed = self.confirmed.iter().filter(|old| refused.contains(&old.domain));
        let confirmed: Vec<Subscription> = confirmed.cloned().collect();
        self.asked.retain(|old| !refused.contains(&old.domain));
        self.asked.extend(confirmed.iter().cloned());
        if error.temporary {
            self.not_before = Some(now + error.retry_after_ms.map_or(PAUSE, Duration::from_millis));
        } else {
            wish.retain(|wanted| !refused.contains(&wanted.domain));
            wish.extend(confirmed);
        }
        true
    }

    fn request(&mut self, domains: Vec<String>) -> u64 {
        let id = self.next_id();
        self.on_the_way.insert(id, domains);
        id
    }
}

fn domains(subscriptions: &[Subscription]) -> impl Iterator<Item = String> {
    subscriptions.iter().map(|wanted| wanted.domain.clone())
}

fn names(subscriptions: &[Subscription], domain: &str) -> bool {
    subscriptions.iter().any(|wanted| wanted.domain == domain)
}

fn of<'s>(subscriptions: &'s [Subscription], domain: &str) -> Vec<&'s Subscription> {
    subscriptions.iter().filter(|wanted| wanted.domain == domain).collect()
}
