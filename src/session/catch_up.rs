//! Snapshots and replays: what a session is sent until it is live (C4, C5).
//!
//! One page at a time, read only when the lane is empty and, from the store, under a permit of the node.
//! The feed is joined before each page of the log, so that the first page which reaches the head can be
//! followed by live rows without a gap.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use synchub_protocol::server::{CaughtUp, Change, ChangeOperation, Position, Snapshot, SnapshotRecord};
use synchub_protocol::{Encoding, ServerFrame, Timestamp};
use synchub_rules::push::PushRow;
use synchub_rules::record::{DomainNo, Head, Record, RecordNo, RowKind, Scope, TenantNo};
use synchub_rules::route::{self, Audience, Delivery, PageDelivery, ReplayPage};
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::connected::{Mode, Session};
use super::deps::Deps;
use super::live::is_urgent;
use super::progress::NextPage;
use super::remembered::{TailDelivery, tail_deliveries};
use crate::limits::Replays;
use crate::observe::{CatchUpCause, LimitKind};
use crate::push::TailPage;
use crate::registry::{Form, OutgoingPush};
use crate::store::{LogPage, LogQuery, PageRow, SnapshotPage, SnapshotQuery, StoreError};

/// What a snapshot frame takes at most, unless a single record is larger: the socket's buffers stay small.
pub(super) const FRAME_BYTES: usize = 48 * 1024;
/// How long to wait before a page that could not be read is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// A page that was read.
#[derive(Debug)]
pub(super) enum Page {
    /// Of a snapshot.
    Snapshot(NextPage, SnapshotPage),
    /// Of the log.
    Replay(Replay),
    /// The page begins below what the log still holds; where the log's head was then.
    Expired(Head),
    /// None: the tenant was sent too much, and a page may be read now.
    Waited,
    /// The store did not answer, for this reason; it is asked again.
    Failed(String),
}

/// A page of the log, as frames for this session.
#[derive(Debug)]
pub(super) struct Replay {
    /// In order.
    items: Vec<Item>,
    end: Head,
    at_head: bool,
}

/// What a page of the log brings at a place.
#[derive(Debug)]
enum Item {
    Change(Change),
    Push(OutgoingPush),
}

impl Item {
    fn goes_first(&self) -> bool {
        matches!(self, Self::Change(change) if is_urgent(change.priority))
    }
}

/// The page that is being read.
#[derive(Default)]
pub(super) struct CatchUp {
    reading: Option<BoxFuture<'static, Page>>,
}

impl fmt::Debug for CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatchUp").field("reading", &self.is_reading()).finish()
    }
}

impl CatchUp {
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Waits for the page that is being read. Safe to cancel.
    pub(super) async fn next(&mut self) -> Page {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let page = reading.await;
        self.reading = None;
        page
    }
}

impl Session {
    /// Begins to read the next page; one from memory is there at once.
    pub(super) fn read_page(&mut self) {
        let (deps, replays) = (Arc::clone(&self.deps), Arc::clone(self.allowance.replays()));
        let (limit, bytes) = (deps.settings.catch_up.page_rows, deps.settings.catch_up.page_bytes);
        let (tenant, sight) = (self.tenant, self.audience.sight.clone());
        let reading = if let Some(next) = self.progress.next_page() {
            let NextPage { domain, after, .. } = next;
            let query = SnapshotQuery { tenant, domain, sight, after, limit, bytes };
            read_snapshot((deps, replays), next, query, self.progress.place().seq).boxed()
        } else if replays.is_over() {
            wait(deps, replays).boxed()
        } else {
            self.mailbox.open();
            let after = self.progress.at().seq;
            if let Some(page) = self.feed.page(&sight, self.address, after, (limit, bytes)) {
                replays.take(page.rows.len());
                return self.on_tail_page(&page);
            }
            let view = View { audience: Arc::clone(&self.audience), names: self.subscriptions.names() };
            let query = LogQuery { tenant, sight, address: Some(self.address), after, limit, bytes };
            read_log((deps, replays), query, view).boxed()
        };
        self.mode = Mode::CatchUp(CatchUp { reading: Some(reading) });
    }

    pub(super) fn on_page(&mut self, page: Page) {
        match page {
            Page::Snapshot(next, page) => self.on_snapshot_page(next, page),
            Page::Expired(head) => self.start_over(head),
            Page::Replay(mut replay) => {
                let before = self.progress.at();
                if self.own_state.is_on_poor_link() {
                    replay.items.sort_by_key(|item| !item.goes_first());
                }
                for item in replay.items {
                    match item {
                        Item::Change(change) => self.push(&ServerFrame::DataUpdate(change)),
                        Item::Push(push) => self.take_push(&push, before),
                    }
                }
                self.finish_page(replay.end, replay.at_head);
            }
            Page::Waited => {}
            Page::Failed(error) => {
                self.log().in_scope(|| tracing::warn!(error, "a page could not be read; trying again"));
            }
        }
    }

    /// Sends a page of a snapshot in frames of bounded size, each with the cursor that goes on after it.
    fn on_snapshot_page(&mut self, next: NextPage, page: SnapshotPage) {
        let Some(subscribed) = self.subscriptions.of(next.domain).cloned() else { return };
        let last_read = page.records.last().map(place_of);
        let matching = page.records.into_iter().filter(|record| subscribed.filters.matches(&record.data));
        let records: Vec<_> = matching.collect();
        let mut parts = split(&records, self.frame_bytes, self.socket.encoding());
        if parts.is_empty() && page.is_last {
            parts.push(&[]);
        }
        let (count, mut first) = (parts.len(), !next.begun);
        for (index, part) in parts.into_iter().enumerate() {
            let last = page.is_last && index + 1 == count;
            if last {
                self.progress.snapshot_done();
            } else if let Some(record) = part.last() {
                self.progress.snapshot_sent(place_of(record));
            }
            let snapshot = Snapshot {
                domain: subscribed.domain.name.to_string(),
                first,
                last,
                records: part.iter().map(snapshot_record).collect(),
                total: page.total.filter(|_| first),
                cursor: self.seal(),
            };
            first = false;
            self.push(&ServerFrame::Snapshot(snapshot));
        }
        if let Some(last_read) = last_read.filter(|_| !page.is_last) {
            self.progress.snapshot_passed(last_read);
        }
    }

    /// Sends what memory holds, in the frames that live sessions were sent.
    fn on_tail_page(&mut self, page: &TailPage) {
        let form = self.form();
        let before = self.progress.at();
        let mut deliveries = tail_deliveries(page, &self.audience);
        if self.own_state.is_on_poor_link() {
            deliveries.sort_by_key(|delivery| !delivery.goes_first());
        }
        for delivery in deliveries {
            match delivery {
                TailDelivery::Change { outgoing, delivery, is_only } => {
                    let delta = self.takes_deltas && is_only && self.audience.saw_before(&outgoing.row);
                    self.outbox.push_data(outgoing.frame(delivery, Form { delta, ..form }));
                }
                TailDelivery::Push(push) => self.take_push(&push, before),
            }
        }
        self.finish_page(page.end, page.at_head);
    }

    /// Says how far the page reaches; live from here if that is the head and nothing was forgotten since.
    fn finish_page(&mut self, end: Head, at_head: bool) {
        self.progress.advance(end);
        let (cursor, seq) = (self.seal(), self.progress.place().seq);
        if at_head && self.mailbox.is_open() {
            for id in self.holding.caught_up() {
                self.push(&ServerFrame::CaughtUp(CaughtUp { cursor: cursor.clone(), seq, id }));
            }
            self.pushes.waiting.caught_up();
            self.mode = Mode::Live;
        } else {
            self.push(&ServerFrame::Position(Position { cursor, seq }));
        }
        self.tell_held_back();
        self.timers.positioned(Instant::now());
        self.want_owed_position(seq);
    }

    /// The place fell below the log's horizon: everything comes as a snapshot again (C3), from the head that
    /// the page was read with. The feed may not have heard of it yet, and could lie below the horizon itself.
    fn start_over(&mut self, head: Head) {
        self.deps.metrics.catch_ups.of(CatchUpCause::Expired).inc();
        let pushed = self.progress.pushed();
        let _fresh = self.progress.start_over(head, &self.subscriptions);
        self.pushes.start_over(pushed, head.seq);
    }
}

/// What a session may see and wants, for a read that outlives the borrow of it.
struct View {
    audience: Arc<Audience>,
    names: HashMap<DomainNo, Arc<str>>,
}

/// Reads a page of a snapshot that is followed by a replay from `base`.
async fn read_snapshot(
    (deps, replays): (Arc<Deps>, Arc<Replays>),
    next: NextPage,
    query: SnapshotQuery,
    base: u64,
) -> Page {
    let permit = permit(&deps, &replays).await;
    let read = deps.store.snapshot_page(query).await;
    drop(permit);
    replays.took(read.as_ref().map_or(0, |page| page.records.len()), deps.settings.catch_up.page_rows);
    match read {
        Ok(page) if base < page.place.horizon => Page::Expired(page.place.head),
        Ok(page) => Page::Snapshot(next, page),
        Err(error) => failed(&error).await,
    }
}

/// A permit to read from the store. The session is first in its tenant's line until it has one: of each tenant one
/// waits for the permits of the node, however many sessions it has.
async fn permit<'a>(deps: &'a Deps, replays: &Replays) -> Option<SemaphorePermit<'a>> {
    if replays.is_over() {
        deps.metrics.limited.of(LimitKind::Replay).inc();
    }
    let turn = replays.turn().await;
    let permit = deps.permits.acquire().await.ok();
    replays.take(deps.settings.catch_up.page_rows);
    drop(turn);
    permit
}

/// Waits until the tenant may be sent more.
async fn wait(deps: Arc<Deps>, replays: Arc<Replays>) -> Page {
    deps.metrics.limited.of(LimitKind::Replay).inc();
    let _turn = replays.turn().await;
    Page::Waited
}

async fn read_log((deps, replays): (Arc<Deps>, Arc<Replays>), query: LogQuery, view: View) -> Page {
    let permit = permit(&deps, &replays).await;
    let (tenant, after) = (query.tenant, query.after);
    let read = async {
        let page = deps.store.log_page(query).await?;
        if after < page.place.horizon {
            return Ok(Page::Expired(page.place.head));
        }
        let rows = page.rows.len() + page.pushes.len();
        replays.took(rows, deps.settings.catch_up.page_rows);
        deps.metrics.log_rows_read.inc_by(rows as u64);
        let changes = read_changes(&deps, tenant, &page, &view).await?;
        let items = in_order(changes, page.pushes);
        let at_head = page.end.seq >= page.place.head.seq;
        Ok(Page::Replay(Replay { items, end: page.end, at_head }))
    };
    let read = read.await;
    drop(permit);
    match read {
        Ok(page) => page,
        Err(error) => failed::<StoreError>(&error).await,
    }
}

async fn failed<E: fmt::Display>(error: &E) -> Page {
    tokio::time::sleep(RETRY).await;
    Page::Failed(error.to_string())
}

/// Changes and pushes as they go out, by place.
fn in_order(changes: Vec<(u64, Change)>, pushes: Vec<PushRow>) -> Vec<Item> {
    let changes = changes.into_iter().map(|(seq, change)| (seq, Item::Change(change)));
    let pushes = pushes.into_iter().map(|row| (row.seq, Item::Push(OutgoingPush::new(row))));
    let mut items: Vec<_> = changes.chain(pushes).collect();
    items.sort_by_key(|(seq, _)| *seq);
    items.into_iter().map(|(_, item)| item).collect()
}

/// What the changes of a page of the log say to the session, with the place of each (C5).
async fn read_changes(
    deps: &Deps,
    tenant: TenantNo,
    page: &LogPage,
    view: &View,
) -> Result<Vec<(u64, Change)>, StoreError> {
    let rows = page.rows.iter().map(|row| {
        let PageRow { seq, domain, record, version, .. } = *row;
        route::PageRow { seq, domain, record, version }
    });
    let rows: Vec<_> = rows.collect();
    let replay = ReplayPage::new(&rows, &page.records, &view.audience);
    let wanted = replay.wanted();
    let histories =
        if wanted.is_empty() { HashMap::new() } else { deps.store.histories(tenant, wanted).await? };
    let deliveries = replay.deliveries(&histories).into_iter();
    // What is sent is what the record's last row made: it says who.
    let last_rows: HashMap<RecordNo, &PageRow> = page.rows.iter().map(|row| (row.record, row)).collect();
    Ok(deliveries
        .filter_map(|delivery| {
            Some((delivery.seq, change(&delivery, last_rows.get(&delivery.record.no)?, view)?))
        })
        .collect())
}

fn change(delivery: &PageDelivery, row: &PageRow, view: &View) -> Option<Change> {
    let record = &delivery.record;
    let operation = match delivery.delivery {
        Delivery::Upsert if row.kind == RowKind::Create && row.version == record.version => {
            ChangeOperation::Create
        }
        Delivery::Upsert => ChangeOperation::Update,
        Delivery::Delete => ChangeOperation::Delete,
        Delivery::Remove => ChangeOperation::Remove,
    };
    Some(Change {
        domain: view.names.get(&row.domain)?.to_string(),
        operation,
        mobile_id: record.key,
        version: record.version,
        base_version: None,
        data: (delivery.delivery == Delivery::Upsert).then(|| Arc::clone(&record.data)),
        changed: None,
        priority: record.priority,
        origin: (*row.origin).clone(),
        server_timestamp: Timestamp(record.time_us),
    })
}

/// Cuts records into parts whose frames stay within `limit`; a single larger record goes alone.
fn split(records: &[Record], limit: usize, encoding: Encoding) -> Vec<&[Record]> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, record) in records.iter().enumerate() {
        let size = encoding.encode(&snapshot_record(record)).len();
        if index > start && bytes + size > limit.saturating_sub(FRAME_OVERHEAD) {
            parts.push(&records[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += size + 1;
    }
    if start < records.len() {
        parts.push(&records[start..]);
    }
    parts
}

/// What a snapshot frame holds beside its records: names and a cursor of at most 1024 characters.
const FRAME_OVERHEAD: usize = 1536;

fn snapshot_record(record: &Record) -> SnapshotRecord {
    SnapshotRecord {
        mobile_id: record.key,
        version: record.version,
        data: Arc::clone(&record.data),
        priority: record.priority,
        server_timestamp: Timestamp(record.time_us),
    }
}

fn place_of(record: &Record) -> (Scope, i64) {
    (record.scope, record.no)
}
