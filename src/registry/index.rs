//! Finds the subscribers of a scope and domain.

use std::collections::HashMap;
use std::sync::Arc;

use synchub_rules::filter::Filters;
use synchub_rules::record::{DomainNo, LogRow, Scope};
use synchub_rules::route;

use super::mailbox::Mailbox;
use super::outgoing::Outgoing;

/// A session as the feed knows it. Replaced as a whole when its subscriptions change.
#[derive(Debug)]
pub struct Subscriber {
    /// The session's number on this node.
    pub session: u64,
    /// What it may see.
    pub scopes: Vec<Scope>,
    /// What it wants, by domain.
    pub domains: HashMap<DomainNo, Filters>,
    /// Where rows go.
    pub mailbox: Arc<Mailbox>,
}

/// Subscribers by scope and domain.
#[derive(Debug, Default)]
pub struct Index {
    by_place: HashMap<(Scope, DomainNo), Vec<Arc<Subscriber>>>,
    by_session: HashMap<u64, Arc<Subscriber>>,
}

impl Index {
    /// Adds a subscriber; one of the same session is replaced.
    pub fn join(&mut self, subscriber: Arc<Subscriber>) {
        self.leave(subscriber.session);
        for place in places(&subscriber) {
            self.by_place.entry(place).or_default().push(Arc::clone(&subscriber));
        }
        self.by_session.insert(subscriber.session, subscriber);
    }

    /// Removes a session's subscriber.
    pub fn leave(&mut self, session: u64) {
        let Some(subscriber) = self.by_session.remove(&session) else { return };
        for place in places(&subscriber) {
            let Some(there) = self.by_place.get_mut(&place) else { continue };
            there.retain(|other| other.session != session);
            if there.is_empty() {
                self.by_place.remove(&place);
            }
        }
    }

    /// Offers a row to everyone whose view it concerns.
    pub fn offer(&self, outgoing: &Arc<Outgoing>) {
        for subscriber in self.concerned(&outgoing.row) {
            let Some(filters) = subscriber.domains.get(&outgoing.row.domain) else { continue };
            if let Some(delivery) = route::verdict(&outgoing.row, &subscriber.scopes, filters) {
                subscriber.mailbox.offer(outgoing, delivery);
            }
        }
    }

    /// Makes every session catch up.
    pub fn lose(&self) {
        self.by_session.values().for_each(|subscriber| subscriber.mailbox.lose());
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.by_session.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_session.is_empty()
    }

    fn concerned(&self, row: &LogRow) -> &[Arc<Subscriber>] {
        self.by_place.get(&(row.scope, row.domain)).map_or(&[], Vec::as_slice)
    }
}

fn places(subscriber: &Subscriber) -> impl Iterator<Item = (Scope, DomainNo)> {
    let domains = subscriber.domains.keys();
    domains.flat_map(|domain| subscriber.scopes.iter().map(|scope| (*scope, *domain)))
}
