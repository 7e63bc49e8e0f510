//! App JSON with its selectable parts (contract marathon §1.11).

use std::sync::Arc;

use serde_json::{Map, Value, json};
use zddcluster_engine::State;
use zddcluster_engine::state::Task;
use zddcluster_model::{App, AppId, DeploymentId, Timestamp};

use super::stats::{Counts, task_stats};
use super::task::{TaskView, task_json};

/// The parts of an app beyond its definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) counts: bool,
    pub(crate) deployments: bool,
    pub(crate) readiness: bool,
    pub(crate) tasks: bool,
    pub(crate) last_task_failure: bool,
    pub(crate) task_stats: bool,
}

impl Parts {
    /// Always shown in `GET /v2/apps`.
    pub(crate) const LIST: Self = Self {
        counts: true,
        deployments: true,
        readiness: false,
        tasks: false,
        last_task_failure: false,
        task_stats: false,
    };
    /// Always shown for one app.
    pub(crate) const ONE: Self = Self {
        tasks: true,
        last_task_failure: true,
        ..Self::LIST
    };

    /// These parts and those that `embed` names; the prefixes none, `app.`, `apps.` and `group.apps.` are equal here.
    #[must_use]
    pub(crate) fn with_embed(mut self, embed: &str) -> Self {
        let name = ["group.apps.", "apps.", "app."]
            .iter()
            .find_map(|prefix| embed.strip_prefix(prefix))
            .unwrap_or(embed);
        match name {
            "counts" => self.counts = true,
            "deployments" => self.deployments = true,
            "readiness" => self.readiness = true,
            "lastTaskFailure" => self.last_task_failure = true,
            "taskStats" => self.task_stats = true,
            "tasks" => {
                self.tasks = true;
                self.deployments = true;
            }
            "failures" => {
                self.last_task_failure = true;
                self.tasks = true;
                self.deployments = true;
            }
            _ => {}
        }
        self
    }
}

/// The ids of the running plans that affect an app, as `deployments` shows them.
fn deployments_of(state: &State, app_id: &AppId) -> Value {
    let ids: Vec<Value> = state
        .deployments_of(app_id)
        .map(|deployment| json!({ "id": deployment.plan.id }))
        .collect();
    ids.into()
}

/// An app with the wanted parts. Its tasks are looked at only if a part is about them.
pub(crate) fn app_json(state: &State, app: &App, parts: Parts, now: Timestamp) -> Value {
    let mut json = definition(app);
    let tasks: Vec<&Arc<Task>> = if parts.counts || parts.tasks || parts.task_stats {
        state.tasks_of(&app.id).collect()
    } else {
        Vec::new()
    };
    if parts.counts {
        Counts::of(&tasks).insert_into(&mut json);
    }
    if parts.deployments {
        json.insert("deployments".to_owned(), deployments_of(state, &app.id));
    }
    if parts.readiness {
        let results: Vec<_> = state
            .deployments_of(&app.id)
            .filter_map(|deployment| deployment.actions.get(&app.id))
            .flat_map(|running| &running.readiness)
            .collect();
        json.insert("readinessCheckResults".to_owned(), json!(results));
    }
    if parts.tasks {
        let tasks: Vec<Value> = tasks
            .iter()
            .map(|task| task_json(task, TaskView::OfApp))
            .collect();
        json.insert("tasks".to_owned(), tasks.into());
    }
    if parts.last_task_failure
        && let Some(failure) = state.failures.get(&app.id)
    {
        json.insert("lastTaskFailure".to_owned(), json!(**failure));
    }
    if parts.task_stats {
        json.insert("taskStats".to_owned(), task_stats(app, &tasks, now));
    }
    json.into()
}

/// The answer to `POST /v2/apps`: the app as submitted, zero counts, its deployment, no tasks.
pub(crate) fn created_app_json(app: &App, deployment_id: &DeploymentId) -> Value {
    let app = App {
        version_info: None,
        ..app.clone()
    };
    let mut json = definition(&app);
    Counts::default().insert_into(&mut json);
    json.insert("deployments".to_owned(), json!([{ "id": deployment_id }]));
    json.insert("tasks".to_owned(), json!([]));
    json.into()
}

fn definition(app: &App) -> Map<String, Value> {
    match serde_json::to_value(app) {
        Ok(Value::Object(map)) => map,
        // An app is printed as an object with string keys.
        Ok(_) | Err(_) => Map::new(),
    }
}
