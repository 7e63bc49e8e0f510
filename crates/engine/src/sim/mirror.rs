//! A client that only listens: what the published events say of tasks, apps and plans.
//!
//! Folds every event in order and refuses one that cannot follow on what it knows (contract marathon §5.3 (a)-(c)); after
//! each step the outcome must be what the API shows. A restart of the master cuts the stream, so it reads the API anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::app::App;
use zddcluster_model::deployment::{ActionKind, Plan, Step};
use zddcluster_model::event::EventKind;
use zddcluster_model::{AgentId, AppId, DeploymentId, Group, TaskId, TaskState, Timestamp};

use super::fair::{Held, amounts};
use crate::State;

/// A task as the events tell of it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) held: Held,
    pub(super) state: TaskState,
    pub(super) app: Arc<App>,
}

impl Known {
    pub(super) const fn is_launched(&self) -> bool {
        !self.state.is_terminal()
    }
}

/// A plan as the events tell of it.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) plan: Arc<Plan>,
    /// The step that runs; `None` between two steps.
    pub(super) step: Option<Step>,
    /// Steps that have succeeded.
    pub(super) n_done: usize,
    /// Apps whose actions have succeeded.
    pub(super) done: BTreeSet<AppId>,
    /// On which apps of the plan each app of it depends.
    pub(super) needs: BTreeMap<AppId, BTreeSet<AppId>>,
}

/// The listener.
#[derive(Default)]
pub(super) struct Mirror {
    pub(super) tasks: BTreeMap<TaskId, Known>,
    apps: BTreeMap<AppId, Timestamp>,
    pub(super) plans: BTreeMap<DeploymentId, Running>,
    over: BTreeSet<DeploymentId>,
    /// Of every plan, as it was when it was first told of: a new master reads a tree in which others have changed.
    needs: BTreeMap<DeploymentId, BTreeMap<AppId, BTreeSet<AppId>>>,
    alive: BTreeMap<TaskId, bool>,
    /// Lost in this step: the event does not say whether they may come back.
    lost_now: BTreeSet<TaskId>,
    root_version: Timestamp,
}

impl Mirror {
    /// What a client that attaches reads from the API.
    pub(super) fn read(&mut self, state: &State) {
        self.tasks = state
            .tasks
            .values()
            .map(|task| {
                let app = task.app.as_ref().expect("a task's definition is kept");
                let known = known(app, task.agent_id.clone(), task.ports.clone(), task.state);
                (task.id.clone(), known)
            })
            .collect();
        self.apps = versions(&state.root);
        self.root_version = state.root.version;
        self.alive.clear();
        // Every plan is begun, and told of, again.
        self.plans.clear();
    }

    /// The launched tasks of an app.
    pub(super) fn launched_of<'a>(
        &'a self,
        app_id: &'a AppId,
    ) -> impl Iterator<Item = (&'a TaskId, &'a Known)> {
        self.tasks
            .iter()
            .filter(move |(_, task)| task.held.app_id == *app_id && task.is_launched())
    }

    /// What all launched tasks hold.
    pub(super) fn held(&self) -> Vec<&Held> {
        let launched = self.tasks.values().filter(|task| task.is_launched());
        launched.map(|task| &task.held).collect()
    }

    /// What tasks hold that are lost and may come back.
    pub(super) fn lost(&self) -> Vec<&Held> {
        let lost = self.tasks.iter().filter(|(_, task)| !task.is_launched());
        lost.filter(|(id, _)| !self.lost_now.contains(*id))
            .map(|(_, task)| &task.held)
            .collect()
    }

    /// Whether a task is there, or lost and may come back.
    pub(super) fn may_be_there(&self, task_id: &TaskId) -> bool {
        self.tasks.contains_key(task_id) && !self.lost_now.contains(task_id)
    }

    /// The plan that acts on an app.
    pub(super) fn plan_of(&self, app_id: &AppId) -> Option<&Running> {
        self.plans
            .values()
            .find(|running| running.plan.affects(app_id))
    }

    /// Takes one event. `after` is only asked for the definition of a task that is new.
    pub(super) fn fold(&mut self, kind: &EventKind, after: &State) {
        match kind {
            EventKind::StatusUpdate {
                slave_id,
                task_id,
                task_status,
                app_id,
                ports,
                version,
                ..
            } => {
                let agent = (slave_id, ports.as_slice());
                self.status(task_id, *task_status, (app_id, *version), agent, after);
            }
            EventKind::HealthStatusChanged { task_id, alive, .. } => {
                let before = self.alive.insert(task_id.clone(), *alive);
                let task = self.tasks.get(task_id);
                let n_checks = task.map_or(0, |task| task.app.health_checks.len());
                assert!(
                    n_checks > 1 || before != Some(*alive),
                    "{task_id}: health flips to what it was"
                );
            }
            EventKind::GroupChangeSuccess { version, .. } => self.root_version = *version,
            EventKind::DeploymentInfo { plan, current_step } => self.begin(plan, current_step),
            EventKind::DeploymentStepSuccess { plan, current_step } => {
                let running = self.running(&plan.id);
                assert_eq!(
                    running.step.take().as_ref(),
                    Some(current_step),
                    "{}: another step ends than has begun",
                    plan.id
                );
                running.n_done += 1;
                let is_final = |kind| {
                    matches!(
                        kind,
                        ActionKind::ScaleApplication | ActionKind::RestartApplication
                    )
                };
                let finals = current_step.actions.iter().filter(|a| is_final(a.action));
                running.done.extend(finals.map(|action| action.app.clone()));
            }
            EventKind::DeploymentStepFailure { plan, current_step } => {
                let running = self.running(&plan.id);
                assert_eq!(running.step.as_ref(), Some(current_step), "{}", plan.id);
            }
            EventKind::DeploymentSuccess { id, plan } => {
                assert!(!self.over.contains(id), "{id} ends twice");
                match self.plans.remove(id) {
                    Some(running) => assert!(
                        running.step.is_none() && running.n_done == plan.steps.len(),
                        "{id} ends before its last step"
                    ),
                    None => assert!(plan.steps.is_empty(), "{id} ends without a beginning"),
                }
                self.over.insert(id.clone());
            }
            EventKind::DeploymentFailed { id, .. } => {
                assert!(
                    self.plans.remove(id).is_some(),
                    "{id} fails, and is not known"
                );
                self.over.insert(id.clone());
            }
            // The others change nothing of what is kept here.
            _ => {}
        }
    }

    fn running(&mut self, id: &DeploymentId) -> &mut Running {
        let running = self.plans.get_mut(id);
        running.unwrap_or_else(|| panic!("{id} goes on without a beginning"))
    }

    fn begin(&mut self, plan: &Arc<Plan>, step: &Step) {
        assert!(
            !self.over.contains(&plan.id),
            "{} begins after its end",
            plan.id
        );
        if !self.plans.contains_key(&plan.id) {
            for app_id in plan.affected_apps() {
                match plan.target.app(&app_id) {
                    Some(app) => self.apps.insert(app_id, app.version),
                    None => self.apps.remove(&app_id),
                };
            }
            let running = Running {
                plan: Arc::clone(plan),
                step: None,
                n_done: 0,
                done: BTreeSet::new(),
                needs: self
                    .needs
                    .entry(plan.id.clone())
                    .or_insert_with(|| needs(plan))
                    .clone(),
            };
            self.plans.insert(plan.id.clone(), running);
        }
        let running = self.running(&plan.id);
        assert!(
            running.step.is_none(),
            "{}: a step begins in another",
            plan.id
        );
        assert_eq!(
            plan.steps.get(running.n_done),
            Some(step),
            "{}: not the next step begins",
            plan.id
        );
        running.step = Some(step.clone());
    }

    fn status(
        &mut self,
        task_id: &TaskId,
        status: TaskState,
        (app_id, version): (&AppId, Timestamp),
        (agent_id, ports): (&AgentId, &[u16]),
        after: &State,
    ) {
        let Some(task) = self.tasks.get_mut(task_id) else {
            assert_eq!(
                status,
                TaskState::Staging,
                "{task_id} begins with {status:?}"
            );
            let app = self.definition(app_id, version, after);
            let known = known(&app, agent_id.clone(), ports.to_vec(), status);
            self.tasks.insert(task_id.clone(), known);
            return;
        };
        assert!(
            task.held.agent_id == *agent_id
                && task.held.ports == ports
                && task.held.version == version,
            "{task_id} moves"
        );
        assert!(
            may_follow(task.state, status),
            "{task_id}: {status:?} after {:?}",
            task.state
        );
        let stays_lost = status == TaskState::Lost
            && !matches!(task.state, TaskState::Lost | TaskState::Killing);
        if status.is_terminal() && !stays_lost {
            self.tasks.remove(task_id);
            self.alive.remove(task_id);
        } else {
            task.state = status;
            if stays_lost {
                self.lost_now.insert(task_id.clone());
            }
        }
    }

    /// The definition of a version, from the plan that brought it or from the API.
    pub(super) fn definition(&self, app_id: &AppId, version: Timestamp, after: &State) -> Arc<App> {
        let planned = self
            .plan_of(app_id)
            .and_then(|running| running.plan.target.app(app_id))
            .filter(|app| app.version == version);
        let app = planned.or_else(|| after.version_of(app_id, version));
        Arc::clone(app.unwrap_or_else(|| panic!("{app_id}: a task of an unknown version")))
    }

    /// What was told is what there is.
    pub(super) fn compare(&mut self, state: &State) {
        for id in std::mem::take(&mut self.lost_now) {
            if !state.tasks.contains_key(&id) {
                self.tasks.remove(&id);
            }
        }
        assert_eq!(self.tasks.len(), state.tasks.size(), "tasks nobody told of");
        for (known, task) in self.tasks.iter().zip(state.tasks.values()) {
            let (id, known) = known;
            assert!(
                *id == task.id && known.state == task.state,
                "{}: {:?}, but told to be {id} {:?}",
                task.id,
                task.state,
                known.state
            );
            if let [Some(result)] = task.health.as_slice() {
                let told = self.alive.get(id).copied().unwrap_or(false);
                assert!(
                    told == result.alive || known.state == TaskState::Lost,
                    "{id}: alive is not as told"
                );
            }
        }
        assert!(
            self.plans.keys().eq(state.deployments.keys()),
            "plans run that nobody told of"
        );
        for (running, deployment) in self.plans.values().zip(state.deployments.values()) {
            assert_eq!(
                running.n_done, deployment.step_idx,
                "another step runs than told"
            );
        }
    }

    /// The apps' versions and the tree's are as told.
    pub(super) fn compare_tree(&self, state: &State) {
        assert_eq!(
            self.apps,
            versions(&state.root),
            "definitions nobody told of"
        );
        assert_eq!(
            self.root_version, state.root.version,
            "a tree nobody told of"
        );
    }
}

/// Whether a task may go from one state to another (§5.3 (a)).
const fn may_follow(before: TaskState, status: TaskState) -> bool {
    use TaskState::{Error, Failed, Finished, Killed, Killing, Lost, Running, Staging, Starting};
    match before {
        Staging | Starting => !matches!(status, Staging),
        Running => status.is_terminal() || matches!(status, Killing),
        Killing => matches!(status, Killed | Lost),
        Lost => status.is_terminal() || matches!(status, Staging | Running),
        Finished | Failed | Killed | Error => false,
    }
}

fn versions(root: &Group) -> BTreeMap<AppId, Timestamp> {
    let apps = root.transitive_apps().into_iter();
    apps.map(|app| (app.id.clone(), app.version)).collect()
}

fn known(app: &Arc<App>, agent_id: AgentId, ports: Vec<u16>, state: TaskState) -> Known {
    Known {
        held: Held {
            app_id: app.id.clone(),
            agent_id,
            version: app.version,
            ports,
            amounts: match app.residency {
                Some(_) => [0; 3],
                None => amounts(app),
            },
        },
        state,
        app: Arc::clone(app),
    }
}

/// For each app that a plan scales or restarts, the other such apps that it depends on, directly or not.
fn needs(plan: &Plan) -> BTreeMap<AppId, BTreeSet<AppId>> {
    let acted: BTreeSet<AppId> = plan
        .steps
        .iter()
        .flat_map(|step| &step.actions)
        .filter(|action| plan.target.app(&action.app).is_some())
        .map(|action| action.app.clone())
        .collect();
    if acted.len() < 2 {
        return BTreeMap::new();
    }
    let apps = plan.target.transitive_apps();
    let direct = |app_id: &AppId| -> BTreeSet<AppId> {
        let mut wanted: Vec<&AppId> = Vec::new();
        if let Some(app) = plan.target.app(app_id) {
            wanted.extend(&app.dependencies);
        }
        let mut group_id = app_id.parent();
        loop {
            if let Some(group) = plan.target.group(&group_id) {
                wanted.extend(&group.dependencies);
            }
            if group_id.is_root() {
                break;
            }
            group_id = group_id.parent();
        }
        let is_wanted = |app: &App| wanted.iter().any(|id| app.id.is_within(id));
        let found = apps.iter().filter(|app| is_wanted(app));
        found.map(|app| app.id.clone()).collect()
    };
    let reach = |app_id: &AppId| {
        let mut all = BTreeSet::new();
        let mut waiting: Vec<AppId> = direct(app_id).into_iter().collect();
        while let Some(next) = waiting.pop() {
            if all.insert(next.clone()) {
                waiting.extend(direct(&next));
            }
        }
        all.intersection(&acted).cloned().collect()
    };
    acted.iter().map(|id| (id.clone(), reach(id))).collect()
}
