//! Publishing, for services: changes of records of others, and pushes to devices.

use synchub_protocol::ErrorCode;
use synchub_protocol::client::{Publish, Push};
use synchub_protocol::entry::PublishedChange;
use synchub_protocol::server::Published;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::client::Client;
use crate::retry::{StopReason, Stopped};

/// What a service publishes, done whole or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// Names the request: the same one again is not done again within a day.
    pub request_id: Uuid,
    /// Changes of records.
    pub changes: Vec<PublishedChange>,
    /// Pushes to devices.
    pub pushes: Vec<Push>,
}

/// Why something was not published.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// The client has stopped.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// The hub refused it; nothing of it was done.
    #[error("the hub refused to publish this ({code}): {message}")]
    Refused {
        /// The code to act on.
        code: ErrorCode,
        /// A sentence for the service's author.
        message: String,
    },
}

impl Client {
    /// Publishes, over any number of reconnects; returns when it is done and durable. For a client that was
    /// started with [`crate::Config::is_service`]. What is wrong with one change is that change's result. A request
    /// whose future is dropped may be done all the same.
    pub async fn publish(&self, publication: Publication) -> Result<Published, PublishError> {
        let Publication { request_id, changes, pushes } = publication;
        let changes = changes.into_iter().map(Into::into).collect();
        let (sender, verdict) = oneshot::channel();
        {
            let mut inner = self.shared().lock();
            if let Some(reason) = inner.stopped.clone() {
                return Err(Stopped { reason }.into());
            }
            let number = inner.state.publish(Publish { id: 0, request_id, changes, pushes });
            inner.publishing.insert(number, sender);
        }
        self.shared().woken.notify_one();
        match verdict.await {
            Ok(Ok(published)) => Ok(published),
            Ok(Err(error)) => Err(PublishError::Refused { code: error.code, message: error.message }),
            Err(_) => {
                let stopped = self.shared().lock().stopped.clone();
                Err(Stopped { reason: stopped.unwrap_or(StopReason::Asked) }.into())
            }
        }
    }
}
