//! What the handles and the loop share: the state behind one short lock, and two bells.
//!
//! Handles change the state and ring `woken`; only the loop listens to it. The loop rings `moved` after it
//! has changed or stored something, for everyone who waits. The lock is never held while anything waits.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use synchub_protocol::server::EntryResult;
use tokio::sync::{Notify, broadcast, oneshot};

use crate::event::Event;
use crate::retry::{StopReason, Stopped};
use crate::session::{PublishVerdict, State, Verdict};

/// What the app wants of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Online,
    Offline,
    Stopped,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) state: State,
    pub(crate) wanted: Wanted,
    /// The app asked to come back now: no pause is waited for.
    pub(crate) hurry: bool,
    /// Whether the loop holds a connection or tries for one.
    pub(crate) is_idle: bool,
    pub(crate) stored_revision: u64,
    pub(crate) tickets: HashMap<u64, oneshot::Sender<EntryResult>>,
    /// Who waits for a comparison with the hub.
    pub(crate) comparing: HashMap<u64, oneshot::Sender<Verdict>>,
    /// Who waits for something to be published.
    pub(crate) publishing: HashMap<u64, oneshot::Sender<PublishVerdict>>,
    /// Made when the first listener comes: a client without listeners keeps no events.
    pub(crate) events: Option<broadcast::Sender<Event>>,
    pub(crate) stopped: Option<StopReason>,
}

impl Inner {
    pub(crate) fn emit(&self, event: Event) {
        if let Some(events) = &self.events {
            // Without a listener there is nobody to miss it.
            let _ = events.send(event);
        }
    }
}

/// The client's state, and who waits for it.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    pub(crate) woken: Notify,
    pub(crate) moved: Notify,
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        let inner = Inner {
            state,
            wanted: Wanted::Online,
            hurry: false,
            is_idle: false,
            stored_revision: 0,
            tickets: HashMap::new(),
            comparing: HashMap::new(),
            publishing: HashMap::new(),
            events: None,
            stopped: None,
        };
        Self { inner: Mutex::new(inner), woken: Notify::new(), moved: Notify::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Changes what the app wants and wakes the loop.
    pub(crate) fn want(&self, wanted: Wanted) {
        {
            let mut inner = self.lock();
            if inner.wanted != Wanted::Stopped {
                inner.wanted = wanted;
                inner.hurry = wanted == Wanted::Online;
            }
        }
        self.woken.notify_one();
    }

    /// The loop has ended: nobody is answered any more.
    pub(crate) fn stop(&self, reason: StopReason) {
        {
            let mut inner = self.lock();
            inner.is_idle = true;
            inner.stopped = Some(reason.clone());
            inner.tickets.clear();
            inner.comparing.clear();
            inner.publishing.clear();
            inner.emit(Event::Stopped { reason });
            inner.events = None;
        }
        self.moved.notify_waiters();
    }

    /// Waits until `check` gives something, or the client has stopped.
    pub(crate) async fn until<T>(&self, mut check: impl FnMut(&Inner) -> Option<T>) -> Result<T, Stopped> {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            // Enabled before the check, so that what moves between check and await is not missed.
            moved.as_mut().enable();
            {
                let inner = self.lock();
                if let Some(found) = check(&inner) {
                    return Ok(found);
                }
                if let Some(reason) = &inner.stopped {
                    return Err(Stopped { reason: reason.clone() });
                }
            }
            moved.await;
        }
    }
}
