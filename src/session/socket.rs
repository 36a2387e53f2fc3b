//! The WebSocket under a session: the only file that names tungstenite.
//!
//! Reads and writes are polled side by side, so that a peer that does not read can still be heard and
//! nothing is lost when a wait is cancelled. After a large message the buffers are given back: a
//! tungstenite stream keeps its largest for ever, so it is taken apart while nothing is buffered in it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Sink, Stream};
use synchub_protocol::{CloseReason, Encoding};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// What one read takes at most; tungstenite zero-fills this much before each.
const READ_BUFFER: usize = 4096;
/// What is gathered before it is written.
const WRITE_BUFFER: usize = 16 * 1024;
/// What may be read from a peer before its hello is complete: a token, 64 domains and their filters fit.
const BEFORE_HELLO_BYTES: u64 = 64 * 1024;
/// What is read and thrown away after the last word, so that the peer can read it.
const DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// What happened on the socket.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame in the session's encoding.
    Frame(Bytes),
    /// A sign of life without a frame.
    Alive,
    /// Everything that was sent has left, and buffers can be given back.
    Flushed,
    /// A frame over the limit, but at most twice as large; it was skipped.
    Oversized(usize),
    /// There is room to send.
    Writable,
    /// The socket is over.
    Ended(CloseReason),
}

/// A WebSocket in one encoding.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about the stream")]
pub(crate) struct Socket {
    stream: Option<WebSocketStream<Counting>>,
    encoding: Encoding,
    max_frame_bytes: usize,
    /// The wire size of the messages that were taken out; equal to what was read: nothing is buffered.
    taken: u64,
    unflushed: bool,
    /// Whether a large message has passed since the buffers were last given back.
    swollen: bool,
    sent_since_ready: usize,
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
    ) -> Self {
        let read = read_ahead.len() as u64;
        let counting = Counting { io, read, stranger: true };
        let config = config(2 * max_frame_bytes);
        let stream =
            WebSocketStream::from_partially_read(counting, read_ahead.to_vec(), Role::Server, Some(config));
        Self {
            stream: Some(stream.await),
            encoding,
            max_frame_bytes,
            taken: 0,
            unflushed: false,
            swollen: false,
            sent_since_ready: 0,
            reads_first: true,
        }
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Takes what the peer sends from now on: it is known.
    pub(crate) fn admit(&mut self) {
        self.stream().get_mut().get_mut().stranger = false;
    }

    /// Waits for the next event; `wants_to_send` asks for [`Event::Writable`]. Safe to cancel.
    pub(crate) async fn event(&mut self, wants_to_send: bool) -> Event {
        if self.swollen {
            self.give_back_buffers().await;
        }
        std::future::poll_fn(|context| self.poll_event(context, wants_to_send)).await
    }

    /// Waits for room to send and nothing else; what the peer says meanwhile waits.
    pub(crate) async fn writable(&mut self) -> Result<(), CloseReason> {
        let ready = std::future::poll_fn(|context| self.stream().poll_ready(context)).await;
        self.sent_since_ready = 0;
        ready.map_err(|_| CloseReason::PeerClosed)
    }

    /// Whether everything that was sent has left.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed
    }

    /// Whether another frame may be sent before the next [`Event::Writable`].
    pub(crate) fn has_room(&self) -> bool {
        self.sent_since_ready < WRITE_BUFFER
    }

    /// Sends a frame; only after [`Event::Writable`] and while there is room.
    pub(crate) fn send(&mut self, frame: Bytes) -> Result<(), CloseReason> {
        self.swollen |= frame.len() > WRITE_BUFFER;
        self.sent_since_ready += frame.len();
        self.put(match self.encoding {
            Encoding::MessagePack => Message::Binary(frame),
            Encoding::Json => Message::Text(Utf8Bytes::try_from(frame).expect("JSON is written as UTF-8")),
        })
    }

    /// Sends a WebSocket ping, under the conditions of [`Socket::send`].
    pub(crate) fn ping(&mut self) -> Result<(), CloseReason> {
        self.put(Message::Ping(Bytes::new()))
    }

    /// Says why and closes; a peer that closed first is only answered. What the peer still sends is read
    /// and thrown away, since a connection that ends with unread bytes takes the last word back.
    pub(crate) async fn close(mut self, reason: CloseReason) {
        if reason != CloseReason::PeerClosed {
            let code = CloseCode::from(reason.code());
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason.text()) };
            if self.writable().await.is_err() || self.put(Message::Close(Some(frame))).is_err() {
                return;
            }
        }
        let flushed = std::future::poll_fn(|context| self.stream().poll_flush(context)).await;
        let Some(stream) = self.stream.take().filter(|_| flushed.is_ok()) else { return };
        let mut io = stream.into_inner().io;
        if io.shutdown().await.is_err() {
            return;
        }
        let (mut scratch, mut discarded) = ([0; 1024], 0);
        while let Ok(1..) = io.read(&mut scratch).await.inspect(|count| discarded += count) {
            if discarded > DISCARDED_BYTES {
                return;
            }
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
        let message = match ready!(self.stream().poll_next(context)) {
            Some(Ok(message)) => message,
            Some(Err(Error::Io(error))) if error.kind() == io::ErrorKind::QuotaExceeded => {
                return Poll::Ready(Event::Ended(CloseReason::FrameTooLarge));
            }
            Some(Err(Error::Capacity(_))) => return Poll::Ready(Event::Ended(CloseReason::FrameTooLarge)),
            Some(Err(Error::Utf8(_) | Error::Protocol(_))) => {
                return Poll::Ready(Event::Ended(CloseReason::Undecodable));
            }
            Some(Err(_)) | None => return Poll::Ready(Event::Ended(CloseReason::PeerClosed)),
        };
        // A ping is answered by tungstenite, but only a flush sends the answer.
        self.unflushed |= message.is_ping();
        self.taken += wire_size(message.len());
        self.swollen |= message.len() > READ_BUFFER;
        Poll::Ready(self.classify(message))
    }

    fn classify(&self, message: Message) -> Event {
        let frame = match (message, self.encoding) {
            (Message::Ping(_) | Message::Pong(_), _) => return Event::Alive,
            (Message::Close(_), _) => return Event::Ended(CloseReason::PeerClosed),
            (Message::Binary(bytes), Encoding::MessagePack) => bytes,
            (Message::Text(text), Encoding::Json) => Bytes::from(text),
            _ => return Event::Ended(CloseReason::Undecodable),
        };
        if frame.len() > self.max_frame_bytes { Event::Oversized(frame.len()) } else { Event::Frame(frame) }
    }

    /// Rebuilds the stream with small buffers, if nothing is buffered in it.
    async fn give_back_buffers(&mut self) {
        let counters_equal = self.stream.as_ref().is_some_and(|stream| stream.get_ref().read == self.taken);
        if self.unflushed || !counters_equal {
            return;
        }
        let Some(stream) = self.stream.take() else { return };
        let mut io = stream.into_inner();
        io.read = 0;
        self.taken = 0;
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

/// The least number of bytes that a masked message takes on the wire (RFC 6455, section 5.2).
fn wire_size(payload: usize) -> u64 {
    let extended = match payload {
        0..126 => 0,
        126..65_536 => 2,
        _ => 8,
    };
    payload as u64 + 6 + extended
}

/// A connection that counts what was read from it.
#[derive(Debug)]
struct Counting {
    io: TcpStream,
    read: u64,
    /// Whether the peer has not said hello: then what it may send is limited.
    stranger: bool,
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
