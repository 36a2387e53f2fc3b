//! Changes going out: from the bus to the sessions that may see them.
//!
//! A [`Feed`] follows one tenant's log through the bus, keeps its recent tail in memory and offers each
//! row to the subscribers whose view it concerns. It never waits for a session and never reads a record.

mod feed;
mod tail;

pub use feed::{Feed, Feeds, Membership};
pub use tail::TailPage;
