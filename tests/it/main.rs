//! The hub from outside: one binary, one folder a part.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod store;
