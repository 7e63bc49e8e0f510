//! The front door: what answers under which path of the cluster's one origin, as DC/OS' admin router does.
//!
//! | path | answered by |
//! |---|---|
//! | `/v2/…`, `/ping`, `/metrics`, `/logging`, `/help`, also below `/service/marathon` and `/marathon` | [`crate::api`] |
//! | `/mesos/…` | [`crate::mesos`] |
//! | `/slave/{id}/…`, `/agent/{id}/…` | that agent |
//! | `/capabilities`, `/package/…` | [`crate::cosmos`] |
//! | `/mesos_dns/…` | the HTTP API of the DNS role |
//! | `/zdd/v1/…` | agents, edges, what is ours alone |
//! | `/system/v1/…` | `logs`: log files of tasks and parts |
//! | `/acs/…`, `/login`, `/pkgpanda/…`, `/exhibitor/` | `auth`: who has to log in, and how |
//! | `/dcos-metadata/…`, `/metadata` | this module |
//! | `/` | a small page |
//!
//! With a token set, agents and edges need it; on a listener that others than this machine reach, everybody does.
//!
//! Anything else is 404: a catch-all that answers 200 breaks the dcos command line (contract dcos-cli §3).

mod auth;
mod logs;
mod page;
mod proxy;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::response::{IntoResponse as _, Response};
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok};
use crate::render::waiting_json;
use crate::shared::Shared;
use crate::{agents, api, cosmos, edges, explain, mesos, plan};

pub(crate) use self::auth::is_open;

/// The release that clients of DC/OS are told.
const DCOS_VERSION: &str = "1.8.4";

/// Everything behind the front door.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(Extract(shared): Extract<Arc<Shared>>, request: Request<Body>) -> Response {
    let began = Instant::now();
    let response = if let Some(path) = api::artifacts::upload_path(&request) {
        let outcome = Box::pin(api::artifacts::upload(&shared, request, path)).await;
        api::with_headers(&shared, outcome.unwrap_or_else(ApiError::into_response))
    } else if cosmos::is_asked(&request) {
        cosmos::answer(&shared, request).await
    } else {
        match Call::read(request).await {
            Ok(call) => answer(&shared, call).await,
            Err(error) => api::with_headers(&shared, error.into_response()),
        }
    };
    let status = response.status().as_u16();
    shared.metrics.answered(status, began.elapsed());
    response
}

async fn answer(shared: &Arc<Shared>, call: Call) -> Response {
    let segments: Vec<String> = call.segments.iter().take(3).cloned().collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let outcome = match segments.as_slice() {
        [
            "v2" | "ping" | "metrics" | "logging" | "help" | "api-console" | "ui",
            ..,
        ] => return api::answer(shared, call).await,
        ["service", "marathon", ..] => return api::answer(shared, call.below(2)).await,
        ["marathon", ..] => return api::answer(shared, call.below(1)).await,
        ["mesos", ..] => mesos::answer(shared, &call.below(1)),
        ["slave" | "agent", id, ..] => proxy::to_agent(shared, &call, id).await,
        ["mesos_dns", ..] => proxy::to_dns(shared, &call).await,
        ["system", "v1", ..] => {
            let segments: Vec<&str> = call.segments.iter().skip(2).map(String::as_str).collect();
            logs::route(shared, &call, &segments).await
        }
        ["pkgpanda" | "acs" | "login" | "exhibitor", ..] => {
            let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
            auth::route(shared, &call, &segments)
        }
        ["zdd", "v1", ..] => ours(shared, &call).await,
        _ => fixed(shared, &call),
    };
    outcome.unwrap_or_else(ApiError::into_response)
}

/// `/zdd/v1/…`.
async fn ours(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let segments: Vec<&str> = call.segments.iter().skip(2).map(String::as_str).collect();
    match segments.as_slice() {
        // Only here, with the path taken apart, is it certain what is asked for.
        ["agents" | "edges", ..] if let Err(refusal) = shared.admit(&call.headers) => {
            tracing::warn!(path = %call.path, reason = %refusal, "an agent or edge is refused");
            Err(ApiError::unauthorized(refusal))
        }
        ["agents", rest @ ..] => agents::route(shared, call, rest).await,
        ["edges", rest @ ..] => edges::route(shared, call, rest).await,
        ["queue"] if call.is_read() => {
            let state = shared.state();
            let now = shared.clock.now();
            let items: Vec<Value> = state
                .queue
                .values()
                .map(|entry| waiting_json(&state, entry, now))
                .collect();
            Ok(ok(&json!({ "queue": items })))
        }
        ["queue"] => Err(ApiError::wrong_method()),
        ["explain", app @ ..] => explain::route(shared, call, app),
        ["plan"] => plan::predict(shared, call).await,
        ["cluster"] => plan::cluster(shared, call),
        _ => Err(ApiError::unknown_route(&call.path)),
    }
}

/// Documents that hardly change.
fn fixed(shared: &Shared, call: &Call) -> Outcome {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let document = match segments.as_slice() {
        [] => return read_only(call, page::page),
        ["zdd", "start.js"] => return read_only(call, page::script),
        ["dcos-metadata", "dcos-version.json"] => json!({
            "version": DCOS_VERSION,
            "dcos-image-commit": concat!("zddcluster-", env!("CARGO_PKG_VERSION")),
            "bootstrap-id": shared.identity.uuid,
        }),
        ["dcos-metadata", "ui-config.json"] => json!({
            "uiConfiguration": { "plugins": { "mesos": { "logging-strategy": "logrotate" } } },
        }),
        ["metadata"] => json!({
            "PUBLIC_IPV4": shared.identity.front.ip().to_string(),
            "CLUSTER_ID": shared.identity.uuid,
        }),
        _ => return Err(ApiError::unknown_route(&call.path)),
    };
    read_only(call, || ok(&document))
}

fn read_only(call: &Call, answer: impl FnOnce() -> Response) -> Outcome {
    match call.method {
        Method::GET | Method::HEAD => Ok(answer()),
        _ => Err(ApiError::wrong_method()),
    }
}
