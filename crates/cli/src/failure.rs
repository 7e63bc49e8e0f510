//! Why a client verb did not do what it was asked, in the words the user sees, and what can be done about it.
//!
//! The texts of `dcos` commands are the original client's: contract dcos-cli §5.

use std::io;
use std::path::PathBuf;

use http::{Method, StatusCode};
use serde_json::Value;
use zddcluster_client::HttpError;

use crate::cluster::ClusterFileError;
use crate::exit::ExitStatus;
use crate::text;

/// The sentence for an answer that no Marathon gives.
const MISCONFIGURED: &str = "Service likely misconfigured. Please check your proxy or Service URL settings. \
See dcos config --help. ";

const START_IT: &str = "start it with: zddcluster up";

/// Why a client verb failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no cluster file, or its cluster is gone.
    #[error("no cluster runs in {}", .data_dir.display())]
    NotRunning { data_dir: PathBuf },
    /// There are roles, each in a process of its own.
    #[error("no `zddcluster up` runs in {}, only roles on their own", .data_dir.display())]
    Apart { data_dir: PathBuf },
    /// The cluster file cannot be used.
    #[error(transparent)]
    ClusterFile(#[from] ClusterFileError),
    /// Nobody answers at the address.
    #[error("URL [{url}] is unreachable: {reason}")]
    Unreachable { url: String, reason: String },
    /// No answer in time.
    #[error("Request to URL [{url}] timed out.")]
    TimedOut { url: String },
    /// An answer without what must be in it.
    #[error("Error decoding response from [{url}]: {reason}")]
    Undecodable { url: String, reason: String },
    /// The app is locked.
    #[error("Changes blocked: deployment already in progress for {resource}.")]
    Blocked { resource: &'static str },
    /// Any other refusal, in its final words.
    #[error("{message}")]
    Refused { message: String },
    /// A statement of the client itself, in its final words.
    #[error("{message}")]
    Stated {
        message: String,
        hint: Option<String>,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A value cannot be written as JSON.
    #[error("cannot write the answer as JSON")]
    Encode(#[source] serde_json::Error),
    /// There can be no such probe.
    #[error(transparent)]
    Probe(zddcluster_probe::ConfigError),
    /// The reader of stdout went away.
    #[error("the reader of the output went away")]
    BrokenPipe,
    /// stdout cannot be written to.
    #[error("cannot write to stdout")]
    Stdout(#[source] io::Error),
}

impl Failure {
    /// A statement of the client itself.
    pub(crate) fn stated(message: impl Into<String>) -> Self {
        Self::Stated {
            message: message.into(),
            hint: None,
        }
    }

    /// A statement of the client itself with what can be done.
    pub(crate) fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Stated {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// What a failed write to stdout means.
    pub(crate) fn from_stdout(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Stdout(error),
        }
    }

    /// What it means that there is no answer from `url`.
    pub(crate) fn from_http(url: &str, error: HttpError) -> Self {
        let url = url.to_owned();
        match error {
            HttpError::Timeout { .. } => Self::TimedOut { url },
            HttpError::Connect { .. } | HttpError::Exchange { .. } | HttpError::Address { .. } => {
                Self::Unreachable {
                    url,
                    reason: root(&error),
                }
            }
            other => Self::Undecodable {
                url,
                reason: text::chain(&other),
            },
        }
    }

    /// What a refusing answer of Marathon means.
    pub(crate) fn from_marathon(
        method: &Method,
        url: &str,
        status: StatusCode,
        body: &[u8],
    ) -> Self {
        let body = serde_json::from_slice::<Value>(body).ok();
        let reason = status.canonical_reason().unwrap_or_default();
        let code = status.as_u16();
        if status == StatusCode::BAD_REQUEST {
            let shown = body.map(|body| format!(":\n{}", text::sorted_json(&body)));
            let shown = shown.unwrap_or_default();
            let message = format!("Error on request [{method} {url}]: HTTP 400: {reason}{shown}");
            return Self::Refused { message };
        }
        if status == StatusCode::CONFLICT {
            let path = url.split_once("://").map_or(url, |(_, rest)| rest);
            let path = path.split_once('/').map_or("", |(_, path)| path);
            let resource = ["app", "group"]
                .into_iter()
                .filter_map(|word| path.find(word).map(|at| (at, word)))
                .min()
                .map(|(_, word)| word);
            return Self::Blocked {
                resource: resource.unwrap_or("resource"),
            };
        }
        let Some(body) = body else {
            let message = format!("Error decoding response from [{url}]: HTTP {code}: {reason}");
            return Self::Refused { message };
        };
        let message = match (body["message"].as_str(), body["errors"].as_array()) {
            (Some(message), _) => format!("Error: {message}{}", details(&body["details"])),
            (None, Some(errors)) => {
                let errors: Vec<&str> = errors.iter().filter_map(|e| e["error"].as_str()).collect();
                format!("{MISCONFIGURED}{}", errors.join("\n"))
            }
            (None, None) => MISCONFIGURED.trim_end().to_owned(),
        };
        Self::Refused { message }
    }

    /// What a refusing answer of a Mesos endpoint means.
    pub(crate) fn from_mesos(url: &str, status: StatusCode) -> Self {
        let message = match status {
            StatusCode::UNAUTHORIZED => {
                "Authentication failed. Please run `dcos auth login`".to_owned()
            }
            StatusCode::FORBIDDEN => "You are not authorized to perform this operation".to_owned(),
            StatusCode::BAD_REQUEST => "Bad request".to_owned(),
            other => format!(
                "Error while fetching [{url}]: HTTP {}: {}",
                other.as_u16(),
                other.canonical_reason().unwrap_or_default()
            ),
        };
        Self::Refused { message }
    }

    /// What the user can do, if there is something.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::NotRunning { .. } | Self::Unreachable { .. } => Some(START_IT),
            Self::Apart { .. } => {
                Some("DCOS_URL=http://MASTER:8080 zddcluster dcos ... speaks to their master")
            }
            Self::Blocked { .. } => {
                Some("wait for it (dcos marathon deployment list), or override it with --force")
            }
            Self::Stated { hint, .. } => hint.as_deref(),
            Self::ClusterFile(error) => Some(error.hint()),
            Self::TimedOut { .. }
            | Self::Undecodable { .. }
            | Self::Refused { .. }
            | Self::File { .. }
            | Self::Encode(_)
            | Self::Probe(_)
            | Self::BrokenPipe
            | Self::Stdout(_) => None,
        }
    }

    /// How the process ends.
    pub(crate) fn exit_status(&self) -> ExitStatus {
        match self {
            Self::NotRunning { .. } | Self::Apart { .. } | Self::Unreachable { .. } => {
                ExitStatus::NotRunning
            }
            Self::BrokenPipe => ExitStatus::BrokenPipe,
            Self::Probe(_) => ExitStatus::Usage,
            _ => ExitStatus::Failure,
        }
    }
}

/// The innermost cause: `Connection refused (os error 111)`.
fn root(error: &dyn std::error::Error) -> String {
    let mut root = error;
    while let Some(cause) = root.source() {
        root = cause;
    }
    root.to_string()
}

/// What a 422 says of each path, a line each. The original of the lab's time loses it; later ones print raw JSON.
fn details(details: &Value) -> String {
    let mut lines = String::new();
    for detail in details.as_array().into_iter().flatten() {
        let path = detail["path"].as_str().unwrap_or_default();
        for error in detail["errors"].as_array().into_iter().flatten() {
            let error = error
                .as_str()
                .map_or_else(|| error.to_string(), str::to_owned);
            lines.push_str(&format!("\n  {path}: {error}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> String {
        let url = "http://127.0.0.1:8080/service/marathon/v2/apps/zdd/base";
        let status = StatusCode::from_u16(status).unwrap();
        Failure::from_marathon(&Method::PUT, url, status, body.as_bytes()).to_string()
    }

    #[test]
    fn refusals_read_as_the_original_prints_them() {
        assert_eq!(
            refusal(404, r#"{"message":"App '/x' does not exist"}"#),
            "Error: App '/x' does not exist"
        );
        assert_eq!(
            refusal(409, r#"{"message":"App is locked"}"#),
            "Changes blocked: deployment already in progress for app."
        );
        assert_eq!(
            refusal(500, "<html>"),
            "Error decoding response from [http://127.0.0.1:8080/service/marathon/v2/apps/zdd/base]: \
             HTTP 500: Internal Server Error"
        );
        assert_eq!(
            refusal(400, r#"{"message":"Invalid JSON","details":"no"}"#),
            "Error on request [PUT http://127.0.0.1:8080/service/marathon/v2/apps/zdd/base]: \
             HTTP 400: Bad Request:\n{\n  \"details\": \"no\",\n  \"message\": \"Invalid JSON\"\n}"
        );
        assert_eq!(
            refusal(
                422,
                r#"{"message":"Object is not valid","details":[{"path":"/instances","errors":["got -1, expected 0 or more"]}]}"#
            ),
            "Error: Object is not valid\n  /instances: got -1, expected 0 or more"
        );
        assert_eq!(refusal(503, "{}"), MISCONFIGURED.trim_end());
        assert_eq!(
            refusal(503, r#"{"errors":[{"error":"E"}]}"#),
            format!("{MISCONFIGURED}E")
        );
    }
}
