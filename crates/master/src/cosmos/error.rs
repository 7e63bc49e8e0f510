//! Everything that the package API refuses, and how it says so: status, `type`, `message`, `data`.
//!
//! Clients print the message alone, and of a few types some of the data, so each message is a whole sentence. The names of types
//! are Cosmos' where it has one. A 400 makes clients ask again in an older version: what is refused so must have had no effect.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use zddcluster_engine::Refusal;
use zddcluster_model::AppId;
use zddcluster_model::app::{Fault, ReadError};
use zddcluster_model::package::{OptionFault, PackageError};

use super::BODY_LIMIT;
use super::media::{MediaType, Version};
use crate::error::CallError;
use crate::http::json_response;

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum CosmosError {
    #[error("Package [{package_name}] not found")]
    PackageNotFound { package_name: String },
    #[error("Version [{package_version}] of package [{package_name}] not found")]
    VersionNotFound {
        package_name: String,
        package_version: String,
    },
    #[error("Package is already installed")]
    PackageAlreadyInstalled,
    #[error("Package [{package_name}] is not installed")]
    PackageNotInstalled { package_name: String },
    /// There are apps of the package, but not this one.
    #[error("Package [{package_name}] with id [{app_id}] is not installed")]
    UninstallNonExistentAppForPackage { package_name: String, app_id: AppId },
    #[error("Multiple apps named [{package_name}] are installed: [{}]", .app_ids.iter().map(AppId::as_str).collect::<Vec<_>>().join(", "))]
    AmbiguousAppId {
        package_name: String,
        app_ids: Vec<AppId>,
    },
    /// Some apps of the package are gone, this one and those after it are not.
    #[error("Incomplete uninstall of package [{package_name}]: app [{app_id}] stays: {reason}")]
    IncompleteUninstall {
        package_name: String,
        app_id: AppId,
        reason: String,
    },
    #[error("Options JSON failed validation")]
    JsonSchemaMismatch(Vec<OptionFault>),
    #[error("option '{option}' is not supported here: {reason}")]
    OptionNotSupported {
        option: String,
        reason: &'static str,
    },
    /// Marathon does not take the app.
    #[error("{message}")]
    MarathonBadResponse {
        status: StatusCode,
        message: String,
        faults: Vec<Fault>,
    },
    #[error("Unable to complete request due to service [marathon] unavailability: {0}")]
    ServiceUnavailable(String),
    #[error("The package repository is built in: there is no other, and it stays")]
    RepositoryIsBuiltIn,
    /// The header `Accept`.
    #[error("'{specified}' is not answered here, as Accept has it; available: {}", available.join(", "))]
    NotAcceptable {
        specified: String,
        available: Vec<String>,
    },
    #[error("Unsupported Content-Type: '{actual}' Accept: [{supported}]")]
    UnsupportedContentType { supported: String, actual: String },
    #[error("The request has no body: a JSON object is wanted")]
    NotPresent,
    /// A body that cannot be read, or is not what is wanted.
    #[error("{0}")]
    NotParsed(String),
    #[error("The request body is larger than {BODY_LIMIT} bytes")]
    TooLarge,
}

impl CosmosError {
    fn status(&self) -> StatusCode {
        match self {
            Self::PackageNotFound { .. }
            | Self::VersionNotFound { .. }
            | Self::PackageNotInstalled { .. }
            | Self::UninstallNonExistentAppForPackage { .. }
            | Self::AmbiguousAppId { .. }
            | Self::JsonSchemaMismatch(_)
            | Self::OptionNotSupported { .. }
            | Self::NotAcceptable { .. }
            | Self::UnsupportedContentType { .. }
            | Self::NotPresent
            | Self::NotParsed(_) => StatusCode::BAD_REQUEST,
            Self::PackageAlreadyInstalled => StatusCode::CONFLICT,
            Self::MarathonBadResponse { status, .. } => *status,
            Self::IncompleteUninstall { .. } | Self::ServiceUnavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::RepositoryIsBuiltIn => StatusCode::NOT_IMPLEMENTED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::PackageNotFound { .. } => "PackageNotFound",
            Self::VersionNotFound { .. } => "VersionNotFound",
            Self::PackageAlreadyInstalled => "PackageAlreadyInstalled",
            Self::PackageNotInstalled { .. } => "PackageNotInstalled",
            Self::UninstallNonExistentAppForPackage { .. } => "UninstallNonExistentAppForPackage",
            Self::AmbiguousAppId { .. } => "AmbiguousAppId",
            Self::IncompleteUninstall { .. } => "IncompleteUninstall",
            Self::JsonSchemaMismatch(_) => "JsonSchemaMismatch",
            Self::OptionNotSupported { .. } => "OptionNotSupported",
            Self::MarathonBadResponse { .. } => "MarathonBadResponse",
            Self::ServiceUnavailable(_) => "ServiceUnavailable",
            // Not `NotImplemented`: newer clients have their own sentence for that, which does not say why.
            Self::RepositoryIsBuiltIn => "RepositoryIsBuiltIn",
            Self::NotAcceptable { .. } => "not_valid",
            Self::UnsupportedContentType { .. } => "UnsupportedContentType",
            Self::NotPresent => "not_present",
            Self::NotParsed(_) => "not_parsed",
            Self::TooLarge => "ResourceTooLarge",
        }
    }

    fn data(&self) -> Option<Value> {
        Some(match self {
            Self::PackageNotFound { package_name } | Self::PackageNotInstalled { package_name } => {
                json!({ "packageName": package_name })
            }
            Self::VersionNotFound {
                package_name,
                package_version,
            } => json!({ "packageName": package_name, "packageVersion": package_version }),
            Self::UninstallNonExistentAppForPackage {
                package_name,
                app_id,
            } => json!({ "packageName": package_name, "appId": app_id }),
            Self::IncompleteUninstall {
                package_name,
                app_id,
                reason,
            } => json!({ "packageName": package_name, "appId": app_id, "reason": reason }),
            Self::AmbiguousAppId {
                package_name,
                app_ids,
            } => json!({ "packageName": package_name, "appIds": app_ids }),
            Self::JsonSchemaMismatch(faults) => {
                let reports: Vec<Value> = faults.iter().map(OptionFault::report).collect();
                json!({ "errors": reports })
            }
            Self::OptionNotSupported { option, reason } => {
                json!({ "option": option, "reason": reason })
            }
            Self::MarathonBadResponse { faults, .. } => {
                // Clients print `error` and know no path.
                let errors = faults.iter().flat_map(|Fault { path, errors }| {
                    let errors = errors.iter();
                    errors.map(
                        move |error| json!({ "path": path, "error": format!("{path}: {error}") }),
                    )
                });
                json!({ "errors": errors.collect::<Vec<Value>>() })
            }
            Self::ServiceUnavailable(_) => json!({ "serviceName": "marathon" }),
            Self::NotAcceptable {
                specified,
                available,
            } => json!({
                "invalidItem": { "type": "header", "name": "Accept" },
                "specified": specified,
                "available": available,
            }),
            Self::UnsupportedContentType { supported, actual } => {
                json!({ "supported": [supported], "actual": actual })
            }
            Self::TooLarge => json!({ "limit": BODY_LIMIT }),
            Self::PackageAlreadyInstalled
            | Self::RepositoryIsBuiltIn
            | Self::NotPresent
            | Self::NotParsed(_) => return None,
        })
    }
}

impl IntoResponse for CosmosError {
    fn into_response(self) -> Response {
        let mut body = json!({ "type": self.type_name(), "message": self.to_string() });
        if let Some(data) = self.data() {
            body["data"] = data;
        }
        let mut response = json_response(self.status(), &body);
        let media_type = MediaType::package("error", Version::V1);
        response
            .headers_mut()
            .insert(CONTENT_TYPE, media_type.header());
        response
    }
}

impl From<PackageError> for CosmosError {
    fn from(error: PackageError) -> Self {
        match error {
            PackageError::Schema(faults) => Self::JsonSchemaMismatch(faults),
            PackageError::NotSupported { option, reason } => {
                Self::OptionNotSupported { option, reason }
            }
        }
    }
}

impl From<ReadError> for CosmosError {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        match error {
            // Said of the app, not of the JSON that the caller wrote.
            ReadError::Faults(faults) => Refusal::Invalid(faults).into(),
            ReadError::Empty(_) | ReadError::Syntax(_) | ReadError::Argument(_) => {
                Self::MarathonBadResponse {
                    status: StatusCode::BAD_REQUEST,
                    message,
                    faults: Vec::new(),
                }
            }
        }
    }
}

impl From<CallError> for CosmosError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::Unavailable(reason) => Self::ServiceUnavailable(reason),
            // An answer to another command.
            CallError::TooManyCallbacks(_) => Self::ServiceUnavailable(error.to_string()),
        }
    }
}

impl From<Refusal> for CosmosError {
    fn from(refusal: Refusal) -> Self {
        let mut message = refusal.to_string();
        let (status, faults) = match refusal {
            Refusal::AppExists(_) => return Self::PackageAlreadyInstalled,
            Refusal::Stopping => return Self::ServiceUnavailable(message),
            Refusal::Locked(deployments) => {
                // Marathon's own sentence tells of a parameter that this API does not have.
                let ids = deployments.iter().map(|id| id.as_str());
                message = format!(
                    "The app is locked by deployment [{}]; try again when that is done",
                    ids.collect::<Vec<_>>().join(", ")
                );
                (StatusCode::CONFLICT, Vec::new())
            }
            Refusal::Invalid(faults) => (StatusCode::BAD_REQUEST, faults),
            Refusal::PortsExhausted => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
            Refusal::IllegalArgument(_)
            | Refusal::UnknownApp(_)
            | Refusal::UnknownGroup(_)
            | Refusal::UnknownTask(_)
            | Refusal::UnknownDeployment(_)
            | Refusal::NotQueued(_)
            | Refusal::GroupExists(_)
            | Refusal::AppAtPath(_)
            | Refusal::Fenced { .. }
            | Refusal::WrongProtocol { .. } => (StatusCode::BAD_REQUEST, Vec::new()),
        };
        Self::MarathonBadResponse {
            status,
            message,
            faults,
        }
    }
}
