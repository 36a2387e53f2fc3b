//! The recent rows of a tenant's log in memory, by scope.
//!
//! Bounded in bytes. What it does not reach is asked from the store; with a size of 0 that is everything.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use synchub_rules::record::{Head, RecordNo, Scope, Sight};

use crate::registry::Outgoing;

/// Rows that somebody may see, from the tail.
#[derive(Debug)]
pub struct TailPage {
    /// Everything up to here is in the page.
    pub end: Head,
    /// Whether the end is the log's head.
    pub at_head: bool,
    /// The rows, in order.
    pub rows: Vec<Arc<Outgoing>>,
    /// The newest row of each of their records, in the page or after it.
    pub newest: HashMap<RecordNo, Arc<Outgoing>>,
}

/// The tail.
#[derive(Debug)]
pub(crate) struct Tail {
    limit: usize,
    bytes: usize,
    /// Everything after this place is here.
    start: u64,
    order: VecDeque<Arc<Outgoing>>,
    by_scope: HashMap<Scope, VecDeque<Arc<Outgoing>>>,
}

impl Tail {
    pub(crate) fn new(limit: usize, start: u64) -> Self {
        Self { limit, bytes: 0, start, order: VecDeque::new(), by_scope: HashMap::new() }
    }

    /// Forgets everything; rows after `start` will follow.
    pub(crate) fn restart(&mut self, start: u64) {
        *self = Self::new(self.limit, start);
    }

    pub(crate) fn push(&mut self, outgoing: &Arc<Outgoing>) {
        self.bytes += outgoing.weight;
        self.order.push_back(Arc::clone(outgoing));
        self.by_scope.entry(outgoing.row.scope).or_default().push_back(Arc::clone(outgoing));
        while self.bytes > self.limit && self.pop() {}
    }

    /// Forgets the rows up to a place; who comes from below it must ask the store.
    pub(crate) fn purge(&mut self, to: u64) {
        while self.order.front().is_some_and(|oldest| oldest.row.seq <= to) && self.pop() {}
        self.start = self.start.max(to);
    }

    /// Forgets the oldest row, if there is one.
    fn pop(&mut self) -> bool {
        let Some(oldest) = self.order.pop_front() else { return false };
        self.bytes -= oldest.weight;
        self.start = oldest.row.seq;
        self.forget(oldest.row.scope);
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

    /// A page of the rows that may be seen after a place; none if the tail begins later. `most`: rows and
    /// bytes; the first row comes whatever its size.
    pub(crate) fn page(
        &self,
        sight: &Sight,
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
                let there = scopes.iter().filter_map(|scope| self.by_scope.get(scope));
                there.flat_map(|rows| rows_after(rows, after)).collect()
            }
        };
        rows.sort_unstable_by_key(|outgoing| outgoing.row.seq);
        let newest = rows.iter().map(|outgoing| (outgoing.row.record, Arc::clone(outgoing))).collect();
        let fitting = fitting(&rows, most);
        let at_head = fitting == rows.len();
        rows.truncate(fitting);
        let last = rows.last().filter(|_| !at_head);
        let end = last.map_or(head, |last| Head { seq: last.row.seq, time_us: last.row.time_us });
        Some(TailPage { end, at_head, rows, newest })
    }
}

fn rows_after(rows: &VecDeque<Arc<Outgoing>>, after: u64) -> Vec<Arc<Outgoing>> {
    let from = rows.partition_point(|outgoing| outgoing.row.seq <= after);
    rows.range(from..).cloned().collect()
}

/// How many of the rows fit into a page, at least one.
fn fitting(rows: &[Arc<Outgoing>], (most_rows, most_bytes): (usize, usize)) -> usize {
    let mut bytes = 0;
    let fitting = rows.iter().take(most_rows).take_while(|outgoing| {
        bytes += outgoing.weight;
        bytes <= most_bytes
    });
    fitting.count().max(1).min(rows.len())
}
