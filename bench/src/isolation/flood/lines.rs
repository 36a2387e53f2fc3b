//! The flood's sockets: opened without waiting, written without listening, read without looking.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Result;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use super::Sent;
use super::traffic::Traffic;

/// How much is read from a socket at once.
const SCRATCH: usize = 256 * 1024;

/// A socket that is open.
struct Line {
    stream: TcpStream,
    /// What could not be sent at once.
    rest: Vec<u8>,
}

/// All of them.
pub(super) struct Lines {
    address: SocketAddr,
    slots: Vec<Option<Line>>,
    /// Where the next socket is looked for, to send on and to open.
    next: usize,
    next_dial: usize,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    pub(super) sent: Sent,
}

impl Lines {
    /// None is open; at most so many will be.
    pub(super) fn new(address: SocketAddr, most: usize) -> Result<Self> {
        Ok(Self {
            address,
            slots: (0..most).map(|_| None).collect(),
            next: 0,
            next_dial: 0,
            poll: Poll::new()?,
            events: Events::with_capacity(most.max(16)),
            scratch: vec![0; SCRATCH],
            sent: Sent::default(),
        })
    }

    /// Opens a socket where there is none, and says hello without waiting for the upgrade. Where hellos are all
    /// that is sent, one that is open gives way.
    pub(super) fn dial(&mut self, traffic: &mut Traffic) -> Result<()> {
        let count = self.slots.len();
        let places = (0..count).map(|offset| (self.next_dial + offset) % count);
        let free = places.into_iter().find(|place| self.slots[*place].is_none());
        let Some(place) = free.or_else(|| traffic.is_of_hellos().then_some(self.next_dial % count)) else {
            return Ok(());
        };
        self.next_dial = place + 1;
        let Ok(stream) = TcpStream::connect(self.address) else { return Ok(()) };
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let descriptor = stream.as_raw_fd();
        self.poll.registry().register(&mut SourceFd(&descriptor), Token(place), Interest::READABLE)?;
        let mut line = Line { stream, rest: Vec::new() };
        line.write(&traffic.opening(place));
        self.slots[place] = Some(line);
        self.sent.dials += 1;
        Ok(())
    }

    /// Sends the next frame on the next socket that takes it.
    pub(super) fn send(&mut self, traffic: &mut Traffic) {
        let count = self.slots.len();
        for offset in 0..count {
            let place = (self.next + offset) % count;
            let Some(line) = &mut self.slots[place] else { continue };
            if line.has_room() {
                line.write(traffic.frame());
                self.next = place + 1;
                self.sent.frames += 1;
                return;
            }
        }
        self.sent.held += 1;
    }

    /// Throws away what has come, and forgets what was closed.
    pub(super) fn read(&mut self) -> Result<()> {
        if let Err(error) = self.poll.poll(&mut self.events, Some(Duration::ZERO))
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        for event in &self.events {
            let slot = &mut self.slots[event.token().0];
            let Some(line) = slot else { continue };
            let is_open = loop {
                match line.stream.read(&mut self.scratch) {
                    Ok(0) => break false,
                    Ok(read) => self.sent.read += read as u64,
                    Err(error) => break error.kind() == ErrorKind::WouldBlock,
                }
            };
            if !is_open {
                *slot = None;
                self.sent.closed += 1;
            }
        }
        Ok(())
    }
}

impl Line {
    /// Sends what waits; whether all of it is gone.
    fn has_room(&mut self) -> bool {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.write(&rest);
        }
        self.rest.is_empty()
    }

    /// Sends what the socket takes now and keeps the rest. One that is broken is found when it is read.
    fn write(&mut self, bytes: &[u8]) {
        let written = self.stream.write(bytes).unwrap_or(0);
        self.rest.extend_from_slice(&bytes[written..]);
    }
}
