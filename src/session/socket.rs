//! The WebSocket under a session: the only file that names tungstenite.
//!
//! Reads and writes are polled side by side, so that a peer that does not read can still be heard and
//! nothing is lost when a wait is cancelled. After a large message the buffers are given back: a
//! tungstenite stream keeps its largest for ever, so it is taken apart while nothing is buffered in it.

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
const READ_BUFFER: usize = 4096;
/// What is gathered before it is written.
const WRITE_BUFFER: usize = 16 * 1024;
/// A WebSocket in one encoding.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Option<WebSocketStream<Counting>>,
    encoding: Encoding,
    max_frame_bytes: usize,
    /// What a compressed frame may inflate to; none: neither side may compress.
    pub(crate) inflated_bytes: Option<usize>,
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
            swollen: false,
            sent_since_ready: 0,
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
    }

    /// How many parts continued a message since this was last asked.
    pub(crate) fn continuations(&mut self) -> u64 {
        self.stream().get_mut().get_mut().parts.take()
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

    /// Sends a frame, compressed or not; only after [`Event::Writable`] and while there is room.
    pub(crate) fn send(&mut self, frame: Bytes) -> Result<(), CloseReason> {
        self.swollen |= frame.len() > WRITE_BUFFER;
        self.sent_since_ready += frame.len();
        self.put(match self.encoding {
            Encoding::MessagePack => Message::Binary(frame),
            Encoding::Json if gzip::is_gzip(&frame) => Message::Binary(frame),
            Encoding::Json => Message::Text(Utf8Bytes::try_from(frame).expect("JSON is written as UTF-8")),
        })
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
        let message = match ready!(self.stream().poll_next(context)) {
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

#[cfg(test)]
mod tests {
    use futures::{SinkExt, StreamExt};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: usize = 1024 * 1024;

    /// A socket of the hub and its peer.
    async fn pair() -> (Socket, WebSocketStream<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (io, _) = listener.accept().await.unwrap();
        let mut socket = Socket::new(io, &[], Encoding::MessagePack, LIMIT, &ReadPool::default()).await;
        socket.admit();
        (socket, WebSocketStream::from_raw_socket(peer, Role::Client, None).await)
    }

    /// A message that tells its own size and place.
    fn message(n: usize, size: usize) -> Vec<u8> {
        (0..size).map(|at| u8::try_from((at * 31 + n * 7 + size) % 251).unwrap()).collect()
    }

    /// Sizes around the steps of the wire size and of the buffers, in many orders.
    fn sizes(count: usize) -> Vec<usize> {
        const SIZES: [usize; 11] = [3, 124, 65_534, 50, 4094, 20_000, 0, 900_000, 17, 4100, 80_000];
        (0..count).map(|n| SIZES[(n * 7 + n / 11) % SIZES.len()] + n % 5).collect()
    }

    async fn flush(socket: &mut Socket) {
        while !socket.is_flushed() {
            let _ = futures::poll!(std::pin::pin!(socket.event(false)));
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn messages_around_a_rebuild_arrive_whole() {
        let (mut socket, peer) = pair().await;
        let sizes = sizes(400);
        let (mut sink, mut stream) = peer.split();
        let answered = std::cell::Cell::new(0);
        let send = async {
            for (n, size) in sizes.iter().enumerate() {
                if n % 7 == 0 {
                    sink.feed(Message::Ping(Bytes::from(vec![1; n % 126]))).await.unwrap();
                }
                sink.feed(Message::Binary(message(n, *size).into())).await.unwrap();
                if n % 5 == 0 || n + 1 == sizes.len() {
                    sink.flush().await.unwrap();
                }
                // Now and then both sides are quiet, which is when buffers can be given back.
                while n % 40 == 0 && answered.get() <= n {
                    tokio::task::yield_now().await;
                }
            }
        };
        let take = async {
            let (mut taken, mut echoes, mut rebuilt) = (0, 0, 0);
            while taken < sizes.len() || echoes > 0 {
                let swollen = socket.swollen;
                match socket.event(echoes > 0).await {
                    Event::Frame(frame) => {
                        assert!(frame == message(taken, sizes[taken]), "message {taken}");
                        taken += 1;
                        echoes += 1;
                    }
                    Event::Writable => {
                        while echoes > 0 && socket.has_room() {
                            socket.send(Bytes::from(vec![0; 20_000])).unwrap();
                            echoes -= 1;
                        }
                    }
                    Event::Alive | Event::Answered | Event::Flushed => {}
                    event => panic!("{event:?}"),
                }
                rebuilt += usize::from(swollen && !socket.swollen);
            }
            assert!(rebuilt > 0, "the buffers were given back at times");
            flush(&mut socket).await;
        };
        let drain = async {
            let mut echoes = 0;
            while echoes < sizes.len() {
                match stream.next().await.unwrap().unwrap() {
                    Message::Binary(bytes) => {
                        echoes += usize::from(bytes.len() == 20_000);
                        answered.set(echoes);
                    }
                    message => assert!(message.is_pong()),
                }
            }
        };
        tokio::join!(send, take, drain);
    }

    #[tokio::test]
    async fn large_messages_leave_nothing_behind() {
        let (mut socket, mut peer) = pair().await;
        for size in [20_000, 900_000] {
            peer.send(Message::Binary(message(1, size).into())).await.unwrap();
            assert!(matches!(socket.event(false).await, Event::Frame(frame) if frame.len() == size));
            assert!(socket.swollen);
            peer.send(Message::Binary(message(1, 10).into())).await.unwrap();
            assert!(matches!(socket.event(false).await, Event::Frame(frame) if frame.len() == 10));
            assert!(!socket.swollen, "after {size} bytes from the peer");
            assert!(matches!(socket.event(true).await, Event::Writable));
            socket.send(Bytes::from(message(1, size))).unwrap();
            assert!(socket.swollen);
            let (read, ()) = tokio::join!(peer.next(), flush(&mut socket));
            assert_eq!(read.unwrap().unwrap().len(), size);
            peer.send(Message::Binary(message(1, 10).into())).await.unwrap();
            assert!(matches!(socket.event(false).await, Event::Frame(frame) if frame.len() == 10));
            assert!(!socket.swollen, "after {size} bytes to the peer");
        }
        let io = socket.stream.as_ref().unwrap().get_ref();
        assert_eq!(io.read, io.taken);
    }
}
