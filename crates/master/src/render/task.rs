//! Task JSON (contract marathon §4.3).

use serde::Serialize;
use serde_json::Value;
use zddcluster_engine::state::Task;
use zddcluster_model::task::{HealthResult, IpAddress, LocalVolume};
use zddcluster_model::{AgentId, AppId, TaskId, TaskState, Timestamp};

/// Which of the optional keys a task shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TaskView<'a> {
    /// Inside an app, and in the app's own list.
    OfApp,
    /// In `/v2/tasks`: with the app's service ports.
    Listed(&'a [u16]),
    /// As the answer to a kill through the app: without `appId`.
    Killed,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TaskJson<'a> {
    id: &'a TaskId,
    slave_id: &'a AgentId,
    host: &'a str,
    state: TaskState,
    started_at: Option<Timestamp>,
    staged_at: Timestamp,
    ports: &'a [u16],
    version: Timestamp,
    #[serde(skip_serializing_if = "is_empty")]
    ip_addresses: &'a [IpAddress],
    #[serde(skip_serializing_if = "is_empty")]
    local_volumes: &'a [LocalVolume],
    #[serde(skip_serializing_if = "Option::is_none")]
    app_id: Option<&'a AppId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_ports: Option<&'a [u16]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    health_check_results: Vec<&'a HealthResult>,
}

const fn is_empty<T>(list: &&[T]) -> bool {
    list.is_empty()
}

/// One task.
pub(crate) fn task_json(task: &Task, view: TaskView<'_>) -> Value {
    let (app_id, service_ports) = match view {
        TaskView::OfApp => (Some(&task.app_id), None),
        TaskView::Listed(service_ports) => (Some(&task.app_id), Some(service_ports)),
        TaskView::Killed => (None, None),
    };
    let json = TaskJson {
        id: &task.id,
        slave_id: &task.agent_id,
        host: &task.host,
        state: task.state,
        started_at: task.started_at,
        staged_at: task.staged_at,
        ports: &task.ports,
        version: task.version,
        ip_addresses: &task.ip_addresses,
        local_volumes: &task.local_volumes,
        app_id,
        service_ports,
        health_check_results: task.health.iter().flatten().collect(),
    };
    serde_json::to_value(json).expect("tasks have string keys only")
}
