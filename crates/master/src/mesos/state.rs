//! The v0 documents: `/master/state`, `state-summary`, `slaves`, `frameworks`, `tasks`, `roles`.
//!
//! Doubles are written `32.0` (contract dcos-cli, T5). `completed_tasks` and the other lists are there even when empty (T13);
//! which agents are listed, [`present`] says. Source: contract dcos-cli §9, Mesos 1.0 `master/http.cpp`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use zddcluster_engine::State;
use zddcluster_engine::state::{Agent, Task};
use zddcluster_model::TaskState;
use zddcluster_model::app::Docker;

use super::record::{
    Amounts, agent_pid, container_status, counts, discovery, live, live_by_agent, ranges_text,
    statuses, with_reason,
};
use super::{FRAMEWORK_ROLE, MESOS_VERSION, present};
use crate::http::Query;
use crate::shared::{Identity, Shared};

/// Tasks of an answer of `/tasks`, if nothing else is asked for.
const TASK_LIMIT: usize = 100;

/// States a task ends in, as summaries count them.
const ENDS: [TaskState; 5] = [
    TaskState::Finished,
    TaskState::Killed,
    TaskState::Failed,
    TaskState::Lost,
    TaskState::Error,
];

/// `/master/state`.
pub(super) fn state(shared: &Shared) -> Value {
    let state = shared.state();
    let mut document = head(shared, &state);
    document.insert("slaves".to_owned(), agents(shared, &state, Form::Full));
    let framework = framework(shared, &state, Form::Full);
    document.insert("frameworks".to_owned(), json!([framework]));
    document.insert("completed_frameworks".to_owned(), json!([]));
    document.insert("orphan_tasks".to_owned(), json!([]));
    document.insert("unregistered_frameworks".to_owned(), json!([]));
    document.into()
}

/// `/master/state-summary`: counts instead of tasks.
pub(super) fn summary(shared: &Shared) -> Value {
    let state = shared.state();
    json!({
        "hostname": shared.identity.mesos.ip().to_string(),
        "cluster": shared.identity.cluster,
        "slaves": agents(shared, &state, Form::Summary),
        "frameworks": [framework(shared, &state, Form::Summary)],
    })
}

/// `/master/slaves`.
pub(super) fn slaves(shared: &Shared) -> Value {
    json!({ "slaves": agents(shared, &shared.state(), Form::Full) })
}

/// `/master/frameworks`.
pub(super) fn frameworks(shared: &Shared) -> Value {
    let framework = framework(shared, &shared.state(), Form::Full);
    json!({
        "frameworks": [framework],
        "completed_frameworks": [],
        "unregistered_frameworks": [],
    })
}

/// `/master/tasks`: running and ended ones, by the time of their first status; a `limit`, `offset` or `order` that makes no sense does
/// not count, as in Mesos.
pub(super) fn tasks(shared: &Shared, query: &Query) -> Value {
    let state = shared.state();
    let framework_id = shared.identity.framework_id();
    let number = |name: &str| {
        query
            .first(name)
            .and_then(|text| text.parse::<usize>().ok())
    };
    let limit = number("limit").unwrap_or(TASK_LIMIT);
    let offset = number("offset").unwrap_or(0);
    let mut tasks: Vec<&Task> = live(&state)
        .chain(state.completed.iter().map(|task| &**task))
        .collect();
    tasks.sort_by_cached_key(|task| statuses(task).first().map(|(_, at)| *at));
    if query.first("order") != Some("asc") {
        tasks.reverse();
    }
    let shown: Vec<Value> = tasks
        .into_iter()
        .skip(offset)
        .take(limit)
        .map(|task| task_json(&framework_id, task))
        .collect();
    json!({ "tasks": shown })
}

/// `/master/roles`: what the framework holds under its role.
pub(super) fn roles(shared: &Shared) -> Value {
    let used = Amounts::of_tasks(live(&shared.state())).without_ports();
    let role = |name: &str, frameworks: Vec<String>, amounts: &Amounts| {
        json!({
            "name": name,
            "weight": 1.0,
            "frameworks": frameworks,
            "resources": resources(amounts),
        })
    };
    json!({
        "roles": [
            role("*", Vec::new(), &Amounts::default()),
            role(FRAMEWORK_ROLE, vec![shared.identity.framework_id()], &used),
        ],
    })
}

/// `/master/flags`: those of Mesos that mean something here.
pub(super) fn flags(shared: &Shared) -> Map<String, Value> {
    let identity = &shared.identity;
    let flags = [
        ("advertise_ip", identity.mesos.ip().to_string()),
        ("advertise_port", identity.mesos.port().to_string()),
        ("cluster", identity.cluster.clone()),
        ("hostname", identity.mesos.ip().to_string()),
        ("ip", identity.mesos.ip().to_string()),
        (
            "max_completed_tasks_per_framework",
            zddcluster_engine::state::COMPLETED_KEPT.to_string(),
        ),
        ("port", identity.mesos.port().to_string()),
    ];
    let flags = flags.map(|(name, value)| (name.to_owned(), value.into()));
    flags.into_iter().collect()
}

/// `master@IP:PORT`.
pub(super) fn pid(identity: &Identity) -> String {
    format!("master@{}", identity.mesos)
}

/// How much is told of an agent or framework.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Full,
    Summary,
}

fn head(shared: &Shared, state: &State) -> Map<String, Value> {
    let identity = &shared.identity;
    let n_active = state
        .agents
        .values()
        .filter(|agent| agent.is_connected)
        .count();
    let n_listed = present::agents(shared, state).count();
    let started_at = shared.clock.started_at().as_secs_f64();
    let document = json!({
        "version": MESOS_VERSION,
        "id": identity.uuid,
        "pid": pid(identity),
        "hostname": identity.mesos.ip().to_string(),
        "leader": pid(identity),
        "start_time": started_at,
        "elected_time": started_at,
        "activated_slaves": n_active,
        "deactivated_slaves": n_listed - n_active,
        "unreachable_slaves": state.agents.size() - n_listed,
        "cluster": identity.cluster,
        "flags": flags(shared),
    });
    match document {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn agents(shared: &Shared, state: &State, form: Form) -> Value {
    let by_agent = live_by_agent(state);
    let agents: Vec<Value> = present::agents(shared, state)
        .map(|agent| {
            let tasks = by_agent.get(&agent.id).map_or(&[][..], Vec::as_slice);
            let mut json = agent_json(agent, tasks);
            if form == Form::Summary {
                for (wanted, n) in counts(tasks.iter().copied()) {
                    json[wanted.as_str()] = n.into();
                }
                let ended = state.completed.iter().filter(|it| it.agent_id == agent.id);
                count_ends(&mut json, ended.map(|task| &**task));
                let has_tasks = !tasks.is_empty();
                let frameworks = has_tasks.then(|| state.framework_id());
                json["framework_ids"] = frameworks.into_iter().collect::<Vec<_>>().into();
            }
            json
        })
        .collect();
    agents.into()
}

/// Adds how many of these tasks came to each end.
fn count_ends<'a>(json: &mut Value, ended: impl Iterator<Item = &'a Task> + Clone) {
    for wanted in ENDS {
        let n = ended.clone().filter(|task| task.state == wanted).count();
        json[wanted.as_str()] = n.into();
    }
}

fn resources(amounts: &Amounts) -> Value {
    let Amounts {
        cpus,
        mem,
        disk,
        gpus,
        ports,
    } = amounts;
    let mut resources = json!({ "cpus": cpus, "mem": mem, "disk": disk, "gpus": gpus });
    if !ports.is_empty() {
        resources["ports"] = ranges_text(ports).into();
    }
    resources
}

fn agent_json(agent: &Agent, tasks: &[&Task]) -> Value {
    let offered = resources(&Amounts::of_agent(agent));
    let nothing = resources(&Amounts::default());
    let (reserved, unreserved) = match agent.role.as_str() {
        "*" => (json!({}), offered.clone()),
        role => (json!({ role: offered }), nothing.clone()),
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
        "used_resources": resources(&Amounts::of_tasks(tasks.iter().copied())),
        "offered_resources": nothing,
        "reserved_resources": reserved,
        "unreserved_resources": unreserved,
        "version": MESOS_VERSION,
    })
}

fn framework(shared: &Shared, state: &State, form: Form) -> Value {
    let identity = &shared.identity;
    let framework_id = identity.framework_id();
    let ip = identity.front.ip().to_string();
    let live: Vec<&Task> = live(state).collect();
    let used = resources(&Amounts::of_tasks(live.iter().copied()).without_ports());
    let mut framework = json!({
        "id": framework_id,
        "name": "marathon",
        "pid": format!("scheduler-{}@{ip}:15101", identity.uuid),
        "hostname": ip,
        "user": "root",
        "role": FRAMEWORK_ROLE,
        "active": true,
        "connected": true,
        "checkpoint": true,
        "failover_timeout": 604_800.0,
        "registered_time": shared.clock.started_at().as_secs_f64(),
        "unregistered_time": 0.0,
        "webui_url": format!("http://{}", identity.front),
        "capabilities": ["TASK_KILLING_STATE"],
        "resources": used,
        "used_resources": used,
        "offered_resources": resources(&Amounts::default()),
    });
    match form {
        Form::Full => {
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
        }
        Form::Summary => {
            for (wanted, n) in counts(live.iter().copied()) {
                framework[wanted.as_str()] = n.into();
            }
            count_ends(&mut framework, state.completed.iter().map(|task| &**task));
            let agents: BTreeSet<_> = live.iter().map(|task| &task.agent_id).collect();
            framework["slave_ids"] = json!(agents);
        }
    }
    framework
}

fn task_json(framework_id: &str, task: &Task) -> Value {
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
        "resources": resources(&Amounts::of_task(task)),
        "statuses": with_reason(statuses, task),
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
