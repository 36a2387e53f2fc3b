//! The hub's integration tests, in one binary.

mod domains;
mod engine;
mod session;
mod store;
mod support;
mod tidy;
mod visibility;
