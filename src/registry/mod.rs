//! Who is connected to this node, and who wants to hear of what.
//!
//! [`Devices`] holds the one live session of each device; [`Index`] finds the subscribers of a scope and
//! domain; [`Mailbox`] is the bounded queue between the feed and one session. It knows sessions and
//! encoded frames, not what a batch is.

mod devices;
mod index;
mod mailbox;
mod outgoing;
mod outgoing_push;

pub use devices::{DeviceKey, Devices, Link, Living};
pub use index::{Index, Subscriber};
pub use mailbox::{Command, GoAwayCause, Lost, Mailbox, Post};
pub use outgoing::{Form, Outgoing};
pub use outgoing_push::{OutgoingPush, OutgoingRow};
