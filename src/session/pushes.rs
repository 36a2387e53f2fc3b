//! Pushes that are not changes, on their way to one device (P2, P3, P5).
//!
//! What the device is owed goes out first, read from the store. Live ones and those of a replay come in the
//! order of the log; one that has to wait holds the cursor before it, so that a reconnect brings it again.
//! Nothing of a push is kept here but its place.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use synchub_protocol::server::{SyncTrigger, TriggerReason};
use synchub_protocol::{Priority, ServerFrame, Timestamp};
use synchub_rules::push::{PushBody, PushRow};
use synchub_rules::record::Head;
use tokio::time::Instant;

use super::alerts;
use super::connected::Session;
use super::push_reads::{ALERTS, Cause, PLACES, PushRead, done, read_places};
use super::waiting::WaitingPushes;
use crate::observe::PushFate;
use crate::registry::OutgoingPush;
use crate::store::{Conflict, ConflictPlace, ConflictQuery, DeliveryEvent, DeliveryNote, Owed, OwedQuery};

/// The pushes of a session that were not sent yet.
#[derive(Default)]
pub(super) struct PushLane {
    /// The places after and up to which the device is owed pushes; not looked up yet.
    range: Option<(u64, u64)>,
    owed: VecDeque<u64>,
    /// Behind which the conflicts that await the user are still to be told (P5).
    awaiting: Option<ConflictPlace>,
    /// Alerts that may go, once what they show was read, and what came after them.
    ready: VecDeque<u64>,
    pub(super) waiting: WaitingPushes,
    /// When the first that waits may go.
    wakes: Option<Instant>,
    told_overflow: bool,
    told_expired: bool,
    reading: Option<BoxFuture<'static, PushRead>>,
}

impl fmt::Debug for PushLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = (self.owed.len(), self.ready.len(), self.waiting.len());
        f.debug_struct("PushLane").field("waiting", &waiting).finish_non_exhaustive()
    }
}

impl PushLane {
    /// What a device is owed at hello.
    pub(super) fn owing(after: u64, upto: u64) -> Self {
        Self { range: Some((after, upto)), awaiting: Some((0, 0)), ..Self::default() }
    }

    /// Owes what waits, and what lies between two places, which no replay will bring.
    pub(super) fn start_over(&mut self, after: u64, upto: u64) {
        let mut waits: Vec<_> = self.ready.drain(..).chain(self.waiting.take()).collect();
        waits.sort_unstable();
        self.owed.extend(waits);
        let after = self.range.map_or(after, |(earlier, _)| earlier);
        self.range = Some((after, upto));
        // What is being read was asked for before.
        self.reading = None;
    }

    /// Whether something goes out before snapshots and replay.
    pub(super) fn goes_first(&self) -> bool {
        let releases = self.waiting.sends_all() && !self.waiting.is_empty();
        self.range.is_some() || !self.owed.is_empty() || self.awaiting.is_some() || releases
    }

    /// An idle session keeps no buffer.
    fn give_back(&mut self) {
        for places in [&mut self.owed, &mut self.ready] {
            if places.is_empty() {
                *places = VecDeque::new();
            }
        }
    }

    /// When the session has to look again.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.wakes
    }

    /// Waits for what is being read. Safe to cancel.
    pub(super) async fn next(&mut self) -> PushRead {
        let Some(reading) = &mut self.reading else { return std::future::pending().await };
        let read = reading.await;
        self.reading = None;
        read
    }
}

impl Session {
    /// Begins to read pushes that may be sent now, if there are any; the lane has to be empty.
    pub(super) fn read_pushes(&mut self) {
        if self.pushes.reading.is_some() {
            return;
        }
        let (deps, tenant) = (Arc::clone(&self.deps), self.tenant);
        let bytes = deps.settings.catch_up.page_bytes;
        let reading = if let Some((after, upto)) = self.pushes.range {
            let (now_us, most) = (deps.clock.now_us(), deps.settings.push.queue);
            let query = OwedQuery { tenant, address: self.address, after, upto, now_us, most };
            async move { done(deps.store.owed(query).await.map(|owed| PushRead::Owed(query, owed))).await }
                .boxed()
        } else if !self.pushes.owed.is_empty() {
            let seqs = self.pushes.owed.iter().take(PLACES).copied().collect();
            read_places(deps, tenant, (Cause::Owed, seqs), bytes).boxed()
        } else if let Some(after) = self.pushes.awaiting {
            let query = ConflictQuery::Awaiting { user: self.address.user, after, most: ALERTS };
            async move { done(deps.store.conflicts(tenant, query).await.map(PushRead::Awaiting)).await }
                .boxed()
        } else {
            let seqs = self.released();
            if seqs.is_empty() {
                return;
            }
            read_places(deps, tenant, (Cause::Live, seqs), bytes).boxed()
        };
        self.pushes.reading = Some(reading);
    }

    /// The alerts that are ready and what came after them, else what may go of those that wait: the oldest, and
    /// if that is a trigger, all triggers with it.
    fn released(&mut self) -> Vec<u64> {
        if !self.pushes.ready.is_empty() {
            return self.pushes.ready.iter().copied().collect();
        }
        self.pushes.wakes = None;
        if self.pushes.waiting.sends_all() {
            return self.pushes.waiting.next_of_all();
        }
        let due = self.pushes.waiting.next_due(self.own_state.saves_battery());
        let Some(first) = due.first() else { return due };
        let (user, now_us) = ((self.tenant, self.address.user), self.deps.clock.now_us());
        if !self.deps.throttle.admits(user, *first, now_us) {
            let left = u64::try_from(self.deps.throttle.left_us(user, now_us)).unwrap_or(0).max(1000);
            self.pushes.wakes = Some(Instant::now() + Duration::from_micros(left));
            return Vec::new();
        }
        due
    }

    pub(super) fn on_push_read(&mut self, read: PushRead) {
        self.take_read(read);
        self.pushes.give_back();
        if self.outbox.has_data() {
            self.timers.want_position(Instant::now(), self.deps.settings.feed.position_delay());
        }
    }

    fn take_read(&mut self, read: PushRead) {
        match read {
            PushRead::Owed(query, owed) => self.on_owed(&query, owed),
            PushRead::Pushes { cause, rows, conflicts, seqs } => {
                if cause == Cause::Owed {
                    self.pushes.owed.drain(..seqs.len());
                    for row in rows {
                        self.send_push(row, &conflicts, DeliveryEvent::Delivered);
                    }
                    if let (Some(first), Some(last)) = (seqs.first(), seqs.last()) {
                        self.write_note((*first, *last), DeliveryEvent::Owed, self.deps.clock.now_us());
                    }
                } else {
                    self.on_released(rows, &conflicts, &seqs);
                }
            }
            PushRead::Awaiting(conflicts) => {
                let is_full = conflicts.len() >= ALERTS as usize;
                self.pushes.awaiting = conflicts.last().map(|last| last.place).filter(|_| is_full);
                for conflict in conflicts {
                    self.push(&alerts::again(&conflict, &self.audience.sight));
                }
            }
            PushRead::Failed(error) => {
                self.log().in_scope(|| tracing::warn!(error, "pushes could not be read; trying again"));
            }
        }
    }

    fn on_owed(&mut self, query: &OwedQuery, owed: Owed) {
        self.pushes.range =
            self.pushes.range.filter(|(_, upto)| *upto > query.upto).map(|(_, upto)| (query.upto, upto));
        let first = query.after + 1;
        if let Some(last) = owed.overflowed {
            self.note_range((first, last), DeliveryEvent::Overflowed, query.now_us);
            self.tell_overflow();
        }
        if owed.expired {
            self.note_range((first, query.upto), DeliveryEvent::Expired, query.now_us);
            self.tell_expired();
        }
        self.pushes.owed.extend(owed.seqs);
    }

    /// Sends what has waited; what is gone, or has ended meanwhile, waits no longer.
    fn on_released(&mut self, rows: Vec<PushRow>, conflicts: &[Conflict], seqs: &[u64]) {
        let now_us = self.deps.clock.now_us();
        let (mut live, ended): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.expires_us > now_us);
        for row in ended {
            self.note(row.seq, DeliveryEvent::Expired);
            self.tell_expired();
        }
        let event = |seq| {
            if self.pushes.waiting.contains(seq) { DeliveryEvent::Released } else { DeliveryEvent::Delivered }
        };
        let events: Vec<_> = live.iter().map(|row| event(row.seq)).collect();
        if live.len() > 1 && live.iter().all(|row| matches!(row.body, PushBody::SyncTrigger { .. })) {
            live = self.merge(live);
        }
        for (row, event) in live.into_iter().zip(events) {
            self.send_push(row, conflicts, event);
        }
        self.pushes.ready.retain(|seq| !seqs.contains(seq));
        self.pushes.waiting.remove(seqs);
        for seq in seqs {
            self.progress.release(*seq);
        }
    }

    /// Makes one trigger of many: the newest, about the domains of all (P3).
    fn merge(&mut self, mut rows: Vec<PushRow>) -> Vec<PushRow> {
        let mut all = Some(Vec::new());
        for row in &rows {
            let PushBody::SyncTrigger { domains, .. } = &row.body else { continue };
            // One about everything is about everything with others too.
            all = all.filter(|_| !domains.is_empty());
            for domain in domains {
                if let Some(all) = all.as_mut().filter(|all: &&mut Vec<String>| !all.contains(domain)) {
                    all.push(domain.clone());
                }
            }
        }
        let Some(mut newest) = rows.pop() else { return rows };
        for row in rows {
            self.note(row.seq, DeliveryEvent::Merged);
        }
        if let PushBody::SyncTrigger { domains, .. } = &mut newest.body {
            *domains = all.unwrap_or_default();
        }
        vec![newest]
    }

    fn send_push(&mut self, row: PushRow, conflicts: &[Conflict], event: DeliveryEvent) {
        self.note(row.seq, event);
        if let PushBody::ConflictAlert { conflict_id } = row.body {
            // One whose conflict was purged has nothing to show any more.
            if let Some(conflict) = conflicts.iter().find(|conflict| conflict.id == conflict_id) {
                self.push(&alerts::of_row(&row, conflict, &self.audience.sight));
            }
            return;
        }
        let (encoding, compressed) = (self.socket.encoding(), self.socket.compresses());
        if let Some(frame) = OutgoingPush::new(row).frame(encoding, compressed) {
            self.outbox.push_data(frame);
        }
    }

    /// Takes a push of the feed or of a replay, whose place follows `before`: sends it, or lets it wait (P3).
    pub(super) fn take_push(&mut self, outgoing: &OutgoingPush, before: Head) {
        let row = &outgoing.row;
        if !self.progress.take_push(row.seq) {
            return;
        }
        let now_us = self.deps.clock.now_us();
        if row.expires_us <= now_us {
            self.note(row.seq, DeliveryEvent::Expired);
            return self.tell_expired();
        }
        if !self.may_go(row, now_us) {
            self.progress.hold(row.seq, before);
            self.note(row.seq, if self.saves(row) { DeliveryEvent::Saved } else { DeliveryEvent::Held });
            self.pushes.waiting.add(row);
            return self.bound_waiting();
        }
        // What follows an alert does not overtake it while what it shows is read.
        if matches!(row.body, PushBody::ConflictAlert { .. }) || !self.pushes.ready.is_empty() {
            self.progress.hold(row.seq, before);
            return self.pushes.ready.push_back(row.seq);
        }
        let frame = outgoing.frame(self.socket.encoding(), self.socket.compresses());
        if let Some(frame) = frame {
            self.note(row.seq, DeliveryEvent::Delivered);
            self.outbox.push_data(frame);
        }
    }

    /// Whether a push may go now. Battery saver holds back what is below high; what else waits already is not
    /// overtaken, but by what is critical.
    fn may_go(&self, row: &PushRow, now_us: i64) -> bool {
        let saves_battery = self.own_state.saves_battery();
        if self.pushes.waiting.sends_all() || self.saves(row) {
            return self.pushes.waiting.sends_all();
        }
        let user = (self.tenant, self.address.user);
        !row.body.is_limited()
            || row.priority == Priority::Critical
            || (self.pushes.waiting.next_due(saves_battery).is_empty()
                && self.deps.throttle.admits(user, row.seq, now_us))
    }

    /// Whether battery saver holds a push back.
    fn saves(&self, row: &PushRow) -> bool {
        self.own_state.saves_battery() && row.priority < Priority::High
    }

    /// Of what waits only the newest are kept.
    fn bound_waiting(&mut self) {
        while let Some(oldest) = self.pushes.waiting.overflow(self.deps.settings.push.queue) {
            self.progress.release(oldest);
            self.note(oldest, DeliveryEvent::Overflowed);
            self.tell_overflow();
        }
    }

    fn tell_overflow(&mut self) {
        if !std::mem::replace(&mut self.pushes.told_overflow, true) {
            self.tell(TriggerReason::QueueOverflow, Vec::new());
        }
    }

    fn tell_expired(&mut self) {
        if !std::mem::replace(&mut self.pushes.told_expired, true) {
            self.tell(TriggerReason::QueueExpired, Vec::new());
        }
    }

    /// A trigger that the session raises for itself: it is no row of the log, and is told once.
    pub(super) fn tell(&mut self, reason: TriggerReason, domains: Vec<String>) {
        let now_us = self.deps.clock.now_us();
        let push_id = self.deps.entropy.uuid_v7(now_us).to_string();
        let trigger = SyncTrigger { push_id, domains, reason, server_timestamp: Timestamp(now_us) };
        self.push(&ServerFrame::SyncTrigger(trigger));
    }

    fn note(&self, seq: u64, event: DeliveryEvent) {
        self.note_range((seq, seq), event, self.deps.clock.now_us());
    }

    /// The time tells which pushes of a range are meant: not those that ended since it was looked up.
    fn note_range(&self, places: (u64, u64), event: DeliveryEvent, at_us: i64) {
        self.deps.metrics.push_fates.of(fate(event)).inc();
        self.write_note(places, event, at_us);
    }

    fn write_note(&self, (seq, upto): (u64, u64), event: DeliveryEvent, at_us: i64) {
        let Some(device) = self.address.device else { return };
        self.deps.deliveries.note(DeliveryNote { device, seq, upto, event, at_us });
    }
}

fn fate(event: DeliveryEvent) -> PushFate {
    match event {
        DeliveryEvent::Delivered | DeliveryEvent::Released | DeliveryEvent::Owed => PushFate::Delivered,
        DeliveryEvent::Held | DeliveryEvent::Saved => PushFate::Held,
        DeliveryEvent::Merged => PushFate::Merged,
        DeliveryEvent::Overflowed => PushFate::Dropped,
        DeliveryEvent::Expired => PushFate::Expired,
    }
}
