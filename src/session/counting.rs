//! The connection under a WebSocket: what was read from it is counted, and before hello no more is read
//! than one WebSocket frame, so that the stream above can be rebuilt with nothing buffered in it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The longest header of a frame (RFC 6455, section 5.2).
const MAX_HEADER: usize = 14;

/// A connection that counts what was read from it.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) io: TcpStream,
    /// How many bytes were read since the counter was set to zero.
    pub(super) read: u64,
    /// Until it is taken away, reads end where a frame ends.
    pub(super) gate: Option<Gate>,
}

/// Follows the frames of a connection by their headers.
#[derive(Debug, Default)]
pub(super) struct Gate {
    header: [u8; MAX_HEADER],
    filled: usize,
    payload_left: u64,
}

impl Gate {
    /// Whether the bytes so far end with a frame.
    pub(super) fn is_between_frames(&self) -> bool {
        self.filled == 0 && self.payload_left == 0
    }

    /// How many bytes may be read without going past the frame.
    fn allows(&self) -> usize {
        if self.payload_left > 0 {
            usize::try_from(self.payload_left).unwrap_or(usize::MAX)
        } else {
            self.header_size() - self.filled
        }
    }

    /// The size of the header, as far as its bytes tell.
    fn header_size(&self) -> usize {
        if self.filled < 2 {
            return 2;
        }
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + mask + self.length_bytes()
    }

    fn length_bytes(&self) -> usize {
        match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    /// Takes bytes that were read, of any number of frames.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(self.allows().min(bytes.len()));
            bytes = rest;
            if self.payload_left > 0 {
                self.payload_left -= now.len() as u64;
                continue;
            }
            self.header[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            if self.filled == self.header_size() {
                self.payload_left = self.payload();
                self.filled = 0;
            }
        }
    }

    fn payload(&self) -> u64 {
        let extended = &self.header[2..2 + self.length_bytes()];
        if extended.is_empty() {
            return u64::from(self.header[1] & 0x7f);
        }
        extended.iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
    }
}

/// The least number of bytes that a masked message takes on the wire (RFC 6455, section 5.2).
pub(super) fn wire_size(payload: usize) -> u64 {
    let extended = match payload {
        0..126 => 0,
        126..65_536 => 2,
        _ => 8,
    };
    payload as u64 + 6 + extended
}

impl AsyncRead for Counting {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, read, gate } = self.get_mut();
        let Some(gate) = gate else {
            let before = buffer.filled().len();
            ready!(Pin::new(io).poll_read(context, buffer))?;
            *read += (buffer.filled().len() - before) as u64;
            return Poll::Ready(Ok(()));
        };
        let allowed = gate.allows().min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(allowed));
        ready!(Pin::new(io).poll_read(context, &mut part))?;
        gate.pass(part.filled());
        let came = part.filled().len();
        *read += came as u64;
        buffer.advance(came);
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame with a payload of that many bytes.
    fn frame(payload: usize) -> Vec<u8> {
        let mut frame = match payload {
            0..126 => vec![0x82, 0x80 | u8::try_from(payload).unwrap()],
            126..65_536 => [&[0x82, 0xfe][..], &u16::try_from(payload).unwrap().to_be_bytes()].concat(),
            _ => [&[0x82, 0xff][..], &(payload as u64).to_be_bytes()].concat(),
        };
        frame.extend([1, 2, 3, 4]);
        frame.extend(vec![0xff; payload]);
        frame
    }

    #[test]
    fn a_gate_finds_the_end_of_every_frame() {
        for payload in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = frame(payload);
            assert_eq!(frame.len() as u64, wire_size(payload));
            for step in [1, 2, 3, 7, 4096] {
                let (mut gate, mut at) = (Gate::default(), 0);
                while at < frame.len() {
                    let allowed = gate.allows().min(step);
                    assert!(allowed > 0 && at + allowed <= frame.len(), "{payload} {at}");
                    gate.pass(&frame[at..at + allowed]);
                    at += allowed;
                    assert_eq!(gate.is_between_frames(), at == frame.len(), "{payload} {at}");
                }
            }
        }
        let mut gate = Gate::default();
        gate.pass(&[frame(0), frame(300), frame(70_000)].concat());
        assert!(gate.is_between_frames());
        gate.pass(&frame(300)[..20]);
        assert!(!gate.is_between_frames());
    }
}
