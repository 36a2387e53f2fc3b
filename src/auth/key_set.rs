//! The set of public keys that an issuer keeps, and how the hub keeps up with it.
//!
//! One task asks for the set: at start, at a regular interval, and when a token names a key that is not in
//! it. Whoever waits shares its next answer; none of them asks by itself. While nobody answers, the last
//! good set goes on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::jwks;
use super::keys::Key;
use super::source::{FETCH_TIMEOUT, FetchError, Source};
use crate::clock::SharedClock;
use crate::config::AuthSettings;

/// How long a token waits for an answer: longer than the answer may take.
const WAIT: Duration = Duration::from_secs(FETCH_TIMEOUT.as_secs() + 1);

/// The set, and what is known about getting it.
pub(super) struct KeySet {
    source: Source,
    refresh: Duration,
    retry: Duration,
    state: watch::Sender<State>,
    /// A token named a key that is not in the set.
    wanted: Notify,
}

#[derive(Default)]
struct State {
    /// The last good set.
    keys: Option<Arc<[Key]>>,
    /// How often the set was asked for, and an answer or none came.
    attempts: u64,
    /// Whether it is being asked for now.
    asking: bool,
    /// When it was asked for last, in microseconds since 1970.
    began_us: i64,
    /// Whether the last answer was a set.
    reached: bool,
}

impl KeySet {
    /// A set of which `keys` are known, if any. The first thing that [`KeySet::keep`] does is to ask for it,
    /// and what wants it before waits for that.
    pub(super) fn new(source: Source, keys: Option<Vec<Key>>, settings: &AuthSettings) -> Self {
        let keys = keys.map(Arc::from);
        Self {
            source,
            refresh: settings.jwks_refresh(),
            retry: settings.jwks_retry(),
            state: watch::Sender::new(State { keys, asking: true, ..State::default() }),
            wanted: Notify::new(),
        }
    }

    /// The last good set.
    pub(super) fn keys(&self) -> Option<Arc<[Key]>> {
        self.state.borrow().keys.clone()
    }

    /// Sees to it that the set is as new as may be at `now_us`; false if it cannot be had.
    pub(super) async fn renew(&self, now_us: i64) -> bool {
        let mut state = self.state.subscribe();
        let before = {
            let state = state.borrow();
            if !state.asking {
                if !self.may_ask(&state, now_us) {
                    return state.reached;
                }
                self.wanted.notify_one();
            }
            state.attempts
        };
        let answered = tokio::time::timeout(WAIT, state.wait_for(|state| state.attempts > before));
        answered.await.is_ok_and(|state| state.is_ok_and(|state| state.reached))
    }

    /// Keeps up with the issuer until `stop`.
    pub(super) async fn keep(self: Arc<Self>, clock: SharedClock, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                let reached = self.ask(clock.now_us()).await.is_ok();
                let pause = if reached { self.refresh } else { self.retry.min(self.refresh) };
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.wanted(&clock) => {}
                }
            }
        })
        .await;
    }

    /// Waits until a token wants a newer set and it may be asked for again.
    async fn wanted(&self, clock: &SharedClock) {
        loop {
            self.wanted.notified().await;
            if self.may_ask(&self.state.borrow(), clock.now_us()) {
                return;
            }
        }
    }

    /// The clock may have been set back, which must not keep the hub from asking.
    fn may_ask(&self, state: &State, now_us: i64) -> bool {
        u128::from(now_us.abs_diff(state.began_us)) >= self.retry.as_micros()
    }

    /// Asks for the set.
    pub(super) async fn ask(&self, now_us: i64) -> Result<(), FetchError> {
        self.state.send_modify(|state| {
            state.asking = true;
            state.began_us = now_us;
        });
        let fetched = self.source.fetch().await.and_then(|text| Ok(jwks::read(&text)?));
        self.log(&fetched);
        let (keys, outcome) = match fetched {
            Ok(keys) => (Some(keys.into()), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.state.send_modify(|state| {
            state.attempts += 1;
            state.asking = false;
            state.reached = outcome.is_ok();
            state.keys = keys.or_else(|| state.keys.take());
        });
        outcome
    }

    /// A line for what is new; none for what is as it was.
    fn log(&self, fetched: &Result<Vec<Key>, FetchError>) {
        let state = self.state.borrow();
        let (was_lost, source) = (!state.reached && state.attempts > 0, &self.source);
        let retry_secs = self.retry.min(self.refresh).as_secs();
        match (fetched, &state.keys) {
            (Err(_), _) if was_lost => {}
            (Err(error), Some(_)) => tracing::warn!(
                %source, %error, retry_secs, "cannot get the set of keys for tokens: the last one goes on"
            ),
            (Err(error), None) => tracing::warn!(
                %source, %error, retry_secs,
                "cannot get the set of keys for tokens: tokens that need it are told to come back (4004)"
            ),
            (Ok(keys), _) if keys.is_empty() => {
                tracing::warn!(%source, "the set of keys for tokens has none that the hub can use");
            }
            (Ok(keys), known)
                if was_lost || known.as_deref().is_none_or(|known| names(known) != names(keys)) =>
            {
                tracing::info!(%source, keys = ?names(keys), "the set of keys for tokens");
            }
            (Ok(_), Some(_) | None) => {}
        }
    }
}

fn names(keys: &[Key]) -> Vec<&str> {
    keys.iter().map(|key| key.kid.as_deref().unwrap_or("(without a name)")).collect()
}
