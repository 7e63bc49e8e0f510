//! Takes down the course of a plan: the visible picture whenever it changes, what happened, and the extremes.
//!
//! It also says when nothing will come of waiting: [`Recorder::stands_still_since`] is the last time at which any running
//! deployment came forward. Coming forward means a new best: fewer old tasks, more new ones launched, running or serving, a
//! further step. There are only so many of these, so a course that goes in circles (tasks that are killed for their health and
//! replaced, tasks that end by themselves) comes to no new ones.

mod extremes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::deployment::{ActionKind, Plan};
use zddcluster_model::event::EventKind;
use zddcluster_model::{AgentId, App, AppId, TaskId, TaskState, Timestamp};

use super::label::Labels;
use super::timeline::{
    AgentPeak, AppPicture, Change, Happened, Peak, Point, RestartBounds, Standing, Tasks,
};
use super::world::Turned;
use crate::effect::Effect;
use crate::state::{RunningAction, State, Task};

/// Points kept: far more than anybody reads; a course in circles makes as many as it is let.
const POINTS_KEPT: usize = 1_000;

/// The recorder.
pub(super) struct Recorder {
    plan: Arc<Plan>,
    start: Timestamp,
    apps: Vec<AppId>,
    labels: BTreeMap<AppId, Labels>,
    pub(super) points: Vec<Point>,
    pub(super) points_left_out: usize,
    bounds: BTreeMap<AppId, RestartBounds>,
    cluster: Peak,
    agents: BTreeMap<AgentId, AgentPeak>,
    /// Agents that have held tasks of the plan's apps.
    hosts: BTreeSet<AgentId>,
    best: BTreeMap<AppId, [i64; 4]>,
    best_of_all: [i64; 2],
    stands_still_since: Timestamp,
    /// Index of the point of the last time it came forward.
    last_step_forward: usize,
}

impl Recorder {
    /// Begins with the state before the plan, which is T0.
    pub(super) fn new(plan: &Arc<Plan>, before: &State, start: Timestamp) -> Self {
        let apps = plan.affected_apps();
        let labels = apps
            .iter()
            .map(|app_id| (app_id.clone(), labels(plan, before, app_id)))
            .collect();
        let mut recorder = Self {
            plan: Arc::clone(plan),
            start,
            apps,
            labels,
            points: Vec::new(),
            points_left_out: 0,
            bounds: BTreeMap::new(),
            cluster: Peak::default(),
            agents: BTreeMap::new(),
            hosts: BTreeSet::new(),
            best: BTreeMap::new(),
            best_of_all: [i64::MIN; 2],
            stands_still_since: start,
            last_step_forward: 0,
        };
        let apps = recorder.pictures(before);
        recorder.points.push(Point {
            millis: 0,
            apps,
            happened: Vec::new(),
        });
        recorder.measure(before);
        recorder
    }

    /// Takes down what one thing that happened led to.
    pub(super) fn observe(&mut self, now: Timestamp, turned: &Turned, state: &State) {
        if turned.effects.is_empty() {
            return;
        }
        let mut happened = Vec::new();
        if let Some(task) = turned.ready.as_ref().and_then(|id| state.tasks.get(id)) {
            self.tell(&mut happened, Change::Ready, &task.app_id, task.version);
        }
        let mut has_launched = false;
        let mut sick: BTreeSet<&TaskId> = BTreeSet::new();
        for effect in &turned.effects {
            has_launched |= matches!(effect, Effect::Launch(..));
            let Effect::Publish(event) = effect else {
                continue;
            };
            match &event.kind {
                EventKind::UnhealthyTaskKill { task_id, .. } => {
                    sick.insert(task_id);
                }
                EventKind::StatusUpdate {
                    app_id,
                    version,
                    task_status,
                    task_id,
                    ..
                } => {
                    let change = match task_status {
                        TaskState::Staging => Change::Started,
                        TaskState::Running => Change::Runs,
                        TaskState::Killing if sick.contains(task_id) => Change::KilledForHealth,
                        TaskState::Killing => Change::Killed,
                        TaskState::Killed => Change::Ended,
                        TaskState::Finished
                        | TaskState::Failed
                        | TaskState::Lost
                        | TaskState::Error => Change::Failed,
                        TaskState::Starting => continue,
                    };
                    self.tell(&mut happened, change, app_id, *version);
                }
                EventKind::HealthStatusChanged {
                    app_id,
                    version,
                    alive,
                    ..
                } => {
                    let change = if *alive {
                        Change::Healthy
                    } else {
                        Change::Unhealthy
                    };
                    self.tell(&mut happened, change, app_id, *version);
                }
                EventKind::DeploymentInfo { plan, current_step } if plan.id == self.plan.id => {
                    let step = plan.steps.iter().position(|step| step == current_step);
                    let count = step.map_or(1, |idx| idx as u32 + 1);
                    happened.push(of_all(Change::StepBegins, count));
                }
                EventKind::DeploymentSuccess { id, .. } if *id == self.plan.id => {
                    happened.push(of_all(Change::Done, 1));
                }
                EventKind::DeploymentFailed { id, .. } if *id == self.plan.id => {
                    happened.push(of_all(Change::Cancelled, 1));
                }
                _ => {}
            }
        }
        if has_launched {
            self.measure(state);
        }
        self.note_bounds(state);
        if happened.is_empty() {
            return;
        }
        self.take_down(now, happened, state);
        self.look_for_progress(now, state);
    }

    fn tell(&self, happened: &mut Vec<Happened>, what: Change, app_id: &AppId, version: Timestamp) {
        let Some(labels) = self.labels.get(app_id) else {
            return;
        };
        push(
            happened,
            Happened {
                what,
                app: Some(app_id.clone()),
                version: labels.of(version).to_owned(),
                count: 1,
            },
        );
    }

    fn take_down(&mut self, now: Timestamp, happened: Vec<Happened>, state: &State) {
        let millis = now.millis_since(self.start);
        let apps = self.pictures(state);
        // What happens in one moment is one change of the picture.
        if self.points.len() > 1
            && let Some(last) = self.points.last_mut()
            && last.millis == millis
        {
            last.apps = apps;
            for one in happened {
                push(&mut last.happened, one);
            }
            return;
        }
        if self.points.len() >= POINTS_KEPT {
            self.points_left_out += 1;
            return;
        }
        self.points.push(Point {
            millis,
            apps,
            happened,
        });
    }

    // === the picture ===

    fn pictures(&self, state: &State) -> Vec<AppPicture> {
        self.apps
            .iter()
            .map(|app_id| self.picture(state, app_id))
            .collect()
    }

    fn picture(&self, state: &State, app_id: &AppId) -> AppPicture {
        let target = self.plan.target.app(app_id).map(|app| app.version);
        let running = running_action(state, app_id);
        let mut counts: BTreeMap<(bool, Timestamp, Standing), u32> = BTreeMap::new();
        for task in state.launched_of(app_id) {
            let key = (
                Some(task.version) == target,
                task.version,
                standing(task, running),
            );
            *counts.entry(key).or_default() += 1;
        }
        let serving = counts
            .iter()
            .filter(|((_, _, standing), _)| *standing == Standing::Serving)
            .map(|(_, count)| count)
            .sum();
        let tasks = counts
            .into_iter()
            .map(|((is_new, version, standing), count)| Tasks {
                version: self.labels[app_id].of(version).to_owned(),
                is_new,
                standing,
                count,
            })
            .collect();
        AppPicture {
            tasks,
            waiting: state.queued_of(app_id),
            serving,
        }
    }

    // === progress ===

    fn look_for_progress(&mut self, now: Timestamp, state: &State) {
        let mut is_forward = false;
        let steps = state.deployments.values().map(|d| d.step_idx as i64);
        let of_all = [-(state.deployments.size() as i64), steps.sum()];
        if of_all > self.best_of_all {
            self.best_of_all = of_all;
            self.best.clear();
            is_forward = true;
        }
        for deployment in state.deployments.values() {
            for running in &deployment.actions {
                let app_id = &running.action.app;
                let target = deployment.plan.target.app(app_id).map(|app| app.version);
                let mut score = [0; 4];
                for task in state.launched_of(app_id) {
                    if Some(task.version) != target {
                        score[0] -= 1;
                        continue;
                    }
                    score[1] += 1;
                    let standing = standing(task, Some(running));
                    score[2] += i64::from(standing <= Standing::Running);
                    score[3] += i64::from(standing == Standing::Serving);
                }
                let best = self.best.entry(app_id.clone()).or_insert([i64::MIN; 4]);
                for (best, score) in best.iter_mut().zip(score) {
                    if score > *best {
                        *best = score;
                        is_forward = true;
                    }
                }
            }
        }
        if is_forward {
            self.stands_still_since = now;
            self.last_step_forward = self.points.len() - 1;
        }
    }

    /// When a running deployment last came forward.
    pub(super) const fn stands_still_since(&self) -> Timestamp {
        self.stands_still_since
    }

    /// The point of that time.
    pub(super) const fn last_step_forward(&self) -> usize {
        self.last_step_forward
    }
}

const fn of_all(what: Change, count: u32) -> Happened {
    Happened {
        what,
        app: None,
        version: String::new(),
        count,
    }
}

/// Adds to a list in which equal things in a row are one.
fn push(happened: &mut Vec<Happened>, one: Happened) {
    if let Some(last) = happened.last_mut()
        && one.app.is_some()
        && (&last.what, &last.app, &last.version) == (&one.what, &one.app, &one.version)
    {
        last.count += one.count;
        return;
    }
    happened.push(one);
}

pub(super) fn actions_on(plan: &Plan, app_id: &AppId) -> Vec<ActionKind> {
    let actions = plan.steps.iter().flat_map(|step| &step.actions);
    actions
        .filter(|action| action.app == *app_id)
        .map(|action| action.action)
        .collect()
}

fn labels(plan: &Plan, before: &State, app_id: &AppId) -> Labels {
    let target = plan.target.app(app_id);
    let original = plan.original.app(app_id);
    let of_tasks = before
        .launched_of(app_id)
        .filter_map(|task| task.app.as_ref());
    let mut all: Vec<Arc<App>> = of_tasks
        .chain(original)
        .chain(target)
        .map(Arc::clone)
        .collect();
    all.sort_by_key(|app| app.version);
    all.dedup_by_key(|app| app.version);
    let is_restart = actions_on(plan, app_id).contains(&ActionKind::RestartApplication);
    let key: fn(&App) -> Timestamp = if is_restart {
        |app| app.version
    } else {
        App::config_version
    };
    let name = app_id.segments().next_back().unwrap_or("task");
    Labels::new(&all, target.map(|app| &**app), key, name)
}

/// The action that runs on an app, of whichever deployment.
pub(super) fn running_action<'a>(state: &'a State, app_id: &'a AppId) -> Option<&'a RunningAction> {
    state
        .deployments_of(app_id)
        .flat_map(|deployment| &deployment.actions)
        .find(|running| running.action.app == *app_id)
}

/// How a launched task looks from outside. Readiness is known only of tasks that a running action asks.
pub(super) fn standing(task: &Task, running: Option<&RunningAction>) -> Standing {
    match task.state {
        TaskState::Killing => return Standing::Killing,
        TaskState::Running => {}
        _ => return Standing::Staging,
    }
    let app = task.app.as_deref();
    let has_checks = app.is_some_and(|app| !app.health_checks.is_empty());
    let is_alive = task.health.iter().flatten().any(|result| result.alive);
    let is_awaited = running.is_some_and(|running| {
        running.progress.asked.contains(&task.id) && !running.progress.ready.contains(&task.id)
    });
    if is_awaited || (has_checks && !is_alive) {
        Standing::Running
    } else {
        Standing::Serving
    }
}
