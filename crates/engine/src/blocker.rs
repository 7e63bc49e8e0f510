//! What a running deployment waits for, read off the state; nothing is kept for it, so that it costs only who asks.
//!
//! A deployment never waits for a lock: one that is in the way is refused with its id (contract marathon §3.7), and a forced
//! one takes the other's place at once. So what is left is a launch, a start, a check or an end:
//!
//! ```text
//!   queue ──(back-off, agent)──▶ staging ──(agent)──▶ running ──(health)──▶ healthy ──(readiness)──▶ counts
//!   old task ──(edges drain)──▶ signalled ──(process ends)──▶ gone
//! ```

mod words;

use std::collections::BTreeSet;

use zddcluster_model::deployment::ActionKind;
use zddcluster_model::{AgentId, AppId, DeploymentId, EdgeId, TaskId, TaskState, Timestamp};

use crate::state::{Deployment, QueueEntry, RunningAction, State, Task};

/// One thing that a deployment, or an app, waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Blocker {
    /// Files of an app are being brought into the artifact store.
    Download {
        /// The app.
        app_id: AppId,
        /// Where they come from.
        urls: Vec<String>,
    },
    /// Instances wait until a back-off delay is over.
    BackOff {
        /// Their app.
        app_id: AppId,
        /// How many.
        count: u32,
        /// The end of the delay.
        until: Timestamp,
    },
    /// Instances wait for an agent that takes them; why none does is in the queue's entry.
    Agent {
        /// Their app.
        app_id: AppId,
        /// How many.
        count: u32,
        /// When the first of them began to wait.
        since: Timestamp,
    },
    /// A task has been sent to its agent and does not run yet.
    Start {
        /// The task.
        task_id: TaskId,
        /// Where.
        agent_id: AgentId,
        /// When the launch was decided.
        since: Timestamp,
    },
    /// A task runs and has not been healthy yet.
    Health {
        /// The task.
        task_id: TaskId,
        /// Since when it runs.
        since: Timestamp,
        /// Why the last check failed, if one has.
        last_cause: Option<String>,
    },
    /// A task is healthy and has not said yet that it is ready.
    Readiness {
        /// The task.
        task_id: TaskId,
        /// Since when it runs.
        since: Timestamp,
    },
    /// A task on its way out has not ended.
    End {
        /// The task.
        task_id: TaskId,
        /// Where.
        agent_id: AgentId,
        /// When the end was decided.
        since: Timestamp,
        /// Why.
        reason: String,
        /// Edges that still send it requests; SIGTERM waits for them.
        draining: BTreeSet<EdgeId>,
        /// With `draining`, when SIGTERM goes out at the latest; else when it is repeated.
        next_signal: Timestamp,
    },
    /// An app has not its number of tasks, as a stopped deployment has left it: the next look at all apps mends that.
    Sweep {
        /// The app.
        app_id: AppId,
        /// Tasks that are missing; negative: too many.
        missing: i64,
        /// When that look is.
        at: Timestamp,
    },
}

impl Blocker {
    /// Whether it is this app, or a task of it, that is waited for.
    pub fn is_of(&self, app_id: &AppId) -> bool {
        match self {
            Self::Download { app_id: own, .. }
            | Self::BackOff { app_id: own, .. }
            | Self::Agent { app_id: own, .. }
            | Self::Sweep { app_id: own, .. } => own == app_id,
            Self::Start { task_id, .. }
            | Self::Health { task_id, .. }
            | Self::Readiness { task_id, .. }
            | Self::End { task_id, .. } => task_id.app_id().as_ref() == Some(app_id),
        }
    }
}

/// What a running deployment waits for; empty only if there is no such deployment.
pub fn blockers(state: &State, id: &DeploymentId) -> Vec<Blocker> {
    let Some(deployment) = state.deployments.get(id) else {
        return Vec::new();
    };
    let open = deployment.actions.iter().filter(|action| !action.is_done);
    open.flat_map(|action| blockers_of_action(state, deployment, action))
        .collect()
}

/// What an app that no deployment acts on waits for: instances without a task, tasks on their way out, and the look that will
/// find it to have too few or too many.
pub fn blockers_of_app(state: &State, app_id: &AppId) -> Vec<Blocker> {
    let queued = state.queue.get(app_id).map(|entry| of_queue(entry));
    let ending = state.launched_of(app_id).filter_map(|task| end(task));
    let sweep = state.root.app(app_id).and_then(|app| {
        let known = state.launched_of(app_id).count() as i64 + i64::from(state.queued_of(app_id));
        let missing = i64::from(app.instances) - known;
        (missing != 0 && !state.is_stopping).then(|| Blocker::Sweep {
            app_id: app_id.clone(),
            missing,
            at: state.next_sweep,
        })
    });
    queued.into_iter().chain(ending).chain(sweep).collect()
}

/// What one action of a running deployment waits for, if it is not done; empty only before the first look at it.
pub(crate) fn blockers_of_action(
    state: &State,
    deployment: &Deployment,
    running: &RunningAction,
) -> Vec<Blocker> {
    let app_id = &running.action.app;
    if running.action.action == ActionKind::ResolveArtifacts {
        let downloads = deployment.downloads.get(app_id).into_iter().flatten();
        return vec![Blocker::Download {
            app_id: app_id.clone(),
            urls: downloads.map(|download| download.url.clone()).collect(),
        }];
    }
    let target = deployment.plan.target.app(app_id);
    let version = target.map(|app| app.version);
    let mut found: Vec<Blocker> = state
        .queue
        .get(app_id)
        .map(|entry| of_queue(entry))
        .into_iter()
        .collect();
    let victims = running
        .progress
        .scaling
        .as_ref()
        .map(|scaling| &scaling.victims);
    // Scaling first waits for those that have to go, and only then starts others.
    let goes = |task: &Task| victims.is_some_and(|victims| victims.contains(&task.id));
    let only_ends = state.launched_of(app_id).any(|task| goes(task));
    for task in state.launched_of(app_id) {
        let is_new = Some(task.version) == version;
        let matters = match running.action.action {
            ActionKind::ScaleApplication if only_ends => goes(task),
            ActionKind::ScaleApplication => is_new,
            ActionKind::RestartApplication => is_new || task.killing.is_some(),
            ActionKind::StopApplication => true,
            ActionKind::StartApplication | ActionKind::ResolveArtifacts => false,
        };
        if matters {
            found.extend(end(task).or_else(|| start(task, running)));
        }
    }
    found
}

fn of_queue(entry: &QueueEntry) -> Blocker {
    let (app_id, count) = (entry.app.id.clone(), entry.count);
    match entry.delayed_until {
        Some(until) => Blocker::BackOff {
            app_id,
            count,
            until,
        },
        None => Blocker::Agent {
            app_id,
            count,
            since: entry.since,
        },
    }
}

fn end(task: &Task) -> Option<Blocker> {
    let killing = task.killing.as_ref()?;
    Some(Blocker::End {
        task_id: task.id.clone(),
        agent_id: task.agent_id.clone(),
        since: killing.since,
        reason: killing.reason.clone(),
        draining: killing.draining.clone(),
        next_signal: killing.next_signal,
    })
}

/// What keeps a new task from counting; `None` if it counts.
fn start(task: &Task, running: &RunningAction) -> Option<Blocker> {
    let task_id = task.id.clone();
    if task.state != TaskState::Running {
        return Some(Blocker::Start {
            task_id,
            agent_id: task.agent_id.clone(),
            since: task.staged_at,
        });
    }
    let since = task.started_at.unwrap_or(task.staged_at);
    if !task.has_been_healthy() {
        let mut results = task.health.iter().flatten();
        return Some(Blocker::Health {
            task_id,
            since,
            last_cause: results.find_map(|result| result.last_failure_cause.clone()),
        });
    }
    let is_asked = task
        .app
        .as_ref()
        .is_some_and(|app| !app.readiness_checks.is_empty());
    (is_asked && !running.progress.ready.contains(&task.id))
        .then_some(Blocker::Readiness { task_id, since })
}

#[cfg(test)]
mod tests;
