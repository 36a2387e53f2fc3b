//! Makes the parts of a node out of its settings, and starts what it does by itself.
//!
//! Every concrete back end but the store is named here.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use synchub_rules::domain;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::new_epoch;
use crate::auth::Verifier;
use crate::bus::Bus;
use crate::bus::local::LocalBus;
use crate::catalog::Catalog;
use crate::clock::SharedClock;
use crate::config::Settings;
use crate::devices::{Acks, Deliveries, Registrar};
use crate::entropy::SharedEntropy;
use crate::limits::Limits;
use crate::observe::{Metrics, Traces};
use crate::push::{Feeds, Publisher, Throttle};
use crate::recorder::Recorder;
use crate::registry::Devices;
use crate::retention::Retention;
use crate::session::{CursorKey, Deps, ReadPool};
use crate::store::Store;
use crate::sync::Engine;
use crate::tasks::Tasks;

/// How many digests with a filter are read at once: half of the store's readers, so that pages find one.
const DIGEST_SCANS: usize = 2;

/// How often the store is asked to give memory back.
const REST_EVERY: Duration = Duration::from_secs(10);

/// What the sessions of a node share.
pub(super) async fn wire(
    (settings, definitions): (Settings, domain::Catalog),
    (verifier, limits): (Verifier, Arc<Limits>),
    (clock, entropy): (SharedClock, SharedEntropy),
    store: Arc<dyn Store>,
    tasks: &Tasks,
) -> anyhow::Result<Arc<Deps>> {
    let metrics = Metrics::new();
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::default());
    let catalog = Catalog::open(&definitions, store.as_ref()).await?;
    let (recorder, recorded_names) = Recorder::start(&settings.record, entropy.as_ref(), tasks)?;
    let traces = Traces::start(&settings.trace, Arc::clone(&clock), Arc::clone(&entropy), metrics.clone())?;
    let engine = Engine::start(
        Arc::clone(&store),
        (Arc::clone(&bus), recorder),
        Arc::clone(&clock),
        (&settings.commit, &settings.admission),
        metrics.clone(),
        tasks,
    );
    let observed = (metrics.clone(), traces.clone());
    let feeds = Feeds::new(Arc::clone(&store), bus, settings.feed.tail_bytes, observed, tasks.clone());
    let throttle = Throttle::new(settings.push.per_minute);
    let publisher = Publisher {
        store: Arc::clone(&store),
        engine: engine.clone(),
        catalog: catalog.clone(),
        feeds: feeds.clone(),
        throttle: throttle.clone(),
        clock: Arc::clone(&clock),
        limits: settings.limits.clone(),
        settings: settings.push.clone(),
    };
    Ok(Arc::new(Deps {
        recorded_names,
        feeds,
        devices: Devices::default(),
        registrar: Registrar::start(Arc::clone(&store), metrics.clone(), tasks),
        acks: Acks::default(),
        deliveries: Deliveries::default(),
        throttle,
        publisher,
        cursors: CursorKey::new(&store.cursor_key()),
        permits: Semaphore::new(settings.catch_up.permits),
        limits,
        reading: ReadPool::new(Arc::clone(&clock)),
        scans: Semaphore::new(DIGEST_SCANS),
        sessions: AtomicU64::new(1),
        store,
        engine,
        catalog,
        verifier,
        tasks: tasks.clone(),
        settings,
        clock,
        entropy,
        metrics,
        traces,
    }))
}

/// Starts what the node does by itself, beside sessions: what was noted is written now and then, what is past its time
/// is removed.
pub(super) fn keep_up(deps: &Arc<Deps>, tasks: &Tasks) -> Retention {
    let (every, stop) = (deps.settings.ack_flush(), || tasks.finishing().clone());
    tasks.spawn_vital(deps.acks.clone().run(Arc::clone(&deps.store), every, stop()));
    tasks.spawn_vital(deps.deliveries.clone().run(Arc::clone(&deps.store), every, stop()));
    tasks.spawn_vital(Arc::clone(&deps.limits).run(deps.metrics.clone(), stop()));
    tasks.spawn_vital(rest(Arc::clone(&deps.store), stop()));
    tasks.spawn_vital(new_epoch::close_sessions(Arc::clone(deps)));
    if let Some(keep) = deps.verifier.keep_keys(Arc::clone(&deps.clock), stop()) {
        tasks.spawn_vital(keep);
    }
    let retention = Retention::new(
        (Arc::clone(&deps.store), deps.feeds.clone()),
        Arc::clone(&deps.clock),
        deps.metrics.clone(),
        deps.settings.retention.clone(),
        stop(),
    );
    tasks.spawn_vital(retention.clone().run());
    retention
}

/// Lets the store give back what it does not need, until the node stops.
async fn rest(store: Arc<dyn Store>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(REST_EVERY)).await.is_some() {
        if let Err(error) = store.rest().await {
            tracing::debug!(%error, "the store gives no memory back");
        }
    }
}
