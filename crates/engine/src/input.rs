//! What can happen to the engine.

use std::collections::BTreeMap;

use zddcluster_model::agent::{Registration, TaskReport};
use zddcluster_model::app::AppUpdate;
use zddcluster_model::deployment::Download;
use zddcluster_model::group::GroupUpdate;
use zddcluster_model::task::ReadinessResponse;
use zddcluster_model::{AgentId, AppId, DeploymentId, EdgeId, TaskId, Timestamp};

use crate::effect::Attempt;

/// Names a caller that waits for an answer; unique while the engine process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A caller of the API wants something; answered by exactly one `Effect::Reply` in the same step.
    Command {
        /// Who waits.
        ticket: Ticket,
        /// What is wanted.
        command: Command,
    },
    /// An agent registered (again); answered by `Effect::Reply` with `Answer::Registered` or `Refusal::Fenced`.
    AgentRegistered {
        /// Who waits.
        ticket: Ticket,
        /// What it said.
        registration: Box<Registration>,
    },
    /// An agent's command stream ended.
    AgentDisconnected {
        /// The agent.
        agent_id: AgentId,
        /// The epoch of the stream; an older one is ignored.
        epoch: u64,
    },
    /// An agent reported a task's state. The master acknowledges it after the flush.
    TaskStatus {
        /// The agent.
        agent_id: AgentId,
        /// What it reported.
        report: TaskReport,
    },
    /// A health check was carried out for a running task.
    Health {
        /// The task.
        task_id: TaskId,
        /// Index of the check in the task's app version.
        check_idx: usize,
        /// The outcome.
        verdict: CheckVerdict,
    },
    /// A readiness check was carried out for a task of a running deployment.
    Readiness {
        /// The task.
        task_id: TaskId,
        /// Whether the answer was one for ready.
        is_ready: bool,
        /// The answer itself.
        response: ReadinessResponse,
    },
    /// A deployment's downloads for one app have ended, all or with this failure.
    Downloaded {
        /// The plan.
        deployment_id: DeploymentId,
        /// The app.
        app_id: AppId,
        /// The order that is answered; an older one is ignored.
        attempt: Attempt,
        /// Why one failed.
        result: Result<(), String>,
    },
    /// An edge opened its drain stream.
    EdgeConnected(EdgeId),
    /// An edge's drain stream ended.
    EdgeDisconnected(EdgeId),
    /// An edge has a task out of its table and nothing in flight on it.
    Drained {
        /// The edge.
        edge_id: EdgeId,
        /// The task.
        task_id: TaskId,
    },
    /// The machine has just woken up: of the time that passed, so much passed without anything running on it.
    Slept {
        /// How long it slept.
        millis: i64,
    },
    /// The time asked for by [`crate::Engine::next_wake`] has come, or the engine has just been started. Harmless at any time.
    Wake,
}

/// How one health check ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    /// A good answer in time.
    Healthy,
    /// No or a bad answer, and why in Marathon's words.
    Unhealthy(String),
}

/// What a caller of the API wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// POST /v2/apps.
    CreateApp {
        /// The definition; must have an id.
        update: AppUpdate,
        /// Cancel deployments in the way.
        force: bool,
        /// For `api_post_event`.
        origin: Origin,
    },
    /// PUT /v2/apps/{id}, also with `{"version": ..}`; creates a missing app.
    UpdateApp {
        /// The app.
        app_id: AppId,
        /// What to change.
        update: AppUpdate,
        /// Missing keys get defaults instead of keeping their value (`?partialUpdate=false`).
        is_full: bool,
        /// Cancel deployments in the way.
        force: bool,
        /// For `api_post_event`.
        origin: Origin,
    },
    /// PUT /v2/apps with a list; elements without id are skipped.
    UpdateApps {
        /// What to change.
        updates: Vec<AppUpdate>,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// DELETE /v2/apps/{id}.
    DeleteApp {
        /// The app.
        app_id: AppId,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// POST /v2/apps/{id}/restart.
    RestartApp {
        /// The app.
        app_id: AppId,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// POST /v2/groups[/{base}]: a group that is not there yet.
    CreateGroup {
        /// The path of the request.
        base: AppId,
        /// The body.
        update: GroupUpdate,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// PUT /v2/groups[/{base}], also with `scaleBy` or `version`; creates a missing group.
    UpdateGroup {
        /// The path of the request.
        base: AppId,
        /// The body.
        update: GroupUpdate,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// PUT /v2/groups[/{base}]?dryRun=true: answered with the steps; nothing changes.
    PlanGroup {
        /// The path of the request.
        base: AppId,
        /// The body.
        update: GroupUpdate,
    },
    /// DELETE /v2/groups[/{id}]: the group and all below it; the root is emptied.
    DeleteGroup {
        /// The group.
        group_id: AppId,
        /// Cancel deployments in the way.
        force: bool,
    },
    /// The three ways to kill tasks.
    KillTasks {
        /// Which.
        selection: Selection,
        /// Lower the instances of their apps by as many (a deployment).
        scale: bool,
        /// Free their persistent volumes, and give up those that are lost; not with `scale`. Of a whole app, also volumes that no task has.
        wipe: bool,
        /// Cancel deployments in the way; only with `scale`.
        force: bool,
    },
    /// DELETE /v2/deployments/{id}?force=true: stop, no rollback.
    CancelDeployment {
        /// The plan.
        deployment_id: DeploymentId,
    },
    /// DELETE /v2/deployments/{id}: stop, and deploy the state before it.
    RollBackDeployment {
        /// The plan.
        deployment_id: DeploymentId,
    },
    /// DELETE /v2/queue/{id}/delay.
    ResetDelay {
        /// The app.
        app_id: AppId,
    },
    /// Another command whose deployment has to bring files into the artifact store first, by app.
    WithDownloads {
        /// What is not there yet.
        downloads: BTreeMap<AppId, Vec<Download>>,
        /// What is wanted.
        command: Box<Self>,
    },
    /// DELETE /v2/leader: a single master is elected again, and takes its deployments up as after a restart.
    Abdicate,
    /// The cluster goes down: every task is ended, without drain and replacement, and comes back at the next start.
    StopTasks,
}

/// Which tasks to kill.
#[derive(Clone, Debug)]
pub enum Selection {
    /// By id, of any app; unknown ones are ignored.
    Ids(Vec<TaskId>),
    /// All of an app, or those on one host. Unknown app: refused.
    App {
        /// The app.
        app_id: AppId,
        /// Only on this host.
        host: Option<String>,
    },
    /// One of an app. Unknown app or task: refused.
    One {
        /// The app.
        app_id: AppId,
        /// The task.
        task_id: TaskId,
    },
}

/// Where a write came from, for `api_post_event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The caller's address.
    pub client_ip: String,
    /// The path, without `/service/marathon`.
    pub uri: String,
}

/// Not used by the engine itself: the version a caller asked for (kept here so that shells agree on one type).
pub type Version = Timestamp;
