//! The connection under a WebSocket: what is read from it is counted, so that the stream above can be
//! rebuilt when nothing is buffered in it, so that a stranger cannot send without end, and so that what
//! incomplete messages hold is bounded.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use synchub_protocol::CloseReason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::parts::Parts;
use super::read_pool::{ReadPool, Room, Share};

/// What may be read from a peer before its hello is complete: a token, 64 domains and their filters fit.
const BEFORE_HELLO_BYTES: u64 = 64 * 1024;

/// What a peer may have sent of a message before it counts in the node's pool.
const UNCOUNTED_BYTES: u64 = 64 * 1024;

/// How many parts of messages may come before the session has counted them.
const UNSEEN_PARTS: u64 = 4096;

/// The least number of bytes that a masked message takes on the wire (RFC 6455, section 5.2).
pub(super) fn wire_size(payload: usize) -> u64 {
    let extended = match payload {
        0..126 => 0,
        126..65_536 => 2,
        _ => 8,
    };
    payload as u64 + 6 + extended
}

/// A connection that counts what was read from it.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) io: TcpStream,
    /// How many bytes were read since this was last set to zero.
    pub(super) read: u64,
    /// The wire size of the messages that were taken out since then; equal: nothing is buffered.
    pub(super) taken: u64,
    /// What was read of messages that are complete, at least.
    done: u64,
    pool: ReadPool,
    /// This socket's share of the pool, while a large part of a message is buffered.
    share: Option<Share>,
    pub(super) parts: Parts,
    /// Whether the peer has not said hello: then what it may send is limited.
    pub(super) stranger: bool,
    /// The moment (see [`ReadPool::moment`]) at which a message had come in part; 0: none has.
    begun: u32,
}

impl Counting {
    /// A stranger's connection, of which `read_ahead` was read.
    pub(super) fn new(io: TcpStream, read_ahead: &[u8], pool: &ReadPool) -> Self {
        let (read, mut parts) = (read_ahead.len() as u64, Parts::default());
        parts.follow(read_ahead);
        Self { io, parts, read, taken: 0, done: 0, pool: pool.clone(), share: None, stranger: true, begun: 0 }
    }

    /// A message was taken out. One of data ends what was buffered, but for less than one read; pings may
    /// stand between the parts of one.
    pub(super) fn take(&mut self, payload: usize, is_data: bool) {
        self.taken += wire_size(payload);
        self.done = if is_data { self.read } else { self.done + wire_size(payload) };
        self.count();
    }

    /// How long the message that was taken out last took to come, in milliseconds; 0 if it came at once. Asked once for
    /// each message of data, before the next is read.
    pub(super) fn took_ms(&mut self) -> u64 {
        match std::mem::take(&mut self.begun) {
            0 => 0,
            begun => self.pool.moment().wrapping_sub(begun).into(),
        }
    }

    /// Begins to count anew; only while nothing is buffered.
    pub(super) fn reset(&mut self) {
        (self.read, self.taken, self.done) = (0, 0, 0);
        self.count();
    }

    /// Whether nothing can be read now and nobody else makes this socket go; the task is woken when that changes.
    pub(super) fn is_quiet(&self, context: &mut Context<'_>) -> bool {
        self.share.is_none() && self.io.poll_read_ready(context).is_pending()
    }

    fn count(&mut self) {
        let buffered = self.read.saturating_sub(self.done);
        if buffered <= UNCOUNTED_BYTES {
            self.share = None;
            return;
        }
        let share = self.share.get_or_insert_with(|| self.pool.begin());
        share.holds(usize::try_from(buffered).unwrap_or(usize::MAX));
    }
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stranger && self.read > BEFORE_HELLO_BYTES {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        if self.parts.count() > UNSEEN_PARTS {
            return Poll::Ready(Err(io::ErrorKind::ResourceBusy.into()));
        }
        match self.share.as_ref().map_or(Room::Free, |share| share.room(context)) {
            Room::Free => {}
            Room::Full => return Poll::Pending,
            Room::Gone => return Poll::Ready(Err(io::ErrorKind::StorageFull.into())),
        }
        // The first part was read a moment ago: a message that comes at once costs no look at the clock.
        if self.begun == 0 && self.read > self.done {
            self.begun = self.pool.moment();
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        self.parts.follow(&buffer.filled()[before..]);
        self.read += (buffer.filled().len() - before) as u64;
        self.count();
        read
    }
}

/// Why a socket ends whose connection gave an error, its own ones too.
pub(super) fn close_reason(error: &io::Error) -> CloseReason {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => CloseReason::FrameTooLarge,
        io::ErrorKind::StorageFull => CloseReason::Overloaded,
        io::ErrorKind::ResourceBusy => CloseReason::RateLimitIgnored,
        _ => CloseReason::PeerClosed,
    }
}

/// Reads and drops until the peer has ended.
pub(super) fn poll_drain(mut io: Pin<&mut TcpStream>, context: &mut Context<'_>) -> Poll<()> {
    let mut dropped = [0; 1024];
    loop {
        let mut buffer = ReadBuf::new(&mut dropped);
        let read = ready!(io.as_mut().poll_read(context, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
