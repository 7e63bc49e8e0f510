//! `/v2/deployments`: running plans, and stopping one (contract marathon §2.6, §3.5).

use http::{Method, StatusCode};
use serde_json::Value;
use zddcluster_engine::Command;
use zddcluster_model::DeploymentId;

use super::{Outcome, deployed};
use crate::error::ApiError;
use crate::http::{Call, empty, ok};
use crate::render::deployment_json;
use crate::shared::Shared;

pub(super) async fn route(shared: &Shared, call: &Call, rest: &[&str]) -> Outcome {
    match (&call.method, rest) {
        (&Method::GET | &Method::HEAD, []) => {
            let state = shared.state();
            let mut deployments: Vec<_> = state.deployments.values().collect();
            deployments.sort_by_key(|deployment| deployment.plan.version);
            let items: Vec<Value> = deployments
                .iter()
                .map(|deployment| deployment_json(deployment))
                .collect();
            Ok(ok(&items))
        }
        (&Method::DELETE, [id]) => cancel(shared, call, DeploymentId::new(id)).await,
        (_, [] | [_]) => Err(ApiError::wrong_method()),
        _ => Err(ApiError::unknown_route(&call.path)),
    }
}

/// With `force` the plan just stops; without, a new one leads back to the state before it (contract marathon §3.8).
async fn cancel(shared: &Shared, call: &Call, deployment_id: DeploymentId) -> Outcome {
    if call.query.flag("force").unwrap_or(false) {
        shared
            .submit(Command::CancelDeployment { deployment_id })
            .await?;
        return Ok(empty(StatusCode::ACCEPTED));
    }
    let answer = shared
        .submit(Command::RollBackDeployment { deployment_id })
        .await?;
    deployed(answer, StatusCode::OK, None)
}
