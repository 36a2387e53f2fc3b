//! What a page of the log's tail, read from memory, brings a session (C5).
//!
//! Nothing is read or sent here.

use std::collections::HashMap;
use std::sync::Arc;

use synchub_rules::record::RecordNo;
use synchub_rules::route::{Audience, Delivery};

use super::live::is_urgent;
use crate::push::TailPage;
use crate::registry::{Outgoing, OutgoingPush, OutgoingRow};

/// What a page of the tail brings at a place.
pub(super) enum TailDelivery {
    /// A change.
    Change {
        /// The record's newest row.
        outgoing: Arc<Outgoing>,
        /// What it is to the session.
        delivery: Delivery,
        /// Whether it is the record's only row after the place before the page.
        is_only: bool,
    },
    /// A push.
    Push(Arc<OutgoingPush>),
}

impl TailDelivery {
    /// Whether it goes before the others on a poor link.
    pub(super) fn goes_first(&self) -> bool {
        matches!(self, Self::Change { outgoing, .. } if is_urgent(outgoing.row.priority))
    }
}

/// A record's rows in a page.
struct Rows {
    newest: Arc<Outgoing>,
    /// Whether the record was in view before one of them.
    seen: bool,
    count: usize,
    last: u64,
}

enum Place {
    Record(Rows),
    Push(Arc<OutgoingPush>),
}

/// For each record of a tail page its newest row, at the place of its first, and what it is to the
/// session: the tail reaches the log's head, so the newest row says what holds now.
pub(super) fn tail_deliveries(page: &TailPage, audience: &Audience) -> Vec<TailDelivery> {
    let deliveries = in_order(page, audience).into_iter().filter_map(|place| {
        let Rows { newest, seen, count, last } = match place {
            Place::Record(rows) => rows,
            Place::Push(push) => return Some(TailDelivery::Push(push)),
        };
        let delivery = match newest.row.after {
            _ if audience.sees_after(&newest.row) => Delivery::Upsert,
            Some(_) if seen => Delivery::Remove,
            None if seen => Delivery::Delete,
            _ => return None,
        };
        let is_only = count == 1 && newest.row.seq == last;
        Some(TailDelivery::Change { outgoing: newest, delivery, is_only })
    });
    deliveries.collect()
}

fn in_order(page: &TailPage, audience: &Audience) -> Vec<Place> {
    let mut order = Vec::new();
    let mut places: HashMap<RecordNo, usize> = HashMap::new();
    for row in &page.rows {
        let outgoing = match row {
            OutgoingRow::Change(outgoing) => outgoing,
            OutgoingRow::Push(push) => {
                order.push(Place::Push(Arc::clone(push)));
                continue;
            }
        };
        let row = &outgoing.row;
        if !audience.domains.contains_key(&row.domain) {
            continue;
        }
        let place = *places.entry(row.record).or_insert(order.len());
        if place == order.len() {
            let newest = Arc::clone(page.newest.get(&row.record).unwrap_or(outgoing));
            order.push(Place::Record(Rows { newest, seen: false, count: 0, last: 0 }));
        }
        if let Place::Record(rows) = &mut order[place] {
            rows.seen |= audience.saw_before(row);
            rows.count += 1;
            rows.last = row.seq;
        }
    }
    order
}
