//! Ending tasks: the decision, the drain, the signals.
//!
//! ```text
//!   running ──decision──▶ KILLING published, edges drain ──all drained, or deadline──▶ SIGTERM, again every 10 s ──▶ terminal
//! ```
//!
//! SIGTERM is held only for a task that may be serving, as long as its app's label `ZDD_DRAIN_SECONDS` says, and never for a health kill or when the cluster goes down.
//! Source: contract marathon §4.8, Z20.

use std::collections::BTreeSet;

use zddcluster_model::app::App;
use zddcluster_model::event::EventKind;
use zddcluster_model::task::{IpAddress, StatusReason, TaskFailure};
use zddcluster_model::{AppId, EdgeId, TaskId, TaskState, Timestamp};

use crate::Config;
use crate::effect::{CheckOrder, Effect, KillOrder};
use crate::persist;
use crate::state::{COMPLETED_KEPT, Killing, Task};
use crate::turn::{Turn, scaled};

/// A kill is repeated after this time until a terminal status comes, milliseconds (Marathon's `kill_retry_timeout`).
pub(crate) const KILL_RETRY_MILLIS: i64 = 10_000;

/// SIGTERM to SIGKILL for Docker containers in DC/OS (`docker_stop_timeout`), milliseconds.
const DOCKER_GRACE_MILLIS: i64 = 20_000;

/// SIGTERM to SIGKILL for plain commands (Mesos' default), milliseconds.
const COMMAND_GRACE_MILLIS: i64 = 3_000;

/// Why a task is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// A deployment replaces or removes it.
    Deployment,
    /// The API asked for it.
    Api,
    /// There are more tasks than wanted.
    Surplus,
    /// Its health checks failed too often.
    Health,
    /// It has been started long ago and does not run.
    Overdue,
    /// It is an old instance that must not run.
    Orphan,
    /// The whole cluster stops.
    Down,
}

impl KillReason {
    const fn text(self) -> &'static str {
        match self {
            Self::Deployment => "replaced or removed by a deployment",
            Self::Api => "killed by request",
            Self::Surplus => "more tasks than instances",
            Self::Health => "failed its health checks",
            Self::Overdue => "did not start in time",
            Self::Orphan => "its app is gone",
            Self::Down => "the cluster stops",
        }
    }

    const fn drains(self) -> bool {
        match self {
            Self::Deployment | Self::Api | Self::Surplus | Self::Overdue | Self::Orphan => true,
            Self::Health | Self::Down => false,
        }
    }
}

impl Turn<'_> {
    /// Decides that a task has to end. Does nothing for one that is on its way out or not launched.
    pub(crate) fn kill(&mut self, id: &TaskId, reason: KillReason) {
        let Some(task) = self.state.tasks.get(id).map(|task| (**task).clone()) else {
            return;
        };
        if !task.is_launched() {
            return;
        }
        if let Some(killing) = &task.killing {
            // Going down waits for nobody.
            if reason == KillReason::Down && !killing.is_signalled {
                self.signal(id);
            }
            return;
        }
        let drain_millis = self.drain_millis(&task);
        let is_held = reason.drains() && task.state == TaskState::Running && drain_millis > 0;
        let draining = if is_held {
            self.state.edges.clone()
        } else {
            BTreeSet::new()
        };
        for edge_id in &draining {
            self.effects
                .push(Effect::Drain(edge_id.clone(), id.clone()));
        }
        let must_wait = !draining.is_empty();
        let killing = Killing {
            since: self.now,
            reason: reason.text().to_owned(),
            draining,
            next_signal: self.now.plus_millis(drain_millis),
            is_signalled: false,
        };
        let task = Task {
            state: TaskState::Killing,
            killing: Some(killing),
            message: String::new(),
            ..task
        };
        self.publish_status(&task);
        self.touch(&task.app_id);
        self.put_task(task);
        if !must_wait {
            self.signal(id);
        }
    }

    /// The longest hold of a task's SIGTERM, milliseconds of real time: as its app says, if draining is on at all.
    fn drain_millis(&self, task: &Task) -> i64 {
        let seconds = task.app.as_ref().and_then(|app| app.drain_seconds());
        match seconds {
            Some(seconds) if self.config.drain_millis > 0 => i64::from(seconds) * 1000,
            Some(_) | None => self.config.drain_millis,
        }
    }

    /// Orders the agent to end a task that is on its way out.
    fn signal(&mut self, id: &TaskId) {
        let Some(task) = self.state.tasks.get(id).map(|task| (**task).clone()) else {
            return;
        };
        let Some(killing) = task.killing.clone() else {
            return;
        };
        self.effects.push(Effect::Kill(KillOrder {
            agent_id: task.agent_id.clone(),
            task_id: id.clone(),
            grace_millis: self.grace_millis(&task),
        }));
        let next_signal = self.now.plus_millis(self.scaled(KILL_RETRY_MILLIS));
        let killing = Killing {
            draining: BTreeSet::new(),
            next_signal,
            is_signalled: true,
            ..killing
        };
        self.put_task(Task {
            killing: Some(killing),
            ..task
        });
    }

    /// Milliseconds between SIGTERM and SIGKILL for a task, at the configured speed.
    pub(crate) fn grace_millis(&self, task: &Task) -> u64 {
        grace_millis(self.config, task)
    }

    /// Sends the signals that are due.
    pub(crate) fn signal_due(&mut self) {
        let signals = self.state.signals.iter();
        let due: Vec<TaskId> = signals
            .take_while(|(at, _)| *at <= self.now)
            .map(|(_, id)| id.clone())
            .collect();
        for id in due {
            self.signal(&id);
        }
    }

    /// The tasks on their way out for which `holds`.
    fn dying(&self, holds: impl Fn(&Killing) -> bool) -> Vec<TaskId> {
        let tasks = self
            .state
            .killing
            .iter()
            .filter_map(|id| self.state.tasks.get(id));
        tasks
            .filter(|task| task.killing.as_ref().is_some_and(&holds))
            .map(|task| task.id.clone())
            .collect()
    }

    /// An edge has let a task go.
    pub(crate) fn drained(&mut self, edge_id: &EdgeId, id: &TaskId) {
        let Some(task) = self.state.tasks.get(id).map(|task| (**task).clone()) else {
            return;
        };
        let Some(mut killing) = task.killing.clone() else {
            return;
        };
        if !killing.draining.remove(edge_id) || killing.is_signalled {
            return;
        }
        let is_free = killing.draining.is_empty();
        self.put_task(Task {
            killing: Some(killing),
            ..task
        });
        if is_free {
            self.signal(id);
        }
    }

    pub(crate) fn edge_connected(&mut self, edge_id: EdgeId) {
        self.state.edges_awaited.remove(&edge_id);
        if self.state.edges.insert(edge_id.clone()) {
            self.persist(persist::put_edge(&edge_id));
        }
        // It may have missed the orders of before.
        let draining = self.dying(|killing| killing.draining.contains(&edge_id));
        for id in draining {
            self.effects.push(Effect::Drain(edge_id.clone(), id));
        }
    }

    pub(crate) fn edge_disconnected(&mut self, edge_id: &EdgeId) {
        self.state.edges_awaited.remove(edge_id);
        if self.state.edges.remove(edge_id) {
            self.persist(persist::remove_edge(edge_id));
        }
        let ids: Vec<TaskId> = self.state.killing.iter().cloned().collect();
        for id in ids {
            self.drained(edge_id, &id);
        }
    }

    /// Edges known from before a restart that did not come back hold nothing any longer.
    pub(crate) fn drop_awaited_edges(&mut self) {
        if self.now < self.state.edges_awaited_until {
            return;
        }
        for edge_id in std::mem::take(&mut self.state.edges_awaited) {
            self.edge_disconnected(&edge_id);
        }
    }

    /// A task has ended: publishes it, remembers a failure, delays its successor if it ended by itself, forgets it.
    pub(crate) fn finalize(&mut self, id: &TaskId, state: TaskState, message: String) {
        self.finalize_for(id, state, message, None);
    }

    /// The same, for a reason that its agent told.
    pub(crate) fn finalize_for(
        &mut self,
        id: &TaskId,
        state: TaskState,
        message: String,
        reason: Option<StatusReason>,
    ) {
        let Some(task) = self.remove_task(id) else {
            return;
        };
        let was_asked = task.killing.is_some();
        let was_lost = task.state == TaskState::Lost;
        let state = if was_asked && state != TaskState::Lost {
            TaskState::Killed
        } else {
            state
        };
        let task = Task {
            state,
            message,
            // An end that was asked for has none, whatever came in between.
            reason: reason.filter(|_| !was_asked),
            ended_at: Some(self.now),
            ..(*task).clone()
        };
        // Also when it was lost before: now it is gone from the API, and who routes to it has to hear of that.
        self.publish_status(&task);
        if !was_lost {
            if matches!(
                state,
                TaskState::Failed | TaskState::Error | TaskState::Lost
            ) {
                self.remember_failure(&task, state, task.message.clone());
            }
            if !matches!(state, TaskState::Killed | TaskState::Lost) {
                self.delay(&task);
            }
        }
        self.give_back(&task);
        self.unbalance(&task.app_id);
        self.drop_unused_checks(&task);
        let is_gone = self.state.root.app(&task.app_id).is_none();
        if is_gone && self.state.tasks_of(&task.app_id).next().is_none() {
            self.forget_versions(&task.app_id);
        }
        let mut completed = (*self.state.completed).clone();
        if completed.len() >= COMPLETED_KEPT {
            completed.remove(0);
        }
        completed.push(std::sync::Arc::new(task));
        self.state.completed = std::sync::Arc::new(completed);
    }

    pub(crate) fn remember_failure(&mut self, task: &Task, state: TaskState, message: String) {
        if self.state.root.app(&task.app_id).is_none() {
            return;
        }
        let failure = TaskFailure {
            app_id: task.app_id.clone(),
            host: task.host.clone(),
            message,
            state,
            task_id: task.id.clone(),
            timestamp: self.now,
            version: task.version,
            slave_id: task.agent_id.clone(),
        };
        self.persist(persist::put_failure(&failure));
        self.state
            .failures
            .insert_mut(task.app_id.clone(), std::sync::Arc::new(failure));
    }

    /// The checks of a version that is not the app's any more end with its last task.
    fn drop_unused_checks(&mut self, task: &Task) {
        let key = (task.app_id.clone(), task.version);
        let is_current = self
            .state
            .root
            .app(&task.app_id)
            .is_some_and(|app| app.version == task.version);
        let is_used = self
            .state
            .tasks_of(&task.app_id)
            .any(|other| other.version == task.version);
        // While the app is being stopped its checks are ended, and told of, by StopApplication.
        let is_stopping = self.state.root.app(&task.app_id).is_none();
        if !is_current && !is_used && !is_stopping && self.state.checks.remove_mut(&key) {
            let (app_id, version) = key;
            self.effects
                .push(Effect::Check(CheckOrder::StopHealth { app_id, version }));
        }
    }

    /// The checks of an app's earlier versions that no task runs any more, or ever did, end.
    pub(crate) fn drop_checks_without_tasks(&mut self, app: &App) {
        let unused: Vec<(AppId, Timestamp)> = self
            .state
            .checks_of(&app.id)
            .filter(|(_, version)| *version != app.version)
            .filter(|(id, version)| !self.state.tasks_of(id).any(|task| task.version == *version))
            .cloned()
            .collect();
        for key in unused {
            self.state.checks.remove_mut(&key);
            let (app_id, version) = key;
            self.effects
                .push(Effect::Check(CheckOrder::StopHealth { app_id, version }));
        }
    }

    /// Publishes a task's state as it now is.
    pub(crate) fn publish_status(&mut self, task: &Task) {
        let ip_addresses: Option<Vec<IpAddress>> =
            (!task.ip_addresses.is_empty()).then(|| task.ip_addresses.clone());
        self.publish(EventKind::StatusUpdate {
            slave_id: task.agent_id.clone(),
            task_id: task.id.clone(),
            task_status: task.state,
            message: task.message.clone(),
            app_id: task.app_id.clone(),
            host: task.host.clone(),
            ip_addresses,
            ports: task.ports.clone(),
            version: task.version,
        });
    }
}

/// Milliseconds between SIGTERM and SIGKILL for a task, at the configured speed.
pub(crate) fn grace_millis(config: &Config, task: &Task) -> u64 {
    let app = task.app.as_deref();
    let millis = match app.and_then(|app| app.task_kill_grace_period_seconds) {
        Some(seconds) => i64::try_from(seconds)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000),
        None if app.is_some_and(|app| app.image().is_some()) => DOCKER_GRACE_MILLIS,
        None => COMMAND_GRACE_MILLIS,
    };
    scaled(config, millis).unsigned_abs()
}
