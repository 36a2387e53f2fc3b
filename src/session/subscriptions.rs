//! What a session subscribes to: compiled filters, and a hash of what each domain's cursor covers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use synchub_protocol::ErrorCode;
use synchub_protocol::client::Subscription;
use synchub_rules::domain::Visibility;
use synchub_rules::filter::{FilterError, Filters};
use synchub_rules::group::Domain;
use synchub_rules::record::{DomainNo, PartyNo, Scope};

use super::cursor::CoverHash;
use crate::catalog::Catalog;

/// Why subscriptions were refused; nothing of the request was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscriptionError {
    #[error("there is no domain `{0}` to subscribe to")]
    UnknownDomain(String),
    #[error("the filter of `{domain}`: {source}")]
    Filter { domain: String, source: FilterError },
    #[error("a session may subscribe to at most {0} domains")]
    TooMany(usize),
}

impl SubscriptionError {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownDomain(_) => ErrorCode::UnknownDomain,
            Self::Filter { .. } | Self::TooMany(_) => ErrorCode::BadRequest,
        }
    }
}

/// What the session's user may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) user: PartyNo,
    pub(crate) unit: Option<PartyNo>,
}

impl Reach {
    /// The scopes of records, sorted: tenant, unit, user.
    pub(crate) fn scopes(self) -> Vec<Scope> {
        let mut scopes = vec![Scope::Tenant];
        scopes.extend(self.unit.map(Scope::Party));
        scopes.push(Scope::Party(self.user));
        scopes.sort_unstable();
        scopes
    }
}

/// One domain of the set.
#[derive(Debug, Clone)]
pub(crate) struct Subscribed {
    pub(crate) domain: Arc<Domain>,
    pub(crate) filters: Filters,
    /// As the client sent them, to be said again.
    pub(crate) sent: Vec<Subscription>,
    pub(crate) hash: CoverHash,
}

/// The whole set, by domain name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriptions {
    by_name: BTreeMap<String, Subscribed>,
}

impl Subscriptions {
    /// Replaces the subscriptions of the domains named; two for one domain are a union.
    pub(crate) fn with(
        &self,
        sent: Vec<Subscription>,
        reach: Reach,
        (tenant, catalog, most): (&str, &Catalog, usize),
    ) -> Result<Self, SubscriptionError> {
        let mut named: BTreeMap<String, Vec<Subscription>> = BTreeMap::new();
        for subscription in sent {
            named.entry(subscription.domain.clone()).or_default().push(subscription);
        }
        let mut by_name = self.by_name.clone();
        for (name, sent) in named {
            let domain = catalog.lookup(tenant, &name).filter(|domain| domain.definition.feed());
            let domain = domain.ok_or_else(|| SubscriptionError::UnknownDomain(name.clone()))?;
            let filters = Filters::compile(&sent)
                .map_err(|source| SubscriptionError::Filter { domain: name.clone(), source })?;
            let hash = cover_hash(&domain, &filters, reach);
            by_name.insert(name, Subscribed { domain, filters, sent, hash });
        }
        if by_name.len() > most {
            return Err(SubscriptionError::TooMany(most));
        }
        Ok(Self { by_name })
    }

    /// The set without some domains; names that are not in it are no error.
    pub(crate) fn without(&self, domains: &[String]) -> Self {
        let mut by_name = self.by_name.clone();
        by_name.retain(|name, _| !domains.contains(name));
        Self { by_name }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscribed> {
        self.by_name.values()
    }

    pub(crate) fn of(&self, domain: DomainNo) -> Option<&Subscribed> {
        self.iter().find(|subscribed| subscribed.domain.no == domain)
    }

    /// The set as `subscribed` says it.
    pub(crate) fn sent(&self) -> Vec<Subscription> {
        self.iter().flat_map(|subscribed| subscribed.sent.iter().cloned()).collect()
    }

    /// The domains' names by number.
    pub(crate) fn names(&self) -> HashMap<DomainNo, Arc<str>> {
        self.iter().map(|subscribed| (subscribed.domain.no, Arc::clone(&subscribed.domain.name))).collect()
    }

    /// The filters by domain number, for the feed.
    pub(crate) fn filters(&self) -> HashMap<DomainNo, Filters> {
        self.iter().map(|subscribed| (subscribed.domain.no, subscribed.filters.clone())).collect()
    }
}

/// What the copy of a domain hangs on: the filter, the scopes it uses, the definition (C1).
fn cover_hash(domain: &Domain, filters: &Filters, reach: Reach) -> CoverHash {
    let mut hash = Sha256::new();
    hash.update(domain.definition.fingerprint());
    let scope = match domain.definition.visibility() {
        Visibility::Tenant => 0,
        Visibility::Unit => reach.unit.unwrap_or(0),
        Visibility::Owner => reach.user,
    };
    hash.update(scope.to_be_bytes());
    hash.update(filters.canonical().as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut cover = CoverHash::default();
    let length = cover.len();
    cover.copy_from_slice(&hash[..length]);
    cover
}
