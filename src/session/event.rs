//! What a socket tells its session.

use bytes::Bytes;
use synchub_protocol::CloseReason;

/// What happened on the socket.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame in the session's encoding.
    Frame(Bytes),
    /// A sign of life without a frame.
    Alive,
    /// The peer's library answered a ping, which says nothing of the app behind it.
    Answered,
    /// Everything that was sent has left, and buffers can be given back.
    Flushed,
    /// A frame over the limit, but at most twice as large; it was skipped.
    Oversized(usize),
    /// There is room to send.
    Writable,
    /// The socket is over.
    Ended(CloseReason),
}
