//! The v1 operator API: `SUBSCRIBE`, a snapshot followed by what changes, in RecordIO.
//!
//! The stream attaches to the bus first and looks at the snapshot then, so an event may be in both but is never missed;
//! readers apply events by task id. Agents are compared with each new snapshot, and when one has been away for too long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use zddcluster_engine::State;
use zddcluster_model::event::{Event, EventKind};
use zddcluster_model::{AgentId, TaskState};
use zddcluster_runtime::OnFailure;

use super::record::{live_by_agent, network_infos};
use super::{present, v1};
use crate::agents::body_of;
use crate::shared::Shared;

/// What Mesos announces and keeps.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Records that may wait in a stream's own buffer; the bus has a larger queue behind it.
const BUFFER: usize = 64;

/// Answers `SUBSCRIBE` with an endless body.
pub(super) fn subscribe(shared: &Arc<Shared>) -> Response {
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
    let mut agents = known_agents(shared, &state);
    let subscribed = json!({
        "type": "SUBSCRIBED",
        "subscribed": {
            "get_state": v1::get_state(shared, &state),
            "heartbeat_interval_seconds": HEARTBEAT.as_secs_f64(),
        },
    });
    drop(state);
    send(records, &subscribed).await?;
    let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let token = shared.token();
    loop {
        let leaves = present::until_next_leaves(shared, &shared.state());
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
                for record in agent_records(shared, &mut agents) {
                    send(records, &record).await?;
                }
                if let Some(record) = task_record(shared, &event) {
                    send(records, &record).await?;
                }
            }
            // Cancel-safe: the next look sees the latest state. `Err` cannot come while `shared` lives.
            _ = published.changed() => {
                for record in agent_records(shared, &mut agents) {
                    send(records, &record).await?;
                }
            }
            // Cancel-safe: how long it is is asked anew on every turn.
            () = tokio::time::sleep(leaves.unwrap_or_default()), if leaves.is_some() => {
                for record in agent_records(shared, &mut agents) {
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
fn known_agents(shared: &Shared, state: &State) -> BTreeMap<AgentId, (u64, bool)> {
    present::agents(shared, state)
        .map(|agent| (agent.id.clone(), (agent.epoch, agent.is_connected)))
        .collect()
}

fn agent_records(shared: &Shared, known: &mut BTreeMap<AgentId, (u64, bool)>) -> Vec<Value> {
    let state: &State = &shared.state();
    let now = known_agents(shared, state);
    let mut records = Vec::new();
    for agent_id in known.keys().filter(|agent_id| !now.contains_key(*agent_id)) {
        let agent_removed = json!({ "agent_id": { "value": agent_id } });
        records.push(json!({ "type": "AGENT_REMOVED", "agent_removed": agent_removed }));
    }
    for (agent_id, standing) in &now {
        if known.get(agent_id) != Some(standing)
            && let Some(agent) = state.agents.get(agent_id)
        {
            let by_agent = live_by_agent(state);
            let tasks = by_agent.get(agent_id).map_or(&[][..], Vec::as_slice);
            let agent_added = json!({ "agent": v1::agent(agent, tasks) });
            records.push(json!({ "type": "AGENT_ADDED", "agent_added": agent_added }));
        }
    }
    *known = now;
    records
}

// === Tasks ===

/// The record for a status event; other events say nothing to Mesos.
fn task_record(shared: &Shared, event: &Event) -> Option<Value> {
    let EventKind::StatusUpdate {
        slave_id,
        task_id,
        task_status,
        message,
        ip_addresses,
        ..
    } = &event.kind
    else {
        return None;
    };
    if *task_status == TaskState::Staging {
        // Gone already: its end follows, and nobody needs to know that it was there.
        let task = shared.state().tasks.get(task_id).cloned()?;
        let task = v1::task(&shared.identity.framework_id(), &task);
        return Some(json!({ "type": "TASK_ADDED", "task_added": { "task": task } }));
    }
    let mut status = json!({
        "task_id": { "value": task_id },
        "state": task_status,
        "timestamp": event.timestamp.as_secs_f64(),
        "agent_id": { "value": slave_id },
        "source": "SOURCE_EXECUTOR",
        "message": message,
        "container_status": { "network_infos": network_infos(ip_addresses.iter().flatten()) },
    });
    // Marathon's event does not tell it. Readers see a state before its events, with the tasks that ended last.
    let state = shared.state();
    let mut ended = state.completed.iter().rev();
    if task_status.is_terminal()
        && let Some(task) = ended.find(|task| task.id == *task_id)
        && let Some(reason) = task.reason
    {
        status["reason"] = json!(reason);
    }
    Some(json!({
        "type": "TASK_UPDATED",
        "task_updated": {
            "framework_id": { "value": shared.identity.framework_id() },
            "status": status,
            "state": task_status,
        },
    }))
}
