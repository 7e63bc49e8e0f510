//! `/state`: who the agent is, and an executor entry for every task with its sandbox; `/version`, `/flags`.

use std::time::UNIX_EPOCH;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::{Api, VERSION};
use crate::actor::{TaskView, View};

pub(super) async fn state(State(api): State<Api>) -> Response {
    match api.view().await {
        Ok(view) => Json(render(&api, &view)).into_response(),
        Err(refusal) => refusal,
    }
}

pub(super) async fn version() -> Response {
    Json(json!({ "version": VERSION })).into_response()
}

pub(super) async fn flags(State(api): State<Api>) -> Response {
    Json(json!({ "flags": flags_of(&api) })).into_response()
}

/// The flags of Mesos that mean something here.
pub(super) fn flags_of(api: &Api) -> Map<String, Value> {
    let about = &api.about;
    let attributes: Vec<String> = about
        .attributes
        .iter()
        .map(|(name, value)| format!("{name}:{value}"))
        .collect();
    let flags = [
        ("attributes", attributes.join(";")),
        ("containerizers", api.containerizer.name().to_owned()),
        ("default_role", about.role.clone()),
        ("hostname", about.hostname.clone()),
        ("port", about.port.to_string()),
        ("work_dir", api.sandboxes.work_dir().display().to_string()),
    ];
    let flags = flags.map(|(name, value)| (name.to_owned(), value.into()));
    flags.into_iter().collect()
}

/// One framework; an id from before the first registration can only come from a task.
pub(super) fn framework_id(view: &View) -> Option<&str> {
    view.identity.framework_id.as_deref().or_else(|| {
        let first = view.tasks.first()?;
        Some(first.order.launch.framework_id.as_str())
    })
}

/// When a task came into its state, seconds since 1970.
pub(super) fn since(task: &TaskView) -> f64 {
    task.since
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

/// A task's container and addresses.
pub(super) fn container_status(task: &TaskView) -> Value {
    let addresses: Vec<Value> = task
        .ip_addresses
        .iter()
        .map(|address| json!({ "ip_address": address.ip_address, "protocol": address.protocol }))
        .collect();
    json!({
        "container_id": { "value": task.order.launch.container_id },
        "network_infos": [{ "ip_addresses": addresses }],
    })
}

fn render(api: &Api, view: &View) -> Value {
    let about = &api.about;
    let agent_id = view.identity.agent_id.as_ref().map_or("", |id| id.as_str());
    let (executors, completed): (Vec<&TaskView>, Vec<&TaskView>) = view
        .tasks
        .iter()
        .partition(|task| !task.state.is_terminal());
    let list = |tasks: &[&TaskView], key: &str| {
        tasks
            .iter()
            .map(|task| executor(task, key))
            .collect::<Vec<_>>()
    };
    let framework = framework_id(view).map(|id| {
        json!({
            "id": id,
            "name": "marathon",
            "role": about.role,
            "executors": list(&executors, "tasks"),
            "completed_executors": list(&completed, "completed_tasks"),
        })
    });
    let resources = &about.resources;
    json!({
        "id": agent_id,
        "hostname": about.hostname,
        "pid": format!("slave(1)@{}:{}", about.hostname, about.port),
        "version": VERSION,
        "flags": flags_of(api),
        "attributes": about.attributes,
        "resources": {
            "cpus": resources.cpus,
            "mem": resources.mem,
            "disk": resources.disk,
            "gpus": resources.gpus,
            "ports": ranges(resources.ports.iter().copied()),
        },
        "frameworks": framework.into_iter().collect::<Vec<_>>(),
        "completed_frameworks": [],
    })
}

/// One task as its executor; `key` is the list it stands in, the others are there and empty.
fn executor(view: &TaskView, key: &str) -> Value {
    let launch = &view.order.launch;
    let resources = json!({
        "cpus": launch.cpus,
        "mem": launch.mem,
        "disk": launch.disk,
        "ports": ranges(launch.ports.iter().map(|&port| (port, port))),
    });
    let mut task = json!({
        "id": launch.task_id,
        "name": launch.app_id.mesos_name(),
        "slave_id": launch.agent_id,
        "framework_id": launch.framework_id,
        "executor_id": "",
        "state": view.state.as_str(),
        "resources": resources,
        "statuses": [{
            "state": view.state.as_str(),
            "timestamp": since(view),
            "message": view.message,
            "container_status": container_status(view),
        }],
    });
    if let Some(reason) = view.reason {
        task["statuses"][0]["reason"] = json!(reason);
    }
    let mut entry = json!({
        "id": launch.task_id,
        "name": "",
        "source": launch.task_id,
        "container": launch.container_id,
        "directory": view.order.sandbox.display().to_string(),
        "resources": resources,
        "tasks": [],
        "completed_tasks": [],
        "queued_tasks": [],
    });
    entry[key] = json!([task]);
    entry
}

/// `[1025-2180, 2182-3887]`, as Mesos prints ranges.
fn ranges(ranges: impl Iterator<Item = (u16, u16)>) -> String {
    let parts: Vec<String> = ranges
        .map(|(first, last)| format!("{first}-{last}"))
        .collect();
    format!("[{}]", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_as_mesos_prints_them() {
        assert_eq!(
            ranges([(1025, 2180), (7, 7)].into_iter()),
            "[1025-2180, 7-7]"
        );
        assert_eq!(ranges([].into_iter()), "[]");
    }
}
