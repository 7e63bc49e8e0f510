//! The world's checker: does what the engine ordered, as the master's prober does.
//!
//! What a task answers is its app's fate (`env.FATE`): a sick release is never healthy, an unready one never ready.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::app::{App, EnvValue};
use zddcluster_model::task::ReadinessResponse;
use zddcluster_model::{AppId, TaskId, TaskState, Timestamp};

use super::world::{Happening, World};
use crate::State;
use crate::effect::CheckOrder;
use crate::input::{CheckVerdict, Input};

/// What becomes of a release's tasks, as its definition says.
pub(super) fn fate(app: &App) -> &str {
    match app.env.get("FATE") {
        Some(EnvValue::Text(fate)) => fate,
        _ => "",
    }
}

/// What is being checked.
#[derive(Default)]
pub(super) struct Checks {
    health: BTreeMap<(AppId, Timestamp), BTreeSet<usize>>,
    readiness: BTreeSet<TaskId>,
}

impl Checks {
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The checks that run are those the engine believes to run.
    pub(super) fn compare(&self, state: &State) {
        let n_believed: usize = state
            .checks
            .values()
            .map(|app| app.health_checks.len())
            .sum();
        let n_running: usize = self.health.values().map(BTreeSet::len).sum();
        assert!(
            n_believed == n_running && state.checks.keys().all(|key| self.health.contains_key(key)),
            "other checks run than the engine believes"
        );
    }
}

impl World {
    pub(super) fn check(&mut self, order: CheckOrder) {
        let epoch = self.epoch;
        match order {
            CheckOrder::StartHealth { app, check_idx } => {
                let key = (app.id.clone(), app.version);
                let is_new = self
                    .checks
                    .health
                    .entry(key.clone())
                    .or_default()
                    .insert(check_idx);
                assert!(is_new, "{}: check {check_idx} runs already", app.id);
                let first = interval(&app, check_idx).min(5_000);
                let round = Happening::HealthRound {
                    key,
                    check_idx,
                    epoch,
                };
                self.after(first, round);
            }
            CheckOrder::StopHealth { app_id, version } => {
                self.checks.health.remove(&(app_id, version));
            }
            CheckOrder::StartReadiness { task_id, .. } => {
                if self.checks.readiness.insert(task_id.clone()) {
                    self.after(10, Happening::Readiness { task_id, epoch });
                }
            }
            CheckOrder::StopReadiness { task_id } => {
                self.checks.readiness.remove(&task_id);
            }
        }
    }

    pub(super) fn health_round(&mut self, key: (AppId, Timestamp), check_idx: usize, epoch: u64) {
        let is_running = self
            .checks
            .health
            .get(&key)
            .is_some_and(|checks| checks.contains(&check_idx));
        if epoch != self.epoch || !is_running {
            return;
        }
        let tasks: Vec<(TaskId, bool)> = self
            .snapshot
            .tasks_of(&key.0)
            .filter(|task| task.version == key.1 && task.state == TaskState::Running)
            .map(|task| {
                let is_sick = task.app.as_ref().is_some_and(|app| fate(app) == "sick");
                (task.id.clone(), is_sick)
            })
            .collect();
        let every = self
            .snapshot
            .version_of(&key.0, key.1)
            .map_or(20_000, |app| interval(app, check_idx));
        for (task_id, is_sick) in tasks {
            let is_unlucky = !self.is_peaceful && !self.is_faultless && self.one_in(6);
            let verdict = if is_sick || is_unlucky {
                CheckVerdict::Unhealthy("500 Internal Server Error".to_owned())
            } else {
                CheckVerdict::Healthy
            };
            self.step(Input::Health {
                task_id,
                check_idx,
                verdict,
            });
        }
        let round = Happening::HealthRound {
            key,
            check_idx,
            epoch,
        };
        self.after(every, round);
    }

    pub(super) fn ask(&mut self, task_id: TaskId, epoch: u64) {
        if epoch != self.epoch || !self.checks.readiness.contains(&task_id) {
            return;
        }
        let Some(task) = self.snapshot.tasks.get(&task_id) else {
            self.checks.readiness.remove(&task_id);
            return;
        };
        let is_never = task.app.as_ref().is_some_and(|app| fate(app) == "unready");
        let is_ready = !is_never && self.one_in(2);
        let response = ReadinessResponse {
            status: if is_ready { 200 } else { 503 },
            content_type: "text/plain".to_owned(),
            body: String::new(),
        };
        self.step(Input::Readiness {
            task_id: task_id.clone(),
            is_ready,
            response,
        });
        self.after(3_000, Happening::Readiness { task_id, epoch });
    }
}

fn interval(app: &App, check_idx: usize) -> i64 {
    app.health_checks
        .get(check_idx)
        .map_or(20_000, |check| check.interval_seconds as i64 * 1000)
}
