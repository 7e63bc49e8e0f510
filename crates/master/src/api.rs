//! The Marathon API: one file a resource, one dispatcher, the same under `/`, `/marathon` and `/service/marathon`.
//!
//! Paths are taken apart here and not by a router, because app ids contain slashes and arrive in any form: with one leading
//! slash, two or none, percent-encoded, with a trailing slash (contract marathon §2.1, traps 8 and 16).

mod app_tasks;
mod apps;
pub(crate) mod artifacts;
mod deployments;
mod events;
mod groups;
pub(crate) mod help;
mod info;
mod leader;
mod logging;
mod metrics;
mod queue;
mod schemas;
mod selector;
mod subscriptions;
mod tasks;

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use zddcluster_engine::Answer;

use crate::error::ApiError;
use crate::http::{Call, json_response};
use crate::render::deployment_answer;
use crate::shared::Shared;

/// What a handler gives back.
pub(crate) type Outcome = Result<Response, ApiError>;

/// Answers a call to the Marathon API.
pub(crate) async fn answer(shared: &Arc<Shared>, call: Call) -> Response {
    let outcome = route(shared, &call).await;
    with_headers(shared, outcome.unwrap_or_else(ApiError::into_response))
}

/// The headers that every answer of the API has (contract §2.1).
pub(crate) fn with_headers(shared: &Shared, mut response: Response) -> Response {
    let headers = response.headers_mut();
    let leader = format!("http://{}", shared.identity.front);
    if let Ok(leader) = HeaderValue::from_str(&leader) {
        headers.insert("x-marathon-leader", leader);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::EXPIRES, HeaderValue::from_static("0"));
    response
}

async fn route(shared: &Arc<Shared>, call: &Call) -> Outcome {
    let segments: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    if let ["v2", "apps" | "queue" | "deployments", ..] | ["v2", "tasks", "delete"] =
        segments.as_slice()
        && !call.is_read()
    {
        call.require_json()?;
    }
    match segments.as_slice() {
        ["v2", "apps", rest @ ..] => apps::route(shared, call, rest).await,
        ["v2", "tasks"] => tasks::list(shared, call),
        ["v2", "tasks", "delete"] => tasks::delete(shared, call).await,
        ["v2", "deployments", rest @ ..] => deployments::route(shared, call, rest).await,
        ["v2", "queue", rest @ ..] => queue::route(shared, call, rest).await,
        ["v2", "artifacts", rest @ ..] => artifacts::route(shared, call, rest).await,
        ["v2", "groups", rest @ ..] => groups::route(shared, call, rest).await,
        ["v2", "events"] => events::stream(shared, call),
        ["v2", "info"] => info::info(shared, call),
        ["v2", "leader"] => leader::route(shared, call).await,
        ["v2", "plugins"] => info::plugins(call),
        ["v2", "schemas", "app"] => schemas::app(call),
        ["v2", "eventSubscriptions"] => subscriptions::route(shared, call).await,
        ["ping"] => info::ping(call),
        ["metrics"] => metrics::metrics(shared, call),
        ["logging"] => logging::route(shared, call),
        ["help"] => help::help(call),
        path if path == help::PAGE => help::page(call),
        // The start page is at the front door's own root, whatever prefix the API was reached by.
        [] | ["ui", ..] if call.is_read() => help::redirect("/"),
        _ => Err(ApiError::unknown_route(&call.path)),
    }
}

/// The answer to a write that made a deployment, with `Marathon-Deployment-Id` (Z1); `Err` for other answers.
fn deployed(answer: Answer, status: StatusCode, location: Option<String>) -> Outcome {
    let Answer::Deployment {
        version,
        deployment_id,
        created: _,
    } = answer
    else {
        return Err(unexpected());
    };
    let mut response = json_response(status, &deployment_answer(version, &deployment_id));
    mark(&mut response, deployment_id.as_str(), location);
    Ok(response)
}

/// Adds the headers that name a deployment and a new resource.
fn mark(response: &mut Response, deployment_id: &str, location: Option<String>) {
    if let Ok(id) = HeaderValue::from_str(deployment_id) {
        response.headers_mut().insert("marathon-deployment-id", id);
    }
    if let Some(location) = location {
        mark_location(response, &location);
    }
}

/// Adds the header that names a new resource.
fn mark_location(response: &mut Response, location: &str) {
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
}

/// An answer of the engine that does not belong to the command: a bug, said as such.
fn unexpected() -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the command was answered by something else",
    )
}
