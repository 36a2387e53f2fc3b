//! What a session subscribes to: compiled filters, and a hash of what each domain's cursor covers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use synchub_protocol::ErrorCode;
use synchub_protocol::client::Subscription;
use synchub_rules::domain::Visibility;
use synchub_rules::filter::{FilterError, Filters};
use synchub_rules::group::Domain;
use synchub_rules::record::{DomainNo, PartyNo, Scope, Sight};
use synchub_rules::route::Audience;

use super::cursor::CoverHash;
use crate::catalog::Catalog;

/// The most subscriptions of one domain: each row is held against all of them.
const UNION_MOST: usize = 64;

/// What a session may subscribe to.
#[derive(Debug)]
pub(crate) struct Rights<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) catalog: &'a Catalog,
    /// The domains that the token names; none: all of the tenant.
    pub(crate) domains: Option<&'a [String]>,
    /// The most domains of a session.
    pub(crate) most: usize,
}

impl Rights<'_> {
    fn domain(&self, name: &str) -> Result<Arc<Domain>, SubscriptionError> {
        let domain = self.catalog.lookup(self.tenant, name).filter(|domain| domain.definition.feed());
        let domain = domain.ok_or_else(|| SubscriptionError::UnknownDomain(name.to_owned()))?;
        let allowed = self.domains.is_none_or(|domains| domains.iter().any(|allowed| allowed == name));
        allowed.then_some(domain).ok_or_else(|| SubscriptionError::Forbidden(name.to_owned()))
    }
}

/// Why subscriptions were refused; nothing of the request was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscriptionError {
    #[error("there is no domain `{0}` to subscribe to")]
    UnknownDomain(String),
    #[error("this token may not see the domain `{0}`")]
    Forbidden(String),
    #[error("the filter of `{domain}`: {source}")]
    Filter { domain: String, source: FilterError },
    #[error("a domain may have at most {UNION_MOST} subscriptions; `{0}` has more")]
    TooManyOfOne(String),
    #[error("a session may subscribe to at most {0} domains")]
    TooMany(usize),
}

impl SubscriptionError {
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownDomain(_) => ErrorCode::UnknownDomain,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::Filter { .. } | Self::TooMany(_) | Self::TooManyOfOne(_) => ErrorCode::BadRequest,
        }
    }
}

/// What the session may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A device: its tenant's, its unit's and its user's records.
    Device {
        /// The user.
        user: PartyNo,
        /// The user's unit.
        unit: Option<PartyNo>,
    },
    /// A publisher with these units: the tenant's and their records.
    Units(Vec<PartyNo>),
    /// An operator, or a publisher of the whole tenant.
    Tenant,
}

impl Reach {
    /// The scopes of records that may be seen.
    pub(crate) fn sight(&self) -> Sight {
        let parties = match self {
            Self::Tenant => return Sight::Everything,
            Self::Units(units) => units.clone(),
            Self::Device { user, unit } => unit.iter().chain([user]).copied().collect(),
        };
        let mut scopes = vec![Scope::Tenant];
        scopes.extend(parties.into_iter().map(Scope::Party));
        scopes.sort_unstable();
        Sight::Scopes(scopes)
    }

    /// The parties whose records of a domain may be seen: what a cursor of the domain covers.
    fn parties(&self, visibility: Visibility) -> Vec<PartyNo> {
        match (self, visibility) {
            (Self::Tenant, _) | (_, Visibility::Tenant) | (Self::Units(_), Visibility::Owner) => Vec::new(),
            (Self::Device { unit, .. }, Visibility::Unit) => unit.iter().copied().collect(),
            (Self::Device { user, .. }, Visibility::Owner) => vec![*user],
            (Self::Units(units), Visibility::Unit) => units.clone(),
        }
    }
}

/// One domain of the set.
#[derive(Debug, Clone)]
pub(crate) struct Subscribed {
    pub(crate) domain: Arc<Domain>,
    pub(crate) filters: Arc<Filters>,
    /// As the client sent them, to be said again.
    pub(crate) sent: Vec<Subscription>,
    pub(crate) hash: CoverHash,
}

/// The whole set, in the order of the domains' names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Subscriptions {
    by_name: Vec<Subscribed>,
    delays: bool,
}

impl Subscriptions {
    /// Replaces the subscriptions of the domains named; two for one domain are a union.
    pub(crate) fn with(
        &self,
        sent: Vec<Subscription>,
        reach: &Reach,
        rights: &Rights<'_>,
    ) -> Result<Self, SubscriptionError> {
        let mut named: BTreeMap<String, Vec<Subscription>> = BTreeMap::new();
        for subscription in sent {
            named.entry(subscription.domain.clone()).or_default().push(subscription);
        }
        let mut by_name = self.by_name.clone();
        for (name, mut sent) in named {
            let domain = rights.domain(&name)?;
            if sent.len() > UNION_MOST {
                return Err(SubscriptionError::TooManyOfOne(name));
            }
            let filters = Filters::compile(&sent)
                .map_err(|source| SubscriptionError::Filter { domain: name.clone(), source })?;
            let turn = rights.catalog.turn(domain.no);
            let hash = cover_hash((&domain, turn), &filters, reach);
            sent.shrink_to_fit();
            let subscribed = Subscribed { domain, filters: Arc::new(filters), sent, hash };
            match by_name.binary_search_by(|other| (*other.domain.name).cmp(&name)) {
                Ok(place) => by_name[place] = subscribed,
                Err(place) => by_name.insert(place, subscribed),
            }
        }
        if by_name.len() > rights.most {
            return Err(SubscriptionError::TooMany(rights.most));
        }
        Ok(Self::of_names(by_name))
    }

    /// The set without some domains; names that are not in it are no error.
    pub(crate) fn without(&self, domains: &[String]) -> Self {
        let mut by_name = self.by_name.clone();
        by_name.retain(|subscribed| !domains.iter().any(|name| **name == *subscribed.domain.name));
        Self::of_names(by_name)
    }

    fn of_names(mut by_name: Vec<Subscribed>) -> Self {
        by_name.shrink_to_fit();
        let delays = by_name.iter().any(|subscribed| subscribed.filters.delays());
        Self { by_name, delays }
    }

    /// Whether a subscription leaves changes of low priority for later (C9).
    pub(crate) fn delays(&self) -> bool {
        self.delays
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscribed> {
        self.by_name.iter()
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

    /// The set as the feed and the log's pages are asked for it.
    pub(crate) fn audience(&self, sight: &Sight) -> Arc<Audience> {
        let domains = self.iter().map(|subscribed| (subscribed.domain.no, Arc::clone(&subscribed.filters)));
        Arc::new(Audience { sight: sight.clone(), domains: domains.collect() })
    }
}

/// What the copy of a domain hangs on: the filter, the scopes it uses, the definition (C1).
fn cover_hash((domain, turn): (&Domain, u64), filters: &Filters, reach: &Reach) -> CoverHash {
    let mut hash = Sha256::new();
    hash.update(domain.definition.fingerprint());
    hash.update(turn.to_be_bytes());
    hash.update([u8::from(*reach == Reach::Tenant)]);
    for party in reach.parties(domain.definition.visibility()) {
        hash.update(party.to_be_bytes());
    }
    hash.update(filters.canonical().as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut cover = CoverHash::default();
    let length = cover.len();
    cover.copy_from_slice(&hash[..length]);
    cover
}
