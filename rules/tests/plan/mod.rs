//! The planner.

mod edits;
