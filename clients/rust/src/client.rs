//! The handle that an app holds.

use std::sync::Arc;

use synchub_protocol::client::Subscription;
use synchub_protocol::{Data, Entry};
use tokio::sync::{broadcast, oneshot};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::clock::{Clock, Entropy};
use crate::config::Config;
use crate::connection::Connection;
use crate::copy::Reached;
use crate::event::{Event, Stats};
use crate::retry::Stopped;
use crate::session::{DeviceState, Settings, State};
use crate::shared::{Shared, Wanted};
use crate::storage::{CopyRecord, StorageError};
use crate::ticket::Ticket;

/// A running client: a cheap handle, to be cloned at will. It stops when it is told to, or when the last
/// handle is dropped; what was not answered by then stays in the storage.
#[derive(Debug, Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// Why a client could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The storage cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The address is no `ws://` address.
    #[error(
        "`{0}` is no address of a hub; write it like ws://127.0.0.1:8480/ws (TLS is for a proxy beside the client)"
    )]
    Url(String),
}

struct Handle {
    shared: Arc<Shared>,
    tracker: TaskTracker,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    event_capacity: usize,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.want(Wanted::Stopped);
    }
}

impl Client {
    /// Loads what is stored and begins to connect. It does not wait for the hub: copy and outbox can be
    /// used at once, online or not.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if !config.url.starts_with("ws://") {
            return Err(StartError::Url(config.url));
        }
        let tracker = TaskTracker::new();
        let mut storage = config.storage;
        let blocks = storage.blocks();
        let load = move || {
            let stored = storage.load();
            stored.map(|stored| (storage, stored))
        };
        let (storage, stored) = if blocks {
            let task = tracker.spawn_blocking(load);
            task.await.map_err(|error| StorageError::Other(error.to_string()))??
        } else {
            load()?
        };
        let settings = Settings {
            device: config.device,
            is_service: config.is_service,
            encoding: config.encoding,
            backoff: config.backoff,
            ack_every: config.ack_every,
            keep_accepted: config.keep_accepted,
            compression: config.compression,
            delta: config.delta,
            heartbeat_secs: config.heartbeat_secs,
        };
        let state =
            State::load(stored, settings, config.install, config.subscriptions, config.entropy.as_ref());
        let shared = Arc::new(Shared::new(state));
        let handle = Handle {
            shared: Arc::clone(&shared),
            tracker: tracker.clone(),
            clock: Arc::clone(&config.clock),
            entropy: Arc::clone(&config.entropy),
            event_capacity: config.event_capacity,
        };
        let connection = Connection {
            shared,
            storage: Some(storage),
            tracker: tracker.clone(),
            url: config.url,
            token: config.token,
            token_in_hello: config.token_in_hello,
            encoding: config.encoding,
            connect_timeout: config.connect_timeout,
            max_message_bytes: config.max_message_bytes,
            clock: config.clock,
            entropy: config.entropy,
        };
        tracker.spawn(connection.run(config.backoff, config.long_pause));
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Puts an edit into the outbox as it is: the caller names version and data himself. Most apps want
    /// [`Client::create`], [`Client::edit`] and [`Client::delete`].
    pub fn submit(&self, entry: Entry) -> Ticket {
        let (sender, answer) = oneshot::channel();
        let mobile_id = entry.mobile_id;
        let revision = {
            let mut inner = self.handle.shared.lock();
            if inner.stopped.is_none() {
                let local_id = inner.state.submit(entry);
                inner.tickets.insert(local_id, sender);
            }
            inner.state.revision()
        };
        self.handle.shared.woken.notify_one();
        Ticket { mobile_id, revision, answer, shared: Arc::clone(&self.handle.shared) }
    }

    /// Creates a record; [`Ticket::mobile_id`] is its id.
    pub fn create(&self, domain: impl Into<String>, data: Data) -> Ticket {
        let entry = Entry::upsert(domain, self.handle.entropy.uuid(), 0, data);
        self.submit(self.stamped(entry))
    }

    /// Edits some fields of a record; `null` clears one.
    ///
    /// The entry names the version of the copy (E1) and carries only the fields that were edited, with
    /// `delta`. So an edit made before the copy has an earlier one does not send the earlier one again, and
    /// a field that is set back to its old value is set back (E3).
    pub fn edit(&self, domain: impl Into<String>, mobile_id: Uuid, fields: Data) -> Ticket {
        let mut entry = Entry::upsert(domain, mobile_id, 0, fields);
        entry.delta = true;
        self.submit_on_copy(entry)
    }

    /// Deletes a record. It does not come back: a record that is wanted again is a new one (D2).
    pub fn delete(&self, domain: impl Into<String>, mobile_id: Uuid) -> Ticket {
        self.submit_on_copy(Entry::delete(domain, mobile_id, 0))
    }

    /// A record as the hub gave it.
    pub fn record(&self, domain: &str, mobile_id: Uuid) -> Option<CopyRecord> {
        self.handle.shared.lock().state.copy().record(domain, mobile_id).cloned()
    }

    /// All records of a domain as the hub gave them, in no order.
    pub fn records(&self, domain: &str) -> Vec<(Uuid, CopyRecord)> {
        let inner = self.handle.shared.lock();
        inner.state.copy().records(domain).map(|(mobile_id, record)| (mobile_id, record.clone())).collect()
    }

    /// A record as the user should see it: the copy's, with answered edits that the copy lacks (C7) and
    /// the outbox on top.
    pub fn shown(&self, domain: &str, mobile_id: Uuid) -> Option<Data> {
        let inner = self.handle.shared.lock();
        inner.state.outbox().shown(domain, mobile_id, inner.state.copy())
    }

    /// Waits until the copy has a record at this version or a later one, or it is gone by then.
    pub async fn wait_for_version(
        &self,
        domain: &str,
        mobile_id: Uuid,
        version: u64,
    ) -> Result<Reached, Stopped> {
        let reached =
            |inner: &crate::shared::Inner| inner.state.copy().reached_version(domain, mobile_id, version);
        self.handle.shared.until(reached).await
    }

    /// Waits until everything is answered and the session is live, at this place of the log or later if one
    /// is given.
    pub async fn wait_until_settled(&self, seq: Option<u64>) -> Result<(), Stopped> {
        let settled = |inner: &crate::shared::Inner| {
            let state = &inner.state;
            let is_there = state.copy().position() >= seq.unwrap_or(0);
            (state.outbox().is_empty() && state.is_live() && is_there).then_some(())
        };
        self.handle.shared.until(settled).await
    }

    /// What happens from now on. A listener that falls too far behind misses the oldest events and is told
    /// how many; the copy itself misses nothing.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        let mut inner = self.handle.shared.lock();
        if inner.stopped.is_some() {
            return broadcast::channel(1).1;
        }
        let capacity = self.handle.event_capacity.max(1);
        inner.events.get_or_insert_with(|| broadcast::channel(capacity).0).subscribe()
    }

    /// Subscribes; the subscriptions of the domains named are replaced, others stay.
    pub fn subscribe(&self, subscriptions: Vec<Subscription>) {
        self.handle.shared.lock().state.subscribe(subscriptions);
        self.handle.shared.woken.notify_one();
    }

    /// Ends the subscriptions of these domains. Their records leave the copy with the next cursor.
    pub fn unsubscribe(&self, domains: &[String]) {
        self.handle.shared.lock().state.unsubscribe(domains);
        self.handle.shared.woken.notify_one();
    }

    /// Renews the token of the connection that is open; one that is not open asks the token source when
    /// it is. The event is [`Event::TokenRenewed`], or [`Event::Refused`] and the old token goes on.
    pub fn renew_token(&self, token: impl Into<String>) {
        self.handle.shared.lock().state.renew_token(token.into());
        self.handle.shared.woken.notify_one();
    }

    /// Tells the hub of the device's state, now and on every later connection; what is absent stays.
    pub fn set_device_state(&self, state: DeviceState) {
        self.handle.shared.lock().state.set_device_state(state);
        self.handle.shared.woken.notify_one();
    }

    /// Asks for what was held back (C9), and waits until the copy has it: [`Event::HeldBack`] says when there is something to
    /// ask for. Offline it waits for the next connection. A hub that knows no `catch_up` holds nothing back: [`Event::Refused`]
    /// says so, and the wait is over.
    pub async fn catch_up(&self) -> Result<(), Stopped> {
        let number = self.handle.shared.lock().state.catch_up();
        self.handle.shared.woken.notify_one();
        self.handle.shared.until(|inner| inner.state.has_caught_up(number).then_some(())).await
    }

    /// How many edits wait for their answer.
    pub fn outbox_len(&self) -> usize {
        self.handle.shared.lock().state.outbox().len()
    }

    /// The place of the last `position` or `caught_up`; none before the first.
    pub fn position(&self) -> Option<u64> {
        let seq = self.handle.shared.lock().state.copy().position();
        (seq > 0).then_some(seq)
    }

    /// Whether the client is connected and has caught up.
    pub fn is_live(&self) -> bool {
        self.handle.shared.lock().state.is_live()
    }

    /// What was counted since the start.
    pub fn stats(&self) -> Stats {
        self.handle.shared.lock().state.stats()
    }

    /// Goes offline and stays so until [`Client::reconnect`]; edits can be made meanwhile.
    pub async fn disconnect(&self) {
        self.handle.shared.want(Wanted::Offline);
        let idle = self.handle.shared.until(|inner| inner.is_idle.then_some(())).await;
        // A client that has stopped is offline as well.
        drop(idle);
    }

    /// Comes back at once, from offline or from a pause between two attempts.
    pub fn reconnect(&self) {
        self.handle.shared.want(Wanted::Online);
    }

    /// Stops for good, with everything stored.
    pub async fn stop(&self) {
        self.handle.shared.want(Wanted::Stopped);
        self.handle.tracker.close();
        self.handle.tracker.wait().await;
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    fn stamped(&self, mut entry: Entry) -> Entry {
        entry.client_timestamp = Some(self.handle.clock.now());
        entry
    }

    fn submit_on_copy(&self, mut entry: Entry) -> Ticket {
        entry.version = self.handle.shared.lock().state.base_version(&entry.domain, entry.mobile_id);
        self.submit(self.stamped(entry))
    }
}
