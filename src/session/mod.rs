//! One socket from upgrade to close.
//!
//! [`serve`] tells the story: shake hands, take the device's place in registry and feed, run until a
//! reason to end, say goodbye. The parts: `handshake` waits for a hello that can be accepted,
//! `begin` makes a session of it, `connected` is the loop, `on_client`, `digests` and `publications` answer what the client sends, `catch_up` and `live` fill the
//! data lane from `progress`, the session's place in the log, `holding` delays what is not urgent, and `pushes` brings what is no change. Nothing but the session writes to its
//! socket, and no rule of sync stands here.

mod alerts;
mod away;
mod batch_size;
mod begin;
mod catch_up;
mod connected;
mod counting;
mod cursor;
mod deps;
mod digests;
mod event;
mod handshake;
mod hints;
mod holding;
mod in_flight;
mod live;
mod observed;
mod on_client;
mod on_timer;
mod outbox;
mod own_state;
mod parts;
mod progress;
mod publications;
mod push_reads;
mod pushes;
mod read_pool;
mod remembered;
mod socket;
mod subscriptions;
mod throttle;
mod timers;
mod waiting;

use std::sync::Arc;
use std::time::Duration;

use synchub_protocol::{CloseReason, Encoding};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::limits::Address;

use away::Away;
pub use cursor::{Cursor, CursorKey};
pub use deps::Deps;
use handshake::Greeting;
pub use read_pool::ReadPool;
use socket::Socket;

/// How long the peer has to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An upgraded connection that has not said hello.
#[derive(Debug)]
pub struct Upgraded {
    /// The connection.
    pub io: TcpStream,
    /// What was read past the upgrade request.
    pub read_ahead: Vec<u8>,
    /// The encoding that the subprotocol named.
    pub encoding: Encoding,
    /// The token of the `Authorization` header.
    pub token: Option<String>,
    /// The address that counts for limits.
    pub address: Option<Address>,
}

/// Serves a connection until it ends.
pub async fn serve(deps: Arc<Deps>, upgraded: Upgraded) {
    let encoding = upgraded.encoding;
    // What only the handshake needs must not take room for as long as the session lasts.
    let (socket, greeted) = Box::pin(greet(&deps, upgraded)).await;
    let (socket, reason) = match greeted {
        Ok(greeting) => {
            let _counted = deps.metrics.session(encoding);
            let mut session = connected::Session::new(Arc::clone(&deps), socket, greeting);
            session.log_begin();
            let reason = session.run().await;
            session.log_end(reason);
            (session.into_socket(), reason)
        }
        Err(reason) => (socket, reason),
    };
    deps.metrics.closes.of(reason).inc();
    // A peer that does not read the last word is not waited for longer.
    let _ = timeout(CLOSE_TIMEOUT, socket.close(reason)).await;
}

async fn greet(deps: &Arc<Deps>, upgraded: Upgraded) -> (Socket, Result<Box<Greeting>, CloseReason>) {
    let Upgraded { io, read_ahead, encoding, token, address } = upgraded;
    let limit = deps.settings.limits.max_frame_bytes;
    let mut socket = Socket::new(io, &read_ahead, encoding, limit, &deps.reading).await;
    drop(read_ahead);
    let greeted = handshake::wait(deps, &mut socket, (token, address)).await;
    (socket, greeted)
}

/// Tells a peer that there is no room for it.
pub async fn turn_away(deps: &Deps, upgraded: Upgraded) {
    let limit = deps.settings.limits.max_frame_bytes;
    let mut socket =
        Socket::new(upgraded.io, &upgraded.read_ahead, upgraded.encoding, limit, &deps.reading).await;
    let away = Away::too_many(deps);
    let reason = away.say(&mut socket, &deps.metrics).await.unwrap_or_else(|reason| reason);
    deps.metrics.closes.of(reason).inc();
    let _ = timeout(CLOSE_TIMEOUT, socket.close(reason)).await;
}
