//! Sending a peer away before it has a session: `goaway` says when to come back, then the socket closes.

use synchub_protocol::server::Goaway;
use synchub_protocol::{CloseReason, ServerFrame};

use super::connected::EPOCH_CHANGED;
use super::deps::Deps;
use super::socket::Socket;
use crate::limits::Limited;
use crate::observe::Metrics;

/// How soon a peer may come back for which there was no place, in milliseconds at least.
const TOO_MANY_MS: u64 = 5000;

/// How soon a peer may come back to a busy node, in milliseconds at least: it takes about as long to commit all
/// that may wait.
const BUSY_MS: u64 = 2000;

/// Why a peer is sent away.
#[derive(Debug)]
pub(super) struct Away {
    close: CloseReason,
    goaway: Goaway,
}

impl Away {
    /// A new epoch began (R1).
    pub(super) fn new_epoch(deps: &Deps) -> Self {
        Self::with(CloseReason::GoingAway, EPOCH_CHANGED, deps.reconnect_after_ms())
    }

    /// There are too many sockets.
    pub(super) fn too_many(deps: &Deps) -> Self {
        Self::overloaded("too_many_connections", TOO_MANY_MS, deps)
    }

    /// There were too many hellos.
    pub(super) fn rate_limited(limited: Limited, deps: &Deps) -> Self {
        Self::overloaded("rate_limited", limited.retry_after_ms(), deps)
    }

    /// The node is busy.
    pub(super) fn busy(deps: &Deps) -> Self {
        Self::overloaded("overloaded", BUSY_MS, deps)
    }

    /// Not before `least_ms`, and spread out by chance: all who are sent away would come back at once.
    fn overloaded(reason: &str, least_ms: u64, deps: &Deps) -> Self {
        Self::with(CloseReason::Overloaded, reason, least_ms + deps.reconnect_after_ms())
    }

    fn with(close: CloseReason, reason: &str, reconnect_after_ms: u64) -> Self {
        Self { close, goaway: Goaway { reason: reason.to_owned(), reconnect_after_ms } }
    }

    /// Says so; returns the reason to close with.
    pub(super) async fn say(
        self,
        socket: &mut Socket,
        metrics: &Metrics,
    ) -> Result<CloseReason, CloseReason> {
        socket.writable().await?;
        let frame = socket.encoding().encode(&ServerFrame::Goaway(self.goaway));
        metrics.frames_sent.inc();
        metrics.sent_bytes.inc_by(frame.len() as u64);
        socket.send(frame)?;
        Ok(self.close)
    }
}
