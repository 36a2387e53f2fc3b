//! Who is sent what: whether a change, live or read again, is in somebody's view.
//!
//! Verdicts only. The feed finds who is interested, sessions queue and send; neither decides here
//! whether a record may be seen.

mod past;
mod replay;

pub use past::was_in_view;
pub use replay::{PageDelivery, PageRow, ReplayPage};

use std::collections::BTreeMap;
use std::sync::Arc;

use synchub_protocol::client::SubscriptionPriority;

use crate::filter::Filters;
use crate::record::{DomainNo, LogRow, Record, Scope, Sight};

/// What a change is to somebody's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// The record is in view: create or update.
    Upsert,
    /// The record exists, but left the view.
    Remove,
    /// The record was in view and was deleted.
    Delete,
}

/// What somebody is sent: the scopes that may be seen and the domains that are subscribed to.
#[derive(Debug, Clone)]
pub struct Audience {
    /// What may be seen.
    pub sight: Sight,
    /// The filters of each domain; a domain that is not here is not sent.
    pub domains: BTreeMap<DomainNo, Arc<Filters>>,
}

impl Audience {
    /// Whether the record was in view before a change.
    pub fn saw_before(&self, row: &LogRow) -> bool {
        let filters = self.domains.get(&row.domain);
        filters.is_some_and(|filters| saw_before(row, &self.sight, filters))
    }

    /// Whether the record is in view after a change.
    pub fn sees_after(&self, row: &LogRow) -> bool {
        let filters = self.domains.get(&row.domain);
        filters.is_some_and(|filters| sees_after(row, &self.sight, filters))
    }
}

/// Whether a record is in somebody's view of its domain.
pub fn is_in_view(record: &Record, sight: &Sight, filters: &Filters) -> bool {
    !record.deleted && sight.covers(record.scope) && filters.matches(&record.data)
}

fn saw_before(row: &LogRow, sight: &Sight, filters: &Filters) -> bool {
    let lived_there = row.before.is_some_and(|scope| sight.covers(scope));
    lived_there && filters.matches_fields(|field| row.field_before(field))
}

fn sees_after(row: &LogRow, sight: &Sight, filters: &Filters) -> bool {
    row.after.is_some_and(|scope| sight.covers(scope)) && filters.matches(&row.data)
}

/// The most permissive priority among the subscriptions that a change matches (C3), by the record before or
/// after it, as far as that may be seen.
pub fn asked_priority(row: &LogRow, sight: &Sight, filters: &Filters) -> SubscriptionPriority {
    let is_seen = |scope: Option<Scope>| scope.is_some_and(|scope| sight.covers(scope));
    let before = is_seen(row.before).then(|| filters.priority(|field| row.field_before(field)));
    let after = is_seen(row.after).then(|| filters.priority(|field| row.data.get(field)));
    [before, after].into_iter().flatten().flatten().min().unwrap_or_default()
}

/// What a live row is to somebody; none if it is nothing. A row of a scope that may not be seen is
/// nothing, whatever it says: who sees the other side of the change has a row of its own (V2).
pub fn verdict(row: &LogRow, sight: &Sight, filters: &Filters) -> Option<Delivery> {
    if !sight.covers(row.scope) {
        return None;
    }
    if sees_after(row, sight, filters) {
        return Some(Delivery::Upsert);
    }
    let gone = if row.after.is_none() { Delivery::Delete } else { Delivery::Remove };
    saw_before(row, sight, filters).then_some(gone)
}
