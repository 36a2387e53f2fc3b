//! The rules of sync, held by tables and by random histories.
//!
//! A test's name begins with the ids of the rules that it proves.

#![expect(unreachable_pub, reason = "nothing outside can reach into a test binary")]

mod conflict;
mod filter;
mod plan;
mod route;
mod support;
