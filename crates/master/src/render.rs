//! How the API shows apps, tasks, deployments and the queue. Pure: a snapshot in, JSON out.
//!
//! Source: contract marathon §1.11, §2.2, §3.5, §4.3, §6.4. Key orders are the contract's; no key is ever added (trap 2).

mod app;
mod stats;
mod task;

pub(crate) use app::{Parts, TasksByApp, app_json, created_app_json};
pub(crate) use task::{TaskView, task_json};

use serde_json::{Value, json};
use zddcluster_engine::State;
use zddcluster_engine::state::{Deployment, QueueEntry};
use zddcluster_model::{DeploymentId, Timestamp};

/// The answer to a write that made a deployment: `{"version", "deploymentId"}`.
pub(crate) fn deployment_answer(version: Timestamp, deployment_id: &DeploymentId) -> Value {
    json!({ "version": version, "deploymentId": deployment_id })
}

/// One item of `GET /v2/deployments`.
pub(crate) fn deployment_json(deployment: &Deployment) -> Value {
    let Deployment {
        plan,
        step_idx,
        actions,
        ..
    } = deployment;
    let current_actions: Vec<Value> = actions
        .iter()
        .map(|running| {
            json!({
                "action": running.action.action,
                "app": running.action.app,
                "readinessCheckResults": running.readiness,
            })
        })
        .collect();
    json!({
        "id": plan.id,
        "version": plan.version,
        "affectedApps": plan.affected_apps(),
        "steps": plan.steps,
        "currentActions": current_actions,
        "currentStep": step_idx + 1,
        "totalSteps": plan.steps.len(),
    })
}

/// One item of `GET /v2/queue`.
pub(crate) fn queue_json(entry: &QueueEntry, now: Timestamp, with_offers: bool) -> Value {
    let left_millis = entry
        .delayed_until
        .map_or(0, |until| until.millis_since(now).max(0));
    let mut item = json!({
        "app": &*entry.app,
        "count": entry.count,
        "delay": { "timeLeftSeconds": left_millis / 1000, "overdue": left_millis == 0 },
    });
    if with_offers {
        item["lastUnusedOffers"] = json!([]);
    }
    item
}

/// Why the instances of one app wait, in words: `GET /zdd/v1/queue`.
pub(crate) fn waiting_json(state: &State, entry: &QueueEntry, now: Timestamp) -> Value {
    let refusals: Vec<Value> = entry
        .refusals
        .iter()
        .map(|(agent_id, reason)| {
            let hostname = state
                .agents
                .get(agent_id)
                .map(|agent| agent.hostname.as_str());
            json!({ "agentId": agent_id, "hostname": hostname, "reason": reason })
        })
        .collect();
    let left_millis = entry
        .delayed_until
        .map_or(0, |until| until.millis_since(now).max(0));
    json!({
        "appId": entry.app.id,
        "count": entry.count,
        "waitingSince": entry.since,
        "delayedForMillis": left_millis,
        "refusals": refusals,
    })
}
