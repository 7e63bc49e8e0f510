//! `/v2/apps/{id}/tasks`: an app's tasks, and killing them (contract marathon §2.4).

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_engine::input::Selection;
use zddcluster_engine::{Answer, Command};
use zddcluster_model::{App, AppId, TaskId};

use super::tasks::{kill_flags, listing};
use super::{Outcome, deployed};
use crate::error::ApiError;
use crate::http::{Call, ok, text};
use crate::render::{TaskView, TasksByApp, task_json};
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
            Ok(show(call, &[app], &TasksByApp::of(&state, app_id)))
        }
        Method::DELETE => {
            let scale = kill_flags(call)?;
            let host = call
                .query
                .first("host")
                .filter(|host| *host != "*")
                .map(str::to_owned);
            let selection = Selection::App {
                app_id: app_id.clone(),
                host,
            };
            let force = call.query.flag("force").unwrap_or(false);
            match shared
                .submit(Command::KillTasks {
                    selection,
                    scale,
                    force,
                })
                .await?
            {
                Answer::Killed(tasks) => {
                    let tasks: Vec<Value> = tasks
                        .iter()
                        .map(|task| task_json(task, TaskView::Killed))
                        .collect();
                    Ok(ok(&json!({ "tasks": tasks })))
                }
                answer => deployed(answer, StatusCode::OK, None),
            }
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
    let mut apps = group.transitive_apps();
    apps.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(show(call, &apps, &TasksByApp::all(&state)))
}

fn show(call: &Call, apps: &[&Arc<App>], tasks: &TasksByApp<'_>) -> axum::response::Response {
    if call.prefers_text() {
        return text(StatusCode::OK, listing(apps, tasks));
    }
    let tasks: Vec<Value> = apps
        .iter()
        .flat_map(|app| tasks.get(&app.id))
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
    let scale = kill_flags(call)?;
    let force = call.query.flag("force").unwrap_or(false);
    let selection = Selection::One {
        app_id: app_id.clone(),
        task_id: TaskId::new(task_id),
    };
    match shared
        .submit(Command::KillTasks {
            selection,
            scale,
            force,
        })
        .await?
    {
        Answer::Killed(tasks) => {
            let task = tasks.first().map(|task| task_json(task, TaskView::Killed));
            Ok(ok(&json!({ "task": task })))
        }
        answer => deployed(answer, StatusCode::OK, None),
    }
}
