//! The planner: what becomes of the batches of a group commit, as a pure function.
//!
//! [`reads()`] says what a group needs to know, [`plan`] turns what the store found and the batches into
//! decisions and writes. The batches are decided one after the other on one overlay of the records
//! read; planning a group is the same as planning its batches one by one. Nothing here reads a clock,
//! a disk or chance.

mod answer;
mod batch;
mod delete;
mod digests;
mod edit;
mod entry;
mod hash;
mod overlay;
mod reads;
mod review;
mod slot;
mod write;

pub use hash::{publish_hash, request_hash};
pub use reads::reads;

use crate::group::{Loaded, Plan, Submission};
use crate::plan::overlay::Overlay;

/// Decides the batches of a group in order. `now_us` is the time of the commit, in microseconds;
/// `loaded` is what the store found for the group's [`reads()`].
pub fn plan(now_us: i64, loaded: Loaded, submissions: &[Submission]) -> Plan {
    let mut overlay = Overlay::new(now_us, loaded);
    let decisions = submissions.iter().map(|submission| batch::decide(&mut overlay, submission)).collect();
    Plan { decisions, writes: overlay.finish() }
}
