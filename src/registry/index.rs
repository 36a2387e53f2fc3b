//! Finds the subscribers of a scope and domain.

use std::collections::HashMap;
use std::sync::Arc;

use synchub_rules::record::{DomainNo, LogRow, Scope, Sight};
use synchub_rules::route::{self, Audience};

use super::mailbox::Mailbox;
use super::outgoing::Outgoing;

/// A session as the feed knows it. Replaced as a whole when its subscriptions change.
#[derive(Debug)]
pub struct Subscriber {
    /// The session's number on this node.
    pub session: u64,
    /// What it may see and wants.
    pub audience: Arc<Audience>,
    /// Where rows go.
    pub mailbox: Arc<Mailbox>,
}

/// Subscribers by scope and domain.
#[derive(Debug, Default)]
pub struct Index {
    /// Without a scope: who sees the whole tenant.
    by_place: HashMap<(Option<Scope>, DomainNo), Vec<Arc<Subscriber>>>,
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

    fn concerned(&self, row: &LogRow) -> impl Iterator<Item = &Arc<Subscriber>> {
        let places = [(Some(row.scope), row.domain), (None, row.domain)];
        places.into_iter().filter_map(|place| self.by_place.get(&place)).flatten()
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
