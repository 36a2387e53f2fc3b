//! What a session says of itself: the context of its log lines, and the spans of traced batches.
//!
//! The context is made when there is a line to write, so that an idle session keeps none. Ids and numbers
//! go out, never contents.

use std::sync::Arc;

use synchub_protocol::client::Sync;
use synchub_protocol::{CloseReason, ErrorCode};
use synchub_rules::group::{BatchAnswer, Decision};
use uuid::Uuid;

use super::connected::Session;
use super::in_flight::InFlight;
use crate::observe::{Span, Trail};
use crate::sync::SubmitError;

/// The deliveries of traced batches that the socket has not taken yet.
#[derive(Debug, Default)]
pub(super) struct Delivering(Vec<(Arc<Trail>, Span)>);

impl Session {
    /// Who a log line is about.
    pub(super) fn log(&self) -> tracing::Span {
        let device = self.author.origin.device.as_deref();
        let (tenant, user) = (self.identity.tenant.as_str(), self.identity.user.as_str());
        tracing::error_span!("connection", tenant, user, device, session = %self.id)
    }

    pub(super) fn log_begin(&self) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            let encoding = self.socket.encoding().subprotocol();
            let domains = self.subscriptions.sent().len();
            self.log().in_scope(|| tracing::debug!(encoding, domains, "a session began"));
        }
    }

    pub(super) fn log_end(&self, reason: CloseReason) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            let reason = reason.text();
            self.log().in_scope(|| tracing::debug!(reason, "a session ended"));
        }
    }

    /// A batch was decided, or could not be: counts what came of it, and says so where somebody listens.
    pub(super) fn observe_decision(
        &self,
        in_flight: &mut InFlight,
        decision: &Result<Decision, SubmitError>,
    ) {
        let code = match decision {
            Ok(Decision::Answered(answer)) => return self.observe_answer(in_flight, answer),
            Ok(Decision::OutOfOrder) => ErrorCode::OutOfOrder.as_str(),
            Ok(Decision::KeyReused) => ErrorCode::IdempotencyKeyReused.as_str(),
            Ok(Decision::Replaced) => CloseReason::Replaced.text(),
            Ok(Decision::UnknownConflict(_)) | Err(SubmitError::Internal) => ErrorCode::Internal.as_str(),
            Err(SubmitError::Unavailable) => ErrorCode::Unavailable.as_str(),
        };
        if let Some(span) = &mut in_flight.trace {
            span.fail(code);
        }
        self.log_refused(in_flight.batch_id, code);
    }

    fn observe_answer(&self, in_flight: &mut InFlight, answer: &BatchAnswer) {
        let metrics = &self.deps.metrics;
        let (entries, repeated, seq) = (answer.outcomes.len(), answer.repeated, answer.seq);
        metrics.batches.inc();
        if repeated {
            metrics.batches_repeated.inc();
        }
        for outcome in &answer.outcomes {
            metrics.entries.of(outcome.stored.status).inc();
        }
        let us = self.deps.clock.now_us() - in_flight.received_us;
        metrics.sync_seconds.observe(us);
        if let Some(span) = &mut in_flight.trace {
            span.set("synchub.repeated", repeated);
            span.set("synchub.seq", i64::try_from(seq).unwrap_or(i64::MAX));
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            let batch_id = in_flight.batch_id;
            self.log()
                .in_scope(|| tracing::debug!(%batch_id, entries, repeated, seq, us, "a batch was answered"));
        }
    }

    /// A batch was not decided, for what `code` says.
    pub(super) fn log_refused(&self, batch_id: Uuid, code: &str) {
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.log().in_scope(|| tracing::debug!(%batch_id, code, "a batch was refused"));
        }
    }

    /// The span of a batch whose frame of so many bytes was read at `read_us`, if it is to be traced.
    pub(super) fn trace_batch(
        &self,
        sync: &Sync,
        (read_us, bytes): (Option<i64>, usize),
    ) -> Option<Box<Span>> {
        let mut span = self.deps.traces.sample("sync", read_us?)?;
        self.name(&mut span);
        span.set("synchub.batch_id", sync.batch_id.to_string());
        span.set("synchub.entries", i64::try_from(sync.entries.len()).unwrap_or(i64::MAX));
        span.set("synchub.frame.bytes", i64::try_from(bytes).unwrap_or(i64::MAX));
        Some(Box::new(span))
    }

    /// A row of a traced batch goes into the data lane; each batch is noted once.
    pub(super) fn note_delivery(&mut self, trail: &Arc<Trail>) {
        if self.delivering.0.iter().any(|(noted, _)| Arc::ptr_eq(noted, trail)) {
            return;
        }
        if let Some(mut span) = trail.deliver() {
            self.name(&mut span);
            self.delivering.0.push((Arc::clone(trail), span));
        }
    }

    /// The socket has taken all that was in the data lane.
    pub(super) fn end_deliveries(&mut self) {
        if !self.delivering.0.is_empty() && !self.outbox.has_data() {
            self.delivering = Delivering::default();
        }
    }

    fn name(&self, span: &mut Span) {
        span.set("synchub.tenant", self.identity.tenant.clone());
        span.set("synchub.session", self.id.to_string());
        if let Some(device) = &self.author.origin.device {
            span.set("synchub.device", device.clone());
        }
    }
}
