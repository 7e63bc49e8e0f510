//! `/state.json`: who the agent is, and an executor entry for every task with its sandbox.

use std::time::UNIX_EPOCH;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Api, plain};
use crate::actor::{Message, TaskView, View};
use crate::link::About;

/// The Mesos version of DC/OS 1.8.
const VERSION: &str = "1.0.1";

pub(super) async fn state(State(api): State<Api>) -> Response {
    match api.inbox.ask(Message::View).await {
        Some(view) => Json(render(&api.about, &view)).into_response(),
        None => plain(
            StatusCode::SERVICE_UNAVAILABLE,
            "the agent is shutting down",
        ),
    }
}

fn render(about: &About, view: &View) -> Value {
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
    // One framework; an id from before the first registration can only come from a task.
    let framework_id = view.identity.framework_id.as_deref().or_else(|| {
        view.tasks
            .first()
            .map(|task| task.order.launch.framework_id.as_str())
    });
    let framework = framework_id.map(|id| {
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
    let timestamp = view
        .since
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let resources = json!({
        "cpus": launch.cpus,
        "mem": launch.mem,
        "disk": launch.disk,
        "ports": ranges(launch.ports.iter().map(|&port| (port, port))),
    });
    let addresses: Vec<Value> = view
        .ip_addresses
        .iter()
        .map(|address| json!({ "ip_address": address.ip_address, "protocol": address.protocol }))
        .collect();
    let task = json!({
        "id": launch.task_id,
        "name": launch.app_id.mesos_name(),
        "slave_id": launch.agent_id,
        "framework_id": launch.framework_id,
        "executor_id": "",
        "state": view.state.as_str(),
        "resources": resources,
        "statuses": [{
            "state": view.state.as_str(),
            "timestamp": timestamp,
            "message": view.message,
            "container_status": {
                "container_id": { "value": launch.container_id },
                "network_infos": [{ "ip_addresses": addresses }],
            },
        }],
    });
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
