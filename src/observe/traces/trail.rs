//! What the rows of a traced batch carry to the sessions that are sent them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{On, Span, SpanPlace, Traces};
use opentelemetry::trace::SpanKind;

/// How many sessions tell of a batch's delivery: the first ones. A batch for a thousand would else be a
/// thousand spans.
const DELIVERIES: u32 = 16;

/// Where the deliveries of a batch are noted; all its rows share it.
#[derive(Debug)]
pub struct Trail {
    on: Arc<On>,
    place: SpanPlace,
    began_us: i64,
    left: AtomicU32,
}

impl Trail {
    /// Deliveries below `place`, of rows that were offered at `began_us`; none if traces are off.
    pub fn new(traces: &Traces, place: SpanPlace, began_us: i64) -> Option<Arc<Self>> {
        let on = Arc::clone(traces.on.as_ref()?);
        Some(Arc::new(Self { on, place, began_us, left: AtomicU32::new(DELIVERIES) }))
    }

    /// The span of one session's delivery, from when the rows were offered; none when enough were noted.
    pub fn deliver(&self) -> Option<Span> {
        let take = |left: u32| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(self.on.span(("deliver", SpanKind::Internal), Some(self.place), self.began_us))
    }
}
