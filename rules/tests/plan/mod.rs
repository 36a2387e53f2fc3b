//! The planner.

mod batches;
mod checks;
mod deletes;
mod digests;
mod edits;
mod histories;
mod reads;
mod scopes;
mod times;
