//! The protocol between master and agents: JSON over HTTP, version 1.
//!
//! ```text
//!   agent ── POST /zdd/v1/agents/register {Registration} ───────────────▶ master   {Registered} | 409 fenced
//!   agent ── GET  /zdd/v1/agents/{id}/commands?epoch=E ─────────────────▶ master   one Command a line, for ever
//!   agent ── POST /zdd/v1/agents/{id}/statuses?epoch=E [StatusUpdate] ──▶ master   {"acknowledged": seq}
//! ```
//!
//! An agent registers, then opens the command stream; whenever that stream ends it registers again with the list of all
//! its tasks, and the master sends anew what is missing. Launches are idempotent by task id. Statuses are numbered and
//! kept by the agent until the master, after its flush, acknowledges them. `epoch` grows with every start of an agent
//! process; a master refuses an older one. Blank lines on the command stream are keep-alives; an agent that has no statuses sends an empty
//! list as often. Whoever hears nothing of the other for three of them takes it for gone: a host that lost its power closes nothing.

mod check;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::Container;
use crate::id::{AgentId, AppId, TaskId};
use crate::task::{IpAddress, StatusReason, TaskState};
use crate::time::Timestamp;

pub use check::{Check, CheckEnd, CheckPort, RunCheck};

/// The version of this protocol; both sides refuse another.
pub const PROTOCOL: u32 = 1;

/// How often the master writes a blank line on an idle command stream, and an agent without statuses an empty list, milliseconds.
///
/// A third of the silence after which each takes the other for dead (30 s).
pub const KEEP_ALIVE_MILLIS: u64 = 10_000;

/// What an agent offers, whatever the host really has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Cores.
    pub cpus: f64,
    /// Memory, MiB.
    pub mem: f64,
    /// Disk, MiB.
    pub disk: f64,
    /// GPUs.
    pub gpus: u32,
    /// Port ranges shown to users and open to `requirePorts`, inclusive at both ends.
    pub ports: Vec<(u16, u16)>,
    /// Port ranges from which dynamic ports are drawn; disjoint between the agents of one machine.
    pub dynamic_ports: Vec<(u16, u16)>,
}

/// What an agent says of itself when it registers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registration {
    /// [`PROTOCOL`].
    pub protocol: u32,
    /// The id the master gave it before; none at its first start.
    pub agent_id: Option<AgentId>,
    /// Grows with every start of the agent process.
    pub epoch: u64,
    /// Host name or address; tasks are reached there. An IP address for all agents we start.
    pub hostname: String,
    /// The port of the agent's own API.
    pub port: u16,
    /// `*` or `slave_public`.
    pub role: String,
    /// Agent attributes for constraints.
    pub attributes: BTreeMap<String, String>,
    /// What it offers.
    pub resources: Resources,
    /// Every task it knows: running, and ended ones the master has not acknowledged yet.
    pub tasks: Vec<TaskReport>,
    /// Every persistent volume it keeps, by its persistence id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
}

/// One task as its agent knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    /// The task.
    pub task_id: TaskId,
    /// Its state at the agent.
    pub state: TaskState,
    /// What there is to say of it.
    pub message: String,
    /// Why it ended, if there is a word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StatusReason>,
    /// Where it can be reached.
    pub ip_addresses: Vec<IpAddress>,
}

/// The master's answer to a registration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Registered {
    /// The agent's id from now on; the agent keeps it over restarts.
    pub agent_id: AgentId,
    /// The framework that all tasks belong to.
    pub framework_id: String,
}

/// What the master orders; one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Command {
    /// Start this task, unless it is already known.
    Launch(Box<LaunchTask>),
    /// End this task: SIGTERM now, SIGKILL after the grace.
    #[serde(rename_all = "camelCase")]
    Kill {
        /// The task.
        task_id: TaskId,
        /// Milliseconds between the two signals.
        grace_millis: u64,
    },
    /// Destroy these persistent volumes with all that is in them, each once no task uses it; one that is not there is fine.
    #[serde(rename_all = "camelCase")]
    DestroyVolumes {
        /// Their persistence ids.
        volume_ids: Vec<String>,
    },
}

/// A persistent volume that a task is to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MountVolume {
    /// Where the task finds it: a name in its sandbox.
    pub container_path: String,
    /// Which it is.
    pub persistence_id: String,
    /// No task has had it yet: the agent makes it. One that is not new and not there is lost, and the task is not started.
    pub is_new: bool,
}

/// Everything an agent needs to run one task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaunchTask {
    /// The task.
    pub task_id: TaskId,
    /// Its app.
    pub app_id: AppId,
    /// The app version it is started with.
    pub app_version: Timestamp,
    /// The framework, for the sandbox path.
    pub framework_id: String,
    /// The agent it is meant for.
    pub agent_id: AgentId,
    /// A UUID that names the container.
    pub container_id: String,
    /// `/bin/sh -c` text, if any.
    pub cmd: Option<String>,
    /// Arguments, if any.
    pub args: Option<Vec<String>>,
    /// The user to run as, if any.
    pub user: Option<String>,
    /// The app's container, if any.
    pub container: Option<Container>,
    /// The network of a container that is in one of the user's (`ipAddress.networkName`), if the app names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_name: Option<String>,
    /// The whole environment but for what the executor adds (contract marathon §4.4).
    pub env: BTreeMap<String, String>,
    /// Cores.
    pub cpus: f64,
    /// Memory, MiB.
    pub mem: f64,
    /// Disk, MiB.
    pub disk: f64,
    /// Host ports, in the order of the definition.
    pub ports: Vec<u16>,
    /// What to fetch into the sandbox first.
    pub fetch: Vec<crate::app::Fetch>,
    /// Its persistent volumes. No other task may use them at the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<MountVolume>,
    /// Milliseconds between SIGTERM and SIGKILL when the agent itself has to end the task.
    pub grace_millis: u64,
}

/// A change of a task's state, seen by its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusUpdate {
    /// Grows by one with each update of this agent epoch; the master acknowledges up to a number.
    pub seq: u64,
    /// The state now.
    #[serde(flatten)]
    pub report: TaskReport,
}

/// The master's answer to statuses: all up to this number are durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acknowledged {
    /// The number.
    pub acknowledged: u64,
}
