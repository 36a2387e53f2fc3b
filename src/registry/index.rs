//! Finds the subscribers of a scope and domain.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

use synchub_rules::push::Address;
use synchub_rules::record::{DomainNo, Scope, Sight};
use synchub_rules::route::{self, Audience};

use super::mailbox::Mailbox;
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

    /// Offers rows, in their order, to everyone whom they concern. Rows of one place go together: a subscriber is
    /// found, locked and woken once for all of them.
    pub fn offer(&self, rows: &[OutgoingRow]) {
        for run in rows.chunk_by(|one, next| place(one).is_some_and(|there| place(next) == Some(there))) {
            match (&run[0], place(&run[0])) {
                (OutgoingRow::Push(outgoing), _) => {
                    self.addressed(outgoing.row.scope).for_each(|one| one.mailbox.offer_push(outgoing));
                }
                (_, Some(place)) => self.offer_changes(run, place),
                (_, None) => {}
            }
        }
    }

    /// Who is sent pushes of a scope.
    pub fn addressed(&self, scope: Scope) -> impl Iterator<Item = &Arc<Subscriber>> {
        self.pushes.get(&scope).into_iter().flatten()
    }

    fn offer_changes(&self, rows: &[OutgoingRow], (scope, domain): (Scope, DomainNo)) {
        let there = [Some(scope), None].into_iter().filter_map(|scope| self.changes.get(&(scope, domain)));
        for subscriber in there.flatten() {
            let Audience { sight, domains } = &*subscriber.audience;
            let Some(filters) = domains.get(&domain) else { continue };
            let verdict = |row: &OutgoingRow| {
                let OutgoingRow::Change(outgoing) = row else { return None };
                let delivery = route::verdict(&outgoing.row, sight, filters)?;
                Some((Arc::clone(outgoing), delivery))
            };
            subscriber.mailbox.offer(rows.iter().filter_map(verdict));
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
}

/// Where a change's subscribers stand; a push has others.
fn place(row: &OutgoingRow) -> Option<(Scope, DomainNo)> {
    match row {
        OutgoingRow::Change(outgoing) => Some((outgoing.row.scope, outgoing.row.domain)),
        OutgoingRow::Push(_) => None,
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
