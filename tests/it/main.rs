//! The hub's integration tests, in one binary.

mod engine;
mod session;
mod store;
mod support;
mod tidy;
mod visibility;
