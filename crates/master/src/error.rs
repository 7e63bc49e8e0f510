//! The one place where refusals become HTTP: status and Marathon's error bodies.
//!
//! Source: contract marathon §2.1. Every body has `message`; `details` and `deployments` only where the contract has them.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};
use zddcluster_engine::Refusal;
use zddcluster_model::AppId;
use zddcluster_model::app::{Fault, ReadError};
use zddcluster_runtime::{Unauthorized, challenge};

use crate::http::json_response;

/// Why the one writer gave no good answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The engine refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There are as many event callbacks as there may be.
    #[error("there are {0} callbacks already; hint: DELETE one first")]
    TooManyCallbacks(usize),
    /// The master cannot decide or store now; try again later.
    #[error("{0}")]
    Unavailable(String),
}

/// An error answer: status and body.
#[derive(Debug, PartialEq)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Value,
}

impl ApiError {
    /// `{"message": ..}`.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            body: json!({ "message": message.into() }),
        }
    }

    /// 401.
    pub(crate) fn unauthorized(refusal: Unauthorized) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, refusal.to_string())
    }

    /// 404 for an app.
    pub(crate) fn unknown_app(app_id: &AppId) -> Self {
        Refusal::UnknownApp(app_id.clone()).into()
    }

    /// 404 for a group.
    pub(crate) fn unknown_group(group_id: &AppId) -> Self {
        Refusal::UnknownGroup(group_id.clone()).into()
    }

    /// 404 for a path without a resource.
    pub(crate) fn unknown_route(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("URI not found: {path}"))
    }

    /// 405.
    pub(crate) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }

    /// 415.
    pub(crate) fn wrong_media_type() -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type")
    }

    /// 413.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the request body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// 400 for bodies of the wrong shape.
    pub(crate) fn faults(faults: &[Fault]) -> Self {
        let body = json!({ "message": "Invalid JSON", "details": faults });
        Self {
            status: StatusCode::BAD_REQUEST,
            body,
        }
    }

    /// 422 for broken rules.
    pub(crate) fn rules(faults: Vec<Fault>) -> Self {
        Refusal::Invalid(faults).into()
    }

    /// 422, illegal argument.
    pub(crate) fn illegal_argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, &self.body);
        if self.status == StatusCode::UNAUTHORIZED {
            challenge(response.headers_mut());
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let message = refusal.to_string();
        match refusal {
            Refusal::Invalid(faults) => Self {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                body: json!({ "message": message, "details": faults }),
            },
            Refusal::IllegalArgument(_) => Self::illegal_argument(message),
            Refusal::UnknownApp(_)
            | Refusal::UnknownGroup(_)
            | Refusal::UnknownTask(_)
            | Refusal::UnknownDeployment(_)
            | Refusal::NotQueued(_) => Self::new(StatusCode::NOT_FOUND, message),
            Refusal::AppExists(_)
            | Refusal::GroupExists(_)
            | Refusal::AppAtPath(_)
            | Refusal::Fenced { .. } => Self::new(StatusCode::CONFLICT, message),
            Refusal::Locked(deployments) => {
                let ids: Vec<Value> = deployments.iter().map(|id| json!({ "id": id })).collect();
                Self {
                    status: StatusCode::CONFLICT,
                    body: json!({ "message": message, "deployments": ids }),
                }
            }
            Refusal::PortsExhausted => Self::new(StatusCode::INTERNAL_SERVER_ERROR, message),
            Refusal::WrongProtocol { .. } => Self::new(StatusCode::BAD_REQUEST, message),
            Refusal::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, message),
        }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::TooManyCallbacks(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string())
            }
            CallError::Unavailable(reason) => Self::new(StatusCode::SERVICE_UNAVAILABLE, reason),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        match error {
            ReadError::Empty(details) | ReadError::Syntax(details) => Self {
                status: StatusCode::BAD_REQUEST,
                body: json!({ "message": message, "details": details }),
            },
            ReadError::Faults(faults) => Self::faults(&faults),
            ReadError::Argument(_) => Self::illegal_argument(message),
        }
    }
}
