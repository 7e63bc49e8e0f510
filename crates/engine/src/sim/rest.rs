//! When a life has come to rest: everything that can end has ended, and what waits, waits for something true.

use std::sync::Arc;

use zddcluster_model::app::App;
use zddcluster_model::deployment::ActionKind;
use zddcluster_model::{AppId, TaskState};

use super::checks::fate;
use super::fair;
use super::world::World;
use crate::blocker::{Blocker, blockers, blockers_of_action};
use crate::state::{Deployment, RunningAction, Task};

impl World {
    /// What still goes on; `None` at rest. Once all `is_mended`, nothing may be blocked any more.
    pub(super) fn unrest(&self, is_mended: bool) -> Option<String> {
        let state = &self.snapshot;
        if !self.batch.is_empty() || self.is_holding {
            return Some("a batch is open".to_owned());
        }
        if state.is_stopping {
            return Some("the cluster is stopping".to_owned());
        }
        if !self.agents.are_all_connected() {
            return Some("an agent is away".to_owned());
        }
        for deployment in state.deployments.values() {
            for action in deployment.actions.iter().filter(|action| !action.is_done) {
                if is_mended || self.blocker(deployment, action).is_none() {
                    let (id, app) = (&deployment.plan.id, &action.action.app);
                    let blockers = blockers_of_action(state, deployment, action);
                    return Some(format!("{id} for {app}: {blockers:?}"));
                }
            }
        }
        if is_mended && let Some(host) = self.with_other_volumes() {
            return Some(format!("{host} keeps other volumes than believed"));
        }
        let apps = state.root.transitive_apps();
        let mut known: Vec<&AppId> = apps.iter().map(|app| &app.id).collect();
        known.sort();
        for task in state.tasks.values() {
            let app_id = &task.app_id;
            if known.binary_search(&app_id).is_err() {
                return Some(format!("{}: a task of an app that is gone", task.id));
            }
        }
        for app in apps {
            if state.deployments_of(&app.id).next().is_some() {
                continue;
            }
            let tasks: Vec<&Arc<Task>> = state
                .tasks_of(&app.id)
                .filter(|task| is_mended || !self.is_awaited(task))
                .collect();
            let is_doomed = !fate(app).is_empty()
                || tasks
                    .iter()
                    .any(|task| task.app.as_ref().is_some_and(|app| !fate(app).is_empty()));
            if is_doomed && !is_mended {
                continue;
            }
            if let Some(task) = tasks.iter().find(|task| !task.is_serving()) {
                return Some(format!("{} is {:?}", task.id, task.state));
            }
            let queued = state.queued_of(&app.id) as usize;
            if tasks.len() + queued != app.instances as usize {
                let n = tasks.len();
                return Some(format!("{}: {n} tasks of {}", app.id, app.instances));
            }
            if queued > 0 && (is_mended || !self.has_no_place(app)) {
                return Some(format!("{}: {queued} queued", app.id));
            }
        }
        None
    }

    /// What an action waits for and will wait for, for all that is known; `None` if it can go on by itself.
    ///
    /// Whatever it is, the engine must name it.
    fn blocker(&self, deployment: &Deployment, action: &RunningAction) -> Option<&'static str> {
        let state = &self.snapshot;
        let app_id = &action.action.app;
        let app = deployment.plan.target.app(app_id)?;
        if !matches!(
            action.action.action,
            ActionKind::RestartApplication | ActionKind::ScaleApplication
        ) {
            return None;
        }
        let named = blockers(state, &deployment.plan.id);
        if is_never_good(app) {
            let is_named = named.iter().any(|blocker| match blocker {
                Blocker::Health { task_id, .. } | Blocker::Readiness { task_id, .. } => {
                    task_id.app_id().as_ref() == Some(app_id)
                }
                Blocker::BackOff { app_id: of, .. } | Blocker::Agent { app_id: of, .. } => {
                    of == app_id
                }
                Blocker::Start { .. } | Blocker::End { .. } => true,
                Blocker::Download { .. } | Blocker::Sweep { .. } => false,
            });
            assert!(
                is_named,
                "{app_id}: its tasks never get good, not {named:?}"
            );
            return Some("its tasks never get good");
        }
        let mut tasks = state.launched_of(app_id);
        if tasks.any(|task| task.state == TaskState::Killing) {
            return None;
        }
        let entry = state.queue.get(app_id)?;
        let is_tried = entry.delayed_until.is_none();
        if !is_tried || entry.app.version != app.version || !self.has_no_place(app) {
            return None;
        }
        let is_named = named
            .iter()
            .any(|blocker| matches!(blocker, Blocker::Agent { app_id: of, .. } if of == app_id));
        assert!(is_named, "{app_id}: no agent takes it, not {named:?}");
        Some("no agent takes it")
    }

    /// A lost task whose volumes are where nobody is any more: its agent has forgotten who it was.
    fn is_awaited(&self, task: &Task) -> bool {
        let agents = &self.snapshot.agents;
        let is_away = agents
            .get(&task.agent_id)
            .is_none_or(|agent| !agent.is_connected);
        task.state == TaskState::Lost && !task.local_volumes.is_empty() && is_away
    }

    /// No agent can take one more task of an app.
    fn has_no_place(&self, app: &App) -> bool {
        let state = &self.snapshot;
        let held = self.watch.mirror.held();
        let agents = |id: &_| state.agents.get(id).map(|agent| &**agent);
        let kept = self.watch.kept(state);
        state
            .agents
            .values()
            .all(|agent| fair::refusal(agent, agents, app, &held, &[], &kept).is_some())
    }
}

/// Tasks of this release never count for a deployment.
fn is_never_good(app: &App) -> bool {
    match fate(app) {
        "sick" => !app.health_checks.is_empty(),
        "unready" => !app.readiness_checks.is_empty(),
        fate => fate == "crash",
    }
}
