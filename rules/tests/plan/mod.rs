//! The planner.

mod checks;
mod deletes;
mod edits;
mod histories;
