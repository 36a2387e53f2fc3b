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

use crate::tasks::Tasks;

/// How many connections the kernel keeps until they are accepted: a reconnect storm fits.
const BACKLOG: i32 = 4096;
/// How long a request's head may take; what is slower is not a client.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
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
pub async fn serve(listener: TcpListener, router: Router, most: usize, tasks: Tasks) {
    let permits = Arc::new(Semaphore::new(most));
    loop {
        let accepted = tokio::select! {
            biased;
            () = tasks.stopping().cancelled() => return,
            accepted = accept(&listener, &permits) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let stopping = tasks.stopping().clone();
                tasks.spawn(connection(stream, router.clone(), permit, stopping));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, Arc::clone(permits).try_acquire_owned().ok()))
}

/// Serves one connection. The permit is kept as long as the connection, upgraded or not.
async fn connection(
    stream: TcpStream,
    router: Router,
    permit: Option<OwnedSemaphorePermit>,
    stopping: CancellationToken,
) {
    let Some(permit) = permit else { return };
    let permit = Arc::new(permit);
    let service = tower::service_fn(move |mut request: axum::extract::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Arc::clone(&permit));
        tower::ServiceExt::oneshot(router.clone(), request.map(axum::body::Body::new))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stopping.cancelled() => {
            // What is being answered is finished; a connection that is only kept open ends.
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}
