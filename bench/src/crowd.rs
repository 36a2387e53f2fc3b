//! Many connections read by one thread that naps instead of waiting to be woken.
//!
//! A client that blocks makes each write of the server pay for waking it, on a loopback more than the write
//! itself. One that looks every 300 microseconds does not. Nothing here knows what is sent.

use std::time::Duration;

use anyhow::{Context, Result};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::connection::Connection;

/// How long the crowd sleeps when nothing has come.
pub(crate) const NAP: Duration = Duration::from_micros(300);
/// How much is read from a connection at once.
const SCRATCH: usize = 256 * 1024;

/// How a crowd waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    /// It sleeps for [`NAP`] and looks again: the server pays nothing for waking it.
    Napping,
    /// The system wakes it: answers are seen at once.
    Blocking,
}

/// Connections by number.
pub(crate) struct Crowd {
    members: Vec<Connection>,
    poll: Poll,
    events: Events,
    scratch: Vec<u8>,
    waits: Waits,
}

impl Crowd {
    /// Takes connections that are open.
    pub(crate) fn new(members: Vec<Connection>, waits: Waits) -> Result<Self> {
        let poll = Poll::new()?;
        for (number, member) in members.iter().enumerate() {
            member.stop_blocking()?;
            let descriptor = member.descriptor();
            let mut source = SourceFd(&descriptor);
            poll.registry().register(&mut source, Token(number), Interest::READABLE)?;
        }
        let events = Events::with_capacity(members.len().max(16));
        Ok(Self { members, poll, events, scratch: vec![0; SCRATCH], waits })
    }

    /// Sends a message as one of them.
    pub(crate) fn send(&mut self, member: usize, payload: &[u8]) -> Result<()> {
        self.members[member].send(payload)
    }

    /// Sends what is framed already.
    pub(crate) fn send_framed(&mut self, member: usize, frames: &[u8]) -> Result<()> {
        self.members[member].send_framed(frames)
    }

    /// Rests, `most` at the longest, then hands on what has come, with the number of who it came to.
    pub(crate) fn turn(&mut self, most: Duration, on_frame: &mut dyn FnMut(usize, &[u8])) -> Result<()> {
        let patience = if self.waits == Waits::Blocking { most } else { Duration::ZERO };
        if self.waits == Waits::Napping {
            std::thread::sleep(NAP.min(most));
        }
        match self.poll.poll(&mut self.events, Some(patience)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(error).context("the connections cannot be watched");
            }
            _ => {}
        }
        for event in &self.events {
            let number = event.token().0;
            let member = &mut self.members[number];
            while member.take(&mut self.scratch, &mut |frame| on_frame(number, frame))? {}
        }
        Ok(())
    }
}
