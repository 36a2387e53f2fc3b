//! The receipt of a submitted edit.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use synchub_protocol::server::EntryResult;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::retry::{StopReason, Stopped};
use crate::shared::Shared;

/// A submitted edit: await it for its answer, however many reconnects that takes.
///
/// Dropping it changes nothing: the edit stays in the outbox. It does not outlive the process; after a
/// restart the answer of a waiting edit comes as [`Event::Answered`](crate::Event::Answered).
#[derive(Debug)]
pub struct Ticket {
    pub(crate) mobile_id: Uuid,
    pub(crate) revision: u64,
    pub(crate) answer: oneshot::Receiver<EntryResult>,
    pub(crate) shared: Arc<Shared>,
}

impl Ticket {
    /// The record that is edited; of a create, the id that was chosen.
    pub fn mobile_id(&self) -> Uuid {
        self.mobile_id
    }

    /// Waits until the edit is stored: from then on it survives a kill of the app. It is never sent before.
    pub async fn stored(&self) -> Result<(), Stopped> {
        self.shared.until(|inner| (inner.stored_revision >= self.revision).then_some(())).await
    }
}

impl Future for Ticket {
    type Output = Result<EntryResult, Stopped>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer).poll(context).map(|answer| {
            answer.map_err(|_| {
                let reason = self.shared.lock().stopped.clone().unwrap_or(StopReason::Asked);
                Stopped { reason }
            })
        })
    }
}
