//! The one live session of each device on this node, and every session for the drain.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use synchub_protocol::CloseReason;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::mailbox::{Command, Mailbox};

/// How many hellos of different devices may be accepted at once, but for chance.
const TURNS: usize = 1024;

/// A device as tokens and hellos name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeviceKey {
    /// The tenant.
    pub tenant: String,
    /// The user.
    pub user: String,
    /// The device's id.
    pub device: String,
}

/// What is known of a live session.
#[derive(Debug, Clone)]
pub struct Living {
    /// The session's number on this node.
    pub session: u64,
    /// Its generation in the store (C11).
    pub generation: u64,
    /// The history that it began in (R1).
    pub epoch: u64,
    /// The installation that opened it.
    pub install: Option<Uuid>,
    /// The attempt that it said.
    pub attempt: Option<u64>,
    /// How to reach it.
    pub mailbox: Arc<Mailbox>,
}

/// The live sessions of this node.
#[derive(Debug, Clone, Default)]
pub struct Devices {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    devices: DashMap<DeviceKey, Living>,
    /// With the epoch that each began in.
    sessions: DashMap<u64, (u64, Arc<Mailbox>)>,
    /// One of these is held while a device's hello is looked at, taken a generation for, and joined.
    turns: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Shared {
    fn default() -> Self {
        let turns = std::iter::repeat_with(Mutex::default).take(TURNS).collect();
        Self { devices: DashMap::new(), sessions: DashMap::new(), turns, hasher: RandomState::new() }
    }
}

impl Devices {
    /// Waits until no other hello of the device is being accepted, so that of two that come at once the
    /// one with the lower attempt is the late one, whichever was read first (C11).
    pub async fn turn(&self, key: &DeviceKey) -> MutexGuard<'_, ()> {
        let place = usize::try_from(self.shared.hasher.hash_one(key) % TURNS as u64).unwrap_or(0);
        self.shared.turns[place].lock().await
    }

    /// Whether a hello is the late one: the same install said a higher attempt already (C11).
    pub fn is_late(&self, key: &DeviceKey, install: Option<Uuid>, attempt: Option<u64>) -> bool {
        self.shared.devices.get(key).is_some_and(|living| {
            let same_install = install.is_some() && living.install == install;
            same_install && matches!((attempt, living.attempt), (Some(new), Some(old)) if new < old)
        })
    }

    /// Whether the device has a session here.
    pub fn is_here(&self, key: &DeviceKey) -> bool {
        self.shared.devices.contains_key(key)
    }

    /// Registers a session; the device's older one is closed. The registration ends when the link is
    /// dropped.
    pub fn join(&self, key: Option<DeviceKey>, living: Living) -> Link {
        self.shared.sessions.insert(living.session, (living.epoch, Arc::clone(&living.mailbox)));
        let session = living.session;
        let replaced = key.clone().and_then(|key| self.replace(key, living));
        if let Some(mailbox) = replaced {
            mailbox.command(Command::Close(CloseReason::Replaced));
        }
        Link { shared: Arc::clone(&self.shared), key, session }
    }

    /// Puts the newer generation in place and returns the mailbox of the older one.
    fn replace(&self, key: DeviceKey, living: Living) -> Option<Arc<Mailbox>> {
        match self.shared.devices.entry(key) {
            Entry::Vacant(vacant) => {
                vacant.insert(living);
                None
            }
            Entry::Occupied(occupied) if occupied.get().generation > living.generation => {
                Some(living.mailbox)
            }
            Entry::Occupied(mut occupied) => Some(occupied.insert(living).mailbox),
        }
    }

    /// Every session's mailbox.
    pub fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.mailboxes_before(u64::MAX)
    }

    /// The mailboxes of the sessions that began in an older epoch than this.
    pub fn mailboxes_before(&self, epoch: u64) -> Vec<Arc<Mailbox>> {
        let older = self.shared.sessions.iter().filter(|entry| entry.value().0 < epoch);
        older.map(|entry| Arc::clone(&entry.value().1)).collect()
    }
}

/// A session's place in the registry, given back on drop.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    key: Option<DeviceKey>,
    session: u64,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.sessions.remove(&self.session);
        if let Some(key) = &self.key {
            self.shared.devices.remove_if(key, |_, living| living.session == self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn living(session: u64, generation: u64, attempt: u64) -> Living {
        let mailbox = Arc::new(Mailbox::new(1000));
        Living { session, generation, epoch: 0, install: Some(Uuid::nil()), attempt: Some(attempt), mailbox }
    }

    fn key() -> DeviceKey {
        DeviceKey { tenant: "t".to_owned(), user: "u".to_owned(), device: "d".to_owned() }
    }

    #[test]
    fn c11_the_newer_generation_stays_whatever_the_order_of_arrival() {
        for order in [[1, 2], [2, 1]] {
            let devices = Devices::default();
            let sessions = order.map(|generation| living(generation, generation, 1));
            let _links = sessions.clone().map(|session| devices.join(Some(key()), session));
            for session in sessions {
                let expected = (session.generation == 1).then_some(Command::Close(CloseReason::Replaced));
                assert_eq!(session.mailbox.take_command(), expected);
            }
        }
    }

    #[test]
    fn c11_a_lower_attempt_of_the_same_install_is_late() {
        let devices = Devices::default();
        let link = devices.join(Some(key()), living(1, 1, 5));
        assert!(devices.is_late(&key(), Some(Uuid::nil()), Some(4)));
        for (install, attempt) in
            [(Some(Uuid::nil()), Some(5)), (Some(Uuid::nil()), None), (Some(Uuid::max()), Some(4))]
        {
            assert!(!devices.is_late(&key(), install, attempt));
        }
        drop(link);
        assert!(!devices.is_late(&key(), Some(Uuid::nil()), Some(4)));
    }

    #[test]
    fn a_link_removes_only_its_own_session() {
        let devices = Devices::default();
        let old = devices.join(Some(key()), living(1, 1, 1));
        let _new = devices.join(Some(key()), living(2, 2, 2));
        drop(old);
        assert!(devices.is_late(&key(), Some(Uuid::nil()), Some(1)));
        assert_eq!(devices.mailboxes().len(), 1);
    }
}
