//! What is under way when a prediction begins: tasks that start or end, checks that have their rounds, questions that are open,
//! files that are being brought.

use std::sync::Arc;

use zddcluster_model::{App, TaskState};

use super::{Happening, World};
use crate::actions::DownloadState;
use crate::kill::KILL_RETRY_MILLIS;
use crate::predict::assume::millis;
use crate::state::{State, Task};
use crate::turn::scaled;

impl World<'_> {
    /// Puts on the calendar what the tasks, checks and edges of the state before will do anyway.
    pub(super) fn take_up(&mut self, before: &State) {
        let start = millis(self.assumptions.start_seconds);
        let tasks: Vec<Arc<Task>> = before.tasks.values().map(Arc::clone).collect();
        for task in tasks {
            match task.state {
                TaskState::Staging | TaskState::Starting => {
                    let left = start - self.now.millis_since(task.staged_at);
                    self.after(left.max(1), Happening::Runs(task.id.clone()));
                }
                TaskState::Killing => self.take_up_kill(&task),
                _ => {}
            }
        }
        let checks: Vec<Arc<App>> = before.checks.values().map(Arc::clone).collect();
        for app in checks {
            for (check_idx, check) in app.health_checks.iter().enumerate() {
                let interval = self.interval(check.interval_seconds);
                let age = self.now.millis_since(app.version);
                let past = age - self.first_round(check);
                let left = if past < 0 {
                    -past
                } else {
                    interval - past % interval
                };
                self.after(left, Happening::Round(Arc::clone(&app), check_idx));
            }
        }
        for deployment in before.deployments.values() {
            for running in &deployment.actions {
                if let DownloadState::Ordered(attempt) = running.progress.download {
                    self.download(&deployment.plan.id, &running.action.app, attempt);
                }
                let Some(app) = deployment.plan.target.app(&running.action.app) else {
                    continue;
                };
                for task_id in running.progress.asked.difference(&running.progress.ready) {
                    self.asked.insert(task_id.clone(), Arc::clone(app));
                    let interval = self.readiness_interval(app);
                    let started = before.tasks.get(task_id).and_then(|task| task.started_at);
                    let age = self.now.millis_since(started.unwrap_or(self.now));
                    let left = interval - age.max(0) % interval;
                    self.after(left, Happening::Ask(task_id.clone()));
                }
            }
        }
    }

    fn take_up_kill(&mut self, task: &Task) {
        let Some(killing) = &task.killing else { return };
        if killing.is_signalled {
            // The next signal is due a fixed time after the last one.
            let since_signal = scaled(self.engine.config(), KILL_RETRY_MILLIS)
                - killing.next_signal.millis_since(self.now);
            let grace = self.grace_millis(task);
            let left = self.kill_millis(grace) - since_signal;
            self.ending.insert(task.id.clone());
            self.after(
                left.max(1),
                Happening::Ends(task.id.clone(), TaskState::Killed),
            );
            return;
        }
        for edge_id in killing.draining.clone() {
            let drain = millis(self.assumptions.drain_seconds);
            self.after(drain, Happening::Drained(edge_id, task.id.clone()));
        }
    }
}
