//! The rules of sync as pure functions: plan, merge, workflow, filter, route.
//!
//! What happens to a batch, what a definition allows, who sees which change: decided here from plain
//! data, without I/O, without a clock and without randomness. This crate has no dependency that could
//! do any of these, and so the compiler holds the rule.

pub mod conflict;
pub mod domain;
pub mod filter;
pub mod group;
pub mod plan;
pub mod push;
pub mod record;
pub mod route;
