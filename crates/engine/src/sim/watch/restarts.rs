//! Rolling restarts, scalings and stops keep the contract's numbers (§3.3, §3.4), computed the long way round.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::app::App;
use zddcluster_model::deployment::{ActionKind, Plan, Step};
use zddcluster_model::{AppId, DeploymentId, TaskId, TaskState, Timestamp};

use super::{Key, is_good};
use crate::sim::mirror::{Known, Mirror};

/// An action being watched.
struct Watched {
    app: Arc<App>,
    kind: ActionKind,
    most_launched: i64,
    floor: i64,
    /// Kills at once, those on their way out already not counted.
    kills_at_once: i64,
    kills: i64,
    /// Kills that may have been for the plan.
    kills_perhaps: i64,
    good: BTreeSet<TaskId>,
    /// Something broke since it began, so that the floor is not promised.
    is_disturbed: bool,
    is_first_step: bool,
    /// New tasks were there already: it was taken up by a new master, and they may be good at once.
    has_new: bool,
}

/// All that run.
#[derive(Default)]
pub(super) struct Restarts {
    watched: BTreeMap<Key, Watched>,
    /// Tasks that came back from being lost: they may exceed the bounds.
    returned: BTreeSet<TaskId>,
}

impl Restarts {
    pub(super) fn fault(&mut self) {
        for watched in self.watched.values_mut() {
            watched.is_disturbed = true;
        }
    }

    pub(super) fn master_restarted(&mut self) {
        self.watched.clear();
    }

    /// A lost task is there after all.
    pub(super) fn returned(&mut self, task_id: &TaskId) {
        self.returned.insert(task_id.clone());
        self.fault();
    }

    pub(super) fn begins(&mut self, plan: &Plan, step: &Step, mirror: &Mirror) {
        for action in &step.actions {
            let Some(app) = plan.target.app(&action.app) else {
                continue;
            };
            let counts = matches!(
                action.action,
                ActionKind::RestartApplication | ActionKind::ScaleApplication
            );
            if !counts {
                continue;
            }
            let launched: Vec<_> = mirror
                .launched_of(&action.app)
                .map(|(_, task)| task)
                .collect();
            let watched = match action.action {
                ActionKind::RestartApplication => restart(app, &launched),
                _ => scaling(app, &launched),
            };
            self.watched
                .insert((plan.id.clone(), action.app.clone()), watched);
        }
    }

    /// A task is killed for a plan.
    pub(super) fn killed(&mut self, app_id: &AppId, version: Timestamp) {
        for ((_, of), watched) in &mut self.watched {
            if of == app_id {
                let is_old = watched.app.version != version;
                if watched.kind == ActionKind::ScaleApplication || is_old {
                    watched.kills += 1;
                }
            }
        }
    }

    /// A task is killed, perhaps for a plan.
    pub(super) fn killed_perhaps(&mut self, app_id: &AppId) {
        self.fault();
        for ((_, of), watched) in &mut self.watched {
            watched.kills_perhaps += i64::from(of == app_id);
        }
    }

    /// A task was launched; it is in the mirror already.
    pub(super) fn launched(&mut self, mirror: &Mirror, app_id: &AppId) {
        for ((_, of), watched) in &self.watched {
            if of != app_id {
                continue;
            }
            let launched = mirror
                .launched_of(app_id)
                .filter(|(id, _)| !self.returned.contains(*id))
                .count() as i64;
            assert!(
                launched <= watched.most_launched,
                "{app_id}: {launched} tasks launched, {} allowed",
                watched.most_launched
            );
        }
    }

    /// A step has succeeded: what it was to do is done.
    pub(super) fn step_ends(
        &mut self,
        plan: &Plan,
        mirror: &Mirror,
        healthy: &BTreeSet<TaskId>,
        ready: &BTreeSet<TaskId>,
    ) {
        self.watched.retain(|(id, app_id), watched| {
            if *id != plan.id {
                return true;
            }
            let tasks: Vec<_> = mirror.launched_of(app_id).collect();
            let app = &Arc::clone(&watched.app);
            let is_counted = |id: &TaskId, task: &Known| {
                task.held.version == app.version
                    && task.state == TaskState::Running
                    && is_good(id, app, healthy, ready)
            };
            let good = tasks.iter().filter(|(id, task)| is_counted(id, task));
            let good: BTreeSet<TaskId> = good.map(|(id, _)| (*id).clone()).collect();
            let n_good = good.len();
            watched.good.extend(good);
            let instances = app.instances as usize;
            if watched.kind == ActionKind::RestartApplication {
                let n_old = tasks
                    .iter()
                    .filter(|(_, task)| task.held.version != app.version)
                    .count();
                // What breaks after an app was done, and before the step is, is mended after the plan.
                let is_done = n_old == 0 && n_good >= instances;
                let was_done = watched.is_disturbed && watched.good.len() >= instances;
                assert!(
                    is_done || was_done,
                    "{app_id}: restarted with {n_old} old tasks and {n_good} of {instances} good"
                );
            } else {
                // A task of an older version that ended meanwhile is replaced after the plan.
                assert!(
                    watched.is_disturbed || tasks.len() >= instances,
                    "{app_id}: scaled to {instances} with {} tasks",
                    tasks.len()
                );
            }
            false
        });
    }

    pub(super) fn fails(&mut self, id: &DeploymentId) {
        self.watched.retain(|(of, _), _| of != id);
    }

    pub(super) fn end_of_step(
        &mut self,
        mirror: &Mirror,
        healthy: &BTreeSet<TaskId>,
        ready: &BTreeSet<TaskId>,
    ) {
        for ((_, app_id), watched) in &mut self.watched {
            let app = Arc::clone(&watched.app);
            for (id, task) in mirror.launched_of(app_id) {
                let counts = task.held.version == app.version
                    && task.state == TaskState::Running
                    && is_good(id, &app, healthy, ready);
                if counts {
                    watched.good.insert(id.clone());
                }
            }
            let is_first_step = std::mem::take(&mut watched.is_first_step);
            if watched.kind == ActionKind::ScaleApplication {
                // Sentenced tasks are killed beyond the surplus; the launched bound holds anyway.
                assert!(
                    !is_first_step
                        || watched.kills + watched.kills_perhaps >= watched.kills_at_once,
                    "{app_id}: {} killed at once to scale, not {}",
                    watched.kills,
                    watched.kills_at_once
                );
                continue;
            }
            if is_first_step && !watched.has_new && watched.kills_perhaps == 0 {
                assert_eq!(
                    watched.kills, watched.kills_at_once,
                    "{app_id}: killed at once"
                );
            }
            assert!(
                watched.kills + watched.kills_perhaps >= watched.kills_at_once,
                "{app_id}: not enough killed at once"
            );
            let returned = self
                .returned
                .iter()
                .filter(|id| id.app_id().as_ref() == Some(app_id))
                .count() as i64;
            let allowed = watched.kills_at_once + watched.good.len() as i64 + returned;
            assert!(
                watched.kills <= allowed,
                "{app_id}: {} old tasks killed, {allowed} allowed",
                watched.kills
            );
            if watched.is_disturbed || watched.has_new {
                continue;
            }
            let serving = mirror
                .launched_of(app_id)
                .filter(|(id, task)| {
                    task.state == TaskState::Running
                        && (task.held.version != app.version || watched.good.contains(*id))
                })
                .count() as i64;
            assert!(
                serving >= watched.floor,
                "{app_id}: {serving} tasks serve, {} are promised",
                watched.floor
            );
        }
    }
}

/// The contract's numbers for a rolling restart.
fn restart(app: &Arc<App>, launched: &[&Known]) -> Watched {
    let n = f64::from(app.instances);
    let min = (n * app.upgrade_strategy.minimum_health_capacity).ceil() as i64;
    let mut max = (n * (1.0 + app.upgrade_strategy.maximum_over_capacity)).floor() as i64;
    let total = launched.len() as i64;
    let new = launched
        .iter()
        .filter(|task| task.held.version == app.version)
        .count() as i64;
    let old = total - new;
    let mut kills = (old - min).max(0);
    if min == max && max <= total {
        if app.residency.is_some() {
            kills = (old - min + 1).max(0);
        } else {
            max += 1;
        }
    }
    if app.instances == 0 {
        kills = old;
    }
    let dying = launched
        .iter()
        .filter(|task| task.held.version != app.version && task.state == TaskState::Killing)
        .count() as i64;
    let serving = launched
        .iter()
        .filter(|task| task.state == TaskState::Running)
        .count() as i64;
    let floor = if app.residency.is_some() { 0 } else { min };
    Watched {
        app: Arc::clone(app),
        kind: ActionKind::RestartApplication,
        most_launched: max.max(total),
        floor: floor.min(serving),
        kills_at_once: (kills - dying).max(0),
        kills: 0,
        kills_perhaps: 0,
        good: BTreeSet::new(),
        is_disturbed: false,
        is_first_step: true,
        has_new: new > 0,
    }
}

/// The contract's numbers for a scaling.
fn scaling(app: &Arc<App>, launched: &[&Known]) -> Watched {
    let total = launched.len() as i64;
    let wanted = i64::from(app.instances);
    let dying = launched
        .iter()
        .filter(|task| task.state == TaskState::Killing)
        .count() as i64;
    Watched {
        app: Arc::clone(app),
        kind: ActionKind::ScaleApplication,
        // Those on their way out for another reason are replaced at once.
        most_launched: total.max(wanted + dying),
        floor: 0,
        kills_at_once: (total - wanted - dying).max(0),
        kills: 0,
        kills_perhaps: 0,
        good: BTreeSet::new(),
        is_disturbed: false,
        is_first_step: true,
        has_new: false,
    }
}
