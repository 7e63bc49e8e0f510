//! The Mesos master API: v0 state documents and the v1 operator stream, on its own listener and under `/mesos`.
//!
//! Source: contract dcos-cli §9, contract mesos-dns §2.

mod record;
mod state;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::response::{IntoResponse as _, Response};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok, text};
use crate::shared::Shared;

/// The Mesos that this API behaves as.
pub(crate) const MESOS_VERSION: &str = "1.0.1";

/// The API alone, for its own listener.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(Extract(shared): Extract<Arc<Shared>>, request: Request<Body>) -> Response {
    let outcome = match Call::read(request).await {
        Ok(call) => answer(&shared, &call),
        Err(error) => Err(error),
    };
    outcome.unwrap_or_else(ApiError::into_response)
}

/// Answers a call whose path is already relative to the API.
pub(crate) fn answer(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    let segments = segments.strip_prefix(&["master"]).unwrap_or(&segments);
    let document: fn(&Shared) -> Value = match segments {
        ["state" | "state.json"] => state::state,
        ["state-summary"] => state::summary,
        ["slaves"] => state::slaves,
        ["frameworks"] => state::frameworks,
        ["tasks" | "tasks.json"] => state::tasks,
        ["health"] => return Ok(text(StatusCode::OK, "")),
        ["version"] => |_| json!({ "version": MESOS_VERSION }),
        ["api", "v1"] => return stream::answer(shared, call),
        _ => return Err(ApiError::unknown_route(&call.path)),
    };
    if call.method != Method::GET && call.method != Method::HEAD {
        return Err(ApiError::wrong_method());
    }
    Ok(ok(&document(shared)))
}
