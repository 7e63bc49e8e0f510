//! Deployment groups: two apps of zdd.py, or of the like, as one service.
//!
//! While a group has two apps, both stand behind one backend under the group's name, and as many of the old app's tasks
//! drain as the new one's can stand in for. Who kills them, zdd.py for one, sees them as `MAINT`.
//!
//! ```text
//!   drainable = healthy new tasks + wanted old tasks - target, at least 0
//!   draining  = the first of old's tasks by id: as many as are drainable, and at most one for each healthy new task
//! ```
//!
//! Source: contract marathon-lb §5.1.

use std::collections::BTreeMap;

use zddcluster_client::marathon::{App, Task};

use super::build::{Rules, is_running, takes_traffic};
use crate::labels::Warning;

/// An app as it is exposed: itself, or all of its deployment group.
pub(super) struct Exposed<'a> {
    /// The app's id, or the group's name with a leading slash.
    pub(super) id: String,
    /// Whose labels and ports count.
    pub(super) app: &'a App,
    /// The tasks of all.
    pub(super) tasks: Vec<Member<'a>>,
}

/// A task behind an exposed app.
pub(super) struct Member<'a> {
    /// The app it belongs to.
    pub(super) app: &'a App,
    /// It.
    pub(super) task: &'a Task,
    /// It takes nothing new.
    pub(super) is_draining: bool,
}

/// Merges the apps of each deployment group. Apps without one stay as they are.
pub(super) fn merge<'a>(
    apps: impl Iterator<Item = &'a App>,
    rules: &Rules<'_>,
) -> (Vec<Exposed<'a>>, Vec<Warning>) {
    let mut all_exposed = Vec::new();
    let mut warnings = Vec::new();
    let mut groups: BTreeMap<String, Vec<&App>> = BTreeMap::new();
    for app in apps {
        match group_of(app) {
            Some(group) => groups.entry(group).or_default().push(app),
            None => all_exposed.push(Exposed {
                id: app.id.clone(),
                app,
                tasks: members(app, &[]),
            }),
        }
    }
    for (id, mut apps) in groups {
        // None is earliest; ISO times of one zone sort as text.
        apps.sort_by_key(|app| (started_at(app), app.id.as_str()));
        let exposed = match apps[..] {
            [first, second] => swap(id, first, second, rules),
            [first, ..] => {
                if apps.len() > 2 {
                    warnings.push(Warning {
                        app_id: first.id.clone(),
                        subject: DEPLOYMENT_GROUP.to_owned(),
                        text: format!(
                            "{} apps are in the group: all are served and none drains",
                            apps.len()
                        ),
                    });
                }
                Exposed {
                    id,
                    app: first,
                    tasks: apps.iter().flat_map(|app| members(app, &[])).collect(),
                }
            }
            [] => continue,
        };
        all_exposed.push(exposed);
    }
    (all_exposed, warnings)
}

const DEPLOYMENT_GROUP: &str = "HAPROXY_DEPLOYMENT_GROUP";
const STARTED_AT: &str = "HAPROXY_DEPLOYMENT_STARTED_AT";
const TARGET_INSTANCES: &str = "HAPROXY_DEPLOYMENT_TARGET_INSTANCES";
const NEW_INSTANCES: &str = "HAPROXY_DEPLOYMENT_NEW_INSTANCES";

fn group_of(app: &App) -> Option<String> {
    let group = app.labels.get(DEPLOYMENT_GROUP)?.trim();
    let group = group.trim_start_matches('/');
    (!group.is_empty()).then(|| format!("/{group}"))
}

fn started_at(app: &App) -> &str {
    app.labels.get(STARTED_AT).map_or("", String::as_str)
}

fn last_scaling(app: &App) -> &str {
    app.version_info
        .as_ref()
        .map_or("", |info| info.last_scaling_at.as_str())
}

pub(super) fn members<'a>(app: &'a App, draining: &[&str]) -> Vec<Member<'a>> {
    let member = |task: &'a Task| Member {
        app,
        task,
        is_draining: draining.contains(&task.id.as_str()),
    };
    app.tasks.iter().map(member).collect()
}

/// Merges a group of two, of which `first` was started earlier.
fn swap<'a>(id: String, first: &'a App, second: &'a App, rules: &Rules<'_>) -> Exposed<'a> {
    let (mut old, mut new) = (first, second);
    let is_partial = new.labels.contains_key(NEW_INSTANCES);
    // Who was scaled last is the one that is to grow: this is how a swap is taken back.
    if is_partial && last_scaling(old) > last_scaling(new) {
        (old, new) = (new, old);
    }
    let target = if is_partial {
        new.labels
            .get(TARGET_INSTANCES)
            .and_then(|target| target.trim().parse().ok())
            .unwrap_or(1)
    } else {
        1
    };
    let n_healthy = new
        .tasks
        .iter()
        .filter(|task| takes_traffic(new, task, rules))
        .count();
    let mut old_tasks: Vec<&str> = old
        .tasks
        .iter()
        .filter(|task| is_running(task, rules))
        .map(|task| task.id.as_str())
        .collect();
    old_tasks.sort_unstable();
    let healthy = u64::try_from(n_healthy).unwrap_or(u64::MAX);
    let drainable = healthy.saturating_add(old.instances).saturating_sub(target);
    let drainable = usize::try_from(drainable)
        .unwrap_or(usize::MAX)
        .min(n_healthy);
    old_tasks.truncate(drainable);
    let mut tasks = members(old, &old_tasks);
    tasks.extend(members(new, &[]));
    Exposed {
        id,
        app: old,
        tasks,
    }
}
