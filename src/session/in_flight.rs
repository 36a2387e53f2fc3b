//! Batches that wait for their decision, and refusals that wait for the batches before them: answers to
//! `sync` come in the order sent (protocol: Carrier).

use std::collections::VecDeque;

use synchub_protocol::CloseReason;
use synchub_protocol::server::ErrorFrame;
use synchub_rules::group::Decision;
use uuid::Uuid;

use crate::observe::Span;
use crate::sync::{Answer, SubmitError};

/// How many refusals may wait. Who sends on and on while nothing is answered is not listening.
const REFUSALS: usize = 1024;

/// A batch that waits for its decision.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) id: u64,
    pub(super) batch_id: Uuid,
    pub(super) entries: usize,
    /// When its frame had been read, in microseconds.
    pub(super) received_us: i64,
    /// The span of a traced batch; it ends with this.
    pub(super) trace: Option<Box<Span>>,
    pub(super) answer: Answer,
}

/// What is to be answered next.
#[derive(Debug)]
pub(super) enum Settled {
    /// A batch was decided, or could not be.
    Decided(InFlight, Result<Decision, SubmitError>),
    /// A batch was refused when it came; those before it are answered.
    Refused(ErrorFrame),
}

#[derive(Debug)]
enum Waiting {
    Batch(InFlight),
    Refused(ErrorFrame),
}

/// What waits to be answered, in the order sent.
#[derive(Debug, Default)]
pub(super) struct InFlights {
    waiting: VecDeque<Waiting>,
    batches: usize,
}

impl InFlights {
    /// How many batches wait for their decision.
    pub(super) fn batches(&self) -> usize {
        self.batches
    }

    /// Whether everything was answered.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, batch: InFlight) {
        self.batches += 1;
        self.waiting.push_back(Waiting::Batch(batch));
    }

    /// Notes a refusal behind the batches before it.
    pub(super) fn refuse(&mut self, error: ErrorFrame) -> Result<(), CloseReason> {
        if self.waiting.len() - self.batches >= REFUSALS {
            return Err(CloseReason::RateLimitIgnored);
        }
        self.waiting.push_back(Waiting::Refused(error));
        Ok(())
    }

    /// Waits until the oldest can be answered. Safe to cancel.
    pub(super) async fn next(&mut self) -> Settled {
        let decision = match self.waiting.front_mut() {
            None => return std::future::pending().await,
            Some(Waiting::Batch(batch)) => {
                Some((&mut batch.answer).await.unwrap_or(Err(SubmitError::Unavailable)))
            }
            Some(Waiting::Refused(_)) => None,
        };
        let next = self.waiting.pop_front();
        if self.waiting.is_empty() {
            // An idle session keeps no buffer.
            self.waiting = VecDeque::new();
        }
        match (next, decision) {
            (Some(Waiting::Batch(batch)), Some(decision)) => {
                self.batches -= 1;
                Settled::Decided(batch, decision)
            }
            (Some(Waiting::Refused(error)), _) => Settled::Refused(error),
            _ => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use synchub_protocol::ErrorCode;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn refusals_wait_for_the_batches_before_them_and_are_bounded() {
        let mut in_flights = InFlights::default();
        let (sender, answer) = oneshot::channel();
        in_flights.push(InFlight {
            id: 1,
            batch_id: Uuid::nil(),
            entries: 1,
            received_us: 0,
            trace: None,
            answer,
        });
        let error = || ErrorFrame::new(Some(2), ErrorCode::TooManyInFlight, "wait");
        for _ in 0..REFUSALS {
            in_flights.refuse(error()).unwrap();
        }
        assert_eq!(in_flights.refuse(error()), Err(CloseReason::RateLimitIgnored));
        assert_eq!(in_flights.batches(), 1);
        drop(sender);
        let first = in_flights.next().await;
        assert!(matches!(first, Settled::Decided(InFlight { id: 1, .. }, Err(SubmitError::Unavailable))));
        for _ in 0..REFUSALS {
            assert!(matches!(in_flights.next().await, Settled::Refused(_)));
        }
        assert!(in_flights.is_empty() && in_flights.batches() == 0 && in_flights.waiting.capacity() == 0);
    }
}
