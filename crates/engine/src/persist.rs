//! What is written to the store, under which key, and how it is read back.
//!
//! | key | value |
//! |---|---|
//! | `meta/cluster` | master UUID, clock, number of the next agent |
//! | `version/<app id>@<version>` | an app definition |
//! | `group/<group id>` | version, dependencies and the versions of its own apps |
//! | `undo/<version>` | the way back to a tree of before ([`crate::history`]) |
//! | `past/<app id>@<version>` | an app definition that only trees of before still have |
//! | `deployment/<id>` | steps, per affected app its version before and after, and what becomes of groups |
//! | `task/<id>` | a launched or lost task, without health |
//! | `agent/<id>` | an agent |
//! | `failure/<app id>` | the last bad end of a task |
//! | `edge/<id>` | an edge that is connected |
//!
//! A plan names app versions instead of carrying two trees; on replay its trees are the present one with the affected apps set
//! back or forth. Health, queues and back-off are not kept: checks, deployments and the sweep rebuild them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zddcluster_model::app::{App, KillSelection};
use zddcluster_model::deployment::{Download, Plan, Step};
use zddcluster_model::task::TaskFailure;
use zddcluster_model::{AgentId, AppId, DeploymentId, EdgeId, Group, TaskId, Timestamp};

use crate::actions::Actions;
use crate::history::{self, Undo};
use crate::regroup::{GroupChange, set_group};
use crate::state::{Agent, Deployment, ReplayError, State, Task};
use crate::turn::index_task;
use crate::volume::{Reservation, index_reservation};
use crate::{Config, Mutation};

/// How long edges of before a restart count as connected without having come back, milliseconds of real time.
///
/// The drain deadline: a task killed in the first moments is held for them as it would have been before.
const EDGE_GRACE_MILLIS: i64 = 10_000;

/// One record to store.
pub(crate) type Record = (String, Vec<u8>);

pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have string keys and finite numbers")
}

fn put((key, value): Record) -> Mutation {
    Mutation::Put(key, value)
}

#[derive(Serialize, Deserialize)]
struct Cluster {
    master_uuid: Uuid,
    clock: Timestamp,
    next_agent: u64,
    last_tick: u64,
}

fn cluster_record(state: &State) -> Record {
    let cluster = Cluster {
        master_uuid: state.master_uuid,
        clock: state.clock,
        next_agent: state.next_agent,
        last_tick: state.last_tick,
    };
    ("meta/cluster".to_owned(), json(&cluster))
}

pub(crate) fn put_cluster(state: &State) -> Mutation {
    put(cluster_record(state))
}

pub(crate) fn version_key(app_id: &AppId, version: Timestamp) -> String {
    format!("version/{app_id}@{version}")
}

fn version_record(app: &App) -> Record {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct StoredApp<'a> {
        #[serde(flatten)]
        app: &'a App,
        // Not printed with the app.
        kill_selection: KillSelection,
    }
    let kill_selection = app.kill_selection;
    let stored = StoredApp {
        app,
        kill_selection,
    };
    (version_key(&app.id, app.version), json(&stored))
}

pub(crate) fn put_version(app: &App) -> Mutation {
    put(version_record(app))
}

pub(crate) fn remove_version(app_id: &AppId, version: Timestamp) -> Mutation {
    Mutation::Remove(version_key(app_id, version))
}

#[derive(Serialize, Deserialize)]
struct StoredGroup {
    version: Timestamp,
    dependencies: BTreeSet<AppId>,
    apps: BTreeMap<AppId, Timestamp>,
}

fn group_record(group: &Group) -> Record {
    let stored = StoredGroup {
        version: group.version,
        dependencies: group.dependencies.clone(),
        apps: group
            .apps
            .iter()
            .map(|(id, app)| (id.clone(), app.version))
            .collect(),
    };
    (format!("group/{}", group.id), json(&stored))
}

/// The mutations that turn the stored tree `old` into `new`; untouched groups are shared and skipped.
pub(crate) fn put_tree(old: &Group, new: &Group, mutations: &mut Vec<Mutation>) {
    mutations.push(put(group_record(new)));
    for (id, group) in &new.groups {
        match old.groups.get(id) {
            Some(before) if Arc::ptr_eq(before, group) => {}
            Some(before) => put_tree(before, group, mutations),
            None => put_tree(&Group::empty(id.clone(), group.version), group, mutations),
        }
    }
    for (id, group) in &old.groups {
        if !new.groups.contains_key(id) {
            remove_tree(group, mutations);
        }
    }
}

fn remove_tree(group: &Group, mutations: &mut Vec<Mutation>) {
    mutations.push(Mutation::Remove(format!("group/{}", group.id)));
    for group in group.groups.values() {
        remove_tree(group, mutations);
    }
}

#[derive(Serialize, Deserialize)]
struct StoredDeployment {
    version: Timestamp,
    original_version: Timestamp,
    steps: Vec<Step>,
    before: BTreeMap<AppId, Timestamp>,
    after: BTreeMap<AppId, Timestamp>,
    sentenced: BTreeMap<AppId, BTreeSet<TaskId>>,
    #[serde(default)]
    groups: BTreeMap<AppId, GroupChange>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    downloads: BTreeMap<AppId, Vec<Download>>,
}

fn deployment_record(deployment: &Deployment) -> Record {
    let plan = &deployment.plan;
    let versions = |root: &Group| {
        plan.affected_apps()
            .into_iter()
            .filter_map(|id| root.app(&id).map(|app| (id, app.version)))
            .collect()
    };
    let stored = StoredDeployment {
        version: plan.version,
        original_version: plan.original.version,
        steps: plan.steps.clone(),
        before: versions(&plan.original),
        after: versions(&plan.target),
        sentenced: deployment.sentenced.clone(),
        downloads: deployment.downloads.clone(),
        groups: (*deployment.groups).clone(),
    };
    (format!("deployment/{}", plan.id), json(&stored))
}

pub(crate) fn put_deployment(deployment: &Deployment) -> Mutation {
    put(deployment_record(deployment))
}

pub(crate) fn remove_deployment(id: &DeploymentId) -> Mutation {
    Mutation::Remove(format!("deployment/{id}"))
}

pub(crate) fn put_task(task: &Task) -> Mutation {
    Mutation::Put(format!("task/{}", task.id), json(task))
}

pub(crate) fn remove_task(id: &TaskId) -> Mutation {
    Mutation::Remove(format!("task/{id}"))
}

pub(crate) fn put_agent(agent: &Agent) -> Mutation {
    Mutation::Put(format!("agent/{}", agent.id), json(agent))
}

pub(crate) fn put_reservation(reservation: &Reservation) -> Mutation {
    Mutation::Put(format!("reservation/{}", reservation.id), json(reservation))
}

pub(crate) fn remove_reservation(id: Uuid) -> Mutation {
    Mutation::Remove(format!("reservation/{id}"))
}

pub(crate) fn put_freed(volume_id: &str, agent_id: &AgentId) -> Mutation {
    Mutation::Put(format!("freed/{volume_id}"), json(agent_id))
}

pub(crate) fn remove_freed(volume_id: &str) -> Mutation {
    Mutation::Remove(format!("freed/{volume_id}"))
}

pub(crate) fn put_failure(failure: &TaskFailure) -> Mutation {
    Mutation::Put(format!("failure/{}", failure.app_id), json(failure))
}

pub(crate) fn remove_failure(app_id: &AppId) -> Mutation {
    Mutation::Remove(format!("failure/{app_id}"))
}

pub(crate) fn put_edge(id: &EdgeId) -> Mutation {
    Mutation::Put(format!("edge/{id}"), b"{}".to_vec())
}

pub(crate) fn remove_edge(id: &EdgeId) -> Mutation {
    Mutation::Remove(format!("edge/{id}"))
}

/// Every record that describes this state.
pub(crate) fn export(state: &State) -> Vec<Record> {
    let mut mutations = vec![put_cluster(state)];
    for apps in state.versions.values() {
        mutations.extend(apps.iter().map(|app| put_version(app)));
    }
    put_tree(
        &Group::empty(AppId::root(), Timestamp::ZERO),
        &state.root,
        &mut mutations,
    );
    mutations.extend(history::export(state));
    mutations.extend(
        state
            .deployments
            .values()
            .map(|deployment| put_deployment(deployment)),
    );
    mutations.extend(state.tasks.values().map(|task| put_task(task)));
    mutations.extend(state.agents.values().map(|agent| put_agent(agent)));
    let reservations = state.reservations.values();
    mutations.extend(reservations.map(|reservation| put_reservation(reservation)));
    mutations.extend(state.freed.iter().map(|(id, at)| put_freed(id, at)));
    mutations.extend(state.failures.values().map(|failure| put_failure(failure)));
    mutations.extend(state.edges.iter().map(put_edge));
    mutations
        .into_iter()
        .filter_map(|mutation| match mutation {
            Mutation::Put(key, value) => Some((key, value)),
            Mutation::Remove(_) => None,
        })
        .collect()
}

/// Records sorted by kind.
#[derive(Default)]
struct Parts {
    cluster: Option<Cluster>,
    versions: Vec<App>,
    groups: BTreeMap<AppId, StoredGroup>,
    undos: BTreeMap<Timestamp, Undo>,
    past: Vec<App>,
    deployments: Vec<(DeploymentId, StoredDeployment)>,
    tasks: Vec<Task>,
    agents: Vec<Agent>,
    reservations: Vec<Reservation>,
    freed: BTreeMap<String, AgentId>,
    failures: Vec<TaskFailure>,
    edges: BTreeSet<EdgeId>,
}

fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Result<T, ReplayError> {
    serde_json::from_slice(value).map_err(|source| ReplayError::BadRecord {
        key: key.to_owned(),
        source,
    })
}

impl Parts {
    fn add(&mut self, key: &str, value: &[u8]) -> Result<(), ReplayError> {
        let unknown = || ReplayError::UnknownKey(key.to_owned());
        let (kind, name) = key.split_once('/').ok_or_else(unknown)?;
        match kind {
            "meta" if name == "cluster" => self.cluster = Some(read(key, value)?),
            "version" => self.versions.push(read(key, value)?),
            "group" => {
                self.groups.insert(AppId::absolute(name), read(key, value)?);
            }
            "undo" => {
                let version = name.parse().map_err(|_| unknown())?;
                self.undos.insert(version, read(key, value)?);
            }
            "past" => self.past.push(read(key, value)?),
            "deployment" => {
                self.deployments
                    .push((DeploymentId::new(name), read(key, value)?));
            }
            "task" => self.tasks.push(read(key, value)?),
            "agent" => self.agents.push(read(key, value)?),
            "reservation" => self.reservations.push(read(key, value)?),
            "freed" => {
                self.freed.insert(name.to_owned(), read(key, value)?);
            }
            "failure" => self.failures.push(read(key, value)?),
            "edge" => {
                self.edges.insert(EdgeId::new(name));
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

impl State {
    /// The state that these records describe; agents are away, edges awaited, deployments at their first step.
    pub fn replay(
        config: &Config,
        now: Timestamp,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, ReplayError> {
        let mut parts = Parts::default();
        for (key, value) in records {
            parts.add(&key, &value)?;
        }
        let mut state = Self::new(config, now);
        if let Some(cluster) = parts.cluster {
            state.is_new = false;
            state.master_uuid = cluster.master_uuid;
            state.clock = state.clock.max(cluster.clock);
            state.next_agent = cluster.next_agent;
            state.last_tick = cluster.last_tick;
        }
        let mut versions: BTreeMap<AppId, Vec<Arc<App>>> = BTreeMap::new();
        for app in parts.versions {
            versions
                .entry(app.id.clone())
                .or_default()
                .push(Arc::new(app));
        }
        for (app_id, mut apps) in versions {
            apps.sort_by_key(|app| app.version);
            state.versions.insert_mut(app_id, Arc::new(apps));
        }
        state.root = replay_tree(&state, &parts.groups, now)?;
        history::replay(&mut state, parts.past, parts.undos)?;
        for agent in parts.agents {
            let agent = Agent {
                is_connected: false,
                away_since: Some(state.clock),
                ..agent
            };
            state.agents.insert_mut(agent.id.clone(), Arc::new(agent));
        }
        for task in parts.tasks {
            let app = state.version_of(&task.app_id, task.version).map(Arc::clone);
            let n_checks = app.as_ref().map_or(0, |app| app.health_checks.len());
            index_task(
                &mut state,
                Arc::new(Task {
                    app,
                    health: vec![None; n_checks],
                    ..task
                }),
            );
        }
        for reservation in parts.reservations {
            index_reservation(&mut state, Arc::new(reservation));
        }
        for (id, agent_id) in parts.freed {
            state.freed.insert_mut(id, agent_id);
        }
        for failure in parts.failures {
            state
                .failures
                .insert_mut(failure.app_id.clone(), Arc::new(failure));
        }
        for (id, stored) in parts.deployments {
            let deployment = replay_deployment(&state, id, stored);
            state.add_deployment(deployment);
        }
        state.edges_awaited.clone_from(&parts.edges);
        state.edges_awaited_until = state.clock.plus_millis(EDGE_GRACE_MILLIS);
        state.edges = parts.edges;
        state.began = state.clock;
        state.next_sweep = state.clock;
        state.queue_is_stale = true;
        Ok(state)
    }
}

fn replay_tree(
    state: &State,
    groups: &BTreeMap<AppId, StoredGroup>,
    now: Timestamp,
) -> Result<Arc<Group>, ReplayError> {
    fn build(
        state: &State,
        groups: &BTreeMap<AppId, StoredGroup>,
        children: &BTreeMap<AppId, Vec<AppId>>,
        id: &AppId,
        stored: &StoredGroup,
    ) -> Result<Group, ReplayError> {
        let mut group = Group::empty(id.clone(), stored.version);
        group.dependencies.clone_from(&stored.dependencies);
        for (app_id, version) in &stored.apps {
            let app = state
                .version_of(app_id, *version)
                .ok_or_else(|| ReplayError::Missing(version_key(app_id, *version)))?;
            group.apps.insert(app_id.clone(), Arc::clone(app));
        }
        for child_id in children.get(id).into_iter().flatten() {
            if let Some(child) = groups.get(child_id) {
                let child = build(state, groups, children, child_id, child)?;
                group.groups.insert(child_id.clone(), Arc::new(child));
            }
        }
        Ok(group)
    }
    let mut children: BTreeMap<AppId, Vec<AppId>> = BTreeMap::new();
    for id in groups.keys().filter(|id| !id.is_root()) {
        children.entry(id.parent()).or_default().push(id.clone());
    }
    match groups.get(&AppId::root()) {
        Some(stored) => build(state, groups, &children, &AppId::root(), stored).map(Arc::new),
        None => Ok(Arc::new(Group::empty(AppId::root(), now))),
    }
}

fn replay_deployment(state: &State, id: DeploymentId, stored: StoredDeployment) -> Deployment {
    let tree = |versions: &BTreeMap<AppId, Timestamp>,
                dependencies: fn(&GroupChange) -> &Option<BTreeSet<AppId>>,
                version: Timestamp| {
        let mut root = (*state.root).clone();
        let apps: BTreeSet<&AppId> = stored
            .steps
            .iter()
            .flat_map(|step| step.actions.iter().map(|a| &a.app))
            .collect();
        for app_id in apps {
            let app = versions
                .get(app_id)
                .and_then(|version| state.version_of(app_id, *version));
            root = match app {
                Some(app) => root.with_app(Arc::clone(app), version),
                None if root.app(app_id).is_some() => root.without_app(app_id, version),
                None => root,
            };
        }
        for (id, change) in &stored.groups {
            set_group(&mut root, id, dependencies(change).as_ref(), version);
        }
        root.version = version;
        Arc::new(root)
    };
    let plan = Plan {
        id,
        original: tree(
            &stored.before,
            |change| &change.before,
            stored.original_version,
        ),
        target: tree(&stored.after, |change| &change.after, stored.version),
        steps: stored.steps.clone(),
        version: stored.version,
    };
    Deployment {
        plan: Arc::new(plan),
        step_idx: 0,
        actions: Actions::default(),
        sentenced: stored.sentenced,
        downloads: stored.downloads,
        groups: Arc::new(stored.groups),
    }
}
