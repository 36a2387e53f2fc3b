//! The loop around the state: connect, say hello, move frames, come back.
//!
//! It is one task. Everything happens in one order: read what is there, apply it, store it in one
//! transaction, tell the app, send what is ready. While nothing can be sent it still stores what the app
//! does. It decides nothing about sync itself; that is in [`State`](crate::session::State).

mod live;
mod socket;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use synchub_protocol::Encoding;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::batches::Moment;
use crate::clock::{Clock, Entropy};
use crate::config::{Backoff, TokenSource};
use crate::connection::live::Live;
use crate::event::Event;
use crate::retry::{End, Next, Retry, StopReason};
use crate::shared::{Shared, Wanted};
use crate::storage::{Storage, StorageError};

/// The loop's own things.
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    /// Away only while a group of changes is stored on another thread.
    pub(crate) storage: Option<Box<dyn Storage>>,
    pub(crate) tracker: TaskTracker,
    pub(crate) url: String,
    pub(crate) token: Arc<dyn TokenSource>,
    pub(crate) token_in_hello: bool,
    pub(crate) encoding: Encoding,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_message_bytes: usize,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// What a connection leaves behind for the next.
#[derive(Debug, Default)]
struct Legacy {
    /// The token of the last attempt, and the close that refused it.
    token: Option<String>,
    token_refused: Option<(u16, String)>,
    /// What the hub asked to wait at least.
    not_within: Duration,
    /// Whether the session has caught up.
    succeeded: bool,
}

impl Connection {
    /// Runs until the client stops.
    pub(crate) async fn run(mut self, backoff: Backoff, long_pause: Duration) {
        let mut retry = Retry::new(backoff, long_pause);
        let mut legacy = Legacy::default();
        let mut pause = Duration::ZERO;
        let reason = loop {
            match self.pause_until_wanted(pause).await {
                Ok(true) => {}
                Ok(false) => break StopReason::Asked,
                Err(end) => break StopReason::Storage(end.to_string()),
            }
            let Err(end) = self.connect_once(&mut legacy).await;
            pause = match self.ended(end, &mut retry, &mut legacy) {
                Next::Wait(delay) => delay,
                Next::Offline => Duration::ZERO,
                Next::Stop(reason) => break reason,
            };
        };
        let stored = self.store().await;
        self.shared.stop(stored.map_or_else(|end| StopReason::Storage(end.to_string()), |()| reason));
    }

    /// One connection from dial to end.
    async fn connect_once(&mut self, legacy: &mut Legacy) -> Result<Infallible, End> {
        let token = self.fetch_token(legacy).await?;
        self.shared.lock().state.begin_attempt();
        self.store().await?;
        let header = (!self.token_in_hello).then_some(token.as_str());
        let url = self.url.clone();
        let dial = socket::dial(&url, header, self.encoding, self.max_message_bytes);
        let limit = self.connect_timeout;
        let socket = self.while_storing(timeout(limit, dial)).await?;
        let socket = socket.map_err(|_| End::Lost(format!("no answer within {limit:?}")))??;
        let in_hello = self.token_in_hello.then_some(token);
        let mut live = Live::new(self, socket);
        let Err(end) = live.run(in_hello, legacy).await;
        live.close(&end).await;
        Err(end)
    }

    async fn fetch_token(&mut self, legacy: &mut Legacy) -> Result<String, End> {
        let source = Arc::clone(&self.token);
        let limit = self.connect_timeout;
        let token = self.while_storing(async { timeout(limit, source.token()).await }).await?;
        let token = token
            .map_err(|_| End::NoToken(format!("the token source did not answer within {limit:?}")))?
            .map_err(|error| End::NoToken(error.to_string()))?;
        if let Some((code, text)) = legacy.token_refused.take()
            && legacy.token.as_ref() == Some(&token)
        {
            return Err(End::SameToken { code, text });
        }
        legacy.token = Some(token.clone());
        Ok(token)
    }

    /// Books the end of a connection and says what follows.
    fn ended(&mut self, end: End, retry: &mut Retry, legacy: &mut Legacy) -> Next {
        if std::mem::take(&mut legacy.succeeded) {
            retry.succeeded();
        }
        if let End::Closed { code: code @ (4500 | 4501), text } = &end {
            legacy.token_refused = Some((*code, text.clone()));
        }
        let next = retry.after(&end, std::mem::take(&mut legacy.not_within), self.entropy.as_ref());
        tracing::debug!(%end, ?next, "connection ended");
        {
            let mut inner = self.shared.lock();
            inner.state.end_session(&end);
            inner.hurry = false;
            inner.state.stats_mut().disconnects += 1;
            let retry_in = if let Next::Wait(delay) = next { Some(delay) } else { None };
            inner.emit(Event::Disconnected { reason: end, retry_in });
        }
        self.shared.moved.notify_waiters();
        next
    }

    /// Waits for so long, or until the app is in a hurry; while the app wants to be offline, for ever.
    /// Says whether to go on.
    async fn pause_until_wanted(&mut self, pause: Duration) -> Result<bool, End> {
        let until = Instant::now() + pause;
        loop {
            self.store().await?;
            let (wanted, hurry) = {
                let mut inner = self.shared.lock();
                inner.is_idle = inner.wanted == Wanted::Offline;
                (inner.wanted, inner.hurry)
            };
            self.shared.moved.notify_waiters();
            match wanted {
                Wanted::Stopped => return Ok(false),
                Wanted::Online if hurry || Instant::now() >= until => return Ok(true),
                Wanted::Online | Wanted::Offline => {}
            }
            tokio::select! {
                () = tokio::time::sleep_until(until), if wanted == Wanted::Online => {}
                () = self.shared.woken.notified() => {}
            }
        }
    }

    /// Stores what was noted since the last time, as one transaction.
    async fn store(&mut self) -> Result<(), End> {
        let Some((changes, revision)) = self.shared.lock().state.take_changes() else { return Ok(()) };
        let Some(mut storage) = self.storage.take() else {
            return Err(End::Storage("the storage was lost in an earlier failure".to_owned()));
        };
        let blocks = storage.blocks();
        let apply = move || {
            let applied = storage.apply(&changes);
            (storage, applied)
        };
        let (storage, applied) = if blocks {
            let task = self.tracker.spawn_blocking(apply);
            task.await.map_err(|error| End::Storage(error.to_string()))?
        } else {
            apply()
        };
        self.storage = Some(storage);
        applied.map_err(|error: StorageError| End::Storage(error.to_string()))?;
        {
            let mut inner = self.shared.lock();
            inner.state.stored(revision);
            inner.stored_revision = revision;
        }
        self.shared.moved.notify_waiters();
        Ok(())
    }

    /// Waits for something outside while storing what the app does.
    async fn while_storing<F: Future>(&mut self, future: F) -> Result<F::Output, End> {
        let mut future = std::pin::pin!(future);
        let shared = Arc::clone(&self.shared);
        loop {
            tokio::select! {
                output = &mut future => return Ok(output),
                () = shared.woken.notified() => {
                    self.check_wanted()?;
                    self.store().await?;
                }
            }
        }
    }

    fn check_wanted(&self) -> Result<(), End> {
        if self.shared.lock().wanted == Wanted::Online { Ok(()) } else { Err(End::Asked) }
    }

    fn moment(&self) -> Moment<'_> {
        Moment { instant: Instant::now(), clock: self.clock.now(), entropy: self.entropy.as_ref() }
    }
}
