//! Conflicts: who wins a stale field, and which write owns a field.
//!
//! Plain functions on stamps and values. Whether a field is stale at all, and what becomes of the
//! loser, is the planner's business.

pub mod owners;
pub mod strategy;

pub use strategy::{Clash, Reason, Verdict, Winner, resolve};
