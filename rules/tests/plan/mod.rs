//! The planner.

mod batches;
mod checks;
mod deletes;
mod digests;
mod edits;
mod histories;
mod memory;
mod pushes;
mod reads;
mod scopes;
mod silent;
mod times;
