//! The store: a contract that every back end keeps, and what only one of them can be asked.

mod contract;
#[cfg(feature = "fail-points")]
pub(crate) mod crash;
#[cfg(feature = "fail-points")]
mod purge_crash;
mod sqlite;

pub(crate) use contract::{Edit, World};
pub(crate) use sqlite::Sqlite;
