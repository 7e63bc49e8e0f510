//! The checker of a prediction: who is asked when, and what the answer is.

use std::sync::Arc;

use zddcluster_model::app::{App, HealthCheck};
use zddcluster_model::{TaskId, TaskState};

use super::times::timeout_millis;
use super::{Fate, Happening, World};
use crate::input::CheckVerdict;
use crate::predict::assume::millis;
use crate::state::Task;

impl World<'_> {
    /// One round of a health check, and the next one as long as it matters to a deployment.
    pub(super) fn round(&mut self, app: &Arc<App>, check_idx: usize) {
        let state = self.state();
        let is_running = state.checks.contains_key(&(app.id.clone(), app.version));
        let matters = state.deployments_of(&app.id).next().is_some();
        let Some(check) = app.health_checks.get(check_idx) else {
            return;
        };
        if !is_running || !matters {
            return;
        }
        let asked: Vec<Arc<Task>> = state
            .tasks_of(&app.id)
            .filter(|task| task.version == app.version && task.state == TaskState::Running)
            .filter(|task| self.needs_asking(task, check_idx))
            .map(Arc::clone)
            .collect();
        for task in asked {
            let (delay, verdict) = self.answer(&task, app, check, check_idx);
            self.after(
                delay,
                Happening::Answer(task.id.clone(), check_idx, verdict),
            );
        }
        let interval = self.interval(check.interval_seconds);
        self.after(interval, Happening::Round(Arc::clone(app), check_idx));
    }

    /// Whether another answer may change anything: of a task that was there before only the first one is wanted.
    fn needs_asking(&self, task: &Task, check_idx: usize) -> bool {
        let Some(standing) = task.health.get(check_idx) else {
            return false;
        };
        let is_new = self.fates.contains_key(&task.id);
        match standing {
            None => true,
            Some(_) if !is_new => false,
            Some(result) => {
                let answers = &self.assumptions.health_answers;
                let key = (task.id.clone(), check_idx);
                let n_given = self.n_answers.get(&key).copied().unwrap_or(0);
                !result.alive || n_given < answers.len() || answers.last() == Some(&false)
            }
        }
    }

    /// When an answer comes, and what it is worth.
    fn answer(
        &mut self,
        task: &Task,
        app: &App,
        check: &HealthCheck,
        check_idx: usize,
    ) -> (i64, CheckVerdict) {
        let delay = self.assumptions.answer_millis(app, self.speed());
        let timeout = timeout_millis(check.timeout_seconds);
        let n_given = self
            .n_answers
            .entry((task.id.clone(), check_idx))
            .or_default();
        let answers = &self.assumptions.health_answers;
        let is_good = answers
            .get(*n_given)
            .or_else(|| answers.last())
            .copied()
            .unwrap_or(true);
        *n_given += 1;
        if delay > timeout {
            let cause = format!("AskTimeoutException: no answer in {timeout} ms");
            return (timeout, CheckVerdict::Unhealthy(cause));
        }
        let started = task.started_at.unwrap_or(self.now);
        let is_warm = self.now.millis_since(started) >= self.assumptions.healthy_millis(check_idx);
        let verdict = if is_good && is_warm && self.fate(&task.id) != Fate::Fails {
            CheckVerdict::Healthy
        } else {
            CheckVerdict::Unhealthy("503 Service Unavailable".to_owned())
        };
        (delay, verdict)
    }

    /// Asks a task whether it is ready, and plans the next question.
    pub(super) fn ask(&mut self, task_id: &TaskId) {
        let Some(app) = self.asked.get(task_id).map(Arc::clone) else {
            return;
        };
        let state = self.state();
        let (Some(task), Some(check)) = (state.tasks.get(task_id), app.readiness_checks.first())
        else {
            self.asked.remove(task_id);
            return;
        };
        let started = task.started_at.unwrap_or(self.now);
        let is_warm = self.now.millis_since(started) >= millis(self.assumptions.ready_seconds);
        let is_killed = task.state != TaskState::Running;
        let timeout = timeout_millis(check.timeout_seconds);
        let answer = self.assumptions.answer_millis(&app, self.speed());
        let is_ready = is_warm && answer <= timeout && self.fate(task_id) != Fate::Fails;
        let interval = self.readiness_interval(&app);
        let delay = answer.min(timeout);
        if !is_killed {
            self.after(delay, Happening::Ready(task_id.clone(), is_ready));
        }
        // The next question waits for this answer.
        let next = interval.saturating_mul(delay / interval + 1);
        self.after(next, Happening::Ask(task_id.clone()));
    }
}
