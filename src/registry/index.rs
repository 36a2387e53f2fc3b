//! Finds the subscribers of a scope and domain.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

use synchub_rules::push::Address;
use synchub_rules::record::{DomainNo, LogRow, Scope, Sight};
use synchub_rules::route::{self, Audience};

use super::mailbox::Mailbox;
use super::outgoing::Outgoing;
use super::outgoing_push::OutgoingRow;

/// A session as the feed knows it. Replaced as a whole when its subscriptions change.
#[derive(Debug)]
pub struct Subscriber {
    /// The session's number on this node.
    pub session: u64,
    /// What it may see and wants.
    pub audience: Arc<Audience>,
    /// Which pushes it is sent.
    pub address: Address,
    /// Where rows go.
    pub mailbox: Arc<Mailbox>,
}

/// Subscribers by scope and domain.
#[derive(Debug, Default)]
pub struct Index {
    /// Who is told of changes; without a scope: who sees the whole tenant.
    changes: HashMap<(Option<Scope>, DomainNo), Vec<Arc<Subscriber>>>,
    /// Who is told of pushes, by their scopes.
    pushes: HashMap<Scope, Vec<Arc<Subscriber>>>,
    sessions: HashMap<u64, Arc<Subscriber>>,
}

impl Index {
    /// Adds a subscriber; one of the same session is replaced.
    pub fn join(&mut self, subscriber: Arc<Subscriber>) {
        self.leave(subscriber.session);
        for place in places(&subscriber) {
            self.changes.entry(place).or_default().push(Arc::clone(&subscriber));
        }
        for scope in subscriber.address.scopes() {
            self.pushes.entry(scope).or_default().push(Arc::clone(&subscriber));
        }
        self.sessions.insert(subscriber.session, subscriber);
    }

    /// Removes a session's subscriber.
    pub fn leave(&mut self, session: u64) {
        let Some(subscriber) = self.sessions.remove(&session) else { return };
        for place in places(&subscriber) {
            remove(&mut self.changes, place, session);
        }
        for scope in subscriber.address.scopes() {
            remove(&mut self.pushes, scope, session);
        }
    }

    /// Offers a row to everyone whom it concerns.
    pub fn offer(&self, row: &OutgoingRow) {
        match row {
            OutgoingRow::Change(outgoing) => self.offer_change(outgoing),
            OutgoingRow::Push(outgoing) => {
                self.addressed(outgoing.row.scope).for_each(|one| one.mailbox.offer_push(outgoing));
            }
        }
    }

    /// Who is sent pushes of a scope.
    pub fn addressed(&self, scope: Scope) -> impl Iterator<Item = &Arc<Subscriber>> {
        self.pushes.get(&scope).into_iter().flatten()
    }

    fn offer_change(&self, outgoing: &Arc<Outgoing>) {
        let row = outgoing.row.as_ref();
        for subscriber in self.concerned(row) {
            let audience = &subscriber.audience;
            let filters = audience.domains.get(&row.domain);
            if let Some(delivery) = filters.and_then(|filters| route::verdict(row, &audience.sight, filters))
            {
                subscriber.mailbox.offer(outgoing, delivery);
            }
        }
    }

    /// Makes every session catch up.
    pub fn lose(&self) {
        self.sessions.values().for_each(|subscriber| subscriber.mailbox.lose());
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn concerned(&self, row: &LogRow) -> impl Iterator<Item = &Arc<Subscriber>> {
        let places = [(Some(row.scope), row.domain), (None, row.domain)];
        places.into_iter().filter_map(|place| self.changes.get(&place)).flatten()
    }
}

fn remove<K: Hash + Eq>(from: &mut HashMap<K, Vec<Arc<Subscriber>>>, place: K, session: u64) {
    let Entry::Occupied(mut there) = from.entry(place) else { return };
    there.get_mut().retain(|other| other.session != session);
    if there.get().is_empty() {
        there.remove();
    }
}

fn places(subscriber: &Subscriber) -> Vec<(Option<Scope>, DomainNo)> {
    let scopes = match &subscriber.audience.sight {
        Sight::Everything => vec![None],
        Sight::Scopes(scopes) => scopes.iter().copied().map(Some).collect(),
    };
    let domains = subscriber.audience.domains.keys();
    domains.flat_map(|domain| scopes.iter().map(|scope| (*scope, *domain))).collect()
}
