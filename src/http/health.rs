//! `GET /health/live`, `/health/ready` and `/metrics`: for load balancers and collectors.

use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;

use super::State;
use crate::observe;

/// The process runs and answers.
pub(super) async fn live() -> &'static str {
    "live\n"
}

/// The node can take devices: it is not stopping and its store answers.
pub(super) async fn ready(Shared(state): Shared<State>) -> (StatusCode, String) {
    if state.tasks.stopping().is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    match state.deps.store.check().await {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {error}\n")),
    }
}

/// The node's numbers.
pub(super) async fn metrics(Shared(state): Shared<State>) -> impl IntoResponse {
    ([(CONTENT_TYPE, observe::CONTENT_TYPE)], state.deps.metrics.render())
}
