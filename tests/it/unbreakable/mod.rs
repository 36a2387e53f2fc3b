//! Attempts to break a running hub from outside: damaged files, kills, clocks that jump, no descriptors left, slow
//! peers at every stage, and many sockets to see off.

mod clock_jumps;
mod damage;
mod descriptors;
mod drained;
#[cfg(feature = "fail-points")]
mod killed_pushes;
mod process;
mod slow_readers;
mod slow_requests;
