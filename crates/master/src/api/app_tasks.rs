//! `/v2/apps/{id}/tasks`: an app's tasks, and killing them (contract marathon §2.4).

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_engine::State;
use zddcluster_engine::input::Selection;
use zddcluster_model::{App, AppId, TaskId};

use super::Outcome;
use super::apps::apps_below;
use super::tasks::{kill, listing};
use crate::error::ApiError;
use crate::http::{Call, ok, text};
use crate::render::{TaskView, task_json};
use crate::shared::Shared;

/// GET and DELETE of `/v2/apps/{id}/tasks`.
pub(super) async fn of_app(shared: &Arc<Shared>, call: &Call, app_id: &AppId) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD => {
            let state = shared.state();
            let app = state
                .root
                .app(app_id)
                .ok_or_else(|| ApiError::unknown_app(app_id))?;
            Ok(show(call, &state, &[app]))
        }
        Method::DELETE => {
            let host = call
                .query
                .first("host")
                .filter(|host| *host != "*")
                .map(str::to_owned);
            let selection = Selection::App {
                app_id: app_id.clone(),
                host,
            };
            kill(shared, call, selection, |tasks| {
                let tasks: Vec<Value> = tasks
                    .iter()
                    .map(|task| task_json(task, TaskView::Killed))
                    .collect();
                json!({ "tasks": tasks })
            })
            .await
        }
        _ => Err(ApiError::wrong_method()),
    }
}

/// GET of `/v2/apps/{group}/*/tasks`.
pub(super) fn of_group(shared: &Arc<Shared>, call: &Call, group_id: &AppId) -> Outcome {
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let state = shared.state();
    let group = state
        .root
        .group(group_id)
        .ok_or_else(|| ApiError::unknown_group(group_id))?;
    Ok(show(call, &state, &apps_below(group)))
}

fn show(call: &Call, state: &State, apps: &[&Arc<App>]) -> axum::response::Response {
    if call.prefers_text() {
        return text(StatusCode::OK, listing(state, apps));
    }
    let tasks: Vec<Value> = apps
        .iter()
        .flat_map(|app| state.tasks_of(&app.id))
        .map(|task| task_json(task, TaskView::OfApp))
        .collect();
    ok(&json!({ "tasks": tasks }))
}

/// DELETE of `/v2/apps/{id}/tasks/{taskId}`.
pub(super) async fn one(
    shared: &Arc<Shared>,
    call: &Call,
    app_id: &AppId,
    task_id: &str,
) -> Outcome {
    if call.method != Method::DELETE {
        return Err(ApiError::wrong_method());
    }
    let selection = Selection::One {
        app_id: app_id.clone(),
        task_id: TaskId::new(task_id),
    };
    kill(shared, call, selection, |tasks| {
        let task = tasks.first().map(|task| task_json(task, TaskView::Killed));
        json!({ "task": task })
    })
    .await
}
