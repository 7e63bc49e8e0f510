//! `/v2/apps`: definitions, their versions, restart (contract marathon §2.2 and §2.3).

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_engine::input::Origin;
use zddcluster_engine::state::VERSIONS_KEPT;
use zddcluster_engine::{Answer, Command, State};
use zddcluster_model::app::{AppUpdate, Form};
use zddcluster_model::{App, AppId, Group, Timestamp};

use super::{Outcome, app_tasks, deployed, mark, selector, unexpected};
use crate::downloads;
use crate::error::ApiError;
use crate::http::{Call, json_response, ok};
use crate::render::{Parts, app_json, created_app_json};
use crate::shared::Shared;

pub(super) async fn route(shared: &Arc<Shared>, call: &Call, rest: &[&str]) -> Outcome {
    match (&call.method, rest) {
        (&Method::GET | &Method::HEAD, []) => list(shared, call),
        (&Method::POST, []) => create(shared, call).await,
        (&Method::PUT | &Method::PATCH, []) => update_many(shared, call).await,
        (_, [] | ["*"]) if !call.is_read() => Err(ApiError::wrong_method()),
        (_, [group @ .., "*", "tasks"]) => app_tasks::of_group(shared, call, &path(group)),
        (_, [app @ .., "tasks"]) if !app.is_empty() => {
            app_tasks::of_app(shared, call, &path(app)).await
        }
        (_, [app @ .., "tasks", task]) if !app.is_empty() => {
            app_tasks::one(shared, call, &path(app), task).await
        }
        (_, [app @ .., "versions"]) if !app.is_empty() => versions(shared, call, &path(app)),
        (_, [app @ .., "versions", version]) if !app.is_empty() => {
            version_of(shared, call, &path(app), version)
        }
        (_, [app @ .., "restart"]) if !app.is_empty() => restart(shared, call, path(app)).await,
        (&Method::GET | &Method::HEAD, [group @ .., "*"]) => star(shared, call, &path(group)),
        (&Method::GET | &Method::HEAD, app) => show(shared, call, &path(app)),
        (&Method::PUT | &Method::PATCH, app) => update(shared, call, path(app)).await,
        (&Method::DELETE, app) => {
            let force = call.query.flag("force").unwrap_or(true);
            let command = Command::DeleteApp {
                app_id: path(app),
                force,
            };
            deployed(shared.submit(command).await?, StatusCode::OK, None)
        }
        _ => Err(ApiError::wrong_method()),
    }
}

/// The path that these segments name.
pub(super) fn path(segments: &[&str]) -> AppId {
    AppId::absolute(&segments.join("/"))
}

pub(super) fn force(call: &Call) -> bool {
    call.query.flag("force").unwrap_or(false)
}

fn parts(call: &Call, always: Parts) -> Parts {
    call.query.all("embed").fold(always, Parts::with_embed)
}

// === Reading ===

fn list(shared: &Shared, call: &Call) -> Outcome {
    let state = shared.state();
    let mut apps = apps_below(&state.root);
    let contains = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
    if let Some(id) = call.query.first("id") {
        apps.retain(|app| contains(app.id.as_str(), id));
    }
    if let Some(cmd) = call.query.first("cmd") {
        apps.retain(|app| app.cmd.as_ref().is_some_and(|text| contains(text, cmd)));
    }
    if let Some(label) = call.query.first("label") {
        let selector = selector::Selector::parse(label)
            .map_err(|error| ApiError::illegal_argument(error.to_string()))?;
        apps.retain(|app| selector.matches(&app.labels));
    }
    let parts = parts(call, Parts::LIST);
    Ok(ok(
        &json!({ "apps": render_all(shared, &state, &apps, parts) }),
    ))
}

pub(super) fn render_all(
    shared: &Shared,
    state: &State,
    apps: &[&Arc<App>],
    parts: Parts,
) -> Vec<Value> {
    let now = shared.clock.now();
    apps.iter()
        .map(|app| app_json(state, app, parts, now))
        .collect()
}

/// The apps of a group and of all below it, by id.
pub(super) fn apps_below(group: &Group) -> Vec<&Arc<App>> {
    let mut apps = group.transitive_apps();
    apps.sort_by(|a, b| a.id.cmp(&b.id));
    apps
}

fn show(shared: &Shared, call: &Call, app_id: &AppId) -> Outcome {
    let state = shared.state();
    let app = state
        .root
        .app(app_id)
        .ok_or_else(|| ApiError::unknown_app(app_id))?;
    let parts = parts(call, Parts::ONE);
    Ok(ok(
        &json!({ "app": app_json(&state, app, parts, shared.clock.now()) }),
    ))
}

fn star(shared: &Shared, call: &Call, group_id: &AppId) -> Outcome {
    let state = shared.state();
    let group = state
        .root
        .group(group_id)
        .ok_or_else(|| ApiError::unknown_group(group_id))?;
    let apps = apps_below(group);
    let parts = parts(call, Parts::ONE);
    Ok(ok(
        &json!({ "*": render_all(shared, &state, &apps, parts) }),
    ))
}

fn stored_versions<'a>(state: &'a State, app_id: &AppId) -> Result<&'a [Arc<App>], ApiError> {
    if state.root.app(app_id).is_none() {
        return Err(ApiError::unknown_app(app_id));
    }
    Ok(state
        .versions
        .get(app_id)
        .map_or(&[], |versions| versions.as_slice()))
}

fn versions(shared: &Shared, call: &Call, app_id: &AppId) -> Outcome {
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let state = shared.state();
    let versions: Vec<Timestamp> = stored_versions(&state, app_id)?
        .iter()
        .rev()
        // Older ones are kept only while a task or a plan refers to them.
        .take(VERSIONS_KEPT)
        .map(|app| app.version)
        .collect();
    Ok(ok(&json!({ "versions": versions })))
}

fn version_of(shared: &Shared, call: &Call, app_id: &AppId, version: &str) -> Outcome {
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let version: Timestamp = version
        .parse()
        .map_err(|error| ApiError::illegal_argument(format!("{error}")))?;
    let state = shared.state();
    let app = stored_versions(&state, app_id)
        .ok()
        .and_then(|versions| versions.iter().find(|app| app.version == version))
        .ok_or_else(|| {
            let message = format!("App '{app_id}' does not exist in version {version}");
            ApiError::new(StatusCode::NOT_FOUND, message)
        })?;
    Ok(ok(&**app))
}

// === Writing ===

fn origin(call: &Call) -> Origin {
    Origin {
        client_ip: call.client_ip.clone(),
        uri: call.path.clone(),
    }
}

/// The URL of an app or group; `resource` is `apps` or `groups`.
pub(super) fn location(shared: &Shared, call: &Call, resource: &str, id: &AppId) -> String {
    let host = match call.host() {
        "" => shared.identity.front.to_string(),
        host => host.to_owned(),
    };
    format!("http://{host}/v2/{resource}{id}")
}

async fn create(shared: &Shared, call: &Call) -> Outcome {
    let command = Command::CreateApp {
        update: AppUpdate::read(&call.body, Form::Full)?,
        force: force(call),
        origin: origin(call),
    };
    let command = downloads::resolved(shared, command).await?;
    match shared.submit(command).await? {
        Answer::Deployment {
            deployment_id,
            created: Some(app),
            ..
        } => {
            let body = created_app_json(&app, &deployment_id);
            let mut response = json_response(StatusCode::CREATED, &body);
            let location = location(shared, call, "apps", &app.id);
            mark(&mut response, deployment_id.as_str(), Some(location));
            Ok(response)
        }
        Answer::Deployment { created: None, .. }
        | Answer::Steps(_)
        | Answer::Killed(_)
        | Answer::Registered(_)
        | Answer::Done => Err(unexpected()),
    }
}

async fn update(shared: &Shared, call: &Call, app_id: AppId) -> Outcome {
    let command = Command::UpdateApp {
        app_id,
        update: AppUpdate::read(&call.body, Form::Partial)?,
        is_full: call.query.flag("partialUpdate") == Some(false),
        force: force(call),
        origin: origin(call),
    };
    let command = downloads::resolved(shared, command).await?;
    let answer = shared.submit(command).await?;
    match &answer {
        Answer::Deployment {
            created: Some(app), ..
        } => {
            let location = location(shared, call, "apps", &app.id);
            deployed(answer, StatusCode::CREATED, Some(location))
        }
        Answer::Deployment { created: None, .. }
        | Answer::Steps(_)
        | Answer::Killed(_)
        | Answer::Registered(_)
        | Answer::Done => deployed(answer, StatusCode::OK, None),
    }
}

async fn update_many(shared: &Shared, call: &Call) -> Outcome {
    let command = Command::UpdateApps {
        updates: AppUpdate::read_list(&call.body)?,
        force: force(call),
    };
    let command = downloads::resolved(shared, command).await?;
    deployed(shared.submit(command).await?, StatusCode::OK, None)
}

async fn restart(shared: &Shared, call: &Call, app_id: AppId) -> Outcome {
    if call.method != Method::POST {
        return Err(ApiError::wrong_method());
    }
    let command = Command::RestartApp {
        app_id,
        force: force(call),
    };
    deployed(shared.submit(command).await?, StatusCode::OK, None)
}
