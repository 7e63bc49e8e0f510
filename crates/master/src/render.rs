//! How the API shows apps, tasks, deployments and the queue. Pure: a snapshot in, JSON out.
//!
//! Source: contract marathon §1.11, §2.2, §3.5, §4.3, §6.4. Key orders are the contract's; no key is ever added (trap 2).

mod app;
mod queue;
mod stats;
mod task;

pub(crate) use app::{Parts, app_json, created_app_json};
pub(crate) use queue::{queue_json, waiting_json};
pub(crate) use stats::Counts;
pub(crate) use task::{TaskView, task_json};

use serde_json::{Value, json};
use zddcluster_engine::state::Deployment;
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
