//! Health and readiness checks (contract marathon §1.8, §1.9).

use serde::{Deserialize, Serialize};

/// A health check: `path?, protocol, portIndex?, command?, gracePeriodSeconds, …, port?` (contract marathon §1.8).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Request path; `/` is asked if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// How to ask.
    pub protocol: HealthProtocol,
    /// Which of the app's ports.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port_index: Option<u32>,
    /// COMMAND only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<CommandCheck>,
    /// Failures do not count before the first success while the task is younger.
    pub grace_period_seconds: u64,
    /// Time between two rounds.
    pub interval_seconds: u64,
    /// Time to answer.
    pub timeout_seconds: u64,
    /// Failure number this + 1 kills; 0 = never.
    pub max_consecutive_failures: u32,
    /// A 1xx answer changes nothing.
    pub ignore_http1xx: bool,
    /// A fixed port instead of an index.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
}

/// The command of a COMMAND check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CommandCheck {
    /// `/bin/sh -c` text.
    pub value: String,
}

/// How a health check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names say it")]
pub enum HealthProtocol {
    Http,
    Https,
    Tcp,
    Command,
    MesosHttp,
    MesosHttps,
    MesosTcp,
}

/// A readiness check, keys in printed order (contract marathon §1.9).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessCheck {
    /// Name.
    pub name: String,
    /// `HTTP` or `HTTPS`.
    pub protocol: HealthProtocol,
    /// Request path.
    pub path: String,
    /// Name of one of the app's ports.
    pub port_name: String,
    /// Time between two questions.
    pub interval_seconds: u64,
    /// Time to answer; less than the interval.
    pub timeout_seconds: u64,
    /// Answers that mean ready.
    pub http_status_codes_for_ready: Vec<u16>,
    /// Show the last answer in the deployment.
    pub preserve_last_response: bool,
}
