//! The Mesos master API: v0 state documents and the v1 operator API, on its own listener and under `/mesos`.
//!
//! | path, also below `/master` | |
//! |---|---|
//! | `state`, `state-summary`, `slaves`, `frameworks`, `tasks`, `roles`, `flags` | documents, each with `.json` too |
//! | `metrics/snapshot` | numbers |
//! | `files/read`, `browse`, `download`, `debug` | the log |
//! | `redirect` | 307 to the leading master |
//! | `teardown` | refused: the one framework is this master itself |
//! | `api/v1` | the operator API |
//!
//! Source: contract dcos-cli §9, contract mesos-dns §2, Mesos 1.0's endpoint documentation.

mod files;
mod metrics;
mod operator;
mod present;
mod record;
mod state;
mod stream;
mod v1;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Extract;
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{HeaderValue, Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::{Call, Query, empty, ok, text};
use crate::shared::Shared;

/// The Mesos that this API behaves as.
pub(crate) const MESOS_VERSION: &str = "1.0.1";

/// The role Marathon is registered with in DC/OS.
const FRAMEWORK_ROLE: &str = "slave_public";

/// What Mesos lets operators divide and drain, and we decide by flags and Marathon's API.
const NOT_OFFERED: [&str; 8] = [
    "reserve",
    "unreserve",
    "create-volumes",
    "destroy-volumes",
    "quota",
    "weights",
    "maintenance",
    "machine",
];

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
    match segments {
        ["api", "v1"] => return operator::answer(shared, call),
        ["teardown"] => return teardown(shared, call),
        [first, ..] if NOT_OFFERED.contains(first) => {
            let message =
                format!("{first} is not offered: agents have the resources they were started with");
            return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, message));
        }
        _ => {}
    }
    let answer = read(shared, call, segments)?;
    if call.is_read() {
        Ok(answer)
    } else {
        Err(ApiError::wrong_method())
    }
}

/// What is only read.
fn read(shared: &Shared, call: &Call, segments: &[&str]) -> Outcome {
    let plain: Vec<&str> = segments
        .iter()
        .map(|segment| segment.strip_suffix(".json").unwrap_or(segment))
        .collect();
    let query = &call.query;
    let document = match plain.as_slice() {
        ["state"] => state::state(shared),
        ["state-summary"] => state::summary(shared),
        ["slaves"] => state::slaves(shared),
        ["frameworks"] => state::frameworks(shared),
        ["tasks"] => state::tasks(shared, query),
        ["roles"] => state::roles(shared),
        ["flags"] => json!({ "flags": state::flags(shared) }),
        ["metrics", "snapshot"] => Value::Object(metrics::snapshot(shared)),
        ["version"] => json!({ "version": MESOS_VERSION }),
        ["files", "debug"] => files::debug(),
        ["files", "read"] => return files::read(shared, query),
        ["files", "browse"] => return files::browse(shared, query),
        ["files", "download"] => return files::download(shared, query),
        ["health"] => return Ok(text(StatusCode::OK, "")),
        ["redirect"] => return Ok(redirect(shared)),
        _ => return Err(ApiError::unknown_route(&call.path)),
    };
    Ok(ok(&document))
}

/// To the leading master, which is this one, under its own address.
fn redirect(shared: &Shared) -> Response {
    let mut response = empty(StatusCode::TEMPORARY_REDIRECT);
    let location = HeaderValue::from_str(&format!("//{}", shared.identity.mesos))
        .expect("an address has only characters that a header may have");
    response.headers_mut().insert(LOCATION, location);
    response
}

/// `frameworkId=…` in a body without a type.
fn teardown(shared: &Shared, call: &Call) -> Outcome {
    if call.method != Method::POST {
        return Err(ApiError::wrong_method());
    }
    let body = String::from_utf8_lossy(&call.body);
    let form = Query::parse(&body);
    let (status, message) = match form.first("frameworkId") {
        None => (
            StatusCode::BAD_REQUEST,
            "Missing 'frameworkId' query parameter",
        ),
        Some(id) if id != shared.identity.framework_id() => (
            StatusCode::BAD_REQUEST,
            "No framework found with specified ID",
        ),
        Some(_) => (
            StatusCode::NOT_IMPLEMENTED,
            "Marathon is a part of this master and cannot be torn down; hint: remove its apps, or end the cluster with `zddcluster down`",
        ),
    };
    Err(ApiError::new(status, message))
}
