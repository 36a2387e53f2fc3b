//! The hub's integration tests, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod disaster;
mod docs;
mod domains;
mod engine;
mod holes;
mod limits;
mod observe;
mod push;
mod session;
mod store;
mod support;
mod tidy;
mod tokens;
mod unbreakable;
mod visibility;
