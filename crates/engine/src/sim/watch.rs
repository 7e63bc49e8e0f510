//! Holds each step against the contract's promises, in words of its own.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::app::App;
use zddcluster_model::deployment::ActionKind;
use zddcluster_model::event::EventKind;
use zddcluster_model::{AgentId, AppId, DeploymentId, EdgeId, TaskId, TaskState, Timestamp};

use crate::State;
use crate::effect::Effect;

/// A rolling restart being watched.
struct Watched {
    version: Timestamp,
    most_launched: i64,
    floor: i64,
    /// Kills allowed so far: those at once, then one for each new task that got good.
    kills_at_once: i64,
    kills: i64,
    good: BTreeSet<TaskId>,
    /// Something broke since it began, so that the floor is not promised.
    is_disturbed: bool,
    /// Taken up after a restart of the master: the first kills are not the contract's number.
    is_resumed: bool,
}

/// The watcher.
#[derive(Default)]
pub(super) struct Watch {
    launched_at: BTreeMap<TaskId, AgentId>,
    restarts: BTreeMap<(DeploymentId, AppId), Watched>,
    held: BTreeMap<TaskId, (i64, BTreeSet<EdgeId>)>,
    last_event: Timestamp,
    /// Tasks that came back from being lost: they may exceed the bounds.
    returned: BTreeSet<TaskId>,
    is_after_restart: bool,
}

impl Watch {
    pub(super) fn launched(&mut self, task_id: &TaskId, agent_id: &AgentId) {
        let first = self
            .launched_at
            .entry(task_id.clone())
            .or_insert_with(|| agent_id.clone());
        assert_eq!(first, agent_id, "{task_id} is launched on two agents");
    }

    /// Something broke.
    pub(super) fn fault(&mut self) {
        for watched in self.restarts.values_mut() {
            watched.is_disturbed = true;
        }
    }

    pub(super) fn master_restarted(&mut self) {
        self.fault();
        self.restarts.clear();
        self.is_after_restart = true;
        // What edges promised before is for the next master to learn again.
        self.held.clear();
    }

    pub(super) fn let_go(&mut self, edge_id: &EdgeId, task_id: &TaskId) {
        if let Some((_, edges)) = self.held.get_mut(task_id) {
            edges.remove(edge_id);
        }
    }

    pub(super) fn edge_gone(&mut self, edge_id: &EdgeId) {
        for (_, edges) in self.held.values_mut() {
            edges.remove(edge_id);
        }
    }

    pub(super) fn step(&mut self, now: i64, before: &State, after: &State, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Publish(event) = effect {
                assert!(event.timestamp >= self.last_event, "an event of the past");
                self.last_event = event.timestamp;
            }
        }
        self.watch_disturbances(before, effects);
        self.watch_begin(before, after, effects);
        self.watch_restarts(before, after, effects);
        self.watch_drain(now, after, effects);
    }

    /// Health kills and tasks that end by themselves disturb a restart.
    fn watch_disturbances(&mut self, before: &State, effects: &[Effect]) {
        for effect in effects {
            let Effect::Publish(event) = effect else {
                continue;
            };
            match &event.kind {
                EventKind::UnhealthyTaskKill { .. } | EventKind::FailedHealthCheck { .. } => {
                    self.fault();
                }
                EventKind::StatusUpdate {
                    task_status,
                    task_id,
                    ..
                } => match task_status {
                    TaskState::Failed | TaskState::Lost | TaskState::Finished => self.fault(),
                    TaskState::Running | TaskState::Staging
                        if before
                            .tasks
                            .get(task_id)
                            .is_some_and(|task| task.state == TaskState::Lost) =>
                    {
                        self.returned.insert(task_id.clone());
                        self.fault();
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// A restart begins: notes what the contract promises for it.
    fn watch_begin(&mut self, before: &State, after: &State, effects: &[Effect]) {
        let is_resumed = std::mem::take(&mut self.is_after_restart);
        for effect in effects {
            let Effect::Publish(event) = effect else {
                continue;
            };
            let EventKind::DeploymentInfo { plan, current_step } = &event.kind else {
                continue;
            };
            for action in &current_step.actions {
                if action.action != ActionKind::RestartApplication {
                    continue;
                }
                let Some(app) = plan.target.app(&action.app) else {
                    continue;
                };
                let launched: Vec<_> = before.launched_of(&action.app).collect();
                let new = launched
                    .iter()
                    .filter(|task| task.version == app.version)
                    .count();
                let key = (plan.id.clone(), action.app.clone());
                let watched = promise(app, launched.len() as i64, new as i64, is_resumed);
                let serving = launched.iter().filter(|task| task.is_serving()).count() as i64;
                let watched = Watched {
                    floor: watched.floor.min(serving),
                    ..watched
                };
                self.restarts.insert(key, watched);
            }
        }
        self.restarts.retain(|(id, _), _| {
            after.deployments.contains_key(id) || effects.iter().any(|effect| mentions(effect, id))
        });
    }

    fn watch_restarts(&mut self, before: &State, after: &State, effects: &[Effect]) {
        for ((id, app_id), watched) in &mut self.restarts {
            for task in after.launched_of(app_id) {
                if task.version == watched.version && task.has_been_healthy() {
                    let action = after.deployments.get(id).and_then(|deployment| {
                        deployment
                            .actions
                            .iter()
                            .find(|action| action.action.app == *app_id)
                    });
                    let needs_ready = task
                        .app
                        .as_ref()
                        .is_some_and(|app| !app.readiness_checks.is_empty());
                    let is_ready =
                        action.is_none_or(|action| action.progress.ready.contains(&task.id));
                    if !needs_ready || is_ready {
                        watched.good.insert(task.id.clone());
                    }
                }
            }
            let old_killed = effects.iter().filter(|effect| {
                let Effect::Publish(event) = effect else {
                    return false;
                };
                let EventKind::StatusUpdate {
                    task_status,
                    task_id,
                    version,
                    app_id: of,
                    ..
                } = &event.kind
                else {
                    return false;
                };
                let reason = after
                    .tasks
                    .get(task_id)
                    .and_then(|task| task.killing.as_ref())
                    .map(|killing| killing.reason.as_str());
                *task_status == TaskState::Killing
                    && of == app_id
                    && *version != watched.version
                    && reason == Some("replaced or removed by a deployment")
            });
            let old_killed = old_killed.count() as i64;
            watched.kills += old_killed;
            let is_first = effects.iter().any(|effect| begins(effect, id));
            if is_first && !watched.is_resumed {
                let dying = before
                    .launched_of(app_id)
                    .filter(|task| task.killing.is_some())
                    .count() as i64;
                let expected = (watched.kills_at_once - dying).max(0);
                assert_eq!(old_killed, expected, "{app_id}: killed at once");
            }
            // Tasks that were lost and came back are surplus.
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
            if !after.deployments.contains_key(id) {
                continue;
            }
            let launched = after
                .launched_of(app_id)
                .filter(|task| !self.returned.contains(&task.id))
                .count();
            assert!(
                launched as i64 <= watched.most_launched,
                "{app_id}: {launched} tasks launched, {} allowed",
                watched.most_launched
            );
            if !watched.is_disturbed && !watched.is_resumed {
                let serving = after
                    .launched_of(app_id)
                    .filter(|task| task.is_serving())
                    .filter(|task| {
                        task.version != watched.version || watched.good.contains(&task.id)
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

    /// SIGTERM goes out only when every edge has let go, or the deadline has passed.
    fn watch_drain(&mut self, now: i64, after: &State, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Drain(edge_id, task_id) => {
                    // An edge that comes back is told again; the deadline stays.
                    let killing = after
                        .tasks
                        .get(task_id)
                        .and_then(|task| task.killing.as_ref());
                    let since = killing.map_or(now, |killing| killing.since.as_millis());
                    let (_, edges) = self
                        .held
                        .entry(task_id.clone())
                        .or_insert_with(|| (since, BTreeSet::new()));
                    edges.insert(edge_id.clone());
                }
                Effect::Kill(order) => {
                    if let Some((since, edges)) = self.held.remove(&order.task_id) {
                        assert!(
                            edges.is_empty() || now >= since + 10_000,
                            "{}: SIGTERM before {edges:?} let go",
                            order.task_id
                        );
                    }
                }
                _ => {}
            }
        }
    }
}

/// The contract's numbers, computed the long way round.
fn promise(app: &App, launched: i64, new: i64, is_resumed: bool) -> Watched {
    let n = f64::from(app.instances);
    let min = (n * app.upgrade_strategy.minimum_health_capacity).ceil() as i64;
    let mut max = (n * (1.0 + app.upgrade_strategy.maximum_over_capacity)).floor() as i64;
    if min == max && max <= launched {
        max += 1;
    }
    let old = launched - new;
    let kills_at_once = if app.instances == 0 {
        old
    } else {
        (old - min).max(0)
    };
    Watched {
        version: app.version,
        most_launched: max.max(launched),
        floor: min,
        kills_at_once,
        kills: 0,
        good: BTreeSet::new(),
        is_disturbed: false,
        is_resumed,
    }
}

fn begins(effect: &Effect, id: &DeploymentId) -> bool {
    matches!(effect, Effect::Publish(event)
        if matches!(&event.kind, EventKind::DeploymentInfo { plan, .. } if plan.id == *id))
}

fn mentions(effect: &Effect, id: &DeploymentId) -> bool {
    matches!(effect, Effect::Publish(event)
        if matches!(&event.kind, EventKind::DeploymentSuccess { id: over, .. } if over == id))
}
