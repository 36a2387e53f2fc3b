//! Opens sessions in the store, all that wait together in one transaction: a reconnect storm costs
//! commits by the dozen, not by the device.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::observe::Metrics;
use crate::store::{Registered, Registration, Store, StoreError};
use crate::tasks::Tasks;

/// The most sessions that one transaction opens.
const TOGETHER: usize = 256;
/// How many hellos may wait; more wait for room, within their hello time.
const WAITING: usize = 4096;

type Waiter = oneshot::Sender<Result<Registered, RegisterError>>;

/// Why a session could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The store did not take it.
    #[error("{0}")]
    Store(String),
    /// The hub is stopping.
    #[error("the hub is stopping")]
    Stopping,
}

impl From<StoreError> for RegisterError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Opens sessions. Cheap to clone; the worker ends with the node.
#[derive(Debug, Clone)]
pub struct Registrar {
    waiting: mpsc::Sender<(Registration, Waiter)>,
}

impl Registrar {
    /// Starts the worker.
    pub fn start(store: Arc<dyn Store>, metrics: Metrics, tasks: &Tasks) -> Self {
        let (waiting, receiver) = mpsc::channel(WAITING);
        tasks.spawn_vital(run(store, metrics, receiver, tasks.finishing().clone()));
        Self { waiting }
    }

    /// Opens a session; returns once it is durable.
    pub async fn register(&self, registration: Registration) -> Result<Registered, RegisterError> {
        let (waiter, answer) = oneshot::channel();
        let sent = self.waiting.send((registration, waiter)).await;
        sent.map_err(|_| RegisterError::Stopping)?;
        answer.await.unwrap_or(Err(RegisterError::Stopping))
    }
}

async fn run(
    store: Arc<dyn Store>,
    metrics: Metrics,
    mut waiting: mpsc::Receiver<(Registration, Waiter)>,
    finishing: CancellationToken,
) {
    let mut group = Vec::new();
    loop {
        let received = tokio::select! {
            biased;
            received = waiting.recv_many(&mut group, TOGETHER) => received,
            () = finishing.cancelled() => return,
        };
        if received == 0 {
            return;
        }
        let (registrations, waiters): (Vec<_>, Vec<_>) = group.drain(..).unzip();
        match store.register(registrations).await {
            Ok(registered) => {
                metrics.hello_groups.inc();
                for (waiter, registered) in waiters.into_iter().zip(registered) {
                    // A peer that went away meanwhile says hello again.
                    let _ = waiter.send(Ok(registered));
                }
            }
            Err(error) => {
                let error = RegisterError::from(error);
                for waiter in waiters {
                    let _ = waiter.send(Err(error.clone()));
                }
            }
        }
    }
}
