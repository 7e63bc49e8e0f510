//! The agent's own HTTP API: state, measurements and files as a Mesos agent answers them, and health checks that run beside a task.
//!
//! | path, also below `/slave(1)` | |
//! |---|---|
//! | `state`, `version`, `flags`, `health` | documents, with `.json` too |
//! | `monitor/statistics`, `containers` | what each running task uses |
//! | `files/read`, `browse`, `download`, `debug` | sandboxes, and `/slave/log` |
//! | `metrics/snapshot`; `metrics` | numbers under Mesos' names; for Prometheus |
//! | `api/v1` | the operator API |
//! | `zdd/v1/tasks/{id}/check` | ours, for the master |
//!
//! Source: contract dcos-cli §9 (agent state) and §10 (files), Mesos 1.0's endpoint documentation.

mod checks;
mod containers;
mod files;
mod metrics;
mod operator;
mod state;

use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use tokio::time::Instant;
use zddcluster_runtime::{LogTail, Token};

use crate::actor::{Inbox, Message, View};
use crate::containerizer::Containerizer;
use crate::files::Sandboxes;
use crate::link::About;

/// The Mesos version of DC/OS 1.8.
const VERSION: &str = "1.0.1";

/// The log, by the name that Mesos gives it.
const LOG: &str = "/slave/log";

/// What the handlers work with.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) inbox: Inbox,
    pub(crate) about: About,
    pub(crate) sandboxes: Sandboxes,
    pub(crate) containerizer: Arc<dyn Containerizer>,
    /// What callers that make tasks do something have to bring.
    pub(crate) token: Option<Token>,
    pub(crate) log_tail: LogTail,
    pub(crate) started_at: Instant,
}

impl Api {
    /// All that the agent knows; `Err` is an answer.
    async fn view(&self) -> Result<View, Response> {
        self.inbox.ask(Message::View).await.ok_or_else(|| {
            plain(
                StatusCode::SERVICE_UNAVAILABLE,
                "the agent is shutting down",
            )
        })
    }
}

/// All routes. Mesos serves each with and without `.json`, and also under the process' own name.
pub(crate) fn router(api: Api) -> Router {
    let mut routes = Router::new()
        .route("/health", get(|| async { StatusCode::OK }))
        .route("/metrics", get(metrics::prometheus))
        .route("/api/v1", post(operator::answer));
    for suffix in ["", ".json"] {
        let path = |path: &str| format!("{path}{suffix}");
        routes = routes
            .route(&path("/state"), get(state::state))
            .route(&path("/version"), get(state::version))
            .route(&path("/flags"), get(state::flags))
            .route(&path("/monitor/statistics"), get(containers::statistics))
            .route(&path("/containers"), get(containers::containers))
            .route(&path("/metrics/snapshot"), get(metrics::snapshot))
            .route(&path("/files/read"), get(files::read))
            .route(&path("/files/browse"), get(files::browse))
            .route(&path("/files/download"), get(files::download))
            .route(&path("/files/debug"), get(files::debug));
    }
    Router::new()
        .nest("/slave(1)", routes.clone())
        .merge(routes)
        .route("/zdd/v1/tasks/{id}/check", post(checks::check))
        .fallback(unknown)
        .with_state(api)
}

/// A path that nothing is behind: as the master says it.
async fn unknown(uri: Uri) -> Response {
    let message = format!("URI not found: {}", uri.path());
    (StatusCode::NOT_FOUND, Json(json!({ "message": message }))).into_response()
}

/// A plain text answer, as Mesos gives with its errors.
fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into()).into_response()
}
