//! Every route of the hub in one list, and the loop that accepts connections.

mod accept;
mod health;
mod levels;
mod push;
mod upgrade;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};

use crate::session::Deps;
use crate::tasks::Tasks;

pub use accept::{bind, serve};
pub use health::Readiness;

/// What every endpoint may use.
#[derive(Debug, Clone)]
pub struct State {
    /// The node.
    pub deps: Arc<Deps>,
    /// Sessions run on it.
    pub tasks: Tasks,
    /// Whether the store answers.
    pub readiness: Readiness,
}

/// All routes.
pub fn router(state: State) -> Router {
    let most = state.deps.settings.limits.max_frame_bytes;
    Router::new()
        .route("/ws", any(upgrade::handler))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/api/v2/push", post(push::handler).layer(DefaultBodyLimit::max(most)))
        .route("/api/v2/push/deliveries", get(push::deliveries))
        .with_state(state)
}
