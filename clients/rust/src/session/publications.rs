//! What a service publishes: requests that wait, are on the way, or wait again after a connection was lost
//! or the hub was busy. The same `request_id` makes sure that each is done once (O1).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use synchub_protocol::client::Publish;
use synchub_protocol::server::{ErrorFrame, Published};
use tokio::time::Instant;

/// How long to wait before a request is sent again that was refused for now, where the hub does not say.
const PAUSE: Duration = Duration::from_secs(1);

/// What became of a request.
pub type PublishVerdict = Result<Published, ErrorFrame>;

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was no request of these.
    NotMine,
    /// The request goes again.
    Again,
    /// The request of this number is not done.
    ForGood(u64),
}

/// The requests that have no verdict yet, by the numbers that [`Publications::begin`] gave.
#[derive(Debug, Default)]
pub(crate) struct Publications {
    last: u64,
    waiting: VecDeque<(u64, Publish)>,
    /// By the id under which each was sent.
    asked: HashMap<u64, (u64, Publish)>,
    not_before: Option<Instant>,
}

impl Publications {
    /// Takes a request; gives its number.
    pub(crate) fn begin(&mut self, request: Publish) -> u64 {
        self.last += 1;
        self.waiting.push_back((self.last, request));
        self.last
    }

    /// The request that goes out next, if one may: `most` are on the way at once.
    pub(crate) fn next(&mut self, most: u64, now: Instant, id: impl FnOnce() -> u64) -> Option<Publish> {
        if self.asked.len() as u64 >= most || self.not_before.is_some_and(|instant| now < instant) {
            return None;
        }
        self.not_before = None;
        let (number, mut request) = self.waiting.pop_front()?;
        request.id = id();
        self.asked.insert(request.id, (number, request.clone()));
        Some(request)
    }

    /// When the next one may go.
    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before.filter(|_| !self.waiting.is_empty())
    }

    /// The hub has done a request; gives its number.
    pub(crate) fn answered(&mut self, request: u64) -> Option<u64> {
        self.asked.remove(&request).map(|(number, _)| number)
    }

    /// The hub has refused a request. One that was refused for now waits and goes again.
    pub(crate) fn refused(&mut self, error: &ErrorFrame, now: Instant) -> Refused {
        let asked = error.id.and_then(|id| self.asked.remove(&id));
        let Some((number, request)) = asked else { return Refused::NotMine };
        if !error.temporary {
            return Refused::ForGood(number);
        }
        self.not_before = Some(now + error.retry_after_ms.map_or(PAUSE, Duration::from_millis));
        self.waiting.push_front((number, request));
        Refused::Again
    }

    /// The connection is gone: what had no verdict goes again, in its old order.
    pub(crate) fn ask_again(&mut self) {
        let mut asked: Vec<_> = self.asked.drain().map(|(_, request)| request).collect();
        asked.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        for request in asked {
            self.waiting.push_front(request);
        }
        self.not_before = None;
    }
}
