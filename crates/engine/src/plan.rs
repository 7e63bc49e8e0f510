//! From two trees to the steps between them.
//!
//! Source: contract marathon §3.1; Marathon 1.3 `DeploymentPlan`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::app::App;
use zddcluster_model::deployment::{Action, ActionKind, Download, Step};
use zddcluster_model::group::levels;
use zddcluster_model::{AppId, Group};

/// The steps that turn `old` into `new`; none if nothing changed.
///
/// Stop what is gone, start (with 0 instances) what is new, then one step per dependency level of the whole new tree, lowest first.
pub(crate) fn steps(old: &Group, new: &Group) -> Vec<Step> {
    let old_apps = by_id(old);
    let new_apps = by_id(new);

    let stops = old_apps.keys().filter(|id| !new_apps.contains_key(*id));
    let starts = new_apps.keys().filter(|id| !old_apps.contains_key(*id));
    let mut steps = vec![
        step(ActionKind::StopApplication, stops),
        step(ActionKind::StartApplication, starts),
    ];

    let changed: BTreeMap<&AppId, ActionKind> = new_apps
        .iter()
        .filter_map(|(id, app)| {
            let action = match old_apps.get(id) {
                None => Some(ActionKind::ScaleApplication),
                Some(before) => change(before, app),
            };
            action.map(|action| (id, action))
        })
        .collect();
    if !changed.is_empty() {
        let levels = levels(new);
        let wanted: BTreeSet<usize> = changed
            .keys()
            .map(|id| levels.get(*id).copied().unwrap_or(0))
            .collect();
        for level in wanted {
            let actions = changed
                .iter()
                .filter(|(id, _)| levels.get(**id).copied().unwrap_or(0) == level)
                .map(|(id, action)| Action {
                    action: *action,
                    app: (*id).clone(),
                })
                .collect();
            steps.push(Step { actions });
        }
    }
    steps.retain(|step| !step.actions.is_empty());
    steps
}

/// The step before all others: files that tasks will fetch from the artifact store have to be there.
pub(crate) fn resolve_step(downloads: &BTreeMap<AppId, Vec<Download>>) -> Option<Step> {
    let step = step(ActionKind::ResolveArtifacts, downloads.keys());
    (!step.actions.is_empty()).then_some(step)
}

/// What has to be done for an app that is in both trees.
fn change(before: &App, after: &App) -> Option<ActionKind> {
    if before.version == after.version {
        return None;
    }
    let is_scaled = before.instances != after.instances && differs_in_instances_only(before, after);
    Some(if is_scaled {
        ActionKind::ScaleApplication
    } else {
        ActionKind::RestartApplication
    })
}

/// Whether two definitions are equal but for instances, version and version info.
pub(crate) fn differs_in_instances_only(before: &App, after: &App) -> bool {
    let rest = App {
        instances: before.instances,
        version: before.version,
        version_info: before.version_info,
        ..after.clone()
    };
    rest == *before
}

fn by_id(root: &Group) -> BTreeMap<AppId, &Arc<App>> {
    root.transitive_apps()
        .into_iter()
        .map(|app| (app.id.clone(), app))
        .collect()
}

fn step<'a>(action: ActionKind, apps: impl Iterator<Item = &'a AppId>) -> Step {
    Step {
        actions: apps
            .map(|id| Action {
                action,
                app: id.clone(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests;
