//! `/slave/{id}/…` and `/agent/{id}/…`: handed to that agent's own API; `/mesos_dns/…`: to that of the DNS role.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_DISPOSITION, CONTENT_TYPE};
use http::{Request, StatusCode};
use zddcluster_client::{HttpClient, HttpError};
use zddcluster_model::AgentId;

use crate::api::Outcome;
use crate::error::ApiError;
use crate::http::Call;
use crate::shared::Shared;

/// Both answer from memory or a file; longer means that they hang.
const TIMEOUT: Duration = Duration::from_secs(30);

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
    let to = format!("{}:{}", agent.hostname, agent.port);
    hand_on(&shared.http, call, &to, rest)
        .await
        .map_err(|error| {
            tracing::debug!(agent_id = %agent.id, %error, "agent does not answer");
            bad_gateway(format!("agent {id} does not answer: {error}"))
        })
}

pub(super) async fn to_dns(shared: &Shared, call: &Call) -> Outcome {
    let Some(address) = shared.mesos_dns else {
        let message = "this master knows of no DNS server; hint: --mesos-dns ADDRESS:PORT";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message));
    };
    let path = call.path.trim_start_matches('/');
    let rest = path.split_once('/').map_or("", |(_, rest)| rest);
    // Without the token, which is not the DNS server's to know.
    let answer = hand_on(&HttpClient::new(), call, &address.to_string(), rest).await;
    answer.map_err(|error| {
        bad_gateway(format!("the DNS server at {address} does not answer: {error}; hint: zddcluster dns, or --mesos-dns ADDRESS:PORT"))
    })
}

fn bad_gateway(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, message)
}

/// Sends a call on to `to`, with this path, and hands the answer back.
async fn hand_on(
    http: &HttpClient,
    call: &Call,
    to: &str,
    path: &str,
) -> Result<Response, HttpError> {
    let query = call.query.encoded();
    let separator = if query.is_empty() { "" } else { "?" };
    let uri = format!("http://{to}/{path}{separator}{query}");
    let mut request = Request::builder().method(call.method.clone()).uri(&uri);
    for name in [ACCEPT, CONTENT_TYPE] {
        if let Some(value) = call.headers.get(&name) {
            request = request.header(name, value);
        }
    }
    let request = request
        .body(call.body.clone())
        .map_err(|error| HttpError::Address {
            url: uri,
            reason: error.to_string(),
        })?;
    let answer = http.open(request, TIMEOUT).await?;
    let (head, body) = answer.into_parts();
    // As it comes: a download may be of any size.
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = head.status;
    for name in [CONTENT_TYPE, CONTENT_DISPOSITION] {
        if let Some(value) = head.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    Ok(response)
}
