//! Filters: which records of a domain a subscription wants, compiled once and asked for every change.
//!
//! A filter looks at fields of `data` and nothing else; who may see a record at all is decided by its
//! scope. What a filter says is kept as canonical text too, for the hash in a cursor (C1).

mod compile;
mod condition;

pub use compile::FilterError;

use serde_json::Value;
use synchub_protocol::client::{Subscription, SubscriptionPriority};
use synchub_protocol::{Data, Priority};

use crate::filter::condition::Condition;

/// One subscription's filter: every field that it names must be as it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    conditions: Vec<(String, Condition)>,
    canonical: String,
}

impl Filter {
    /// Whether a record with these fields is wanted. An absent field is null.
    pub fn matches(&self, data: &Data) -> bool {
        self.matches_fields(|field| data.get(field))
    }

    fn matches_fields<'v>(&self, value: impl Fn(&str) -> Option<&'v Value>) -> bool {
        self.conditions.iter().all(|(field, condition)| condition.holds(value(field)))
    }

    /// The same text for every way to write the same filter: JSON, keys and values in order.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }
}

/// All subscriptions of one domain: their union (protocol: two for one domain are a union).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filters {
    filters: Vec<(Filter, SubscriptionPriority)>,
}

impl Filters {
    /// Compiles the subscriptions of one domain. Without any, nothing is wanted.
    pub fn compile<'s>(
        subscriptions: impl IntoIterator<Item = &'s Subscription>,
    ) -> Result<Self, FilterError> {
        let everything = Data::new();
        let mut filters = Vec::new();
        for subscription in subscriptions {
            let filter = Filter::compile(subscription.filter.as_ref().unwrap_or(&everything))?;
            filters.push((filter, subscription.priority.unwrap_or_default()));
        }
        // A session keeps it for as long as it lasts.
        filters.shrink_to_fit();
        Ok(Self { filters })
    }

    /// Everything of a domain, of every priority.
    pub fn everything() -> Self {
        Self { filters: vec![(Filter::everything(), SubscriptionPriority::All)] }
    }

    /// Whether every record of the domain is wanted, whatever its fields.
    pub fn wants_everything(&self) -> bool {
        self.filters.iter().any(|(filter, _)| filter.conditions.is_empty())
    }

    /// Whether any of the subscriptions wants a record with these fields.
    pub fn matches(&self, data: &Data) -> bool {
        self.matches_fields(|field| data.get(field))
    }

    /// The same of fields that a function finds.
    pub fn matches_fields<'v>(&self, value: impl Fn(&str) -> Option<&'v Value>) -> bool {
        self.filters.iter().any(|(filter, _)| filter.matches_fields(&value))
    }

    /// The most permissive priority among the subscriptions that want such a record (C3); none if
    /// nobody does.
    pub fn priority<'v>(&self, value: impl Fn(&str) -> Option<&'v Value>) -> Option<SubscriptionPriority> {
        let wanted = self.filters.iter().filter(|(filter, _)| filter.matches_fields(&value));
        wanted.map(|(_, priority)| *priority).min()
    }

    /// Whether one of the subscriptions leaves changes of low priority for later.
    pub fn delays(&self) -> bool {
        self.filters.iter().any(|(_, priority)| *priority != SubscriptionPriority::All)
    }

    /// The same text for every way to say the same set of filters; priorities are not in it (C3).
    pub fn canonical(&self) -> String {
        if self.wants_everything() {
            return format!("[{}]", Filter::everything().canonical);
        }
        let mut texts: Vec<&str> = self.filters.iter().map(|(filter, _)| filter.canonical()).collect();
        texts.sort_unstable();
        texts.dedup();
        format!("[{}]", texts.join(","))
    }
}

/// Whether a change of this priority goes out at once under a subscription's priority.
pub fn is_wanted_at_once(subscription: SubscriptionPriority, change: Priority) -> bool {
    match subscription {
        SubscriptionPriority::All => true,
        SubscriptionPriority::High => change >= Priority::High,
        SubscriptionPriority::Critical => change >= Priority::Critical,
    }
}
