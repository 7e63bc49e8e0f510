//! The agent's own HTTP API: state and files as a Mesos agent answers them, `/health`, and health checks that run beside a task.
//!
//! Source: contract dcos-cli §9 (agent state) and §10 (files).

mod checks;
mod files;
mod state;

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use zddcluster_runtime::Token;

use crate::actor::Inbox;
use crate::containerizer::Containerizer;
use crate::files::Sandboxes;
use crate::link::About;

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) inbox: Inbox,
    pub(crate) about: About,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) containerizer: Arc<dyn Containerizer>,
    /// What callers that make tasks do something have to bring.
    pub(crate) token: Option<Token>,
}

/// All routes. Mesos serves each with and without `.json`, and the state also under the process' own name.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/slave(1)/health", get(|| async { StatusCode::OK }))
        .route("/state", get(state::state))
        .route("/state.json", get(state::state))
        .route("/slave(1)/state", get(state::state))
        .route("/slave(1)/state.json", get(state::state))
        .route("/files/read", get(files::read))
        .route("/files/read.json", get(files::read))
        .route("/files/browse", get(files::browse))
        .route("/files/browse.json", get(files::browse))
        .route("/files/download", get(files::download))
        .route("/files/download.json", get(files::download))
        .route("/zdd/v1/tasks/{id}/check", post(checks::check))
        .with_state(api)
}

/// A plain text answer, as Mesos gives with its errors.
fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}
