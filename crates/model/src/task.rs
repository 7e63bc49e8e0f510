//! Tasks as users see them: states, health results, addresses.

use serde::{Deserialize, Serialize};

use crate::id::{AgentId, AppId, TaskId};
use crate::time::Timestamp;

/// A task's state in Mesos' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Handed to the agent, not yet running.
    #[serde(rename = "TASK_STAGING")]
    Staging,
    /// The executor runs, the task not yet.
    #[serde(rename = "TASK_STARTING")]
    Starting,
    /// The task's process runs.
    #[serde(rename = "TASK_RUNNING")]
    Running,
    /// A kill was decided; the process may still run.
    #[serde(rename = "TASK_KILLING")]
    Killing,
    /// Ended by itself with status 0.
    #[serde(rename = "TASK_FINISHED")]
    Finished,
    /// Ended by itself with another status, or could not start.
    #[serde(rename = "TASK_FAILED")]
    Failed,
    /// Ended because we asked for it.
    #[serde(rename = "TASK_KILLED")]
    Killed,
    /// Its agent went away.
    #[serde(rename = "TASK_LOST")]
    Lost,
    /// The definition cannot be run.
    #[serde(rename = "TASK_ERROR")]
    Error,
}

/// Why a task ended, in Mesos' words; Marathon's answers do not tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusReason {
    /// It used more memory than it had asked for.
    #[serde(rename = "REASON_CONTAINER_LIMITATION_MEMORY")]
    MemoryLimit,
}

impl TaskState {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Lost => "TASK_LOST",
            Self::Error => "TASK_ERROR",
        }
    }

    /// True once the task has ended for good (a lost one counts: Marathon launches a replacement).
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Staging | Self::Starting | Self::Running | Self::Killing => false,
            Self::Finished | Self::Failed | Self::Killed | Self::Lost | Self::Error => true,
        }
    }
}

/// One health check's standing for one task: `healthCheckResults[]` (contract marathon §6.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HealthResult {
    /// There was a success and no failure after it.
    pub alive: bool,
    /// Failures since the last success.
    pub consecutive_failures: u32,
    /// When the first success came.
    pub first_success: Option<Timestamp>,
    /// When the last failure came; kept over later successes.
    pub last_failure: Option<Timestamp>,
    /// When the last success came.
    pub last_success: Option<Timestamp>,
    /// Why the last failure happened.
    pub last_failure_cause: Option<String>,
    /// The task.
    pub task_id: TaskId,
}

/// The last task of an app that ended badly: `lastTaskFailure` (contract marathon §1.11).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskFailure {
    /// The app.
    pub app_id: AppId,
    /// The host it ran on.
    pub host: String,
    /// What the agent or the health check said.
    pub message: String,
    /// The state it ended in.
    pub state: TaskState,
    /// The task.
    pub task_id: TaskId,
    /// When it ended.
    pub timestamp: Timestamp,
    /// The app version it was started with.
    pub version: Timestamp,
    /// The agent it ran on.
    pub slave_id: AgentId,
}

/// One readiness check's standing for one task: `readinessCheckResults[]` of a deployment (contract §3.5).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessResult {
    /// The check's name.
    pub name: String,
    /// The task.
    pub task_id: TaskId,
    /// Whether the last answer was one of the codes for ready.
    pub ready: bool,
    /// The last answer, only with `preserveLastResponse`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_response: Option<ReadinessResponse>,
}

/// An answer to a readiness check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessResponse {
    /// HTTP status; 504 when the task could not be asked.
    pub status: u16,
    /// Content type.
    pub content_type: String,
    /// Body, as text.
    pub body: String,
}

/// An address of a task: `ipAddresses[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IpAddress {
    /// The address as text.
    pub ip_address: String,
    /// `IPv4` or `IPv6`.
    pub protocol: String,
}

/// A persistent volume of a task: `localVolumes[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalVolume {
    /// Where the task finds it: a name in its sandbox.
    pub container_path: String,
    /// Which it is: `<app>#<container path>#<uuid>`.
    pub persistence_id: String,
}
