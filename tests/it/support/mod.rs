//! What the tests drive a hub with: a hub in this process on a free port, and a peer that speaks raw
//! frames, so that nothing of our own client hides what the hub says.

mod copy;
mod entries;
mod hub;
mod issuer;
mod key_server;
mod peer;
mod publisher;
mod writer_gate;

pub(crate) use copy::Copy;
pub(crate) use entries::{delete, edit, journal, journals, ticket, tickets};
pub(crate) use hub::{Hub, NOW_US};
pub(crate) use issuer::{Issuer, PUBLIC, sign_parts};
pub(crate) use key_server::{KeyServer, set};
pub(crate) use peer::{Hello, Peer, request};
pub(crate) use publisher::Publisher;
pub(crate) use writer_gate::Gate;
