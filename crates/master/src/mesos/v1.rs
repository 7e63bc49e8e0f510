//! Agents, tasks and the framework as the v1 operator API writes them: protobuf in JSON, `{"value": …}` around identifiers.
//!
//! Source: Mesos 1.0 `v1/mesos.proto` and `v1/master/master.proto`.

use serde_json::{Value, json};
use zddcluster_engine::State;
use zddcluster_engine::state::{Agent, Task};
use zddcluster_model::Timestamp;

use super::record::{
    Amounts, agent_pid, container_status, discovery, live, live_by_agent, statuses, with_reason,
};
use super::{FRAMEWORK_ROLE, MESOS_VERSION, present};
use crate::shared::{Identity, Shared};

/// `GetState`, also the snapshot of `SUBSCRIBED`.
pub(super) fn get_state(shared: &Shared, state: &State) -> Value {
    let identity = &shared.identity;
    json!({
        "get_tasks": get_tasks(identity, state),
        "get_executors": { "executors": [] },
        "get_frameworks": get_frameworks(identity, state),
        "get_agents": get_agents(shared, state),
    })
}

/// `GetTasks`: a launch is decided and handed to an agent in one step, so that none is ever pending.
pub(super) fn get_tasks(identity: &Identity, state: &State) -> Value {
    let framework_id = identity.framework_id();
    let tasks: Vec<Value> = live(state).map(|it| task(&framework_id, it)).collect();
    let completed: Vec<Value> = state
        .completed
        .iter()
        .map(|it| task(&framework_id, it))
        .collect();
    json!({
        "pending_tasks": [],
        "tasks": tasks,
        "completed_tasks": completed,
        "orphan_tasks": [],
    })
}

/// `GetAgents`.
pub(super) fn get_agents(shared: &Shared, state: &State) -> Value {
    let by_agent = live_by_agent(state);
    let agents: Vec<Value> = present::agents(shared, state)
        .map(|it| agent(it, by_agent.get(&it.id).map_or(&[][..], Vec::as_slice)))
        .collect();
    json!({ "agents": agents })
}

/// `GetFrameworks`.
pub(super) fn get_frameworks(identity: &Identity, state: &State) -> Value {
    let used = Amounts::of_tasks(live(state)).without_ports();
    let framework = json!({
        "framework_info": {
            "id": { "value": identity.framework_id() },
            "name": "marathon",
            "user": "root",
            "role": FRAMEWORK_ROLE,
            "checkpoint": true,
            "failover_timeout": 604_800.0,
            "capabilities": [{ "type": "TASK_KILLING_STATE" }],
            "hostname": identity.front.ip().to_string(),
            "webui_url": format!("http://{}", identity.front),
        },
        "active": true,
        "connected": true,
        "allocated_resources": resources(&used, "*"),
        "offered_resources": [],
    });
    json!({ "frameworks": [framework], "completed_frameworks": [] })
}

/// One agent and what the tasks on it hold.
pub(super) fn agent(agent: &Agent, tasks: &[&Task]) -> Value {
    let attributes: Vec<Value> = agent
        .attributes
        .iter()
        .map(|(name, value)| json!({ "name": name, "type": "TEXT", "text": { "value": value } }))
        .collect();
    let total = resources(&Amounts::of_agent(agent), &agent.role);
    let used = Amounts::of_tasks(tasks.iter().copied());
    json!({
        "agent_info": {
            "id": { "value": agent.id },
            "hostname": agent.hostname,
            "port": agent.port,
            "attributes": attributes,
            "resources": total,
        },
        "active": agent.is_connected,
        "pid": agent_pid(agent),
        "version": MESOS_VERSION,
        "registered_time": time(agent.registered_at),
        "total_resources": total,
        "allocated_resources": resources(&used, &agent.role),
        "offered_resources": [],
    })
}

/// One task.
pub(super) fn task(framework_id: &str, task: &Task) -> Value {
    let container_status = container_status(task);
    let statuses: Vec<Value> = statuses(task)
        .into_iter()
        .map(|(state, at)| {
            json!({
                "task_id": { "value": task.id },
                "state": state,
                "timestamp": at.as_secs_f64(),
                "agent_id": { "value": task.agent_id },
                "container_status": container_status,
            })
        })
        .collect();
    json!({
        "task_id": { "value": task.id },
        "name": task.app_id.mesos_name(),
        "framework_id": { "value": framework_id },
        "agent_id": { "value": task.agent_id },
        "state": task.state,
        "statuses": with_reason(statuses, task),
        "resources": resources(&Amounts::of_task(task), "*"),
        "discovery": discovery(task),
    })
}

/// `repeated Resource`, all of one role.
pub(super) fn resources(amounts: &Amounts, role: &str) -> Value {
    let Amounts {
        cpus,
        mem,
        disk,
        gpus,
        ports,
    } = amounts;
    let scalar = |name: &str, value: f64| json!({ "name": name, "type": "SCALAR", "scalar": { "value": value }, "role": role });
    let mut resources = vec![
        scalar("cpus", *cpus),
        scalar("mem", *mem),
        scalar("disk", *disk),
    ];
    if *gpus > 0.0 {
        resources.push(scalar("gpus", *gpus));
    }
    if !ports.is_empty() {
        let range: Vec<Value> = ports
            .iter()
            .map(|(begin, end)| json!({ "begin": begin, "end": end }))
            .collect();
        resources.push(json!({
            "name": "ports", "type": "RANGES", "ranges": { "range": range }, "role": role,
        }));
    }
    resources.into()
}

/// `TimeInfo`.
fn time(at: Timestamp) -> Value {
    json!({ "nanoseconds": at.as_millis().saturating_mul(1_000_000) })
}
