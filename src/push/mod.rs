//! Changes going out: from the bus to the sessions that may see them.
//!
//! A [`Feed`] follows one tenant's log through the bus, keeps its recent tail in memory and offers each
//! row to the subscribers whose view it concerns. It never waits for a session and never reads a record.
//! A [`Publisher`] takes what services ask for, a [`Throttle`] says how much of it a user is sent.

mod feed;
mod publisher;
mod tail;
mod throttle;
mod trails;

pub use feed::{Feed, Feeds, Membership};
pub use publisher::{Publisher, Service};
pub use tail::TailPage;
pub use throttle::Throttle;
