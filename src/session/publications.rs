//! What a service publishes on its socket: one request after the other, while the session goes on.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use synchub_protocol::client::Publish;
use synchub_protocol::server::Published;
use synchub_protocol::{CloseReason, ErrorCode, ServerFrame};
use tokio::time::Instant;

use super::connected::Session;
use crate::auth::Role;
use crate::push::Service;
use crate::sync::publish::PublishError;

/// What became of a request.
#[derive(Debug)]
pub(super) struct Publication {
    id: u64,
    done: Result<Published, PublishError>,
}

/// The requests that wait; the first is being done.
#[derive(Default)]
pub(super) struct Publications {
    waiting: VecDeque<BoxFuture<'static, Publication>>,
}

impl fmt::Debug for Publications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publications").field("waiting", &self.waiting.len()).finish()
    }
}

impl Publications {
    /// Waits for the first. Safe to cancel.
    pub(super) async fn next(&mut self) -> Publication {
        let Some(first) = self.waiting.front_mut() else { return std::future::pending().await };
        let publication = first.await;
        self.waiting.pop_front();
        publication
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Session {
    /// Takes a request of a service; its answer comes once it is durable.
    pub(super) fn on_publish(&mut self, request: Publish) -> Result<(), CloseReason> {
        let id = request.id;
        if self.identity.role == Role::Device {
            return self.forbid(Some(id), "only publishers and operators publish");
        }
        let most = self.deps.settings.limits.max_in_flight;
        if self.publications.waiting.len() >= most {
            let message = format!("{most} requests wait for an answer already; wait for one");
            return self.refuse(Some(id), ErrorCode::TooManyInFlight, message);
        }
        if self.leaving {
            let message = "the hub is closing this session; send the request again when you are back";
            return self.refuse(Some(id), ErrorCode::Unavailable, message);
        }
        if let Some(error) = self.takes_entries(id, request.changes.len() + request.pushes.len())? {
            return self.say(&ServerFrame::Error(error));
        }
        let service = Service {
            tenant: self.tenant,
            epoch: self.epoch,
            author: self.author.clone(),
            identity: self.identity.clone(),
        };
        let deps = Arc::clone(&self.deps);
        let publication =
            async move { Publication { id, done: deps.publisher.publish(service, request).await } };
        self.publications.waiting.push_back(publication.boxed());
        Ok(())
    }

    pub(super) fn on_published(&mut self, Publication { id, done }: Publication) -> Result<(), CloseReason> {
        match done {
            Ok(published) => {
                self.timers.want_position(Instant::now(), self.deps.settings.feed.position_delay());
                self.say(&ServerFrame::Published(published))
            }
            Err(error) if error.code() == ErrorCode::Forbidden => self.forbid(Some(id), &error.to_string()),
            Err(error) => self.refuse(Some(id), error.code(), error.to_string()),
        }
    }
}
