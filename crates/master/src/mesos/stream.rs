//! The v1 operator API: `SUBSCRIBE`, a snapshot followed by what changes, in RecordIO.
//!
//! The stream attaches to the bus first and looks at the snapshot then, so an event may be in both but is never missed;
//! readers apply events by task id. Agents are compared with each new snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use zddcluster_engine::State;
use zddcluster_engine::state::{Agent, Task};
use zddcluster_model::event::{Event, EventKind};
use zddcluster_model::{AgentId, TaskState};
use zddcluster_runtime::OnFailure;

use super::record::{
    agent_pid, container_status, discovery, network_infos, ranges, scalars, statuses,
};
use crate::agents::body_of;
use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::shared::{Identity, Shared};

/// What Mesos announces and keeps.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Records that may wait in a stream's own buffer; the bus has a larger queue behind it.
const BUFFER: usize = 64;

/// `POST /api/v1`.
pub(super) fn answer(shared: &Arc<Shared>, call: &Call) -> Outcome {
    if call.method != Method::POST {
        return Err(ApiError::wrong_method());
    }
    let body: Value = serde_json::from_slice(&call.body)
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    match body.get("type").and_then(Value::as_str) {
        Some("SUBSCRIBE") => Ok(subscribe(shared)),
        Some("GET_STATE") => {
            let get_state = snapshot(&shared.identity, &shared.state());
            Ok(ok(&json!({ "type": "GET_STATE", "get_state": get_state })))
        }
        Some("GET_VERSION") => {
            let version = json!({ "version_info": { "version": super::MESOS_VERSION } });
            Ok(ok(
                &json!({ "type": "GET_VERSION", "get_version": version }),
            ))
        }
        Some("GET_HEALTH") => Ok(ok(
            &json!({ "type": "GET_HEALTH", "get_health": { "healthy": true } }),
        )),
        Some(other) => {
            let message = format!("the call {other} is not offered");
            Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, message))
        }
        None => {
            let message = "Failed to validate master::Call: Expecting 'type' to be present";
            Err(ApiError::new(StatusCode::BAD_REQUEST, message))
        }
    }
}

fn subscribe(shared: &Arc<Shared>) -> axum::response::Response {
    let (records, receiver) = mpsc::channel(BUFFER);
    let feed = Arc::clone(shared);
    shared
        .tasks
        .spawn("mesos-subscriber", OnFailure::Log, async move {
            // An error means that the reader is gone, which is how these streams end.
            let _ = feed_subscriber(&feed, &records).await;
            Ok(())
        });
    body_of(receiver)
}

/// The reader is gone.
struct Gone;

async fn send(records: &mpsc::Sender<Bytes>, event: &Value) -> Result<(), Gone> {
    let json = event.to_string();
    records
        .send(format!("{}\n{json}", json.len()).into())
        .await
        .map_err(|_| Gone)
}

async fn feed_subscriber(shared: &Arc<Shared>, records: &mpsc::Sender<Bytes>) -> Result<(), Gone> {
    let mut events = shared.bus.observe();
    let mut published = shared.published();
    published.mark_unchanged();
    let state = shared.state();
    let mut agents = known_agents(&state);
    let subscribed = json!({
        "type": "SUBSCRIBED",
        "subscribed": {
            "get_state": snapshot(&shared.identity, &state),
            "heartbeat_interval_seconds": HEARTBEAT.as_secs_f64(),
        },
    });
    drop(state);
    send(records, &subscribed).await?;
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let token = shared.token();
    loop {
        tokio::select! {
            biased;
            // Cancel-safe: only wait for states.
            () = token.cancelled() => return Ok(()),
            () = records.closed() => return Err(Gone),
            // Cancel-safe: `recv` keeps the event when dropped. `None`: too slow, cut off by the bus.
            event = events.recv() => {
                let Some(event) = event else {
                    return Ok(());
                };
                // An agent is told before the first task on it.
                for record in agent_records(&shared.state(), &mut agents) {
                    send(records, &record).await?;
                }
                if let Some(record) = task_record(shared, &event) {
                    send(records, &record).await?;
                }
            }
            // Cancel-safe: the next look sees the latest state. `Err` cannot come while `shared` lives.
            _ = published.changed() => {
                for record in agent_records(&shared.state(), &mut agents) {
                    send(records, &record).await?;
                }
            }
            // Cancel-safe: a tick is kept.
            _ = heartbeat.tick() => send(records, &json!({ "type": "HEARTBEAT" })).await?,
        }
    }
}

// === Agents ===

/// What of an agent a subscriber is told of: the present registration, and whether it is here.
fn known_agents(state: &State) -> BTreeMap<AgentId, (u64, bool)> {
    state
        .agents
        .values()
        .map(|agent| (agent.id.clone(), (agent.epoch, agent.is_connected)))
        .collect()
}

fn agent_records(state: &State, known: &mut BTreeMap<AgentId, (u64, bool)>) -> Vec<Value> {
    let now = known_agents(state);
    let mut records = Vec::new();
    for agent_id in known.keys().filter(|agent_id| !now.contains_key(*agent_id)) {
        let agent_removed = json!({ "agent_id": { "value": agent_id } });
        records.push(json!({ "type": "AGENT_REMOVED", "agent_removed": agent_removed }));
    }
    for (agent_id, standing) in &now {
        if known.get(agent_id) != Some(standing)
            && let Some(agent) = state.agents.get(agent_id)
        {
            let agent_added = json!({ "agent": agent_json(agent) });
            records.push(json!({ "type": "AGENT_ADDED", "agent_added": agent_added }));
        }
    }
    *known = now;
    records
}

fn agent_json(agent: &Agent) -> Value {
    let attributes: Vec<Value> = agent
        .attributes
        .iter()
        .map(|(name, value)| json!({ "name": name, "type": "TEXT", "text": { "value": value } }))
        .collect();
    json!({
        "agent_info": {
            "id": { "value": agent.id },
            "hostname": agent.hostname,
            "port": agent.port,
            "attributes": attributes,
        },
        "active": agent.is_connected,
        "pid": agent_pid(agent),
        "version": super::MESOS_VERSION,
    })
}

// === Tasks ===

/// The record for a status event; other events say nothing to Mesos.
fn task_record(shared: &Shared, event: &Event) -> Option<Value> {
    let EventKind::StatusUpdate {
        slave_id,
        task_id,
        task_status,
        ip_addresses,
        ..
    } = &event.kind
    else {
        return None;
    };
    if *task_status == TaskState::Staging {
        // Gone already: its end follows, and nobody needs to know that it was there.
        let task = shared.state().tasks.get(task_id).cloned()?;
        let task = task_json(&shared.identity.framework_id(), &task);
        return Some(json!({ "type": "TASK_ADDED", "task_added": { "task": task } }));
    }
    let status = json!({
        "task_id": { "value": task_id },
        "state": task_status,
        "timestamp": event.timestamp.as_secs_f64(),
        "agent_id": { "value": slave_id },
        "container_status": { "network_infos": network_infos(ip_addresses.iter().flatten()) },
    });
    Some(json!({
        "type": "TASK_UPDATED",
        "task_updated": {
            "framework_id": { "value": shared.identity.framework_id() },
            "status": status,
            "state": task_status,
        },
    }))
}

fn snapshot(identity: &Identity, state: &State) -> Value {
    let framework_id = identity.framework_id();
    let tasks: Vec<Value> = state
        .tasks
        .values()
        .filter(|task| !task.state.is_terminal())
        .map(|task| task_json(&framework_id, task))
        .collect();
    let completed: Vec<Value> = state
        .completed
        .iter()
        .map(|task| task_json(&framework_id, task))
        .collect();
    let agents: Vec<Value> = state
        .agents
        .values()
        .map(|agent| agent_json(agent))
        .collect();
    let framework = json!({
        "framework_info": {
            "id": { "value": framework_id },
            "name": "marathon",
            "user": "root",
            "hostname": identity.front.ip().to_string(),
            "webui_url": format!("http://{}", identity.front),
        },
        "active": true,
        "connected": true,
    });
    json!({
        "get_tasks": { "tasks": tasks, "completed_tasks": completed },
        "get_agents": { "agents": agents },
        "get_frameworks": { "frameworks": [framework] },
    })
}

fn task_json(framework_id: &str, task: &Task) -> Value {
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
    let scalar = |name: &str, value: f64| json!({ "name": name, "type": "SCALAR", "scalar": { "value": value }, "role": "*" });
    let (cpus, mem, disk) = scalars(task);
    let mut resources = vec![
        scalar("cpus", cpus),
        scalar("mem", mem),
        scalar("disk", disk),
    ];
    if !task.ports.is_empty() {
        let range: Vec<Value> = ranges(&task.ports)
            .into_iter()
            .map(|(begin, end)| json!({ "begin": begin, "end": end }))
            .collect();
        resources.push(json!({
            "name": "ports", "type": "RANGES", "ranges": { "range": range }, "role": "*",
        }));
    }
    json!({
        "task_id": { "value": task.id },
        "name": task.app_id.mesos_name(),
        "framework_id": { "value": framework_id },
        "agent_id": { "value": task.agent_id },
        "state": task.state,
        "statuses": statuses,
        "resources": resources,
        "discovery": discovery(task),
    })
}
