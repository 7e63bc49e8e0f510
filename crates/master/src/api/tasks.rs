//! `/v2/tasks`: all tasks, as JSON or as the text listing, and killing by id (contract marathon §2.4).

use std::fmt::Write as _;
use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_engine::input::Selection;
use zddcluster_engine::state::Task;
use zddcluster_engine::{Answer, Command, State};
use zddcluster_model::app::{Fault, Network};
use zddcluster_model::{App, TaskId, TaskState};

use super::apps::{apps_below, force};
use super::{Outcome, deployed};
use crate::error::ApiError;
use crate::http::{Call, ok, text};
use crate::render::{TaskView, task_json};
use crate::shared::Shared;

/// GET of `/v2/tasks`.
pub(super) fn list(shared: &Shared, call: &Call) -> Outcome {
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let state = shared.state();
    let apps = apps_below(&state.root);
    if call.prefers_text() {
        return Ok(text(StatusCode::OK, listing(&state, &apps)));
    }
    // Unknown values are ignored; without a valid one there is no filter.
    let wanted: Vec<TaskState> = ["status", "status[]"]
        .iter()
        .flat_map(|name| call.query.all(name))
        .filter_map(|value| match value {
            "running" => Some(TaskState::Running),
            "staging" => Some(TaskState::Staging),
            _ => None,
        })
        .collect();
    let mut items = Vec::new();
    for app in apps {
        let service_ports = app.service_ports();
        for task in state.tasks_of(&app.id) {
            if wanted.is_empty() || wanted.contains(&task.state) {
                items.push(task_json(task, TaskView::Listed(&service_ports)));
            }
        }
    }
    Ok(ok(&json!({ "tasks": items })))
}

/// POST of `/v2/tasks/delete`.
pub(super) async fn delete(shared: &Shared, call: &Call) -> Outcome {
    if call.method != Method::POST {
        return Err(ApiError::wrong_method());
    }
    // Before the body is looked at.
    kill_flags(call)?;
    let selection = Selection::Ids(read_ids(&call.body)?);
    kill(shared, call, selection, |tasks| {
        let tasks: Vec<Value> = tasks
            .iter()
            .map(|task| task_json(task, TaskView::OfApp))
            .collect();
        json!({ "tasks": tasks })
    })
    .await
}

/// Kills tasks as the flags of the call want it; without `scale`, `render` makes the answer.
pub(super) async fn kill(
    shared: &Shared,
    call: &Call,
    selection: Selection,
    render: impl FnOnce(&[Arc<Task>]) -> Value,
) -> Outcome {
    let KillFlags { scale, wipe } = kill_flags(call)?;
    let command = Command::KillTasks {
        selection,
        scale,
        wipe,
        force: force(call),
    };
    match shared.submit(command).await? {
        Answer::Killed(tasks) => Ok(ok(&render(&tasks))),
        answer => deployed(answer, StatusCode::OK, None),
    }
}

/// How tasks are killed.
struct KillFlags {
    scale: bool,
    wipe: bool,
}

/// The flags of a kill; `scale` and `wipe` cannot go together.
fn kill_flags(call: &Call) -> Result<KillFlags, ApiError> {
    let flag = |name| call.query.flag(name).unwrap_or(false);
    let flags = KillFlags {
        scale: flag("scale"),
        wipe: flag("wipe"),
    };
    if flags.scale && flags.wipe {
        let message = "You cannot use scale and wipe at the same time.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
    }
    Ok(flags)
}

fn read_ids(body: &[u8]) -> Result<Vec<TaskId>, ApiError> {
    let fault = |path: &str, error: &str| {
        let fault = Fault {
            path: path.to_owned(),
            errors: vec![error.to_owned()],
        };
        ApiError::faults(&[fault])
    };
    if body.is_empty() {
        let text = "No content to map due to end-of-input".to_owned();
        return Err(zddcluster_model::app::ReadError::Empty(text).into());
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| zddcluster_model::app::ReadError::Syntax(error.to_string()))?;
    let ids = match body.get("ids") {
        None | Some(Value::Null) => return Err(fault("/ids", "error.path.missing")),
        Some(Value::Array(ids)) => ids,
        Some(_) => return Err(fault("/ids", "error.expected.jsarray")),
    };
    let mut read = Vec::with_capacity(ids.len());
    for (i, id) in ids.iter().enumerate() {
        let Some(id) = id.as_str() else {
            return Err(fault(&format!("/ids({i})"), "error.expected.jsstring"));
        };
        let id = TaskId::new(id);
        if id.app_id().is_none() {
            let message = format!("Invalid task id '{id}'.");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
        }
        read.push(id);
    }
    Ok(read)
}

/// The text listing: a line for each service port, or one for an app without ports.
pub(super) fn listing(state: &State, apps: &[&Arc<App>]) -> String {
    let mut out = String::new();
    for app in apps {
        let running: Vec<&Arc<Task>> = state
            .tasks_of(&app.id)
            .filter(|task| task.state == TaskState::Running)
            .collect();
        list_app(&mut out, app, &running).expect("a string takes everything");
    }
    out
}

fn list_app(out: &mut String, app: &App, running: &[&Arc<Task>]) -> std::fmt::Result {
    let name = app.id.safe_name();
    if app.ip_address.is_some() && app.port_mappings().is_none() {
        return Ok(());
    }
    let service_ports = app.service_ports();
    if service_ports.is_empty() {
        write!(out, "{name}\t \t")?;
        for task in running {
            write!(out, "{} ", task.host)?;
        }
        return writeln!(out);
    }
    for (i, service_port) in service_ports.iter().enumerate() {
        write!(out, "{name}\t{service_port}\t")?;
        for task in running {
            let (host, port) = endpoint(app, task, i);
            write!(out, "{host}:{port}\t")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Where port `i` of a task is reached: at its own address if it has no host port, else at its host.
fn endpoint<'a>(app: &App, task: &'a Task, i: usize) -> (&'a str, u16) {
    let mappings = app.port_mappings().unwrap_or_default();
    let container_port = mappings
        .get(i)
        .filter(|mapping| mapping.host_port.is_none() && is_user_network(app))
        .map(|mapping| mapping.container_port);
    // A task holds host ports of those mappings only that ask for one.
    let without = mappings.iter().take(i);
    let without = without
        .filter(|mapping| mapping.host_port.is_none())
        .count();
    match (container_port, task.ip_addresses.first()) {
        (Some(port), Some(address)) => (&address.ip_address, port),
        (Some(port), None) => (&task.host, port),
        (None, _) => (
            &task.host,
            task.ports.get(i - without).copied().unwrap_or_default(),
        ),
    }
}

fn is_user_network(app: &App) -> bool {
    use zddcluster_model::app::Docker;
    let docker = app
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref());
    matches!(docker, Some(Docker::Engine(engine)) if engine.network == Some(Network::User))
}
