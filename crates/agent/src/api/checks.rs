//! `POST /zdd/v1/tasks/{id}/check`: health checks that the master has made here: COMMAND beside a task, MESOS_HTTP, MESOS_HTTPS
//! and MESOS_TCP in its network.
//!
//! Whoever may call it may run anything as any task, as with the master's API; so it needs the cluster's token wherever there
//! is one, also on loopback.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use zddcluster_client::ask::Scheme;
use zddcluster_model::TaskId;
use zddcluster_model::agent::{Check, RunCheck};

use super::{Api, plain};
use crate::actor::Message;
use crate::probe;

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
        Some(Some(task)) => {
            let RunCheck {
                check,
                timeout_millis,
            } = question;
            let limit = Duration::from_millis(timeout_millis);
            let end = match check {
                Check::Command(command) => {
                    let containerizer = &api.containerizer;
                    containerizer.check(&task.order, &command, limit).await
                }
                Check::Http {
                    is_https,
                    path,
                    port,
                } => {
                    let scheme = if is_https {
                        Scheme::Https
                    } else {
                        Scheme::Http
                    };
                    Ok(probe::get(&task, port, scheme, &path, limit).await)
                }
                Check::Tcp { port } => Ok(probe::connect(&task, port, limit).await),
            };
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
