//! A WebSocket spoken byte by byte, so that it can be spoken wrongly.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use synchub_protocol::{Encoding, gzip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the hub may take to say something.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const PING: u8 = 0x9;
pub(super) const FINAL: u8 = 0x80;

/// The head of a frame with a masking key of zeros, which leaves the payload as it is.
pub(super) fn head(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first];
    match length {
        0..126 => head.push(0x80 | u8::try_from(length).unwrap_or_default()),
        126..65_536 => {
            head.push(0xfe);
            head.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
        }
        _ => {
            head.push(0xff);
            head.extend(length.to_be_bytes());
        }
    }
    head.extend([0; 4]);
    head
}

/// A whole frame.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(first, payload.len() as u64);
    frame.extend_from_slice(payload);
    frame
}

/// A message in an encoding.
pub(super) fn message(encoding: Encoding, payload: &[u8]) -> Vec<u8> {
    let kind = if encoding == Encoding::Json { TEXT } else { BINARY };
    frame(FINAL | kind, payload)
}

/// What the hub said.
#[derive(Debug)]
pub(super) enum Heard {
    /// A frame of the protocol.
    Frame(Value),
    /// It closed, with this code; 0 without one.
    Closed(u16),
}

/// One socket.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    encoding: Encoding,
}

impl Wire {
    /// Opens a connection and upgrades it.
    pub(super) async fn open(address: SocketAddr, encoding: Encoding) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await.context("the hub does not accept")?;
        stream.set_nodelay(true)?;
        let name = encoding.subprotocol();
        let request = format!(
            "GET /ws HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: {name}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(timeout(PATIENCE, stream.read_u8()).await.context("no answer to the upgrade")??);
        }
        if !answer.starts_with(b"HTTP/1.1 101") {
            bail!("the upgrade was refused: {}", String::from_utf8_lossy(&answer));
        }
        Ok(Self { stream, encoding })
    }

    /// Sends bytes as they are. A hub that has closed meanwhile is no error: what it said can be read.
    pub(super) async fn send(&mut self, bytes: &[u8]) {
        let sent = timeout(PATIENCE, self.stream.write_all(bytes)).await;
        drop(sent);
    }

    /// Sends a frame of the protocol.
    pub(super) async fn say(&mut self, value: &Value) {
        let bytes = message(self.encoding, &self.encoding.encode(value));
        self.send(&bytes).await;
    }

    /// What the hub says next; pings and pongs are passed over.
    pub(super) async fn hear(&mut self) -> Result<Heard> {
        timeout(PATIENCE, self.read()).await.context("the hub says nothing")?
    }

    async fn read(&mut self) -> Result<Heard> {
        loop {
            let Ok(first) = self.stream.read_u8().await else { return Ok(Heard::Closed(0)) };
            let length = match self.stream.read_u8().await? {
                126 => u64::from(self.stream.read_u16().await?),
                127 => self.stream.read_u64().await?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length)?];
            self.stream.read_exact(&mut payload).await?;
            match first & 0x0f {
                TEXT => return Ok(Heard::Frame(serde_json::from_slice(&payload)?)),
                BINARY if gzip::is_gzip(&payload) => {
                    let frame = gzip::inflate(&payload, 1 << 26)?;
                    return Ok(Heard::Frame(rmp_serde::from_slice(&frame)?));
                }
                BINARY => return Ok(Heard::Frame(rmp_serde::from_slice(&payload)?)),
                0x8 => {
                    let code = payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                    return Ok(Heard::Closed(code));
                }
                _ => {}
            }
        }
    }
}
