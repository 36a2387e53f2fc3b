//! The connection under a WebSocket: what is read from it is counted, so that the stream above can be
//! rebuilt when nothing is buffered in it, and so that a stranger cannot send without end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What may be read from a peer before its hello is complete: a token, 64 domains and their filters fit.
const BEFORE_HELLO_BYTES: u64 = 64 * 1024;

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
    /// Whether the peer has not said hello: then what it may send is limited.
    pub(super) stranger: bool,
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        self.read += (buffer.filled().len() - before) as u64;
        read
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
