//! The WebSocket under a session: the only file that names tungstenite.
//!
//! Reads and writes are polled side by side, so that a peer that does not read can still be heard and
//! nothing is lost when a wait is cancelled. After a large message the buffers are given back: a
//! tungstenite stream keeps its largest for ever, so it is taken apart while nothing is buffered in it.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use synchub_protocol::gzip::{self, InflateError};
use synchub_protocol::{CloseReason, Encoding};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use super::counting::{Counting, close_reason, poll_drain};
use super::event::Event;
use super::read_pool::ReadPool;

/// What one read takes at most; tungstenite zero-fills this much before each.
const READ_BUFFER: usize = 1024;
/// What an idle socket may keep of what was gathered.
const KEPT_BUFFER: usize = 512;
/// What is gathered before it is written.
const WRITE_BUFFER: usize = 16 * 1024;
/// A WebSocket in one encoding.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each says something else of the stream")]
pub(crate) struct Socket {
    stream: Option<WebSocketStream<Counting>>,
    encoding: Encoding,
    max_frame_bytes: usize,
    /// What a compressed frame may inflate to; none: neither side may compress.
    pub(crate) inflated_bytes: Option<usize>,
    unflushed: bool,
    /// Whether the stream may hold messages that came with the last one.
    may_hold_messages: bool,
    /// Whether a large message has passed since the buffers were last given back.
    swollen: bool,
    sent_since_ready: usize,
    /// Whether so much was gathered for one write that the buffer for it has grown.
    gathered_much: bool,
    reads_first: bool,
}

impl Socket {
    /// Takes over an upgraded connection; `read_ahead` is what was read past the upgrade request.
    /// Until [`Socket::admit`] only a hello's worth of bytes is read; a frame may have `max_frame_bytes`.
    pub(crate) async fn new(
        io: TcpStream,
        read_ahead: &[u8],
        encoding: Encoding,
        max_frame_bytes: usize,
        pool: &ReadPool,
    ) -> Self {
        let counting = Counting::new(io, read_ahead, pool);
        let config = config(2 * max_frame_bytes);
        let stream =
            WebSocketStream::from_partially_read(counting, read_ahead.to_vec(), Role::Server, Some(config));
        Self {
            stream: Some(stream.await),
            encoding,
            max_frame_bytes,
            inflated_bytes: None,
            unflushed: false,
            may_hold_messages: true,
            swollen: false,
            sent_since_ready: 0,
            gathered_much: false,
            reads_first: true,
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    pub(crate) fn compresses(&self) -> bool {
        self.inflated_bytes.is_some()
    }

    /// Takes what the peer sends from now on: it is known.
    pub(crate) fn admit(&mut self) {
        self.stream().get_mut().get_mut().stranger = false;
        self.took_ms();
    }

    /// How long the message that came last took from its first bytes to its last, in milliseconds. Asked once for each.
    pub(crate) fn took_ms(&mut self) -> u64 {
        self.stream().get_mut().get_mut().took_ms()
    }

    /// How many parts continued a message since this was last asked.
    pub(crate) fn continuations(&mut self) -> u64 {
        self.stream().get_mut().get_mut().parts.take()
    }

    /// Waits for the next event; `wants_to_send` asks for [`Event::Writable`]. Safe to cancel.
    pub(crate) async fn event(&mut self, wants_to_send: bool) -> Event {
        if self.swollen {
            Box::pin(self.give_back_buffers()).await;
        }
        std::future::poll_fn(|context| self.poll_event(context, wants_to_send)).await
    }

    /// Waits for room to send and nothing else; what the peer says meanwhile waits.
    pub(crate) async fn writable(&mut self) -> Result<(), CloseReason> {
        let ready = std::future::poll_fn(|context| self.stream().poll_ready(context)).await;
        self.sent_since_ready = 0;
        ready.map_err(|_| CloseReason::PeerClosed)
    }

    /// Whether there is room to send without waiting for it.
    pub(crate) async fn has_room_now(&mut self) -> Result<bool, CloseReason> {
        let ready = std::future::poll_fn(|context| Poll::Ready(self.stream().poll_ready(context))).await;
        let Poll::Ready(ready) = ready else { return Ok(false) };
        self.sent_since_ready = 0;
        ready.map(|()| true).map_err(|_| CloseReason::PeerClosed)
    }

    /// Lets leave what can leave now.
    pub(crate) async fn flush_at_once(&mut self) -> Result<(), CloseReason> {
        let flushed = std::future::poll_fn(|context| Poll::Ready(self.stream().poll_flush(context))).await;
        let Poll::Ready(flushed) = flushed else { return Ok(()) };
        self.unflushed = false;
        flushed.map_err(|_| CloseReason::PeerClosed)
    }

    /// Whether everything that was sent has left.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    /// Whether another frame may be sent before the next [`Event::Writable`].
    pub(crate) fn has_room(&self) -> bool {
        self.sent_since_ready < WRITE_BUFFER
    }

    /// Sends a frame, compressed or not; only after [`Event::Writable`] and while there is room.
    pub(crate) fn send(&mut self, frame: Bytes) -> Result<(), CloseReason> {
        self.swollen |= frame.len() > WRITE_BUFFER;
        self.sent_since_ready += frame.len();
        self.gathered_much |= self.sent_since_ready > KEPT_BUFFER;
        self.put(match self.encoding {
            Encoding::MessagePack => Message::Binary(frame),
            Encoding::Json if gzip::is_gzip(&frame) => Message::Binary(frame),
            Encoding::Json => Message::Text(Utf8Bytes::try_from(frame).expect("JSON is written as UTF-8")),
        })
    }

    /// Whether the buffer for what is sent has grown since the socket rested last.
    pub(crate) fn gathers_much(&self) -> bool {
        self.gathered_much
    }

    /// Gives back what busier times have left in the buffers, soon: nothing was sent for a while.
    pub(crate) fn rest(&mut self) {
        self.swollen |= std::mem::take(&mut self.gathered_much);
    }

    /// Sends a WebSocket ping, under the conditions of [`Socket::send`].
    pub(crate) fn ping(&mut self) -> Result<(), CloseReason> {
        self.put(Message::Ping(Bytes::new()))
    }

    /// Says why and closes; a peer that closed first is only answered.
    ///
    /// What the peer still sends is read and dropped: it may not read before it has sent, and closing
    /// over unread bytes would reset the connection and take the last word with it.
    pub(crate) async fn close(mut self, reason: CloseReason) {
        if reason != CloseReason::PeerClosed {
            let code = CloseCode::from(reason.code());
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason.text()) };
            if self.put(Message::Close(Some(frame))).is_err() {
                return;
            }
        }
        let mut heard = false;
        let flushed = std::future::poll_fn(|context| {
            let flushed = self.stream().poll_flush(context);
            if flushed.is_pending() && !heard {
                let io = Pin::new(&mut self.stream().get_mut().get_mut().io);
                heard = poll_drain(io, context).is_ready();
            }
            flushed
        })
        .await;
        // A peer that takes its time here must not keep what it sent in memory.
        let Some(stream) = self.stream.take() else { return };
        let mut io = stream.into_inner().io;
        if flushed.is_ok() && io.shutdown().await.is_ok() && !heard {
            std::future::poll_fn(|context| poll_drain(Pin::new(&mut io), context)).await;
        }
    }

    fn put(&mut self, message: Message) -> Result<(), CloseReason> {
        self.unflushed = true;
        let sent = self.stream().start_send(message);
        sent.map_err(|_| CloseReason::PeerClosed)
    }

    fn stream(&mut self) -> Pin<&mut WebSocketStream<Counting>> {
        Pin::new(self.stream.as_mut().expect("the stream is only taken out while it is rebuilt"))
    }

    fn poll_event(&mut self, context: &mut Context<'_>, wants_to_send: bool) -> Poll<Event> {
        self.reads_first = !self.reads_first;
        if self.reads_first {
            if let Poll::Ready(event) = self.poll_read(context) {
                return Poll::Ready(event);
            }
            return self.poll_write(context, wants_to_send);
        }
        if let Poll::Ready(event) = self.poll_write(context, wants_to_send) {
            return Poll::Ready(event);
        }
        self.poll_read(context)
    }

    fn poll_write(&mut self, context: &mut Context<'_>, wants_to_send: bool) -> Poll<Event> {
        if wants_to_send {
            let ready = ready!(self.stream().poll_ready(context));
            self.sent_since_ready = 0;
            return Poll::Ready(ready.map_or(Event::Ended(CloseReason::PeerClosed), |()| Event::Writable));
        }
        if self.unflushed {
            let flushed = ready!(self.stream().poll_flush(context));
            self.unflushed = false;
            if flushed.is_err() {
                return Poll::Ready(Event::Ended(CloseReason::PeerClosed));
            }
            if self.swollen {
                return Poll::Ready(Event::Flushed);
            }
        }
        Poll::Pending
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        // Tungstenite zeroes a buffer before each read: it is not asked while there is nothing to read.
        if !self.may_hold_messages && self.stream().get_ref().is_quiet(context) {
            return Poll::Pending;
        }
        let next = self.stream().poll_next(context);
        self.may_hold_messages = next.is_ready();
        let message = match ready!(next) {
            Some(Ok(message)) => message,
            Some(Err(Error::Io(error))) => return Poll::Ready(Event::Ended(close_reason(&error))),
            Some(Err(Error::Capacity(_))) => return Poll::Ready(Event::Ended(CloseReason::FrameTooLarge)),
            // The end of the connection without a close frame comes as a protocol error too.
            Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                return Poll::Ready(Event::Ended(CloseReason::PeerClosed));
            }
            Some(Err(Error::Utf8(_) | Error::Protocol(_))) => {
                return Poll::Ready(Event::Ended(CloseReason::Undecodable));
            }
            Some(Err(_)) | None => return Poll::Ready(Event::Ended(CloseReason::PeerClosed)),
        };
        // A ping is answered by tungstenite, but only a flush sends the answer.
        self.unflushed |= message.is_ping();
        let is_data = message.is_binary() || message.is_text();
        self.stream().get_mut().get_mut().take(message.len(), is_data);
        self.swollen |= message.len() > READ_BUFFER;
        Poll::Ready(self.classify(message))
    }

    fn classify(&self, message: Message) -> Event {
        let frame = match (message, self.encoding) {
            (Message::Ping(_), _) => return Event::Alive,
            (Message::Pong(_), _) => return Event::Answered,
            (Message::Close(_), _) => return Event::Ended(CloseReason::PeerClosed),
            (Message::Binary(bytes), _) if self.compresses() && gzip::is_gzip(&bytes) => {
                return self.inflate(&bytes);
            }
            (Message::Binary(bytes), Encoding::MessagePack) => bytes,
            (Message::Text(text), Encoding::Json) => Bytes::from(text),
            _ => return Event::Ended(CloseReason::Undecodable),
        };
        if frame.len() > self.max_frame_bytes { Event::Oversized(frame.len()) } else { Event::Frame(frame) }
    }

    /// A compressed frame is held to its limit as it was sent, and to another one when it is inflated.
    fn inflate(&self, message: &[u8]) -> Event {
        if message.len() > self.max_frame_bytes {
            return Event::Oversized(message.len());
        }
        match gzip::inflate(message, self.inflated_bytes.unwrap_or(0)) {
            Ok(frame) => Event::Frame(frame),
            Err(InflateError::TooLarge) => Event::Ended(CloseReason::FrameTooLarge),
            Err(InflateError::Corrupt) => Event::Ended(CloseReason::Undecodable),
        }
    }

    /// Rebuilds the stream with small buffers, if nothing is buffered in it.
    async fn give_back_buffers(&mut self) {
        let counters_equal = self.stream.as_ref().is_some_and(|stream| {
            let io = stream.get_ref();
            io.read == io.taken
        });
        if self.unflushed || !counters_equal {
            return;
        }
        let Some(stream) = self.stream.take() else { return };
        let mut io = stream.into_inner();
        io.reset();
        self.swollen = false;
        let config = config(2 * self.max_frame_bytes);
        self.stream = Some(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await);
    }
}

fn config(max_message_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(64 * 1024 * 1024)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes))
}
