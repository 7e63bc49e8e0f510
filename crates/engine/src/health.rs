//! What the results of health checks mean.
//!
//! ```text
//!   no result ──failure in grace──▶ sick, not counted ──success──▶ alive ──failure──▶ sick, counted ──n+1-th──▶ killed
//! ```
//!
//! Source: contract marathon §6.1-6.3.

use std::sync::Arc;

use zddcluster_model::app::App;
use zddcluster_model::event::EventKind;
use zddcluster_model::task::HealthResult;
use zddcluster_model::{TaskId, TaskState};

use crate::effect::{CheckOrder, Effect};
use crate::input::CheckVerdict;
use crate::kill::KillReason;
use crate::state::Task;
use crate::turn::Turn;

impl Turn<'_> {
    /// Starts the health checks of an app version unless they run; says so on the bus if `is_announced`.
    pub(crate) fn start_checks(&mut self, app: &Arc<App>, is_announced: bool) {
        let key = (app.id.clone(), app.version);
        if app.health_checks.is_empty() || self.state.checks.contains_key(&key) {
            return;
        }
        self.state.checks.insert_mut(key, Arc::clone(app));
        for (check_idx, health_check) in app.health_checks.iter().enumerate() {
            self.effects.push(Effect::Check(CheckOrder::StartHealth {
                app: Arc::clone(app),
                check_idx,
            }));
            if is_announced {
                self.publish(EventKind::AddHealthCheck {
                    app_id: app.id.clone(),
                    version: app.version,
                    health_check: health_check.clone(),
                });
            }
        }
    }

    /// After a restart: every version that has tasks is checked again.
    pub(crate) fn resume_checks(&mut self) {
        let running: Vec<Arc<App>> = self
            .state
            .tasks
            .values()
            .filter_map(|task| task.app.clone())
            .collect();
        for app in running {
            self.start_checks(&app, false);
        }
        let current: Vec<Arc<App>> = self
            .state
            .root
            .transitive_apps()
            .into_iter()
            .map(Arc::clone)
            .collect();
        for app in current {
            self.start_checks(&app, false);
        }
    }

    /// Takes the outcome of one check of one task.
    pub(crate) fn health(&mut self, id: &TaskId, check_idx: usize, verdict: CheckVerdict) {
        let Some(task) = self.state.tasks.get(id).map(Arc::clone) else {
            return;
        };
        let Some(app) = task.app.clone() else { return };
        let Some(check) = app.health_checks.get(check_idx) else {
            return;
        };
        let is_checkable = matches!(task.state, TaskState::Running | TaskState::Killing);
        if !is_checkable || task.health.len() <= check_idx {
            return;
        }
        let before = task.health[check_idx].clone();
        let was_alive = before.as_ref().is_some_and(|result| result.alive);
        let mut result = before.clone().unwrap_or_else(|| HealthResult {
            alive: false,
            consecutive_failures: 0,
            first_success: None,
            last_failure: None,
            last_success: None,
            last_failure_cause: None,
            task_id: id.clone(),
        });
        let mut must_die = None;
        match verdict {
            CheckVerdict::Healthy => {
                result.alive = true;
                result.consecutive_failures = 0;
                result.first_success.get_or_insert(self.now);
                result.last_success = Some(self.now);
            }
            CheckVerdict::Unhealthy(cause) => {
                result.alive = false;
                let grace = i64::try_from(check.grace_period_seconds)
                    .unwrap_or(i64::MAX / 1000)
                    .saturating_mul(1000);
                // A task that slept with the machine came no further meanwhile.
                let age = task
                    .started_at
                    .map_or(0, |started| self.state.awake_since(started, self.now));
                let is_in_grace = result.first_success.is_none() && age < self.scaled(grace);
                if !is_in_grace {
                    self.publish(EventKind::FailedHealthCheck {
                        app_id: app.id.clone(),
                        task_id: id.clone(),
                        health_check: check.clone(),
                    });
                    let most = check.max_consecutive_failures;
                    if most > 0 && result.consecutive_failures >= most {
                        must_die = Some(cause.clone());
                    }
                    result.consecutive_failures += 1;
                    result.last_failure = Some(self.now);
                    result.last_failure_cause = Some(cause);
                }
            }
        }
        if let Some(cause) = must_die {
            self.publish(EventKind::UnhealthyTaskKill {
                app_id: app.id.clone(),
                task_id: id.clone(),
                version: task.version,
                reason: cause.clone(),
                host: task.host.clone(),
                slave_id: task.agent_id.clone(),
                last_failure: before
                    .as_ref()
                    .and_then(|before| before.last_failure)
                    .unwrap_or(self.now),
            });
            let message = format!("Task was killed since health check failed. Reason: {cause}");
            self.remember_failure(&task, TaskState::Killed, message);
            self.kill(id, KillReason::Health);
        }
        let is_flipped =
            before.is_some() && was_alive != result.alive || before.is_none() && result.alive;
        if is_flipped {
            self.publish(EventKind::HealthStatusChanged {
                app_id: app.id.clone(),
                task_id: id.clone(),
                version: task.version,
                alive: result.alive,
            });
        }
        // Read again: the kill has changed it.
        let Some(task) = self.state.tasks.get(id).map(|task| (**task).clone()) else {
            return;
        };
        let mut health = task.health.clone();
        health[check_idx] = Some(result);
        self.put_task_unsaved(Task { health, ..task });
        self.touch(&app.id);
    }
}
