//! Accepts connections and hands them to hyper, with limits before anything is believed.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::config::LimitSettings;
use crate::limits::{Held, Limits};
use crate::observe::{LimitKind, Metrics};
use crate::tasks::Tasks;

/// How many connections the kernel keeps until they are accepted: a reconnect storm fits.
const BACKLOG: i32 = 4096;
/// How many connections beyond the limit are answered that the node is full.
const SPARE: usize = 256;
/// How long to wait when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens the port.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until told to stop; connections that are open live on.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: LimitSettings,
    (limits, metrics): (Arc<Limits>, Metrics),
    tasks: Tasks,
) {
    let (most, head_timeout) = (settings.max_connections, settings.hello_timeout());
    let (free, spare) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(SPARE)));
    let places = Places { free, spare, limits, metrics };
    loop {
        let accepted = tokio::select! {
            biased;
            () = tasks.stopping().cancelled() => return,
            accepted = accept(&listener) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(place) = places.take(peer) {
                    tasks.spawn(connection(
                        stream,
                        router.clone(),
                        (place, head_timeout),
                        tasks.stopping().clone(),
                    ));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> std::io::Result<(TcpStream, IpAddr)> {
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, peer.ip()))
}

/// Room for connections, and a little more for those that are told that there is none.
struct Places {
    free: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    limits: Arc<Limits>,
    metrics: Metrics,
}

/// A connection's place; it is kept as long as the connection, upgraded or not.
#[derive(Debug)]
pub(super) struct Place {
    /// Whether the node is full, or has enough of this peer: then the connection may only be turned away.
    pub(super) spare: bool,
    /// Who connected.
    pub(super) peer: IpAddr,
    /// The place among those of the peer's address, unless it is a proxy.
    _held: Option<Held>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    fn take(&self, peer: IpAddr) -> Option<Arc<Place>> {
        let address = self.limits.address(peer, None);
        let held = address.and_then(|address| self.limits.connect(address));
        let too_many = address.is_some() && held.is_none();
        if too_many {
            self.metrics.limited.of(LimitKind::AddressConnection).inc();
        }
        let permit = |from: &Arc<Semaphore>| Arc::clone(from).try_acquire_owned().ok();
        let free = if too_many { None } else { permit(&self.free) };
        let spare = free.is_none();
        let permit = free.or_else(|| permit(&self.spare))?;
        Some(Arc::new(Place { spare, peer, _held: held, _permit: permit }))
    }
}

/// Serves one connection. When the node stops, a connection that only waits for requests ends.
async fn connection(
    stream: TcpStream,
    router: Router,
    (place, head_timeout): (Arc<Place>, Duration),
    stopping: CancellationToken,
) {
    let service = tower::service_fn(move |mut request: axum::extract::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&place));
        tower::ServiceExt::oneshot(router.clone(), request.map(axum::body::Body::new))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stopping.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}
