//! The only file that names tungstenite: dialing, reading and writing messages.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, SinkExt, StreamExt};
use synchub_protocol::{Encoding, gzip};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::ClientRequestBuilder;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::Utf8Bytes;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::retry::End;

/// Small buffers: a process may hold thousands of clients. They grow with what passes through.
const READ_BUFFER: usize = 4096;
const WRITE_BUFFER: usize = 16 << 10;

/// An open socket in one encoding.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    encoding: Encoding,
}

/// Something that came.
#[derive(Debug)]
pub(crate) enum Received {
    /// A frame's bytes, compressed or not.
    Frame(Bytes),
    /// A sign of life without a frame.
    Nothing,
}

/// Opens a socket, with the token in the `Authorization` header where one is given.
pub(crate) async fn dial(
    url: &str,
    token: Option<&str>,
    encoding: Encoding,
    max_message_bytes: usize,
) -> Result<Socket, End> {
    let uri: Uri = url.parse().map_err(|error| End::Lost(format!("`{url}` is no address: {error}")))?;
    let mut request = ClientRequestBuilder::new(uri).with_sub_protocol(encoding.subprotocol());
    if let Some(token) = token {
        request = request.with_header("Authorization", format!("Bearer {token}"));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    let connected = tokio_tungstenite::connect_async_with_config(request, Some(config), true).await;
    let (stream, response) = connected.map_err(|error| lost(&error))?;
    let agreed = response.headers().get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
    if agreed != Some(encoding.subprotocol()) {
        let wanted = encoding.subprotocol();
        return Err(End::Unreadable(format!("the subprotocol {agreed:?} instead of {wanted}")));
    }
    Ok(Socket { stream, encoding })
}

impl Socket {
    /// The next thing that comes. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Received, End> {
        match self.stream.next().await {
            Some(Ok(Message::Binary(bytes))) => {
                if self.encoding == Encoding::Json && !gzip::is_gzip(&bytes) {
                    return Err(End::Unreadable("a binary message that is no gzip".to_owned()));
                }
                Ok(Received::Frame(bytes))
            }
            Some(Ok(Message::Text(text))) => Ok(Received::Frame(text.into())),
            Some(Ok(Message::Close(Some(close)))) => {
                Err(End::Closed { code: close.code.into(), text: close.reason.as_str().to_owned() })
            }
            Some(Ok(Message::Close(None))) | None => Err(End::Lost("closed without a code".to_owned())),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(Received::Nothing),
            Some(Err(error)) => Err(lost(&error)),
        }
    }

    /// The same, if it is here already.
    pub(crate) fn next_at_hand(&mut self) -> Option<Result<Received, End>> {
        self.next().now_or_never()
    }

    /// Puts a frame, compressed or not, into the write buffer; [`Socket::flush`] sends it.
    pub(crate) async fn feed(&mut self, frame: Bytes, limit: Duration) -> Result<(), End> {
        let message = match self.encoding {
            Encoding::MessagePack => Message::Binary(frame),
            Encoding::Json if gzip::is_gzip(&frame) => Message::Binary(frame),
            Encoding::Json => Message::Text(
                Utf8Bytes::try_from(frame).map_err(|error| End::Lost(format!("JSON is UTF-8: {error}")))?,
            ),
        };
        written(timeout(limit, self.stream.feed(message)).await)
    }

    /// Sends what was fed.
    pub(crate) async fn flush(&mut self, limit: Duration) -> Result<(), End> {
        written(timeout(limit, self.stream.flush()).await)
    }

    /// Says goodbye. Whether the hub hears it does not matter.
    pub(crate) async fn close(mut self, limit: Duration) {
        let _ = timeout(limit, self.stream.close(None)).await;
    }
}

fn written(result: Result<Result<(), Error>, tokio::time::error::Elapsed>) -> Result<(), End> {
    result.map_err(|_| End::Silent)?.map_err(|error| lost(&error))
}

fn lost(error: &Error) -> End {
    match error {
        Error::Http(response) => End::Lost(format!("the hub answered HTTP {}", response.status())),
        other => End::Lost(other.to_string()),
    }
}
