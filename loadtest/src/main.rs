//! Replays device traffic against a hub over real sockets and proves that every device and the store
//! agree.
//!
//! `synchub-loadtest replay FILE` plays a trace and ends with a verdict: exit code 0 when it is yes,
//! 1 when it is no, 2 when the replay could not be made.

mod args;
mod board;
mod chance;
mod fingerprint;
mod hub;
mod judge;
mod kills;
mod ledger;
mod pace;
mod play;
mod progress;
mod report;
mod store;
mod survey;
mod timing;
mod token;
mod trace;
mod verdict;

fn main() {}
