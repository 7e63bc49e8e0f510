//! How long things take in the world of a prediction.

use zddcluster_model::app::HealthCheck;
use zddcluster_model::{App, AppId};

use super::{CRASH_MILLIS, World};
use crate::kill::grace_millis;
use crate::predict::assume::millis;
use crate::state::Task;
use crate::turn::scaled;

/// The first round of a check comes at most this long after it was added, milliseconds; Marathon's constant.
const FIRST_ROUND_MILLIS: i64 = 5_000;

/// No interval becomes shorter than this by the speed, milliseconds; as the checker has it.
const SHORTEST_INTERVAL_MILLIS: i64 = 50;

impl World<'_> {
    pub(super) fn grace_millis(&self, task: &Task) -> i64 {
        let grace = grace_millis(self.engine.config(), task);
        i64::try_from(grace).unwrap_or(i64::MAX)
    }

    pub(super) fn kill_millis(&self, grace_millis: i64) -> i64 {
        if self.assumptions.ignores_sigterm {
            grace_millis
        } else {
            millis(self.assumptions.kill_seconds).min(grace_millis)
        }
    }

    pub(super) fn interval(&self, seconds: u64) -> i64 {
        let millis = i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX);
        divided(millis, self.speed())
    }

    pub(super) fn first_round(&self, check: &HealthCheck) -> i64 {
        let millis = i64::try_from(check.interval_seconds.saturating_mul(1000));
        divided(
            millis.unwrap_or(i64::MAX).min(FIRST_ROUND_MILLIS),
            self.speed(),
        )
    }

    pub(super) fn readiness_interval(&self, app: &App) -> i64 {
        let check = app.readiness_checks.first();
        self.interval(check.map_or(1, |check| check.interval_seconds))
    }

    /// The longest time that can pass between two signs of progress of a plan that goes on, milliseconds: a task is launched,
    /// runs, is asked in the next round of each check and answers, and an old one is drained, killed and gone. A task that fails
    /// its checks gets the time to be killed for it, too, so that this is seen.
    pub(in crate::predict) fn patience(&self, app: Option<&App>, app_id: &AppId) -> i64 {
        let given = self.assumptions;
        let tasks = self.state().launched_of(app_id);
        let grace = tasks.map(|task| self.grace_millis(task)).max();
        let kill = self.kill_millis(grace.unwrap_or(0));
        let drain = self.engine.config().drain_millis;
        let start = millis(given.start_seconds) + CRASH_MILLIS;
        let (checks, readiness) = app.map_or((0, 0), |app| self.patience_with_checks(app));
        [checks, readiness, kill, drain, start, start]
            .into_iter()
            .fold(1_000_i64, i64::saturating_add)
    }

    fn patience_with_checks(&self, app: &App) -> (i64, i64) {
        let given = self.assumptions;
        let answer = given.answer_millis(app, self.speed());
        let mut checks = 0;
        for (check_idx, check) in app.health_checks.iter().enumerate() {
            let interval = self.interval(check.interval_seconds);
            let grace = i64::try_from(check.grace_period_seconds.saturating_mul(1000));
            let grace = scaled(self.engine.config(), grace.unwrap_or(i64::MAX));
            let n_rounds = i64::from(check.max_consecutive_failures) + 3;
            let n_rounds = n_rounds + given.health_answers.len() as i64;
            let rounds = interval.saturating_mul(n_rounds).saturating_add(grace);
            let passes = rounds.saturating_add(given.healthy_millis(check_idx));
            // Nobody waits longer for an answer.
            let answer = answer.min(timeout_millis(check.timeout_seconds));
            checks = checks.max(passes.saturating_add(answer));
        }
        let readiness = app.readiness_checks.first().map_or(0, |check| {
            let rounds = self.readiness_interval(app).saturating_mul(2);
            let answer = answer.min(timeout_millis(check.timeout_seconds));
            let passes = rounds.saturating_add(millis(given.ready_seconds));
            passes.saturating_add(answer)
        });
        (checks, readiness)
    }

    /// Whether no task ends by itself.
    pub(in crate::predict) const fn has_no_crashes(&self) -> bool {
        self.assumptions.crashes.is_none()
    }
}

/// How long an answer is waited for; not divided by the speed.
pub(super) fn timeout_millis(seconds: u64) -> i64 {
    i64::try_from(seconds.saturating_mul(1000)).unwrap_or(i64::MAX)
}

/// An interval at a speed, as the checker divides it.
fn divided(millis: i64, speed: f64) -> i64 {
    ((millis as f64 / speed) as i64).max(SHORTEST_INTERVAL_MILLIS)
}
