//! The frame of a step: take the input, let everything that it touched come to rest, say when to come back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::{AppId, DeploymentId, TaskState, Timestamp};

use crate::agents::{agent_deadline, next_forgetting};
use crate::effect::Effect;
use crate::input::Input;
use crate::kill::KillReason;
use crate::launch;
use crate::persist;
use crate::scale::{Preference, victims};
use crate::state::{State, Task};
use crate::turn::Turn;
use crate::{Config, Mutation};

/// Time between two looks at all apps, milliseconds (Marathon's `scale_apps_interval`).
const SWEEP_MILLIS: i64 = 300_000;

/// Time from the start to the first of them, milliseconds (Marathon's `scale_apps_initial_delay`).
const FIRST_SWEEP_MILLIS: i64 = 15_000;

/// A task that does not run is killed after this time, milliseconds (DC/OS sets `task_launch_timeout` to 24 h).
const STAGING_MILLIS: i64 = 24 * 3_600_000;

impl Turn<'_> {
    /// Takes up what an earlier process left, once. Apps are compared with their tasks at once, then as in the original.
    pub(crate) fn resume(&mut self) {
        if self.state.is_resumed {
            return;
        }
        self.state.is_resumed = true;
        if std::mem::take(&mut self.state.is_new) {
            for (key, value) in persist::export(self.state) {
                self.persist(Mutation::Put(key, value));
            }
        }
        self.resume_checks();
        self.resume_deployments();
        self.touch_all();
        self.state.next_sweep = self.now.plus_millis(self.scaled(FIRST_SWEEP_MILLIS));
    }

    /// Takes one input.
    pub(crate) fn take(&mut self, input: Input) {
        match input {
            Input::Command { ticket, command } => self.command(ticket, command),
            Input::AgentRegistered {
                ticket,
                registration,
            } => {
                self.agent_registered(ticket, *registration);
            }
            Input::AgentDisconnected { agent_id, epoch } => {
                self.agent_disconnected(&agent_id, epoch)
            }
            Input::TaskStatus { agent_id, report } => self.task_status(&agent_id, report),
            Input::Health {
                task_id,
                check_idx,
                verdict,
            } => {
                self.health(&task_id, check_idx, verdict);
            }
            Input::Readiness {
                task_id,
                is_ready,
                response,
            } => {
                self.readiness(&task_id, is_ready, response);
            }
            Input::Downloaded {
                deployment_id,
                app_id,
                attempt,
                result,
            } => self.downloaded(&deployment_id, &app_id, attempt, &result),
            Input::EdgeConnected(edge_id) => self.edge_connected(edge_id),
            Input::EdgeDisconnected(edge_id) => self.edge_disconnected(&edge_id),
            Input::Drained { edge_id, task_id } => self.drained(&edge_id, &task_id),
            Input::Slept { millis } => self.state.note_sleep(self.now, millis),
            Input::Wake => {}
        }
    }

    /// Brings everything to rest: timers that are due, deployments and apps that were touched, the launch queue.
    pub(crate) fn settle(&mut self) {
        self.signal_due();
        self.drop_awaited_edges();
        self.give_up_lost();
        if self.now >= self.state.next_sweep {
            self.state.next_sweep = self.now.plus_millis(self.scaled(SWEEP_MILLIS));
            self.kill_stuck_in_staging();
            self.touch_all();
        }
        loop {
            let touched = std::mem::take(&mut self.touched);
            let mut affected: BTreeMap<DeploymentId, Vec<AppId>> = BTreeMap::new();
            for app_id in touched {
                if let Some(id) = self.state.locks.get(&app_id) {
                    affected.entry(id.clone()).or_default().push(app_id);
                }
            }
            for (id, apps) in affected {
                self.advance_touched(&id, apps);
            }
            for app_id in std::mem::take(&mut self.unbalanced) {
                self.keep_instances(&app_id);
            }
            let has_launched = self.launch_queued();
            if self.touched.is_empty() && self.unbalanced.is_empty() && !has_launched {
                return;
            }
        }
    }

    /// Ends the step.
    pub(crate) fn finish(mut self) -> Vec<Effect> {
        if self
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Persist(_)))
        {
            let cluster: Mutation = persist::put_cluster(self.state);
            self.persist(cluster);
        }
        self.effects
    }

    fn touch_all(&mut self) {
        let apps: Vec<AppId> = self
            .state
            .root
            .transitive_apps()
            .iter()
            .map(|app| app.id.clone())
            .collect();
        let with_tasks: Vec<AppId> = self.state.by_app.keys().cloned().collect();
        for app_id in apps.iter().chain(&with_tasks) {
            self.unbalance(app_id);
        }
    }

    /// Brings an app that no plan locks to its number of instances.
    ///
    /// Source: contract marathon §3.6.
    fn keep_instances(&mut self, app_id: &AppId) {
        if self.state.deployments_of(app_id).next().is_some() {
            return;
        }
        let tasks: Vec<Arc<Task>> = self.state.launched_of(app_id).map(Arc::clone).collect();
        let Some(app) = self.state.root.app(app_id).map(Arc::clone) else {
            self.purge_queue(app_id);
            for task in &tasks {
                self.kill(&task.id, KillReason::Orphan);
            }
            return;
        };
        let queued = i64::from(self.state.queued_of(app_id));
        let wanted = i64::from(app.instances);
        let launched = tasks.len() as i64;
        if launched + queued < wanted {
            self.enqueue(&app, wanted - launched - queued);
        } else if launched + queued > wanted && queued > 0 {
            self.purge_queue(app_id);
            if wanted > launched {
                self.enqueue(&app, wanted - launched);
            }
        }
        if launched > wanted {
            let preference = Preference::of(self.state, &app, &tasks);
            for task in victims(&tasks, app.instances, &BTreeSet::new(), &preference) {
                self.kill(&task.id, KillReason::Surplus);
            }
        }
    }

    fn kill_stuck_in_staging(&mut self) {
        let limit = self.scaled(STAGING_MILLIS);
        let stuck: Vec<Arc<Task>> = self
            .state
            .tasks
            .values()
            .filter(|task| matches!(task.state, TaskState::Staging | TaskState::Starting))
            .filter(|task| self.now.millis_since(task.staged_at) > limit)
            .map(Arc::clone)
            .collect();
        for task in stuck {
            self.kill(&task.id, KillReason::Overdue);
        }
    }
}

/// The earliest time at which something is due.
pub(crate) fn next_wake(config: &Config, state: &State) -> Option<Timestamp> {
    if !state.is_resumed {
        return Some(state.clock);
    }
    if launch::is_left_over(state) {
        return Some(state.clock);
    }
    // Nothing is launched any more when the cluster goes down.
    let queue = (!state.is_stopping).then(|| state.next_delay()).flatten();
    let kills = state.signals.first().map(|(at, _)| *at);
    let agents = state
        .agents
        .values()
        .filter_map(|agent| agent_deadline(config, state, agent));
    let edges = (!state.edges_awaited.is_empty()).then_some(state.edges_awaited_until);
    queue
        .into_iter()
        .chain(kills)
        .chain(agents)
        .chain(next_forgetting(config, state))
        .chain(edges)
        .chain([state.next_sweep])
        .min()
}
