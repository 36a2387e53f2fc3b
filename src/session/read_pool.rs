//! What peers have sent of messages that are not complete: bounded for the node as a whole.
//!
//! A peer may take its time over a large message, and ten thousand of them may. When they hold more than
//! the node has room for, the one that began first is closed: the others were faster, so they are not the
//! ones that keep it full.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};

use futures::task::AtomicWaker;
use parking_lot::Mutex;

/// What incomplete messages may take on a node, in bytes.
const POOL_BYTES: usize = 24 * 1024 * 1024;

/// What is held by all sockets of a node. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ReadPool(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    /// By the order in which they began.
    held: BTreeMap<u64, Held>,
    begun: u64,
}

#[derive(Debug)]
struct Held {
    bytes: usize,
    evicted: Arc<Evicted>,
}

#[derive(Debug, Default)]
struct Evicted {
    flag: AtomicBool,
    waker: AtomicWaker,
}

/// One socket's share; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    pool: ReadPool,
    number: u64,
    evicted: Arc<Evicted>,
}

impl ReadPool {
    /// A share for a message of which a large part has come.
    pub(super) fn begin(&self) -> Share {
        let mut state = self.0.lock();
        state.begun += 1;
        let (number, evicted) = (state.begun, Arc::<Evicted>::default());
        state.held.insert(number, Held { bytes: 0, evicted: Arc::clone(&evicted) });
        drop(state);
        Share { pool: self.clone(), number, evicted }
    }
}

impl State {
    fn remove(&mut self, number: u64) -> Option<Held> {
        let held = self.held.remove(&number)?;
        self.bytes -= held.bytes;
        Some(held)
    }
}

impl Share {
    /// Says how much is held now. What does not fit any more makes the oldest share, which may be this
    /// one, go.
    pub(super) fn holds(&self, bytes: usize) {
        let mut state = self.pool.0.lock();
        let Some(held) = state.held.get_mut(&self.number) else { return };
        let before = std::mem::replace(&mut held.bytes, bytes);
        state.bytes = state.bytes - before + bytes;
        let mut gone = Vec::new();
        // A message that is alone passes: its frame's limit bounds it.
        while state.bytes > POOL_BYTES && state.held.len() > 1 {
            let Some(oldest) = state.held.keys().next().copied() else { break };
            gone.extend(state.remove(oldest));
        }
        drop(state);
        for held in gone {
            held.evicted.flag.store(true, Ordering::Release);
            held.evicted.waker.wake();
        }
    }

    /// Whether this share had to go; else the task is woken when it has to.
    pub(super) fn is_evicted(&self, context: &Context<'_>) -> bool {
        self.evicted.waker.register(context.waker());
        self.evicted.flag.load(Ordering::Acquire)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        drop::<Option<Waker>>(self.evicted.waker.take());
        self.pool.0.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: usize = POOL_BYTES / 2;

    fn evicted(shares: &[Share]) -> Vec<bool> {
        shares.iter().map(|share| share.is_evicted(&Context::from_waker(Waker::noop()))).collect()
    }

    #[test]
    fn the_oldest_goes_when_the_pool_is_full() {
        let pool = ReadPool::default();
        let mut shares: Vec<_> = (0..3).map(|_| pool.begin()).collect();
        shares[1].holds(HALF);
        shares[2].holds(HALF);
        assert_eq!(evicted(&shares), [false; 3]);
        shares[0].holds(10);
        assert_eq!(evicted(&shares), [true, false, false], "it asks too much and began first");
        shares[2].holds(HALF + 10);
        assert_eq!(evicted(&shares), [true, true, false]);
        shares.truncate(1);
        let state = pool.0.lock();
        assert_eq!((state.bytes, state.held.len()), (0, 0));
    }

    #[test]
    fn a_message_that_is_alone_passes() {
        let pool = ReadPool::default();
        let share = pool.begin();
        share.holds(10 * POOL_BYTES);
        assert_eq!(evicted(&[share]), [false]);
    }
}
