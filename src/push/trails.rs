//! The traced batches among the rows of an update, while the feed offers them.

use std::sync::Arc;

use crate::bus::RowsTrace;
use crate::observe::{Span, Traces, Trail};

/// The traced batches of an update; their steps in the feed end when this is dropped.
#[derive(Debug)]
pub(super) struct Trails(Vec<(RowsTrace, Arc<Trail>, Span)>);

impl Trails {
    /// The feed begins to offer rows.
    pub(super) fn begin(traces: &Traces, rows: &[RowsTrace]) -> Self {
        let trail = |rows: &RowsTrace| {
            let now_us = traces.now_us()?;
            let span = traces.below(rows.place, "feed", now_us)?;
            Some((*rows, Trail::new(traces, span.place(), now_us)?, span))
        };
        Self(rows.iter().filter_map(trail).collect())
    }

    /// Where the deliveries of the row at a place are noted, if it is of a traced batch.
    pub(super) fn of(&self, seq: u64) -> Option<Arc<Trail>> {
        let found = self.0.iter().find(|(rows, ..)| rows.after < seq && seq <= rows.through);
        found.map(|(_, trail, _)| Arc::clone(trail))
    }
}
