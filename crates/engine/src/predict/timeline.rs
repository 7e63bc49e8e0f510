//! What a prediction answers: data, the same over HTTP and in the terminal.

use serde::{Deserialize, Serialize};
use zddcluster_model::deployment::{ActionKind, Step};
use zddcluster_model::{AgentId, AppId};

use super::assume::Assumptions;

/// The course of a deployment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// The steps of the plan; none if nothing would change.
    pub steps: Vec<Step>,
    /// The apps that the plan acts on, in order of their ids.
    pub apps: Vec<AppOutline>,
    /// T0 (before), T1 (the deployment begins), …; each a change of the visible picture.
    pub points: Vec<Point>,
    /// Later points that were left out, since there are more than anybody reads.
    pub points_left_out: usize,
    /// From T1 to the end, milliseconds; `None` if it does not end.
    pub total_millis: Option<i64>,
    /// The most that is used of the cluster at any time.
    pub usage: Usage,
    /// Whether it ends, and if not, why.
    pub verdict: Verdict,
    /// What else there is to know, a sentence each.
    pub notes: Vec<String>,
    /// What was assumed.
    pub assumptions: Assumptions,
    /// The cluster's control-plane times are divided by this.
    pub speed: f64,
}

/// What a plan does to an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppOutline {
    /// The app.
    pub app: AppId,
    /// What is done with it, in order.
    pub actions: Vec<ActionKind>,
    /// Its instances before; `None` for a new app.
    pub instances_before: Option<u32>,
    /// Its instances after; `None` for one that is removed.
    pub instances_after: Option<u32>,
    /// The arithmetic of its rolling restart, if it is one and was begun.
    pub bounds: Option<RestartBounds>,
    /// How long each answer of its tasks to a check is taken to last; `None` if there are no checks.
    pub answer_seconds: Option<f64>,
    /// How few of its tasks serve at the worst moment.
    pub capacity: Capacity,
}

/// The arithmetic of a rolling restart; counts are tasks (contract marathon §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartBounds {
    /// Kept at least.
    pub min_healthy: i64,
    /// Launched at most.
    pub max_capacity: i64,
    /// Old ones killed at once.
    pub killed_at_once: i64,
}

/// How few tasks of an app serve at the worst moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// Serving tasks then, of any version.
    pub lowest: u32,
    /// Its share of the instances that are wanted before and after; `None` if that is none.
    pub share: Option<f64>,
    /// The number of the first point at which it is so; perhaps one of those left out.
    pub at: usize,
    /// How long it is so in all, milliseconds.
    pub for_millis: i64,
}

/// A moment, and everything that happened in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Point {
    /// Since the deployment began.
    pub millis: i64,
    /// The apps as they are then, in the order of [`Timeline::apps`].
    pub apps: Vec<AppPicture>,
    /// What happened, in order; equal things in a row are one.
    pub happened: Vec<Happened>,
}

/// An app at a moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppPicture {
    /// Its tasks by version and standing: old ones first, and of each those that serve.
    pub tasks: Vec<Tasks>,
    /// Instances that wait to be launched.
    pub waiting: u32,
    /// Tasks that serve.
    pub serving: u32,
}

/// Some tasks of one version in one standing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tasks {
    /// What the version is called: where releases differ, or `old` and `new`.
    pub version: String,
    /// It is the version that the plan brings.
    pub is_new: bool,
    /// How they are.
    pub standing: Standing,
    /// How many.
    pub count: u32,
}

/// How a task looks to those who want something of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Runs, healthy and ready.
    Serving,
    /// Runs, but is not healthy or not ready.
    Running,
    /// Launched, does not run yet.
    Staging,
    /// A kill was decided; it gets no new requests.
    Killing,
}

/// Something that happened to some tasks of one version, or to the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Happened {
    /// What.
    pub what: Change,
    /// The app; `None` for the deployment itself.
    pub app: Option<AppId>,
    /// Whose tasks; empty for the deployment itself.
    pub version: String,
    /// To how many of them, one right after the other.
    pub count: u32,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A step begins; its number is the count.
    StepBegins,
    /// Launched.
    Started,
    /// TASK_RUNNING.
    Runs,
    /// Good answers to its health checks.
    Healthy,
    /// Bad answers, after good ones.
    Unhealthy,
    /// Its readiness check says yes.
    Ready,
    /// Its end was decided.
    Killed,
    /// Its end was decided because its health checks failed too often.
    KilledForHealth,
    /// It is gone, as was wanted.
    Ended,
    /// It ended by itself, or was lost.
    Failed,
    /// The deployment is over.
    Done,
    /// The deployment was given up.
    Cancelled,
}

/// The most that is used, over all of the course.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// All connected agents together.
    pub cluster: Peak,
    /// The agents that run tasks of the plan's apps at some time.
    pub agents: Vec<AgentPeak>,
}

/// Cores and MiB, used at most and offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peak {
    /// Cores used.
    pub cpus: f64,
    /// Cores offered.
    pub cpus_offered: f64,
    /// Memory used, MiB.
    pub mem: f64,
    /// Memory offered, MiB.
    pub mem_offered: f64,
}

/// The most that is used of one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentPeak {
    /// The agent.
    pub agent_id: AgentId,
    /// Its host name.
    pub hostname: String,
    /// What is used and offered.
    #[serde(flatten)]
    pub peak: Peak,
}

/// Whether the deployment ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Whether.
    pub outcome: Outcome,
    /// The last point at which it came forward; only if it does not end.
    pub stands_since: Option<usize>,
    /// Why it does not end.
    pub reasons: Vec<Reason>,
}

/// Whether a deployment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It does.
    Finishes,
    /// It never does.
    CannotFinish,
    /// Finding out takes more work than is allowed.
    Unknown,
}

/// One thing that keeps a deployment from its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// The app.
    pub app: AppId,
    /// What it is for.
    pub kind: Hindrance,
    /// In words, what is missing named.
    pub text: String,
}

/// Kinds of things that keep a deployment from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hindrance {
    /// cpus, mem, disk or gpus.
    Resources,
    /// A placement constraint.
    Constraint,
    /// Host ports.
    Ports,
    /// Resource roles.
    Role,
    /// An agent is away, or there is none.
    Agent,
    /// A persistent volume is elsewhere, or an external one nowhere.
    Volume,
    /// A health check never passes.
    Health,
    /// A readiness check never passes.
    Readiness,
    /// Tasks end by themselves.
    Crash,
    /// Anything else that the deployment waits for.
    Other,
}
