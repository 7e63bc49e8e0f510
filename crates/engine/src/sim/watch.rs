//! Holds each step against the contract's promises, in words of its own.
//!
//! Every event goes first to those who judge it by what was known before it, then into the [`Mirror`], then to those who
//! judge what it made; at the end of the step the whole is compared. Nothing here asks the engine why it did what it did.

mod choice;
mod delays;
mod kills;
mod plans;
mod restarts;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::agent::LaunchTask;
use zddcluster_model::app::App;
use zddcluster_model::event::EventKind;
use zddcluster_model::{AppId, DeploymentId, TaskId, TaskState, Timestamp};

use super::fair::{self, Held};
use super::mirror::Mirror;
use super::world::{Decided, Note};
use crate::State;
use crate::effect::{Answer, Effect};
use choice::Choices;
use delays::Delays;
use kills::Kills;
use restarts::Restarts;
use volumes::Volumes;

/// The watcher.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) mirror: Mirror,
    restarts: Restarts,
    delays: Delays,
    kills: Kills,
    choices: Choices,
    volumes: Volumes,
    last_event: Timestamp,
    /// Tasks that have once been found healthy, and ready.
    healthy: BTreeSet<TaskId>,
    ready: BTreeSet<TaskId>,
    is_stopping: bool,
    n_steps: u64,
}

impl Watch {
    /// Something broke.
    pub(super) fn fault(&mut self) {
        self.restarts.fault();
    }

    /// What is kept on agents.
    pub(super) fn kept(&self, state: &State) -> Vec<fair::Kept> {
        self.volumes.kept(&self.mirror, state)
    }

    pub(super) const fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// A kill with `scale` was accepted: when its plan succeeds these tasks are gone.
    pub(super) fn sentenced(&mut self, plan: &DeploymentId, named: &[TaskId]) {
        self.kills.sentenced(plan, named);
    }

    /// A new master: events are missed, checks begin anew, delays are forgotten.
    pub(super) fn master_restarted(&mut self, now: i64, state: &State) {
        self.fault();
        self.mirror.read(state);
        self.restarts.master_restarted();
        self.delays = Delays::default();
        self.kills.master_restarted(now, state);
        self.volumes.master_restarted(state);
        self.healthy.clear();
        self.ready.clear();
        self.is_stopping = false;
    }

    pub(super) fn step(&mut self, decided: &Decided, after: &State) {
        let Decided {
            now, note, effects, ..
        } = decided;
        self.n_steps += 1;
        answers(note, effects);
        self.take_note(*now, note, effects);
        let launches: BTreeMap<&TaskId, &LaunchTask> = effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Launch(_, launch) => Some((&launch.task_id, &**launch)),
                _ => None,
            })
            .collect();
        for effect in effects {
            match effect {
                Effect::Publish(event) => {
                    assert!(event.timestamp >= self.last_event, "an event of the past");
                    self.last_event = event.timestamp;
                    self.event(*now, &event.kind, &launches, after);
                }
                Effect::Launch(..) => {
                    assert!(!self.is_stopping, "a launch while the cluster stops");
                }
                Effect::DestroyVolumes {
                    agent_id,
                    volume_ids,
                } => self
                    .volumes
                    .destroys(agent_id, volume_ids, &self.mirror, after),
                _ => {}
            }
        }
        self.volumes.end_of_step(after);
        health_order(effects);
        self.kills.step(*now, effects, after, &self.mirror);
        self.choices.end_of_step(after);
        self.restarts
            .end_of_step(&self.mirror, &self.healthy, &self.ready);
        let has_events = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Publish(_)));
        if has_events || self.n_steps.is_multiple_of(16) {
            self.mirror.compare(after);
            if matches!(note, Note::Command(_)) || self.n_steps.is_multiple_of(16) {
                self.mirror.compare_tree(after);
            }
        }
        self.no_place(*now, after);
    }

    fn take_note(&mut self, now: i64, note: &Note, effects: &[Effect]) {
        let is_done = effects
            .iter()
            .any(|effect| matches!(effect, Effect::Reply(_, Ok(_))));
        match note {
            Note::Healthy(task_id) => {
                self.healthy.insert(task_id.clone());
            }
            Note::Ready(task_id) => {
                self.ready.insert(task_id.clone());
            }
            Note::StopTasks(_) => {
                self.is_stopping = true;
                self.kills.stops(now);
            }
            Note::ResetDelay(_, app_id) if is_done => self.delays.reset(app_id),
            Note::Wipe(_, app_id, tasks) => self.volumes.wiped(tasks, app_id.as_ref()),
            Note::Drained(edge_id, task_id) => self.kills.let_go(edge_id, task_id),
            Note::EdgeHere(edge_id) => self.kills.edge_here(edge_id),
            Note::EdgeGone(edge_id) => self.kills.edge_gone(edge_id),
            Note::Abdicate(_) if is_done => {
                // Streams are cut, and every plan begins anew.
                self.mirror.plans.clear();
                self.restarts.master_restarted();
                self.ready.clear();
            }
            Note::ResetDelay(..)
            | Note::Abdicate(_)
            | Note::Command(_)
            | Note::Registration(_)
            | Note::Status(..)
            | Note::Unhealthy
            | Note::Other => {}
        }
    }

    fn event(
        &mut self,
        now: i64,
        kind: &EventKind,
        launches: &BTreeMap<&TaskId, &LaunchTask>,
        after: &State,
    ) {
        match kind {
            EventKind::StatusUpdate {
                task_id,
                task_status,
                app_id,
                version,
                ..
            } => {
                let known = self.mirror.tasks.get(task_id);
                match task_status {
                    TaskState::Staging if known.is_none() => {
                        let launch = launches.get(task_id);
                        let launch = launch.expect("what is staged is launched");
                        self.launch(kind, launch, after);
                        plans::launched(&self.mirror, app_id, *version, &after.root);
                        self.mirror.fold(kind, after);
                        let task = &self.mirror.tasks[task_id];
                        self.delays.launched(now, &task.app);
                        self.restarts.launched(&self.mirror, app_id);
                        return;
                    }
                    TaskState::Staging | TaskState::Running
                        if known.is_some_and(|task| task.state == TaskState::Lost) =>
                    {
                        self.restarts.returned(task_id);
                    }
                    TaskState::Killing => {
                        let reason = after
                            .tasks
                            .get(task_id)
                            .and_then(|task| task.killing.as_ref())
                            .map_or("", |killing| killing.reason.as_str());
                        self.choices.killed(app_id, task_id, reason, &self.mirror);
                        if reason.is_empty() {
                            // It ended in the same step, which does not tell why it was killed.
                            self.restarts.killed_perhaps(app_id);
                        } else if reason == "replaced or removed by a deployment" {
                            plans::killed(&self.mirror, app_id);
                            self.restarts.killed(app_id, *version);
                        } else {
                            self.fault();
                        }
                    }
                    TaskState::Failed
                    | TaskState::Lost
                    | TaskState::Finished
                    | TaskState::Error => {
                        self.restarts.fault();
                        if let Some(task) = known
                            && task.state != TaskState::Lost
                            && *task_status != TaskState::Lost
                        {
                            self.delays.ended(now, &task.app);
                        }
                    }
                    _ => {}
                }
                if task_status.is_terminal() {
                    self.kills.ended(task_id);
                }
            }
            EventKind::FailedHealthCheck { .. } | EventKind::UnhealthyTaskKill { .. } => {
                self.fault();
            }
            EventKind::DeploymentInfo { plan, current_step } => {
                self.delays.begins(plan, current_step);
                self.restarts.begins(plan, current_step, &self.mirror);
            }
            EventKind::DeploymentStepSuccess { plan, .. } => {
                self.restarts
                    .step_ends(plan, &self.mirror, &self.healthy, &self.ready);
            }
            EventKind::DeploymentSuccess { id, .. } => {
                self.kills.plan_succeeds(id, &self.mirror);
            }
            EventKind::DeploymentFailed { id, .. } => self.restarts.fails(id),
            EventKind::AppTerminated { app_id } => {
                self.delays.reset(app_id);
                assert_eq!(
                    self.mirror.launched_of(app_id).count(),
                    0,
                    "{app_id} is told to be stopped, and runs"
                );
            }
            _ => {}
        }
        self.mirror.fold(kind, after);
    }

    /// A launch takes only what is free, and breaks no constraint.
    fn launch(&mut self, kind: &EventKind, order: &LaunchTask, after: &State) {
        let EventKind::StatusUpdate {
            slave_id,
            task_id,
            app_id,
            ports,
            version,
            ..
        } = kind
        else {
            return;
        };
        let agent = after
            .agents
            .get(slave_id)
            .expect("a launch on a known agent");
        let app = self.mirror.definition(app_id, *version, after);
        let held = self.mirror.held();
        let agents = |id: &_| after.agents.get(id).map(|agent| &**agent);
        let kept = self.volumes.kept(&self.mirror, after);
        let refusal = fair::refusal(agent, agents, &app, &held, &self.mirror.lost(), &kept);
        assert_eq!(refusal, None, "{task_id} is launched on {slave_id}");
        let wanted = fair::wanted_ports(&app);
        assert_eq!(wanted.len(), ports.len(), "{task_id}: number of ports");
        for (wanted, port) in wanted.iter().zip(ports) {
            let dynamic = &agent.resources.dynamic_ports;
            let is_right = match wanted {
                Some(wanted) => wanted == port,
                None => dynamic.iter().any(|(a, b)| a <= port && port <= b),
            };
            assert!(is_right, "{task_id}: port {port}");
            let is_taken = |held: &&Held| {
                held.ports.contains(port)
                    && agents(&held.agent_id).is_some_and(|other| other.hostname == agent.hostname)
            };
            assert!(
                !held.iter().any(is_taken),
                "{task_id}: port {port} is taken"
            );
        }
        self.volumes.launched(order, &app, &self.mirror);
    }

    /// What waits in the queue waits for a reason: its delay, or that no agent can take it.
    fn no_place(&self, now: i64, after: &State) {
        if self.is_stopping || after.queue.is_empty() {
            return;
        }
        let held = self.mirror.held();
        let kept = self.volumes.kept(&self.mirror, after);
        for entry in after.queue.values() {
            let app: &App = &entry.app;
            if entry
                .delayed_until
                .is_some_and(|until| until.as_millis() > now)
            {
                self.delays.is_due(now, app);
                continue;
            }
            let agents = |id: &_| after.agents.get(id).map(|agent| &**agent);
            for agent in after.agents.values() {
                assert!(
                    fair::refusal(agent, agents, app, &held, &self.mirror.lost(), &kept).is_some(),
                    "{}: {} instances wait, and {} would take one",
                    app.id,
                    entry.count,
                    agent.id
                );
            }
            let named: BTreeSet<_> = entry
                .refusals
                .iter()
                .map(|refused| &refused.agent_id)
                .collect();
            assert!(
                after.agents.keys().all(|id| named.contains(id)),
                "{}: waits, and not every agent has said why",
                app.id
            );
        }
    }
}

/// Exactly one answer to who asked, and none to anybody else.
fn answers(note: &Note, effects: &[Effect]) {
    let asked = match note {
        Note::Command(ticket)
        | Note::ResetDelay(ticket, _)
        | Note::StopTasks(ticket)
        | Note::Abdicate(ticket)
        | Note::Wipe(ticket, ..)
        | Note::Registration(ticket) => Some(*ticket),
        _ => None,
    };
    let mut answered = effects.iter().filter_map(|effect| match effect {
        Effect::Reply(ticket, _) => Some(*ticket),
        _ => None,
    });
    assert_eq!(answered.next(), asked, "who is answered");
    assert_eq!(answered.next(), None, "answered twice");
    let is_plan = |effect: &Effect| match effect {
        Effect::Reply(_, Ok(Answer::Deployment { deployment_id, .. })) => {
            Some(deployment_id.clone())
        }
        _ => None,
    };
    if let Some(id) = effects.iter().find_map(is_plan) {
        let is_told = effects.iter().any(|effect| match effect {
            Effect::Publish(event) => match &event.kind {
                EventKind::DeploymentInfo { plan, .. } => plan.id == id,
                EventKind::DeploymentSuccess { id: over, .. } => *over == id,
                _ => false,
            },
            _ => false,
        });
        assert!(is_told, "{id} is accepted and nobody hears of it");
    }
}

/// Of one result: the failure, then the kill, then the flip (contract §5.3 (e)).
fn health_order(effects: &[Effect]) {
    let mut last = 0;
    for effect in effects {
        let Effect::Publish(event) = effect else {
            continue;
        };
        let rank = match &event.kind {
            EventKind::FailedHealthCheck { .. } => 1,
            EventKind::UnhealthyTaskKill { .. } => 2,
            EventKind::HealthStatusChanged { alive: false, .. } => 3,
            _ => continue,
        };
        assert!(rank > last, "events of one health result are out of order");
        last = rank;
    }
}

/// Whether a new task counts for its rolling restart.
fn is_good(
    task_id: &TaskId,
    app: &App,
    healthy: &BTreeSet<TaskId>,
    ready: &BTreeSet<TaskId>,
) -> bool {
    (app.health_checks.is_empty() || healthy.contains(task_id))
        && (app.readiness_checks.is_empty() || ready.contains(task_id))
}

/// For messages: an app's name in a promise.
type Key = (DeploymentId, AppId);
