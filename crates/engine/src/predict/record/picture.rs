//! An app at a moment, as it looks from outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use zddcluster_model::deployment::{ActionKind, Plan};
use zddcluster_model::{App, AppId, TaskState, Timestamp};

use super::actions_on;
use crate::predict::label::Labels;
use crate::predict::timeline::{AppPicture, Standing, Tasks};
use crate::state::{RunningAction, State, Task};

/// The tasks of an app by version and standing, and what waits.
pub(super) fn picture(plan: &Plan, state: &State, app_id: &AppId, labels: &Labels) -> AppPicture {
    let target = plan.target.app(app_id).map(|app| app.version);
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
            version: labels.of(version).to_owned(),
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

/// What the versions of an app are called while this plan is carried out.
pub(super) fn labels(plan: &Plan, before: &State, app_id: &AppId) -> Labels {
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
fn running_action<'a>(state: &'a State, app_id: &AppId) -> Option<&'a RunningAction> {
    let mut deployments = state.deployments_of(app_id);
    deployments.find_map(|deployment| deployment.actions.get(app_id))
}

/// How a launched task looks from outside. Readiness is known only of tasks that a running action asks.
pub(in crate::predict) fn standing(task: &Task, running: Option<&RunningAction>) -> Standing {
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
