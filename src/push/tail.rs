//! The recent rows of a tenant's log in memory, by scope.
//!
//! Bounded in bytes. What it does not reach is asked from the store; with a size of 0 that is everything.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use synchub_rules::push::Address;
use synchub_rules::record::{Head, RecordNo, Scope, Sight};

use crate::registry::{Outgoing, OutgoingRow};

/// Rows that somebody may see, from the tail.
#[derive(Debug)]
pub struct TailPage {
    /// Everything up to here is in the page.
    pub end: Head,
    /// Whether the end is the log's head.
    pub at_head: bool,
    /// The rows, in order.
    pub rows: Vec<OutgoingRow>,
    /// The newest change of each of their records, in the page or after it.
    pub newest: HashMap<RecordNo, Arc<Outgoing>>,
}

/// The tail.
#[derive(Debug)]
pub(crate) struct Tail {
    limit: usize,
    bytes: usize,
    /// Everything after this place is here.
    start: u64,
    order: VecDeque<OutgoingRow>,
    by_scope: HashMap<Scope, VecDeque<OutgoingRow>>,
}

impl Tail {
    pub(crate) fn new(limit: usize, start: u64) -> Self {
        Self { limit, bytes: 0, start, order: VecDeque::new(), by_scope: HashMap::new() }
    }

    /// Forgets everything; rows after `start` will follow.
    pub(crate) fn restart(&mut self, start: u64) {
        *self = Self::new(self.limit, start);
    }

    pub(crate) fn push(&mut self, row: &OutgoingRow) {
        self.bytes += row.weight();
        self.order.push_back(row.clone());
        self.by_scope.entry(row.scope()).or_default().push_back(row.clone());
        while self.bytes > self.limit && self.pop() {}
    }

    /// Forgets the rows up to a place; who comes from below it must ask the store.
    pub(crate) fn purge(&mut self, to: u64) {
        while self.order.front().is_some_and(|oldest| oldest.place().seq <= to) && self.pop() {}
        self.start = self.start.max(to);
    }

    /// Forgets the oldest row, if there is one.
    fn pop(&mut self) -> bool {
        let Some(oldest) = self.order.pop_front() else { return false };
        self.bytes -= oldest.weight();
        self.start = oldest.place().seq;
        self.forget(oldest.scope());
        true
    }

    fn forget(&mut self, scope: Scope) {
        if let Some(rows) = self.by_scope.get_mut(&scope) {
            rows.pop_front();
            if rows.is_empty() {
                self.by_scope.remove(&scope);
            }
        }
    }

    /// A page of the rows that somebody is sent after a place; none if the tail begins later. `most`: rows and
    /// bytes; the first row comes whatever its size.
    pub(crate) fn page(
        &self,
        (sight, address): (&Sight, Address),
        after: u64,
        most: (usize, usize),
        head: Head,
    ) -> Option<TailPage> {
        if after < self.start {
            return None;
        }
        let mut rows = match sight {
            Sight::Everything => rows_after(&self.order, after),
            Sight::Scopes(scopes) => {
                let scopes: HashSet<_> = scopes.iter().copied().chain(address.scopes()).collect();
                let there = scopes.iter().filter_map(|scope| self.by_scope.get(scope));
                there.flat_map(|rows| rows_after(rows, after)).collect()
            }
        };
        rows.retain(|row| match row {
            OutgoingRow::Change(outgoing) => sight.covers(outgoing.row.scope),
            OutgoingRow::Push(outgoing) => address.covers(outgoing.row.scope),
        });
        rows.sort_unstable_by_key(|row| row.place().seq);
        let changes = rows.iter().filter_map(|row| match row {
            OutgoingRow::Change(outgoing) => Some((outgoing.row.record, Arc::clone(outgoing))),
            OutgoingRow::Push(_) => None,
        });
        let newest = changes.collect();
        let fitting = fitting(&rows, most);
        let at_head = fitting == rows.len();
        rows.truncate(fitting);
        let last = rows.last().filter(|_| !at_head);
        let end = last.map_or(head, OutgoingRow::place);
        Some(TailPage { end, at_head, rows, newest })
    }
}

fn rows_after(rows: &VecDeque<OutgoingRow>, after: u64) -> Vec<OutgoingRow> {
    let from = rows.partition_point(|row| row.place().seq <= after);
    rows.range(from..).cloned().collect()
}

/// How many of the rows fit into a page, at least one.
fn fitting(rows: &[OutgoingRow], (most_rows, most_bytes): (usize, usize)) -> usize {
    let mut bytes = 0;
    let fitting = rows.iter().take(most_rows).take_while(|row| {
        bytes += row.weight();
        bytes <= most_bytes
    });
    fitting.count().max(1).min(rows.len())
}
