//! Removes what is past its time: log rows and tombstones, batches, refused numbers, closed reviews (D3).
//!
//! Step by step, each a short transaction of its own, and slowly: what waits for the store goes first, and
//! most of the store's time is left to it. It asks no device, and never touches what is younger than the
//! settings say.

use std::sync::Arc;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::config::RetentionSettings;
use crate::observe::{Metrics, PurgedKind};
use crate::push::Feeds;
use crate::store::{PurgeQuery, Purgeable, Purged, Store, StoreError};

/// How many tenants are looked up at once.
const TENANTS: u32 = 100;
/// After a step the purge rests for this many times as long as it took, its wait for the store included: the
/// busier the store is, the longer.
const REST: u32 = 3;

/// Purges the store.
#[derive(Debug, Clone)]
pub struct Retention {
    store: Arc<dyn Store>,
    feeds: Feeds,
    clock: SharedClock,
    metrics: Metrics,
    settings: RetentionSettings,
    stop: CancellationToken,
}

/// What a run removed, in rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Log rows.
    pub log: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Batches with their answers.
    pub batches: u64,
    /// Refused numbers.
    pub refused: u64,
    /// Closed reviews.
    pub reviews: u64,
    /// Notes of what happened to pushes.
    pub deliveries: u64,
}

impl Retention {
    /// A purge over a store; it begins no step after `stop`.
    pub fn new(
        (store, feeds): (Arc<dyn Store>, Feeds),
        clock: SharedClock,
        metrics: Metrics,
        settings: RetentionSettings,
        stop: CancellationToken,
    ) -> Self {
        Self { store, feeds, clock, metrics, settings, stop }
    }

    /// Purges again and again, until it is told to stop.
    pub async fn run(self) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(self.settings.every()) => {}
            }
            if let Err(error) = self.purge().await {
                tracing::warn!(%error, "what is past its time could not be removed; trying again later");
            }
        }
    }

    /// Removes everything that is past its time now. What was removed before an error stays removed.
    pub async fn purge(&self) -> Result<Removed, StoreError> {
        let now_us = self.clock.now_us();
        let mut removed = Removed::default();
        let done = self.purge_all(now_us, &mut removed).await;
        if removed != Removed::default() {
            let Removed { log, tombstones, batches, refused, reviews, deliveries } = removed;
            tracing::info!(
                log,
                tombstones,
                batches,
                refused,
                reviews,
                deliveries,
                "removed what was past its time"
            );
        }
        done.map(|()| removed)
    }

    async fn purge_all(&self, now_us: i64, removed: &mut Removed) -> Result<(), StoreError> {
        let log_before = self.settings.log_before(now_us);
        self.purge_logs(log_before, removed).await?;
        for (what, before_us, count) in [
            (Purgeable::Refused, log_before, &mut removed.refused),
            (Purgeable::Batches, self.settings.batches_before(now_us), &mut removed.batches),
            (Purgeable::Reviews, self.settings.reviews_before(now_us), &mut removed.reviews),
            (Purgeable::Deliveries, log_before, &mut removed.deliveries),
        ] {
            while let Some(purged) = self.step(what, before_us).await? {
                *count += purged.rows;
                if !purged.more {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn purge_logs(&self, before_us: i64, removed: &mut Removed) -> Result<(), StoreError> {
        let mut after = 0;
        while !self.stop.is_cancelled() {
            let tenants = self.store.tenants_to_purge(after, before_us, TENANTS).await?;
            let Some(&last) = tenants.last() else { break };
            for tenant in tenants {
                while let Some(purged) = self.step(Purgeable::Log(tenant), before_us).await? {
                    removed.log += purged.rows;
                    removed.tombstones += purged.tombstones;
                    self.feeds.purged(tenant, purged.horizon);
                    if !purged.more {
                        break;
                    }
                }
            }
            after = last;
        }
        Ok(())
    }

    /// One transaction, and a rest if another follows; none when the node stops.
    async fn step(&self, what: Purgeable, before_us: i64) -> Result<Option<Purged>, StoreError> {
        if self.stop.is_cancelled() {
            return Ok(None);
        }
        let began = Instant::now();
        let purged = self.store.purge(PurgeQuery { what, before_us, limit: self.settings.rows }).await?;
        for (kind, rows) in kinds(what, &purged) {
            self.metrics.purged.of(kind).inc_by(rows);
        }
        if purged.more {
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(began.elapsed() * REST) => {}
            }
        }
        Ok(Some(purged))
    }
}

fn kinds(what: Purgeable, purged: &Purged) -> [(PurgedKind, u64); 2] {
    let kind = match what {
        Purgeable::Log(_) => PurgedKind::Log,
        Purgeable::Batches => PurgedKind::Batch,
        Purgeable::Refused => PurgedKind::Refused,
        Purgeable::Reviews => PurgedKind::Review,
        Purgeable::Deliveries => PurgedKind::Delivery,
    };
    [(kind, purged.rows), (PurgedKind::Tombstone, purged.tombstones)]
}
