//! Accepts connections and hands them to hyper, with limits before anything is believed.

use std::net::SocketAddr;
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
pub async fn serve(listener: TcpListener, router: Router, limits: LimitSettings, tasks: Tasks) {
    let (most, head_timeout) = (limits.max_connections, limits.hello_timeout());
    let places = Places { free: Arc::new(Semaphore::new(most)), spare: Arc::new(Semaphore::new(SPARE)) };
    loop {
        let accepted = tokio::select! {
            biased;
            () = tasks.stopping().cancelled() => return,
            accepted = accept(&listener) => accepted,
        };
        match accepted {
            Ok(stream) => {
                if let Some(place) = places.take() {
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

async fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Room for connections, and a little more for those that are told that there is none.
struct Places {
    free: Arc<Semaphore>,
    spare: Arc<Semaphore>,
}

/// A connection's place; it is kept as long as the connection, upgraded or not.
#[derive(Debug)]
pub(super) struct Place {
    /// Whether the node is full, and the connection may only be turned away.
    pub(super) spare: bool,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    fn take(&self) -> Option<Arc<Place>> {
        let take = |from: &Arc<Semaphore>, spare| {
            let permit = Arc::clone(from).try_acquire_owned().ok()?;
            Some(Arc::new(Place { spare, _permit: permit }))
        };
        take(&self.free, false).or_else(|| take(&self.spare, true))
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
