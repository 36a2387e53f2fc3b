//! What peers have sent of messages that are not complete: bounded for the node as a whole.
//!
//! A peer may take its time over a large message, and ten thousand of them may. When they hold more than
//! the node has room for, the one that began first is closed: the others were faster, so they are not the
//! ones that keep it full. Until it has given back what it held, the others wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Waker};

use parking_lot::Mutex;

use crate::clock::SharedClock;

/// What incomplete messages may take on a node, in bytes.
const POOL_BYTES: usize = 16 * 1024 * 1024;

/// What is held by all sockets of a node. Clones share it.
#[derive(Debug, Clone)]
pub struct ReadPool(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    clock: SharedClock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What all shares hold.
    bytes: usize,
    /// What those of them hold that have to go.
    leaving: usize,
    /// By the order in which they began.
    held: BTreeMap<u64, Held>,
    begun: u64,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    leaving: bool,
    /// Who waits: to go, or for room.
    waker: Option<Waker>,
}

/// One socket's share; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    pool: ReadPool,
    number: u64,
}

/// Whether a socket may read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// It may.
    Free,
    /// Not before others have gone; the task is woken.
    Full,
    /// It has to go itself.
    Gone,
}

impl ReadPool {
    /// A pool in which nothing is held.
    pub fn new(clock: SharedClock) -> Self {
        Self(Arc::new(Pool { clock, state: Mutex::default() }))
    }

    /// The present moment in four bytes, so that each socket can keep one: in milliseconds, never 0, beginning anew
    /// after 49 days.
    pub(super) fn moment(&self) -> u32 {
        let millis = (self.0.clock.ticks_us() / 1000) & i64::from(u32::MAX);
        u32::try_from(millis).unwrap_or(0).max(1)
    }

    /// A share for a message of which a large part has come.
    pub(super) fn begin(&self) -> Share {
        let mut state = self.0.state.lock();
        state.begun += 1;
        let number = state.begun;
        state.held.insert(number, Held::default());
        drop(state);
        Share { pool: self.clone(), number }
    }
}

impl State {
    /// Makes the oldest go until the others fit; a message that is alone fits, its frame's limit bounds it.
    fn evict(&mut self) {
        let mut staying = self.held.values().filter(|held| !held.leaving).count();
        for held in self.held.values_mut().filter(|held| !held.leaving) {
            if self.bytes - self.leaving <= POOL_BYTES || staying <= 1 {
                return;
            }
            held.leaving = true;
            self.leaving += held.bytes;
            staying -= 1;
            held.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    fn wake_if_free(&mut self) {
        if self.bytes <= POOL_BYTES || self.held.len() <= 1 {
            self.held.values_mut().filter_map(|held| held.waker.take()).for_each(Waker::wake);
        }
    }
}

impl Share {
    /// Says how much is held now.
    pub(super) fn holds(&self, bytes: usize) {
        let mut state = self.pool.0.state.lock();
        let state = &mut *state;
        let Some(held) = state.held.get_mut(&self.number) else { return };
        let before = std::mem::replace(&mut held.bytes, bytes);
        state.bytes = state.bytes - before + bytes;
        if held.leaving {
            state.leaving = state.leaving - before + bytes;
        }
        state.evict();
    }

    /// Whether more may be read.
    pub(super) fn room(&self, context: &Context<'_>) -> Room {
        let mut state = self.pool.0.state.lock();
        let is_full = state.bytes > POOL_BYTES && state.held.len() > 1;
        let Some(held) = state.held.get_mut(&self.number) else { return Room::Gone };
        if held.leaving {
            return Room::Gone;
        }
        held.waker = Some(context.waker().clone());
        if is_full { Room::Full } else { Room::Free }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.pool.0.state.lock();
        if let Some(held) = state.held.remove(&self.number) {
            state.bytes -= held.bytes;
            state.leaving -= if held.leaving { held.bytes } else { 0 };
        }
        state.wake_if_free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    const HALF: usize = POOL_BYTES / 2;

    fn rooms(shares: &[Share]) -> Vec<Room> {
        shares.iter().map(|share| share.room(&Context::from_waker(Waker::noop()))).collect()
    }

    #[test]
    fn the_oldest_goes_when_the_pool_is_full_and_the_others_wait_until_it_has() {
        let pool = ReadPool::new(SystemClock::shared());
        let mut shares: Vec<_> = (0..3).map(|_| pool.begin()).collect();
        shares[1].holds(HALF);
        shares[2].holds(HALF);
        assert_eq!(rooms(&shares), [Room::Free; 3]);
        shares[0].holds(10);
        assert_eq!(rooms(&shares), [Room::Gone, Room::Full, Room::Full], "it began first");
        drop(shares.remove(0));
        assert_eq!(rooms(&shares), [Room::Free; 2]);
        shares[1].holds(HALF + 10);
        assert_eq!(rooms(&shares), [Room::Gone, Room::Full]);
        shares.clear();
        let state = pool.0.state.lock();
        assert_eq!((state.bytes, state.leaving, state.held.len()), (0, 0, 0));
    }

    #[test]
    fn a_message_that_is_alone_passes() {
        let pool = ReadPool::new(SystemClock::shared());
        let share = pool.begin();
        share.holds(10 * POOL_BYTES);
        assert_eq!(rooms(&[share]), [Room::Free]);
    }
}
