//! `/slave/{id}/…` and `/agent/{id}/…`: handed to that agent's own API.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use zddcluster_model::AgentId;

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::Call;
use crate::shared::Shared;

/// An agent answers from memory or a file; longer means that it hangs.
const AGENT_TIMEOUT: Duration = Duration::from_secs(30);

/// What agent and master say to each other is below it; nothing else of an agent's API has such a part in its path.
const OURS: &str = "zdd";

pub(super) async fn to_agent(shared: &Shared, call: &Call, id: &str) -> Outcome {
    let state = shared.state();
    let agent = state.agents.get(&AgentId::new(id)).ok_or_else(|| {
        ApiError::new(
            StatusCode::NOT_FOUND,
            format!("No slave found with ID \"{id}\"."),
        )
    })?;
    // The path is handed on as it came, so that escapes in it keep their meaning.
    let rest = call
        .path
        .trim_start_matches('/')
        .splitn(3, '/')
        .nth(2)
        .unwrap_or_default();
    // It is asked with the cluster's token, which whoever calls here need not know.
    if rest.split('/').any(|segment| segment == OURS) {
        let message = format!("/{OURS}/ of an agent is for its master alone");
        return Err(ApiError::new(StatusCode::FORBIDDEN, message));
    }
    let query = call.query.encoded();
    let separator = if query.is_empty() { "" } else { "?" };
    let uri = format!(
        "http://{}:{}/{rest}{separator}{query}",
        agent.hostname, agent.port
    );
    let mut request = Request::builder().method(call.method.clone()).uri(&uri);
    for name in [ACCEPT, CONTENT_TYPE] {
        if let Some(value) = call.headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let request = request
        .body(call.body.clone())
        .map_err(|error| ApiError::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let answer = shared
        .http
        .send(request, AGENT_TIMEOUT)
        .await
        .map_err(|error| {
            tracing::debug!(agent_id = %agent.id, %error, "agent does not answer");
            ApiError::new(
                StatusCode::BAD_GATEWAY,
                format!("agent {id} does not answer: {error}"),
            )
        })?;
    let (head, body) = answer.into_parts();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = head.status;
    if let Some(value) = head.headers.get(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, value.clone());
    }
    Ok(response)
}
