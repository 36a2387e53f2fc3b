//! `GET /health/live`, `/health/ready` and `/metrics`: for load balancers and collectors.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::State;
use super::levels::levels;
use crate::observe;
use crate::store::Store;

/// How long an answer of the store counts: a check writes, and anybody may ask.
const FRESH: Duration = Duration::from_secs(1);

/// Whether the store can read and write, else why not.
type Outcome = Result<(), String>;

/// The last check of the store, shared by all who ask.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    last: Arc<Mutex<Option<(Instant, Outcome)>>>,
}

impl Readiness {
    /// Whether the store can read and write, by a check of the last second.
    async fn check(&self, store: &dyn Store) -> Outcome {
        let mut last = self.last.lock().await;
        if let Some((at, outcome)) = &*last
            && at.elapsed() < FRESH
        {
            return outcome.clone();
        }
        let outcome = store.check().await.map_err(|error| error.to_string());
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

/// The process runs and answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// The node can take devices: it is not stopping and its store answers.
pub(super) async fn ready(Shared(state): Shared<State>) -> (StatusCode, String) {
    if state.tasks.stopping().is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    if state.deps.engine.is_failing(state.deps.clock.ticks_us()) {
        let text = "not ready: the store could not write what devices sent; look at its disk\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text.to_owned());
    }
    match state.readiness.check(state.deps.store.as_ref()).await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
    }
}

/// The node's numbers.
pub(super) async fn metrics(Shared(state): Shared<State>) -> impl IntoResponse {
    let metrics = &state.deps.metrics;
    metrics.set_levels(&levels(&state.deps).await);
    ([(CONTENT_TYPE, observe::CONTENT_TYPE)], metrics.render())
}
