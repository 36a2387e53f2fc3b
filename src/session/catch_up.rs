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
use synchub_rules::filter::Filters;
use synchub_rules::record::{DomainNo, Head, History, Record, RecordNo, RowKind, Scope};
use synchub_rules::route;
use tokio::time::Instant;

use super::connected::{Mode, Session};
use super::deps::Deps;
use super::progress::NextPage;
use crate::push::TailPage;
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
    /// The store did not answer; it is asked again.
    Failed,
}

/// A page of the log, as frames for this session.
#[derive(Debug)]
pub(super) struct Replay {
    changes: Vec<Change>,
    end: Head,
    at_head: bool,
    /// The page's beginning lies below what the log still holds.
    expired: bool,
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
        let deps = Arc::clone(&self.deps);
        let reading = match self.progress.next_page() {
            Some(next) => {
                let query = SnapshotQuery {
                    tenant: self.tenant,
                    domain: next.domain,
                    scopes: self.scopes.clone(),
                    after: next.after,
                    limit: deps.settings.catch_up.page_rows,
                };
                read_snapshot(deps, next, query).boxed()
            }
            None => {
                self.mailbox.open();
                let after = self.progress.at().seq;
                if let Some(page) = self.feed.page(&self.scopes, after) {
                    return self.on_tail_page(&page);
                }
                let limit = deps.settings.catch_up.page_rows;
                let query = LogQuery { tenant: self.tenant, scopes: self.scopes.clone(), after, limit };
                let view = View {
                    scopes: self.scopes.clone(),
                    filters: self.subscriptions.filters(),
                    names: self.subscriptions.names(),
                };
                read_log(deps, query, view).boxed()
            }
        };
        self.mode = Mode::CatchUp(CatchUp { reading: Some(reading) });
    }

    pub(super) fn on_page(&mut self, page: Page) {
        match page {
            Page::Snapshot(next, page) => self.on_snapshot_page(next, page),
            Page::Replay(replay) if replay.expired => self.start_over(),
            Page::Replay(replay) => {
                for change in replay.changes {
                    self.push(&ServerFrame::DataUpdate(change));
                }
                self.finish_page(replay.end, replay.at_head);
            }
            Page::Failed => {}
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

    /// Sends what memory holds: for each record the frame of its last row there, at the place of its
    /// first. The tail reaches the log's head, so the last row says what holds now.
    fn on_tail_page(&mut self, page: &TailPage) {
        let rows: Vec<_> = page.rows.iter().map(|outgoing| outgoing.row.as_ref()).collect();
        let filters = self.subscriptions.filters();
        for (index, delivery) in route::replay(&rows, &self.scopes, &filters) {
            self.outbox.push_data(page.rows[index].frame(delivery, self.socket.encoding()));
        }
        self.finish_page(page.end, true);
    }

    /// Says how far the page reaches; live from here if that is the head and nothing was forgotten since.
    fn finish_page(&mut self, end: Head, at_head: bool) {
        self.progress.advance(end);
        let (cursor, seq) = (self.seal(), self.progress.place().seq);
        if at_head && self.mailbox.is_open() {
            self.push(&ServerFrame::CaughtUp(CaughtUp { cursor, seq, id: None }));
            self.mode = Mode::Live;
        } else {
            self.push(&ServerFrame::Position(Position { cursor, seq }));
        }
        self.timers.positioned(Instant::now());
    }

    /// The place fell below the log's horizon: everything comes as a snapshot again (C3).
    fn start_over(&mut self) {
        let _fresh = self.progress.start_over(self.feed.head(), &self.subscriptions);
    }
}

/// What a session may see and wants, for a read that outlives the borrow of it.
struct View {
    scopes: Vec<Scope>,
    filters: HashMap<DomainNo, Filters>,
    names: HashMap<DomainNo, Arc<str>>,
}

async fn read_snapshot(deps: Arc<Deps>, next: NextPage, query: SnapshotQuery) -> Page {
    let _permit = deps.permits.acquire().await;
    match deps.store.snapshot_page(query).await {
        Ok(page) => Page::Snapshot(next, page),
        Err(error) => failed(&error).await,
    }
}

async fn read_log(deps: Arc<Deps>, query: LogQuery, view: View) -> Page {
    let _permit = deps.permits.acquire().await;
    let (tenant, after) = (query.tenant, query.after);
    let read = async {
        let page = deps.store.log_page(query).await?;
        deps.metrics.log_rows_read.inc_by(page.rows.len() as u64);
        let rows = page.rows.iter().filter(|row| view.filters.contains_key(&row.domain));
        let rows: Vec<&PageRow> = rows.collect();
        let wanted = unseen(&rows, &page, &view);
        let histories = if wanted.is_empty() { HashMap::new() } else { deps.store.histories(tenant, wanted).await? };
        let changes = changes(&rows, &page, &histories, &view);
        let at_head = page.end.seq >= page.place.head.seq;
        Ok(Replay { changes, end: page.end, at_head, expired: after < page.place.horizon })
    };
    match read.await {
        Ok(replay) => Page::Replay(replay),
        Err(error) => failed::<StoreError>(&error).await,
    }
}

async fn failed<E: fmt::Display>(error: &E) -> Page {
    tracing::warn!(%error, "a page could not be read; trying again");
    tokio::time::sleep(RETRY).await;
    Page::Failed
}

/// The records of a page that are not in view: how they stood before has to be found (C5). Each with the
/// version before its first row in the page.
fn unseen(rows: &[&PageRow], page: &LogPage, view: &View) -> Vec<(RecordNo, u64)> {
    let mut wanted: HashMap<RecordNo, u64> = HashMap::new();
    for row in rows.iter().filter(|row| !view.shows(page.records.get(&row.record))) {
        let before = row.version.saturating_sub(1);
        let since = wanted.entry(row.record).or_insert(before);
        *since = before.min(*since);
    }
    wanted.into_iter().collect()
}

/// What a page says to the session: each record once, at the first of its rows, as it stands now (C5).
fn changes(
    rows: &[&PageRow],
    page: &LogPage,
    histories: &HashMap<RecordNo, History>,
    view: &View,
) -> Vec<Change> {
    let mut versions: HashMap<RecordNo, Vec<u64>> = HashMap::new();
    for row in rows {
        versions.entry(row.record).or_default().push(row.version);
    }
    let first_rows = rows.iter().filter_map(|row| Some((row, versions.remove(&row.record)?)));
    first_rows.filter_map(|(row, versions)| change(row, &versions, page, histories, view)).collect()
}

fn change(
    row: &PageRow,
    versions: &[u64],
    page: &LogPage,
    histories: &HashMap<RecordNo, History>,
    view: &View,
) -> Option<Change> {
    let standing = page.records.get(&row.record)?;
    let (record, operation) = if view.shows(Some(standing)) {
        let created = standing.version == versions[0] && row.kind == RowKind::Create;
        (standing, if created { ChangeOperation::Create } else { ChangeOperation::Update })
    } else {
        // The history was read after the page: what it says of the record is as new or newer.
        let history = histories.get(&row.record)?;
        let filters = view.filters.get(&row.domain)?;
        let was_seen = route::was_in_view(history, versions, &view.scopes, filters);
        let gone = if history.record.deleted { ChangeOperation::Delete } else { ChangeOperation::Remove };
        was_seen.then_some((&history.record, gone))?
    };
    let upsert = matches!(operation, ChangeOperation::Create | ChangeOperation::Update);
    Some(Change {
        domain: view.names.get(&row.domain)?.to_string(),
        operation,
        mobile_id: record.key,
        version: record.version,
        data: upsert.then(|| Arc::clone(&record.data)),
        changed: None,
        priority: record.priority,
        origin: (*row.origin).clone(),
        server_timestamp: Timestamp(record.time_us),
    })
}

impl View {
    fn shows(&self, record: Option<&Record>) -> bool {
        record.and_then(Record::view).is_some_and(|view| {
            let domain = record.map(|record| record.domain);
            let filters = domain.and_then(|domain| self.filters.get(&domain));
            filters.is_some_and(|filters| route::in_view(&view, &self.scopes, filters))
        })
    }
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
