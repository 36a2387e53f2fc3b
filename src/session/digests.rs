//! Digests that a client asks for: read one after the other, while the session goes on (EN13).
//!
//! A domain without a filter is a sum over a few rows; with one its records have to be looked at, and
//! few such reads run on a node at once, so that pages of those who come back find a connection.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use synchub_protocol::client::Digest;
use synchub_protocol::server::{DigestResult, DomainDigest};
use synchub_protocol::{CloseReason, ErrorCode, ServerFrame};
use tokio::time::Instant;

use super::connected::Session;
use super::deps::Deps;
use super::subscriptions::{Subscribed, SubscriptionError};
use crate::auth::Role;
use crate::store::{DigestQuery, DigestView, Digests, StoreError};

/// An answer of the store to a request.
#[derive(Debug)]
pub(super) struct DigestRead {
    id: u64,
    /// The domains, in the order of the digests.
    names: Vec<String>,
    found: Result<Digests, StoreError>,
}

/// The requests that wait; the first is being read.
#[derive(Default)]
pub(super) struct DigestReads {
    reads: VecDeque<BoxFuture<'static, DigestRead>>,
}

impl fmt::Debug for DigestReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestReads").field("waiting", &self.reads.len()).finish()
    }
}

impl DigestReads {
    /// Waits for the first. Safe to cancel.
    pub(super) async fn next(&mut self) -> DigestRead {
        let Some(read) = self.reads.front_mut() else { return std::future::pending().await };
        let read = read.await;
        self.reads.pop_front();
        read
    }
}

impl Session {
    /// Asks the store; the answer comes when it is there.
    pub(super) fn on_digest(&mut self, request: Digest) -> Result<(), CloseReason> {
        let id = request.id;
        if self.identity.role == Role::Publisher {
            return self.forbid(Some(id), "only devices and operators ask for digests");
        }
        let most = self.deps.settings.limits.max_in_flight;
        if self.digests.reads.len() >= most {
            let message = format!("{most} digests wait for an answer already; wait for one");
            return self.refuse(Some(id), ErrorCode::TooManyInFlight, message);
        }
        let views = match self.digest_views(request.domains) {
            Ok(views) => views,
            Err(error) => return self.refuse(Some(id), error.code(), error.to_string()),
        };
        let (names, views) = views.into_iter().unzip();
        let query = DigestQuery { tenant: self.tenant, sight: self.audience.sight.clone(), views };
        let deps = Arc::clone(&self.deps);
        let read = async move { DigestRead { id, names, found: read(&deps, query).await } };
        self.digests.reads.push_back(read.boxed());
        Ok(())
    }

    /// The session's view of each domain: scope and filter of what is subscribed to, of others the scope.
    fn digest_views(
        &self,
        names: Option<Vec<String>>,
    ) -> Result<BTreeMap<String, DigestView>, SubscriptionError> {
        let Some(names) = names else {
            let subscribed = self.subscriptions.iter();
            return Ok(subscribed.map(|one| (one.domain.name.to_string(), view_of(one))).collect());
        };
        let view = |name: String| {
            let domain = self.deps.catalog.lookup(&self.identity.tenant, &name);
            match domain.filter(|domain| domain.definition.feed()) {
                Some(domain) => {
                    let unfiltered = DigestView { domain: domain.no, filters: None };
                    Ok((name, self.subscriptions.of(domain.no).map_or(unfiltered, view_of)))
                }
                None => Err(SubscriptionError::UnknownDomain(name)),
            }
        };
        names.into_iter().map(view).collect()
    }

    pub(super) fn on_digest_read(&mut self, read: DigestRead) -> Result<(), CloseReason> {
        let DigestRead { id, names, found } = read;
        match found {
            Ok(Digests { place, digests }) => {
                let seq = place.head.seq;
                // The copy can be compared once a place at or past this one was named.
                self.owed = self.owed.max(seq);
                self.timers.want_position(Instant::now(), self.deps.settings.feed.position_delay());
                let domains = names.into_iter().zip(digests.into_iter().map(DomainDigest::from)).collect();
                self.say(&ServerFrame::DigestResult(DigestResult { id, seq, domains }))
            }
            Err(error @ StoreError::Unavailable(_)) => {
                self.log().in_scope(|| tracing::warn!(%error, "a digest could not be read"));
                self.refuse(
                    Some(id),
                    ErrorCode::Unavailable,
                    "the digest cannot be read now; ask again later",
                )
            }
            Err(error @ StoreError::Corrupt(_)) => {
                self.log().in_scope(|| tracing::error!(%error, "a digest could not be read"));
                self.refuse(Some(id), ErrorCode::Internal, "the digest could not be read")
            }
        }
    }
}

fn view_of(subscribed: &Subscribed) -> DigestView {
    let filters = (!subscribed.filters.wants_everything()).then(|| Arc::clone(&subscribed.filters));
    DigestView { domain: subscribed.domain.no, filters }
}

/// Who waits to look at records holds no permit meanwhile, which a page could use.
async fn read(deps: &Deps, query: DigestQuery) -> Result<Digests, StoreError> {
    let scans = query.views.iter().any(|view| view.filters.is_some());
    let _scan = if scans { deps.scans.acquire().await.ok() } else { None };
    let _permit = deps.permits.acquire().await;
    deps.store.digest(query).await
}
