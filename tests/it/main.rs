//! The hub's integration tests, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod domains;
mod engine;
mod session;
mod store;
mod support;
mod tidy;
mod tokens;
mod visibility;
