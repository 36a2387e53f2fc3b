//! One tenant's log as it moves, on one node.
//!
//! The feed joins the bus before it reads where the log stands, takes only what follows without a gap,
//! and at a gap makes every session catch up from the store (C8). All that a session is told under the
//! feed's lock is consistent: a row is offered before the head covers it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use synchub_rules::push::Address;
use synchub_rules::record::{DeviceNo, Head, PartyNo, Scope, Sight, TenantNo};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::tail::{Tail, TailPage};
use super::trails::Trails;
use crate::bus::{Bus, BusEvent, BusReader, Update};
use crate::observe::{Metrics, Traces};
use crate::registry::{Index, OutgoingRow, Subscriber};
use crate::store::{Store, StoreError};
use crate::tasks::Tasks;

/// The feeds of this node, one for each tenant that has sessions here.
#[derive(Debug, Clone)]
pub struct Feeds {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    open: Mutex<HashMap<TenantNo, Arc<OnceCell<Arc<Feed>>>>>,
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    tail_bytes: usize,
    metrics: Metrics,
    traces: Traces,
    tasks: Tasks,
}

impl Feeds {
    /// Feeds over a store and a bus; each keeps a tail of `tail_bytes`.
    pub fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        tail_bytes: usize,
        (metrics, traces): (Metrics, Traces),
        tasks: Tasks,
    ) -> Self {
        let open = Mutex::default();
        Self { shared: Arc::new(Shared { open, store, bus, tail_bytes, metrics, traces, tasks }) }
    }

    /// The feed of a tenant, started if this is its first session here in an epoch that is no older.
    pub async fn open(&self, tenant: TenantNo, epoch: u64) -> Result<Arc<Feed>, StoreError> {
        let slot = self.slot(tenant, epoch);
        slot.get_or_try_init(|| self.start(tenant)).await.map(Arc::clone)
    }

    /// The tenant's place in the list; feeds that nobody uses any more are ended on the way. A feed of an
    /// older epoch is ended too: what it knows of head and tail is of a history that was lost (R1).
    fn slot(&self, tenant: TenantNo, epoch: u64) -> Arc<OnceCell<Arc<Feed>>> {
        let mut open = self.shared.open.lock();
        open.retain(|other, slot| *other == tenant || !is_unused(slot));
        if let Some(old) = open.get(&tenant).and_then(|slot| slot.get()).filter(|feed| feed.epoch < epoch) {
            old.stop.cancel();
            open.remove(&tenant);
        }
        Arc::clone(open.entry(tenant).or_default())
    }

    /// Rows at or below a tenant's horizon are gone from the store: memory does not serve them either (D3).
    pub fn purged(&self, tenant: TenantNo, horizon: u64) {
        let slot = self.shared.open.lock().get(&tenant).map(Arc::clone);
        if let Some(feed) = slot.as_ref().and_then(|slot| slot.get()) {
            feed.state.lock().tail.purge(horizon);
        }
    }

    /// The devices here that are sent pushes of a scope, each once.
    pub fn present(&self, tenant: TenantNo, scope: Scope) -> Vec<(PartyNo, DeviceNo)> {
        let slot = self.shared.open.lock().get(&tenant).map(Arc::clone);
        slot.as_ref().and_then(|slot| slot.get()).map_or_else(Vec::new, |feed| feed.present(scope))
    }

    async fn start(&self, tenant: TenantNo) -> Result<Arc<Feed>, StoreError> {
        let shared = &self.shared;
        let reader = shared.bus.subscribe(tenant).await;
        let place = shared.store.place(tenant).await?;
        let feed = Arc::new(Feed {
            epoch: place.epoch,
            state: Mutex::new(State::new(place.head, shared.tail_bytes)),
            stop: shared.tasks.finishing().child_token(),
            metrics: shared.metrics.clone(),
            traces: shared.traces.clone(),
        });
        shared.tasks.spawn(Arc::clone(&feed).run(reader, shared.tasks.failed().clone()));
        Ok(feed)
    }
}

/// Whether nobody waits for the feed in a slot or holds it; then it ends.
fn is_unused(slot: &Arc<OnceCell<Arc<Feed>>>) -> bool {
    Arc::strong_count(slot) == 1 && slot.get().is_none_or(Feed::end_if_unused)
}

/// One tenant's feed.
#[derive(Debug)]
pub struct Feed {
    epoch: u64,
    state: Mutex<State>,
    stop: CancellationToken,
    metrics: Metrics,
    traces: Traces,
}

#[derive(Debug)]
struct State {
    head: Head,
    index: Index,
    tail: Tail,
}

impl Feed {
    /// Follows the bus until the node stops.
    async fn run(self: Arc<Self>, mut reader: Box<dyn BusReader>, failed: CancellationToken) {
        // A feed that panics would leave its sessions waiting: it takes the node down instead.
        let guard = failed.drop_guard();
        loop {
            let event = tokio::select! {
                biased;
                () = self.stop.cancelled() => return drop(guard.disarm()),
                event = reader.next() => event,
            };
            match event {
                BusEvent::Update(update) => self.apply(&update),
                BusEvent::Gap => self.lose(),
                BusEvent::Closed => return drop(guard.disarm()),
            }
        }
    }

    fn apply(&self, update: &Update) {
        let trails = Trails::begin(&self.traces, &update.traces);
        let mut state = self.state.lock();
        if update.epoch != self.epoch || update.head.seq <= state.head.seq {
            return;
        }
        let fresh = update.rows.iter().filter(|row| row.seq() > state.head.seq);
        let rows: Vec<_> = fresh.map(|row| OutgoingRow::new(row, trails.of(row.seq()))).collect();
        if rows.first().is_none_or(|first| first.place().seq != state.head.seq + 1) {
            return state.lose(update.head);
        }
        for row in &rows {
            state.tail.push(row);
        }
        rows.split(|_| drops_on_purpose()).for_each(|rows| state.index.offer(rows));
        state.head = update.head;
    }

    /// Something may be missing: every session asks the log.
    fn lose(&self) {
        let mut state = self.state.lock();
        let head = state.head;
        state.lose(head);
    }

    /// The log's head as far as this feed has offered it.
    pub fn head(&self) -> Head {
        self.state.lock().head
    }

    /// The history that the feed follows.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Adds or replaces a session's subscriber; it leaves when the membership is dropped.
    pub fn join(self: &Arc<Self>, subscriber: Arc<Subscriber>) -> Membership {
        let session = subscriber.session;
        self.state.lock().index.join(subscriber);
        Membership { feed: Arc::clone(self), session }
    }

    /// Replaces a member's subscriber.
    pub fn update(&self, subscriber: Arc<Subscriber>) {
        self.state.lock().index.join(subscriber);
    }

    fn present(&self, scope: Scope) -> Vec<(PartyNo, DeviceNo)> {
        let state = self.state.lock();
        let there = state.index.addressed(scope);
        let devices = there.filter_map(|one| Some((one.address.user, one.address.device?)));
        let mut devices: Vec<_> = devices.collect();
        drop(state);
        devices.sort_unstable();
        devices.dedup();
        devices
    }

    /// A page of rows after a place from memory, of at most so many rows and bytes; none if the tail
    /// begins later.
    pub fn page(
        &self,
        sight: &Sight,
        address: Address,
        after: u64,
        most: (usize, usize),
    ) -> Option<TailPage> {
        let state = self.state.lock();
        let page = state.tail.page((sight, address), after, most, state.head);
        drop(state);
        match &page {
            Some(_) => self.metrics.tail_hits.inc(),
            None => self.metrics.tail_misses.inc(),
        };
        page
    }

    /// Ends the feed of a tenant without sessions: only the list of feeds and the feed's own task hold it.
    fn end_if_unused(self: &Arc<Self>) -> bool {
        let unused = Arc::strong_count(self) <= 2;
        if unused {
            self.stop.cancel();
        }
        unused
    }
}

/// Loses one change when a test asks for it, to prove that the loss is found.
fn drops_on_purpose() -> bool {
    fail::fail_point!("feed::drop_change", |_| true);
    false
}

impl State {
    fn new(head: Head, tail_bytes: usize) -> Self {
        Self { head, index: Index::default(), tail: Tail::new(tail_bytes, head.seq) }
    }

    fn lose(&mut self, head: Head) {
        self.head = head;
        self.tail.restart(head.seq);
        self.index.lose();
    }
}

/// A session's place in a feed, given back on drop.
#[derive(Debug)]
pub struct Membership {
    feed: Arc<Feed>,
    session: u64,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.feed.state.lock().index.leave(self.session);
    }
}
