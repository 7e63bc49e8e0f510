//! `POST /zdd/v1/tasks/{id}/check`: runs a command beside a task, for the master's COMMAND health checks.
//!
//! Whoever may call it may run anything as any task, as with the master's API; so it needs the cluster's token wherever there
//! is one, also on loopback.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use zddcluster_model::TaskId;
use zddcluster_model::agent::RunCheck;

use super::{Api, plain};
use crate::actor::Message;

pub(super) async fn check(
    State(api): State<Api>,
    Path(task_id): Path<String>,
    headers: HeaderMap,
    Json(question): Json<RunCheck>,
) -> Response {
    if let Some(token) = &api.token
        && let Err(refusal) = token.check(&headers)
    {
        return refusal.response();
    }
    let task_id = TaskId::new(&task_id);
    let found = api
        .inbox
        .ask(|answer| Message::Running(task_id.clone(), answer))
        .await;
    match found {
        Some(Some(order)) => {
            let limit = Duration::from_millis(question.timeout_millis);
            let end = api
                .containerizer
                .check(&order, &question.command, limit)
                .await;
            match end {
                Ok(end) => Json(end).into_response(),
                Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            }
        }
        Some(None) => plain(
            StatusCode::NOT_FOUND,
            format!("no task {task_id} runs here"),
        ),
        None => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent is shutting down",
        ),
    }
}
