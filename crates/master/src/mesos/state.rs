//! The v0 documents: `/master/state`, `state-summary`, `slaves`, `frameworks`, `tasks`.
//!
//! Doubles are written `32.0` (contract dcos-cli, T5). `completed_tasks` and the other lists are there even when empty (T13);
//! agents stay listed as long as a task names them.

use serde_json::{Map, Value, json};
use zddcluster_engine::State;
use zddcluster_engine::state::{Agent, Task};
use zddcluster_model::TaskState;
use zddcluster_model::app::Docker;

use super::MESOS_VERSION;
use super::record::{
    agent_pid, container_status, discovery, ranges, ranges_text, scalars, statuses,
};
use crate::shared::{Identity, Shared};

/// `/master/state`.
pub(super) fn state(shared: &Shared) -> Value {
    let state = shared.state();
    let mut document = head(&shared.identity, &state);
    document.insert("slaves".to_owned(), agents(&state));
    let framework = framework(&shared.identity, &state, true);
    document.insert("frameworks".to_owned(), json!([framework]));
    document.insert("completed_frameworks".to_owned(), json!([]));
    document.insert("orphan_tasks".to_owned(), json!([]));
    document.insert("unregistered_frameworks".to_owned(), json!([]));
    document.into()
}

/// `/master/state-summary`: the same without tasks.
pub(super) fn summary(shared: &Shared) -> Value {
    let state = shared.state();
    json!({
        "hostname": shared.identity.mesos.ip().to_string(),
        "cluster": shared.identity.cluster,
        "slaves": agents(&state),
        "frameworks": [framework(&shared.identity, &state, false)],
    })
}

/// `/master/slaves`.
pub(super) fn slaves(shared: &Shared) -> Value {
    json!({ "slaves": agents(&shared.state()) })
}

/// `/master/frameworks`.
pub(super) fn frameworks(shared: &Shared) -> Value {
    let framework = framework(&shared.identity, &shared.state(), true);
    json!({ "frameworks": [framework], "completed_frameworks": [] })
}

/// `/master/tasks`: running and ended ones.
pub(super) fn tasks(shared: &Shared) -> Value {
    let state = shared.state();
    let framework_id = shared.identity.framework_id();
    let tasks: Vec<Value> = state
        .tasks
        .values()
        .chain(state.completed.iter())
        .map(|task| task_json(&framework_id, task))
        .collect();
    json!({ "tasks": tasks })
}

/// `master@IP:PORT`.
fn pid(identity: &Identity) -> String {
    format!("master@{}", identity.mesos)
}

fn head(identity: &Identity, state: &State) -> Map<String, Value> {
    let n_active = state
        .agents
        .values()
        .filter(|agent| agent.is_connected)
        .count();
    let n_inactive = state.agents.values().count() - n_active;
    let ip = identity.mesos.ip().to_string();
    let document = json!({
        "version": MESOS_VERSION,
        "id": identity.uuid,
        "pid": pid(identity),
        "hostname": ip,
        "leader": pid(identity),
        "activated_slaves": n_active,
        "deactivated_slaves": n_inactive,
        "unreachable_slaves": 0,
        "cluster": identity.cluster,
        "flags": { "port": identity.mesos.port().to_string(), "ip": ip },
    });
    match document {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn agents(state: &State) -> Value {
    let agents: Vec<Value> = state
        .agents
        .values()
        .map(|agent| agent_json(state, agent))
        .collect();
    agents.into()
}

fn resources(cpus: f64, mem: f64, disk: f64, ports: &[(u16, u16)]) -> Value {
    let mut resources = json!({ "cpus": cpus, "mem": mem, "disk": disk, "gpus": 0.0 });
    if !ports.is_empty() {
        resources["ports"] = ranges_text(ports).into();
    }
    resources
}

fn agent_json(state: &State, agent: &Agent) -> Value {
    let (mut cpus, mut mem, mut disk, mut ports) = (0.0, 0.0, 0.0, Vec::new());
    for task in state.tasks.values() {
        if task.agent_id == agent.id && !task.state.is_terminal() {
            let scalars = scalars(task);
            cpus += scalars.0;
            mem += scalars.1;
            disk += scalars.2;
            ports.extend_from_slice(&task.ports);
        }
    }
    let all = &agent.resources;
    let offered = resources(all.cpus, all.mem, all.disk, &all.ports);
    let reserved = match agent.role.as_str() {
        "*" => json!({}),
        role => json!({ role: offered }),
    };
    json!({
        "id": agent.id,
        "hostname": agent.hostname,
        "pid": agent_pid(agent),
        "port": agent.port,
        "active": agent.is_connected,
        "registered_time": agent.registered_at.as_secs_f64(),
        "attributes": agent.attributes,
        "resources": offered,
        "used_resources": resources(round(cpus), round(mem), round(disk), &ranges(&ports)),
        "reserved_resources": reserved,
        "version": MESOS_VERSION,
    })
}

/// Sums without the noise of binary fractions, as Mesos' fixed-point scalars have it.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn framework(identity: &Identity, state: &State, with_tasks: bool) -> Value {
    let framework_id = identity.framework_id();
    let ip = identity.front.ip().to_string();
    let live: Vec<&Task> = state
        .tasks
        .values()
        .map(|task| &**task)
        .filter(|task| !task.state.is_terminal())
        .collect();
    let sum =
        |pick: fn((f64, f64, f64)) -> f64| round(live.iter().map(|task| pick(scalars(task))).sum());
    let used = resources(sum(|s| s.0), sum(|s| s.1), sum(|s| s.2), &[]);
    let mut framework = json!({
        "id": framework_id,
        "name": "marathon",
        "pid": format!("scheduler-{}@{ip}:15101", identity.uuid),
        "hostname": ip,
        "user": "root",
        "role": "slave_public",
        "active": true,
        "checkpoint": true,
        "failover_timeout": 604_800.0,
        "webui_url": format!("http://{}", identity.front),
        "capabilities": [{ "type": "TASK_KILLING_STATE" }],
        "resources": used,
        "used_resources": used,
        "offered_resources": resources(0.0, 0.0, 0.0, &[]),
    });
    if with_tasks {
        let tasks: Vec<Value> = live
            .iter()
            .map(|task| task_json(&framework_id, task))
            .collect();
        let completed: Vec<Value> = state
            .completed
            .iter()
            .map(|task| task_json(&framework_id, task))
            .collect();
        framework["tasks"] = tasks.into();
        framework["completed_tasks"] = completed.into();
        framework["executors"] = json!([]);
        framework["offers"] = json!([]);
    } else {
        let count = |wanted: TaskState| live.iter().filter(|task| task.state == wanted).count();
        for wanted in [
            TaskState::Staging,
            TaskState::Starting,
            TaskState::Running,
            TaskState::Killing,
        ] {
            framework[wanted.as_str()] = count(wanted).into();
        }
        let agents: std::collections::BTreeSet<_> =
            live.iter().map(|task| &task.agent_id).collect();
        framework["slave_ids"] = json!(agents);
    }
    framework
}

fn task_json(framework_id: &str, task: &Task) -> Value {
    let (cpus, mem, disk) = scalars(task);
    let container_status = container_status(task);
    let statuses: Vec<Value> = statuses(task)
        .into_iter()
        .map(|(state, at)| {
            json!({
                "state": state,
                "timestamp": at.as_secs_f64(),
                "container_status": container_status,
            })
        })
        .collect();
    let mut json = json!({
        "id": task.id,
        "name": task.app_id.mesos_name(),
        "framework_id": framework_id,
        "executor_id": "",
        "slave_id": task.agent_id,
        "state": task.state,
        "resources": resources(cpus, mem, disk, &ranges(&task.ports)),
        "statuses": statuses,
        "discovery": discovery(task),
    });
    if let Some(app) = &task.app {
        let labels: Vec<Value> = app
            .labels
            .iter()
            .map(|(key, value)| json!({ "key": key, "value": value }))
            .collect();
        json["labels"] = labels.into();
        if let Some(Docker::Engine(engine)) = app
            .container
            .as_ref()
            .and_then(|container| container.docker.as_ref())
        {
            json["container"] = json!({
                "type": "DOCKER",
                "docker": {
                    "image": engine.image,
                    "network": engine.network,
                    "privileged": engine.privileged,
                    "force_pull_image": engine.force_pull_image,
                },
            });
        }
    }
    json
}
