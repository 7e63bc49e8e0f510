//! What the engine decided. Effects are data; the shell carries them out in order of kind.
//!
//! Order for one drained inbox: every `Persist` in one durable batch, then the new snapshot, `Reply`s, `Publish`es, and last the
//! orders to agents, edges and checkers.

use std::sync::Arc;

use zddcluster_model::agent::{LaunchTask, Registered};
use zddcluster_model::app::{App, Fault};
use zddcluster_model::deployment::{Download, Step};
use zddcluster_model::event::Event;
use zddcluster_model::{AgentId, AppId, DeploymentId, EdgeId, TaskId, Timestamp};

use crate::input::Ticket;
use crate::state::Task;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make this durable before anything else of the batch is seen.
    Persist(Mutation),
    /// Answer this caller, after the flush.
    Reply(Ticket, Result<Answer, Refusal>),
    /// Put this on the event bus.
    Publish(Event),
    /// Start a task on an agent.
    Launch(AgentId, Box<LaunchTask>),
    /// End a task on an agent.
    Kill(KillOrder),
    /// Destroy persistent volumes that were freed; ordered again until the agent has them no more.
    DestroyVolumes {
        /// Where they are.
        agent_id: AgentId,
        /// Their persistence ids.
        volume_ids: Vec<String>,
    },
    /// Tell an edge to take a task out of its table.
    Drain(EdgeId, TaskId),
    /// Start or stop checking.
    Check(CheckOrder),
    /// Bring files into the artifact store; answered by `Input::Downloaded`.
    Download(DownloadOrder),
    /// Nobody waits for this one's files any more; it is not answered.
    StopDownload(Attempt),
}

/// A change of the store. Keys are readable paths, values JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Set a key.
    Put(String, Vec<u8>),
    /// Remove a key.
    Remove(String),
}

/// End a task: SIGTERM now, SIGKILL after the grace. Repeated every 10 s until a terminal status comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KillOrder {
    /// Where it runs.
    pub agent_id: AgentId,
    /// The task.
    pub task_id: TaskId,
    /// Milliseconds between the two signals, already divided by the speed.
    pub grace_millis: u64,
}

/// Names one download order; unique while the engine process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u64);

/// Files of one app that have to be in the artifact store. Safe to repeat: what is there is not fetched again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadOrder {
    /// Which order this is: a plan that is taken up again orders anew, and an older answer is none to that.
    pub attempt: Attempt,
    /// The plan that waits for them.
    pub deployment_id: DeploymentId,
    /// The app.
    pub app_id: AppId,
    /// The files.
    pub downloads: Vec<Download>,
}

/// Start or stop checks. The checker itself keeps the time (contract marathon §6.2) and feeds results back.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckOrder {
    /// Check all RUNNING tasks of this app version, first min(interval, 5 s) from now, then every interval. One order a check.
    StartHealth {
        /// The definition with its version.
        app: Arc<App>,
        /// Index of the check in it.
        check_idx: usize,
    },
    /// Stop all health checks of this app version.
    StopHealth {
        /// The app.
        app_id: AppId,
        /// The version.
        version: Timestamp,
    },
    /// Ask this task now, then every interval, until ready or stopped.
    StartReadiness {
        /// The task.
        task_id: TaskId,
        /// The definition it runs.
        app: Arc<App>,
    },
    /// Stop asking this task.
    StopReadiness {
        /// The task.
        task_id: TaskId,
    },
}

/// A good answer to a command.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A deployment was accepted: `{"version", "deploymentId"}`.
    Deployment {
        /// The new version of tree and app.
        version: Timestamp,
        /// The plan; empty ones are already over.
        deployment_id: DeploymentId,
        /// The app as stored, for POST and a creating PUT.
        created: Option<Arc<App>>,
    },
    /// What a change would do, step by step.
    Steps(Vec<Step>),
    /// These tasks were asked to die.
    Killed(Vec<Arc<Task>>),
    /// An agent is in.
    Registered(Registered),
    /// Done, nothing to say.
    Done,
}

/// A refusal, with what the API needs to word it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 422 with details.
    #[error("Object is not valid")]
    Invalid(Vec<Fault>),
    /// 422 with a message alone (illegal argument).
    #[error("{0}")]
    IllegalArgument(String),
    /// 404.
    #[error("App '{0}' does not exist")]
    UnknownApp(AppId),
    /// 404.
    #[error("Group '{0}' does not exist")]
    UnknownGroup(AppId),
    /// 404.
    #[error("Task '{0}' does not exist")]
    UnknownTask(TaskId),
    /// 404.
    #[error("DeploymentPlan {0} does not exist")]
    UnknownDeployment(DeploymentId),
    /// 404.
    #[error("Application {0} not found in tasks queue.")]
    NotQueued(AppId),
    /// 409.
    #[error("An app with id [{0}] already exists.")]
    AppExists(AppId),
    /// 409.
    #[error("Group {0} is already created. Use PUT to change this group.")]
    GroupExists(AppId),
    /// 409, for a group.
    #[error("An app with the path {0} already exists.")]
    AppAtPath(AppId),
    /// 409 with the plans in the way.
    #[error(
        "App is locked by one or more deployments. Override with the option '?force=true'. View details at '/v2/deployments/<DEPLOYMENT_ID>'."
    )]
    Locked(Vec<DeploymentId>),
    /// 500.
    #[error("All ports in the range [10000-20000) are already in use")]
    PortsExhausted,
    /// 409 for an agent whose epoch is older than a known one.
    #[error("agent {agent_id} is already here with epoch {known}, this is {given}")]
    Fenced {
        /// The agent.
        agent_id: AgentId,
        /// The newest epoch seen.
        known: u64,
        /// The epoch given.
        given: u64,
    },
    /// 400 for an agent that speaks another protocol.
    #[error("agent protocol {given} is not spoken here, only {known}")]
    WrongProtocol {
        /// Ours.
        known: u32,
        /// Theirs.
        given: u32,
    },
    /// 503: the cluster is going down.
    #[error("the cluster is stopping")]
    Stopping,
}
