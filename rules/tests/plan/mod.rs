//! The planner.

mod edits;
mod histories;
