//! The recent rows of a tenant's log in memory, by scope.
//!
//! Bounded in bytes. What it does not reach is asked from the store; with a size of 0 that is everything.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use synchub_rules::record::{Head, Scope, Sight};

use crate::registry::Outgoing;

/// Rows that somebody may see, from the tail. It is bounded by the tail's size, and its rows are shared.
#[derive(Debug)]
pub struct TailPage {
    /// Everything up to here, the head, is in the page.
    pub end: Head,
    /// The rows, in order.
    pub rows: Vec<Arc<Outgoing>>,
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
        while self.bytes > self.limit {
            let Some(oldest) = self.order.pop_front() else { break };
            self.bytes -= oldest.weight;
            self.start = oldest.row.seq;
            self.forget(oldest.row.scope);
        }
    }

    fn forget(&mut self, scope: Scope) {
        if let Some(rows) = self.by_scope.get_mut(&scope) {
            rows.pop_front();
            if rows.is_empty() {
                self.by_scope.remove(&scope);
            }
        }
    }

    /// The rows that may be seen after a place, up to `head`; none if the tail begins later.
    pub(crate) fn page(&self, sight: &Sight, after: u64, head: Head) -> Option<TailPage> {
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
        Some(TailPage { end: head, rows })
    }
}

fn rows_after(rows: &VecDeque<Arc<Outgoing>>, after: u64) -> Vec<Arc<Outgoing>> {
    let from = rows.partition_point(|outgoing| outgoing.row.seq <= after);
    rows.range(from..).cloned().collect()
}
