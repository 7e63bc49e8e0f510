//! Whether waiting is of use: when any running deployment last came forward.
//!
//! Coming forward means a new best: fewer old tasks, more new ones launched, running or serving, a further step, a deployment
//! less. There are only so many of these, so a course that goes in circles (tasks that are killed for their health and
//! replaced, tasks that end by themselves) comes to no new ones. The plan's own deployment may wait for another one, for the
//! room that its old tasks leave; so all of them count.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::{AppId, Timestamp};

use super::standing;
use crate::predict::timeline::Standing;
use crate::state::State;

/// How far the running deployments have ever come.
pub(super) struct Progress {
    /// Of each app: old tasks (negative), new ones, those that run, those that serve.
    best: BTreeMap<AppId, [i64; 4]>,
    /// Deployments that run (negative), steps that are done.
    best_of_all: [i64; 2],
    /// When one last came forward.
    pub(super) since: Timestamp,
    /// Index of the point of that time.
    pub(super) last_point: usize,
}

impl Progress {
    pub(super) const fn new(start: Timestamp) -> Self {
        Self {
            best: BTreeMap::new(),
            best_of_all: [i64::MIN; 2],
            since: start,
            last_point: 0,
        }
    }

    /// Looks at the apps that something happened to; true if something came forward.
    pub(super) fn look(
        &mut self,
        now: Timestamp,
        touched: &BTreeSet<AppId>,
        is_of_deployment: bool,
        state: &State,
    ) -> bool {
        let mut is_forward = false;
        if is_of_deployment {
            let steps = state.deployments.values().map(|d| d.step_idx as i64);
            let of_all = [-(state.deployments.size() as i64), steps.sum()];
            if of_all > self.best_of_all {
                self.best_of_all = of_all;
                self.best.clear();
                is_forward = true;
                // All begin anew.
                for app_id in state.locks.keys() {
                    self.look_at(app_id, state);
                }
            }
        }
        for app_id in touched {
            is_forward |= self.look_at(app_id, state);
        }
        if is_forward {
            self.since = now;
        }
        is_forward
    }

    /// True if an app has come further than ever.
    fn look_at(&mut self, app_id: &AppId, state: &State) -> bool {
        let mut is_forward = false;
        for deployment in state.deployments_of(app_id) {
            let Some(running) = deployment.actions.get(app_id) else {
                continue;
            };
            let target = deployment.plan.target.app(app_id).map(|app| app.version);
            let mut score = [0; 4];
            for task in state.launched_of(app_id) {
                if Some(task.version) != target {
                    score[0] -= 1;
                    continue;
                }
                score[1] += 1;
                let standing = standing(task, Some(running));
                score[2] += i64::from(standing <= Standing::Running);
                score[3] += i64::from(standing == Standing::Serving);
            }
            let best = self.best.entry(app_id.clone()).or_insert([i64::MIN; 4]);
            for (best, score) in best.iter_mut().zip(score) {
                if score > *best {
                    *best = score;
                    is_forward = true;
                }
            }
        }
        is_forward
    }
}
