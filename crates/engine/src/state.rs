//! What the engine keeps, and how it is persisted and replayed.
//!
//! Persistent maps: a clone of the whole state is cheap, so that the master can publish one after each batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zddcluster_model::agent::Resources;
use zddcluster_model::app::App;
use zddcluster_model::deployment::{Download, Plan};
use zddcluster_model::task::{HealthResult, IpAddress, LocalVolume, StatusReason, TaskFailure};
use zddcluster_model::{AgentId, AppId, DeploymentId, EdgeId, Group, TaskId, TaskState, Timestamp};

use crate::Config;
pub use crate::actions::{Actions, RunningAction};
use crate::reason::{OfferCounts, Refused};
use crate::regroup::GroupChange;
use crate::volume::Reservation;

/// Sleeps of the machine that are kept in mind: more than a laptop has in the longest grace of a health check.
const KEPT_SLEEPS: usize = 16;

/// The whole state.
#[derive(Clone, Debug)]
pub struct State {
    /// The tree of groups and apps as users see it.
    pub root: Arc<Group>,
    /// Definitions by app and version, the present one included; newest last. At most [`VERSIONS_KEPT`] an app, and those in use.
    pub versions: RedBlackTreeMapSync<AppId, Arc<Vec<Arc<App>>>>,
    /// The trees of before, by version; with the present one at most [`VERSIONS_KEPT`].
    pub(crate) history: RedBlackTreeMapSync<Timestamp, Arc<Group>>,
    /// App versions that only trees of before still have.
    pub(crate) past: RedBlackTreeMapSync<(AppId, Timestamp), Arc<App>>,
    /// Tasks that have not ended, and lost ones that may come back.
    pub tasks: RedBlackTreeMapSync<TaskId, Arc<Task>>,
    /// What instances of resident apps keep on agents, with or without a task.
    pub reservations: RedBlackTreeMapSync<Uuid, Arc<Reservation>>,
    /// Volumes that were freed, by their persistence ids, until their agents have them no more.
    pub(crate) freed: RedBlackTreeMapSync<String, AgentId>,
    /// Ended tasks for the Mesos API, newest last, at most [`COMPLETED_KEPT`]; not persisted.
    pub completed: Arc<Vec<Arc<Task>>>,
    /// Agents that are or were here.
    pub agents: RedBlackTreeMapSync<AgentId, Arc<Agent>>,
    /// Running deployments.
    pub deployments: RedBlackTreeMapSync<DeploymentId, Arc<Deployment>>,
    /// The deployment that acts on each app; there is at most one (an index over `deployments`).
    pub(crate) locks: RedBlackTreeMapSync<AppId, DeploymentId>,
    /// Apps with instances waiting to be launched. Changed by `put_queued` and `remove_queued` alone.
    pub queue: RedBlackTreeMapSync<AppId, Arc<QueueEntry>>,
    /// The last bad end of a task, by app.
    pub failures: RedBlackTreeMapSync<AppId, Arc<TaskFailure>>,
    /// Edges with an open drain stream.
    pub edges: BTreeSet<EdgeId>,
    /// Latest time seen.
    pub clock: Timestamp,
    /// The master's UUID: agents are `<uuid>-S<n>`, the framework `<uuid>-0000`. Kept over restarts.
    pub master_uuid: Uuid,

    /// Ids of the tasks of each app (an index over `tasks`).
    pub(crate) by_app: RedBlackTreeMapSync<AppId, RedBlackTreeSetSync<TaskId>>,
    /// Ids of what each app keeps on agents (an index over `reservations`).
    pub(crate) reserved_by: RedBlackTreeMapSync<AppId, RedBlackTreeSetSync<Uuid>>,
    /// What is in use on each agent (an index over `tasks` and `reservations`).
    pub(crate) usage: RedBlackTreeMapSync<AgentId, Arc<Usage>>,
    /// Apps whose queued instances are to be tried when their delay is over, if they have one (an index over `queue`).
    pub(crate) untried: RedBlackTreeSetSync<(Option<Timestamp>, AppId)>,
    /// Tasks on their way out (an index over `tasks`).
    pub(crate) killing: RedBlackTreeSetSync<TaskId>,
    /// When their next signals are due (an index over `tasks`).
    pub(crate) signals: RedBlackTreeSetSync<(Timestamp, TaskId)>,
    /// Tasks whose agent is away for good, until they are forgotten (an index over `tasks`).
    pub(crate) lost: RedBlackTreeSetSync<TaskId>,
    /// Delays of apps whose tasks end by themselves, by app and config version.
    pub(crate) backoff: RedBlackTreeMapSync<(AppId, Timestamp), Delay>,
    /// App versions whose health checks run.
    pub(crate) checks: RedBlackTreeMapSync<(AppId, Timestamp), Arc<App>>,
    /// Edges known from before a restart that have not come back yet, and until when they count as connected.
    pub(crate) edges_awaited: BTreeSet<EdgeId>,
    pub(crate) edges_awaited_until: Timestamp,
    /// When the machine woke up, and how many milliseconds it had slept: the last [`KEPT_SLEEPS`] times.
    pub(crate) sleeps: Vec<(Timestamp, i64)>,
    /// Number of the next agent.
    pub(crate) next_agent: u64,
    /// Latest 100-ns tick used in a task id.
    pub(crate) last_tick: u64,
    /// Number of the latest download order of this process.
    pub(crate) last_attempt: u64,
    /// Source of the engine's random choices.
    pub(crate) rng: ChaCha8Rng,
    /// Nothing of this cluster is in the store yet.
    pub(crate) is_new: bool,
    /// Deployments of an earlier process have been taken up.
    pub(crate) is_resumed: bool,
    /// The cluster goes down: nothing is launched any more.
    pub(crate) is_stopping: bool,
    /// When this process took over: lost tasks are first forgotten a while later.
    pub(crate) began: Timestamp,
    /// When all apps are compared with their tasks next.
    pub(crate) next_sweep: Timestamp,
    /// Something changed that may let an instance be launched.
    pub(crate) queue_is_stale: bool,
}

/// Versions kept of each app and of the tree, as Marathon's `zk_max_versions`.
pub const VERSIONS_KEPT: usize = 25;

/// Ended tasks shown by the Mesos API. Mesos keeps 1000 a framework; a lab needs the last few rollouts.
pub const COMPLETED_KEPT: usize = 100;

/// What is in use on an agent: by launched tasks, and by reservations whether or not a task holds them. Amounts in millionths, so that sums are exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpus: i64,
    pub(crate) mem: i64,
    pub(crate) disk: i64,
    pub(crate) ports: BTreeSet<u16>,
    pub(crate) tasks: usize,
}

/// A back-off delay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Delay {
    /// Its length, milliseconds, before division by the speed.
    pub(crate) millis: i64,
    /// No launch before this time.
    pub(crate) until: Timestamp,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its app.
    pub app_id: AppId,
    /// The definition it was launched with (its `version` is the task's).
    #[serde(skip)]
    pub app: Option<Arc<App>>,
    /// Version of that definition.
    pub version: Timestamp,
    /// Where it runs.
    pub agent_id: AgentId,
    /// That agent's host name.
    pub host: String,
    /// Host ports, in the order of the definition.
    pub ports: Vec<u16>,
    /// Cores it holds, millionths.
    pub cpus: i64,
    /// Memory it holds, millionths of a MiB.
    pub mem: i64,
    /// Disk it holds, millionths of a MiB.
    pub disk: i64,
    /// State in Mesos' words.
    pub state: TaskState,
    /// When the launch was decided.
    pub staged_at: Timestamp,
    /// When it was first RUNNING.
    pub started_at: Option<Timestamp>,
    /// When it ended or was lost.
    pub ended_at: Option<Timestamp>,
    /// Message of the last status.
    pub message: String,
    /// Why it ended, if its agent had a word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StatusReason>,
    /// Known from RUNNING on.
    pub ip_addresses: Vec<IpAddress>,
    /// The container's UUID, which names the sandbox.
    pub container_id: String,
    /// Standing of each health check, by index; `None` before its first result.
    #[serde(skip)]
    pub health: Vec<Option<HealthResult>>,
    /// Set from the kill decision on.
    pub killing: Option<Killing>,
    /// What it holds of its resident app's, with all its amounts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reservation: Option<Uuid>,
    /// Its persistent volumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local_volumes: Vec<LocalVolume>,
}

/// A task on its way out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Killing {
    /// When it was decided.
    pub since: Timestamp,
    /// Why, for logs and `explain`.
    pub reason: String,
    /// Edges that have not yet let it go; SIGTERM waits for them.
    pub draining: BTreeSet<EdgeId>,
    /// SIGTERM goes out at this time at the latest; repeated every 10 s from then on.
    pub next_signal: Timestamp,
    /// SIGTERM has been ordered at least once.
    pub is_signalled: bool,
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Newest epoch seen.
    pub epoch: u64,
    /// Host name or address.
    pub hostname: String,
    /// Port of its API.
    pub port: u16,
    /// `*` or `slave_public`.
    pub role: String,
    /// Attributes.
    pub attributes: BTreeMap<String, String>,
    /// What it offers in all.
    pub resources: Resources,
    /// First registration.
    pub registered_at: Timestamp,
    /// Its command stream is open.
    #[serde(skip)]
    pub is_connected: bool,
    /// When the stream ended, if it is not open.
    #[serde(skip)]
    pub away_since: Option<Timestamp>,
}

/// A running deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Deployment {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Index of the step that runs.
    pub step_idx: usize,
    /// That step's actions.
    pub actions: Actions,
    /// Tasks that a kill with `scale` has named, by app: the first to go.
    pub sentenced: BTreeMap<AppId, BTreeSet<TaskId>>,
    /// Files that its first step brings into the artifact store, by app.
    pub downloads: BTreeMap<AppId, Vec<Download>>,
    /// What the plan does to groups themselves, for a rollback.
    pub(crate) groups: Arc<BTreeMap<AppId, GroupChange>>,
}

/// Instances of one app that wait to be launched.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueEntry {
    /// The definition they will run.
    pub app: Arc<App>,
    /// How many.
    pub count: u32,
    /// Not before this time; `None` without back-off.
    pub delayed_until: Option<Timestamp>,
    /// When the first of them began to wait.
    pub since: Timestamp,
    /// Why no agent took the next instance; empty if it was not tried yet, or there is no agent.
    pub refusals: Arc<[Refused]>,
    /// What became of the agents' offers.
    pub offers: OfferCounts,
    /// It was offered to every agent since something last changed.
    pub(crate) is_tried: bool,
}

/// A store whose records cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A value that is not what its key says.
    #[error("record {key} cannot be read")]
    BadRecord {
        /// The key.
        key: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A key of no known kind.
    #[error("record {0} is of an unknown kind (written by a newer version?)")]
    UnknownKey(String),
    /// A record that another one refers to is not there.
    #[error("record {0} is missing")]
    Missing(String),
}

impl State {
    /// The state of an empty cluster.
    pub fn new(config: &Config, now: Timestamp) -> Self {
        Self {
            root: Arc::new(Group::empty(AppId::root(), now)),
            versions: RedBlackTreeMapSync::default(),
            history: RedBlackTreeMapSync::default(),
            past: RedBlackTreeMapSync::default(),
            tasks: RedBlackTreeMapSync::default(),
            reservations: RedBlackTreeMapSync::default(),
            freed: RedBlackTreeMapSync::default(),
            completed: Arc::default(),
            agents: RedBlackTreeMapSync::default(),
            deployments: RedBlackTreeMapSync::default(),
            locks: RedBlackTreeMapSync::default(),
            queue: RedBlackTreeMapSync::default(),
            failures: RedBlackTreeMapSync::default(),
            edges: BTreeSet::new(),
            clock: now,
            master_uuid: config.master_uuid,
            by_app: RedBlackTreeMapSync::default(),
            reserved_by: RedBlackTreeMapSync::default(),
            untried: RedBlackTreeSetSync::default(),
            usage: RedBlackTreeMapSync::default(),
            killing: RedBlackTreeSetSync::default(),
            signals: RedBlackTreeSetSync::default(),
            lost: RedBlackTreeSetSync::default(),
            backoff: RedBlackTreeMapSync::default(),
            checks: RedBlackTreeMapSync::default(),
            edges_awaited: BTreeSet::new(),
            edges_awaited_until: Timestamp::NEVER,
            sleeps: Vec::new(),
            next_agent: 0,
            last_tick: 0,
            last_attempt: 0,
            rng: ChaCha8Rng::seed_from_u64(config.seed),
            is_new: true,
            is_resumed: false,
            is_stopping: false,
            began: now,
            next_sweep: now,
            queue_is_stale: false,
        }
    }

    /// Keeps in mind that the machine slept until now.
    pub(crate) fn note_sleep(&mut self, now: Timestamp, millis: i64) {
        if self.sleeps.len() >= KEPT_SLEEPS {
            self.sleeps.remove(0);
        }
        self.sleeps.push((now, millis.max(0)));
    }

    /// Milliseconds since then in which the machine was awake: what a task has had to come up in.
    pub(crate) fn awake_since(&self, since: Timestamp, now: Timestamp) -> i64 {
        let slept = self.sleeps.iter().filter(|(woke, _)| *woke > since);
        let slept: i64 = slept.map(|(_, millis)| millis).sum();
        (now.millis_since(since) - slept).max(0)
    }

    /// The framework that all tasks belong to.
    pub fn framework_id(&self) -> String {
        format!("{}-0000", self.master_uuid)
    }

    /// The tasks of an app, launched or lost, in order of their ids.
    pub fn tasks_of<'a>(&'a self, app_id: &AppId) -> impl Iterator<Item = &'a Arc<Task>> {
        self.by_app
            .get(app_id)
            .into_iter()
            .flat_map(|ids| ids.iter())
            .filter_map(|id| self.tasks.get(id))
    }

    /// The launched tasks of an app: those that have neither ended nor been lost.
    pub fn launched_of<'a>(&'a self, app_id: &AppId) -> impl Iterator<Item = &'a Arc<Task>> {
        self.tasks_of(app_id).filter(|task| task.is_launched())
    }

    /// Whether any task ran or was to run on an agent: a launched, a lost, or an ended one that is still known.
    pub fn has_tasks_of(&self, agent_id: &AgentId) -> bool {
        let usage = self.usage.get(agent_id);
        let lost = self.lost.iter().filter_map(|id| self.tasks.get(id));
        usage.is_some_and(|usage| usage.tasks > 0)
            || lost
                .chain(self.completed.iter())
                .any(|task| task.agent_id == *agent_id)
    }

    /// The stored definition of an app at a version.
    pub fn version_of(&self, app_id: &AppId, version: Timestamp) -> Option<&Arc<App>> {
        self.versions
            .get(app_id)?
            .iter()
            .rev()
            .find(|app| app.version == version)
    }

    /// The running deployment that acts on an app: its lock admits one.
    pub fn deployments_of<'a>(
        &'a self,
        app_id: &AppId,
    ) -> impl Iterator<Item = &'a Arc<Deployment>> + use<'a> {
        self.locks
            .get(app_id)
            .and_then(|id| self.deployments.get(id))
            .into_iter()
    }

    /// Adds a deployment, and locks its apps.
    pub(crate) fn add_deployment(&mut self, deployment: Deployment) {
        let id = &deployment.plan.id;
        for app_id in deployment.plan.affected_apps() {
            self.locks.insert_mut(app_id, id.clone());
        }
        self.deployments
            .insert_mut(id.clone(), Arc::new(deployment));
    }

    /// Removes a deployment, and unlocks its apps, which are given back.
    pub(crate) fn remove_deployment(&mut self, id: &DeploymentId) -> Vec<AppId> {
        let Some(deployment) = self.deployments.get(id).map(Arc::clone) else {
            return Vec::new();
        };
        self.deployments.remove_mut(id);
        let apps = deployment.plan.affected_apps();
        for app_id in &apps {
            self.locks.remove_mut(app_id);
        }
        apps
    }

    /// Instances of an app that wait in the launch queue.
    pub fn queued_of(&self, app_id: &AppId) -> u32 {
        self.queue.get(app_id).map_or(0, |entry| entry.count)
    }
}

impl State {
    /// Whether the cluster goes down: nothing is written or launched any more, so nobody leads.
    pub const fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// The app versions whose health checks run, of one app.
    pub(crate) fn checks_of<'a>(
        &'a self,
        app_id: &AppId,
    ) -> impl Iterator<Item = &'a (AppId, Timestamp)> + use<'a> {
        self.checks.range(versions_of(app_id)).map(|(key, _)| key)
    }
}

/// All keys of an app in a map by app and version.
pub(crate) fn versions_of(app_id: &AppId) -> std::ops::RangeInclusive<(AppId, Timestamp)> {
    (app_id.clone(), Timestamp::ZERO)..=(app_id.clone(), Timestamp::NEVER)
}

impl Task {
    /// Neither ended nor lost: it has, or will have, a process.
    pub const fn is_launched(&self) -> bool {
        !self.state.is_terminal()
    }

    /// Running and not on its way out.
    pub fn is_serving(&self) -> bool {
        self.state == TaskState::Running
    }

    /// Counts as healthy for a deployment: it has run, and some check of it, if it has any, once was good.
    ///
    /// Source: contract marathon §6.5: the first `alive` of any check; a later failure does not take it back.
    pub fn has_been_healthy(&self) -> bool {
        let has_checks = self
            .app
            .as_ref()
            .is_some_and(|app| !app.health_checks.is_empty());
        if has_checks {
            self.health
                .iter()
                .flatten()
                .any(|result| result.first_success.is_some())
        } else {
            self.started_at.is_some()
        }
    }
}
