//! One client's connection: it blocks while it is opened, and is read in turns by a crowd afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wire;

/// How long an answer may take while a connection is opened.
const PATIENCE: Duration = Duration::from_mins(2);
/// How long a full line rests before it is tried again.
const REST: Duration = Duration::from_micros(100);

/// A connection, and what came of a frame that is not whole yet.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Connection {
    /// Connects and asks for the upgrade; the answer is not waited for.
    pub(crate) fn begin(address: SocketAddr, path: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).context("the server cannot be reached")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&wire::upgrade(path, "synchub.v1.msgpack"))?;
        Ok(Self { stream, rest: Vec::new() })
    }

    /// Waits for the answer to the upgrade.
    pub(crate) fn upgraded(&mut self) -> Result<()> {
        const END: &[u8] = b"\r\n\r\n";
        loop {
            if let Some(at) = self.rest.windows(END.len()).position(|part| part == END) {
                let is_upgraded = self.rest.starts_with(b"HTTP/1.1 101");
                anyhow::ensure!(is_upgraded, "no upgrade: {}", String::from_utf8_lossy(&self.rest[..at]));
                self.rest.drain(..at + END.len());
                return Ok(());
            }
            self.read_more()?;
        }
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, payload: &[u8]) -> Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        wire::put(&mut frame, payload);
        self.send_framed(&frame)
    }

    /// Sends what is framed already.
    pub(crate) fn send_framed(&mut self, frames: &[u8]) -> Result<()> {
        send_framed(&self.stream, frames)
    }

    /// The same connection for another thread that sends.
    pub(crate) fn sender(&self) -> Result<TcpStream> {
        Ok(self.stream.try_clone()?)
    }

    /// Waits for the next message; only before the connection joins a crowd.
    pub(crate) fn next(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(frame) = wire::first(&self.rest) {
                let payload = self.rest[frame.payload.clone()].to_vec();
                self.rest.drain(..frame.payload.end);
                match frame.code {
                    wire::CLOSE => bail!("the server closed: {}", closing(&payload)),
                    1 | 2 => return Ok(payload),
                    _ => continue,
                }
            }
            self.read_more()?;
        }
    }

    /// Never waits from now on.
    pub(crate) fn stop_blocking(&self) -> Result<()> {
        Ok(self.stream.set_nonblocking(true)?)
    }

    /// Its number for the system.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// Hands on every whole message that has come; says whether more may be there. `scratch` is shared by all.
    pub(crate) fn take(&mut self, scratch: &mut [u8], on_frame: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let read = match self.stream.read(scratch) {
            Ok(0) => bail!("the server ended a connection"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error).context("a connection cannot be read"),
        };
        if self.rest.is_empty() {
            let left = hand_on(&scratch[..read], on_frame)?;
            self.rest.extend_from_slice(&scratch[left..read]);
        } else {
            self.rest.extend_from_slice(&scratch[..read]);
            let left = hand_on(&self.rest, on_frame)?;
            self.rest.drain(..left);
        }
        Ok(read == scratch.len())
    }

    fn read_more(&mut self) -> Result<()> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).context("no answer")?;
        anyhow::ensure!(read > 0, "the server ended a connection");
        self.rest.extend_from_slice(&buffer[..read]);
        Ok(())
    }
}

/// Sends what is framed already, all of it.
pub(crate) fn send_framed(mut stream: &TcpStream, frames: &[u8]) -> Result<()> {
    let mut left = frames;
    while !left.is_empty() {
        match stream.write(left) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(written) => left = &left[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(REST),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("a message cannot be sent"),
        }
    }
    Ok(())
}

/// Hands on the whole messages of these bytes, and says where the rest begins.
fn hand_on(bytes: &[u8], on_frame: &mut dyn FnMut(&[u8])) -> Result<usize> {
    let mut begin = 0;
    while let Some(frame) = wire::first(&bytes[begin..]) {
        let payload = &bytes[begin + frame.payload.start..begin + frame.payload.end];
        match frame.code {
            wire::CLOSE => bail!("the server closed: {}", closing(payload)),
            1 | 2 => on_frame(payload),
            _ => {}
        }
        begin += frame.payload.end;
    }
    Ok(begin)
}

/// The code and the reason of a close frame.
fn closing(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!("{} {}", u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason))
        }
        _ => "without a reason".to_owned(),
    }
}
