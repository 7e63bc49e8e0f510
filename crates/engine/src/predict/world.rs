//! The world of a prediction: an engine of its own under a virtual clock, agents that do as they are told, tasks that behave as
//! assumed, and a checker that keeps the times of the real one.
//!
//! ```text
//!   Launch ──start──▶ RUNNING            Kill ──obeys, or grace──▶ KILLED        Drain ──▶ Drained
//!   StartHealth ──min(interval, 5 s)──▶ round ──interval──▶ round …   each asks all RUNNING tasks of the version; answers come later
//!   StartReadiness ──▶ question ──interval──▶ question … until ready
//! ```
//!
//! Agents that are away stay away: what they are told is lost. Tasks that were there before keep the health they have.
//! Source of the checker's times: contract marathon §6.2, §6.5.

mod checks;
mod take_up;
mod times;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::agent::TaskReport;
use zddcluster_model::app::App;
use zddcluster_model::deployment::Plan;
use zddcluster_model::event::EventKind;
use zddcluster_model::task::ReadinessResponse;
use zddcluster_model::{AgentId, AppId, DeploymentId, EdgeId, TaskId, TaskState, Timestamp};

use super::assume::{Assumptions, millis};
use super::calendar::Calendar;
use crate::effect::{Answer, Attempt, CheckOrder, Effect, Refusal};
use crate::input::{CheckVerdict, Command, Input, Ticket};
use crate::state::State;
use crate::{Config, Engine};

/// How long a task that ends by itself runs, milliseconds.
const CRASH_MILLIS: i64 = 1_000;

/// What may be on the calendar.
#[derive(Clone, Debug)]
enum Happening {
    /// A task's process runs.
    Runs(TaskId),
    /// A task's process has ended.
    Ends(TaskId, TaskState),
    /// An edge has let a task go.
    Drained(EdgeId, TaskId),
    /// An app's files are in the artifact store.
    Downloaded(DeploymentId, AppId, Attempt),
    /// A health check asks the tasks of its version.
    Round(Arc<App>, usize),
    /// A task answers.
    Answer(TaskId, usize, CheckVerdict),
    /// A task is asked whether it is ready.
    Ask(TaskId),
    /// A task answers that.
    Ready(TaskId, bool),
}

/// How a new task behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// As assumed of most.
    Good,
    /// Never passes a check.
    Fails,
    /// Ends by itself.
    Crashes,
}

/// What one thing that happened led to.
#[derive(Debug, Default)]
pub(super) struct Turned {
    /// The engine's decisions; none if nothing reached it.
    pub(super) effects: Vec<Effect>,
    /// A task has just said that it is ready.
    pub(super) ready: Option<TaskId>,
}

/// The world.
pub(super) struct World<'a> {
    pub(super) engine: Engine,
    pub(super) now: Timestamp,
    /// Things that happened, those that did not reach the engine included.
    pub(super) n_steps: u64,
    assumptions: &'a Assumptions,
    calendar: Calendar<Happening>,
    last_wake: Timestamp,
    last_ticket: u64,
    /// The version that the predicted plan brings to each app: its new tasks have fates.
    targets: BTreeMap<AppId, Timestamp>,
    fates: BTreeMap<TaskId, Fate>,
    /// Tasks whose end is on the calendar.
    ending: BTreeSet<TaskId>,
    /// Tasks whose readiness is being asked.
    asked: BTreeMap<TaskId, Arc<App>>,
    /// Answers that each task's check has given.
    n_answers: BTreeMap<(TaskId, usize), usize>,
}

impl<'a> World<'a> {
    /// A world that goes on from this state.
    pub(super) fn new(
        config: &Config,
        state: State,
        now: Timestamp,
        assumptions: &'a Assumptions,
    ) -> Self {
        let now = now.max(state.clock);
        let config = config.clone();
        Self {
            engine: Engine { config, state },
            now,
            n_steps: 0,
            assumptions,
            calendar: Calendar::default(),
            last_wake: Timestamp::ZERO,
            last_ticket: 0,
            targets: BTreeMap::new(),
            fates: BTreeMap::new(),
            ending: BTreeSet::new(),
            asked: BTreeMap::new(),
            n_answers: BTreeMap::new(),
        }
    }

    pub(super) const fn state(&self) -> &State {
        self.engine.state()
    }

    const fn speed(&self) -> f64 {
        self.engine.config().speed
    }

    pub(super) fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Gives the command whose course is wanted: its plan, and what it led to at once.
    pub(super) fn submit(&mut self, command: Command) -> Result<(Arc<Plan>, Turned), Refusal> {
        let before = self.state().clone();
        let ticket = self.ticket();
        let input = Input::Command { ticket, command };
        let effects = self.engine.step(self.now, input);
        self.n_steps += 1;
        let answer = effects.iter().find_map(|effect| match effect {
            Effect::Reply(to, answer) if *to == ticket => Some(answer.clone()),
            _ => None,
        });
        let deployment_id = match answer {
            Some(Ok(Answer::Deployment { deployment_id, .. })) => deployment_id,
            Some(Err(refusal)) => return Err(refusal),
            Some(Ok(
                Answer::Steps(_) | Answer::Killed(_) | Answer::Registered(_) | Answer::Done,
            ))
            | None => {
                let text = "only what makes a deployment can be planned";
                return Err(Refusal::IllegalArgument(text.to_owned()));
            }
        };
        let published = effects.iter().find_map(|effect| {
            let Effect::Publish(event) = effect else {
                return None;
            };
            match &event.kind {
                EventKind::DeploymentInfo { plan, .. }
                | EventKind::DeploymentSuccess { plan, .. }
                    if plan.id == deployment_id =>
                {
                    Some(Arc::clone(plan))
                }
                _ => None,
            }
        });
        let plan = published.expect("a deployment begins, or is over, in the step that makes it");
        for app_id in plan.affected_apps() {
            if let Some(app) = plan.target.app(&app_id) {
                self.targets.insert(app_id, app.version);
            }
        }
        self.take_up(&before);
        self.carry_out(&effects);
        let ready = None;
        Ok((plan, Turned { effects, ready }))
    }

    /// Gives an input and carries out what is decided.
    pub(super) fn step(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.engine.step(self.now, input);
        self.carry_out(&effects);
        effects
    }

    /// Lets the next thing happen. `None` if nothing will ever.
    pub(super) fn advance(&mut self) -> Option<Turned> {
        self.n_steps += 1;
        let due = self.calendar.next_at().map(Timestamp::from_millis);
        // A deadline that stays in the past is looked at once a millisecond, as by the master.
        let earliest = self.now.max(self.last_wake.plus_millis(1));
        let wake = self.engine.next_wake().map(|at| at.max(earliest));
        match (wake, due) {
            (Some(wake), due) if due.is_none_or(|due| wake < due) => {
                self.now = wake;
                self.last_wake = wake;
                let effects = self.step(Input::Wake);
                let ready = None;
                Some(Turned { effects, ready })
            }
            _ => {
                let (at, happening) = self.calendar.pop()?;
                self.now = self.now.max(Timestamp::from_millis(at));
                Some(self.happen(happening))
            }
        }
    }

    fn after(&mut self, millis: i64, happening: Happening) {
        let at = self.now.plus_millis(millis.max(0)).as_millis();
        self.calendar.put(at, happening);
    }

    fn is_connected(&self, agent_id: &AgentId) -> bool {
        let agent = self.state().agents.get(agent_id);
        agent.is_some_and(|agent| agent.is_connected)
    }

    fn carry_out(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                // Nobody waits for what an agent destroys.
                Effect::Persist(_)
                | Effect::Reply(..)
                | Effect::Publish(_)
                | Effect::DestroyVolumes { .. } => {}
                Effect::Launch(agent_id, launch) => {
                    if self.is_connected(agent_id) {
                        self.launch(&launch.task_id, &launch.app_id, launch.app_version);
                    }
                }
                Effect::Kill(order) => {
                    if self.is_connected(&order.agent_id)
                        && self.ending.insert(order.task_id.clone())
                    {
                        let grace = i64::try_from(order.grace_millis).unwrap_or(i64::MAX);
                        let end = Happening::Ends(order.task_id.clone(), TaskState::Killed);
                        self.after(self.kill_millis(grace), end);
                    }
                }
                Effect::Drain(edge_id, task_id) => {
                    let drain = millis(self.assumptions.drain_seconds);
                    self.after(drain, Happening::Drained(edge_id.clone(), task_id.clone()));
                }
                Effect::Check(order) => self.check(order),
                Effect::Download(order) => {
                    self.download(&order.deployment_id, &order.app_id, order.attempt);
                }
                // The engine takes no answer to it any more.
                Effect::StopDownload(_) => {}
            }
        }
    }

    /// How long a download takes is not for us to say: it is not part of what is predicted.
    fn download(&mut self, deployment_id: &DeploymentId, app_id: &AppId, attempt: Attempt) {
        let downloaded = Happening::Downloaded(deployment_id.clone(), app_id.clone(), attempt);
        self.after(0, downloaded);
    }

    fn launch(&mut self, task_id: &TaskId, app_id: &AppId, version: Timestamp) {
        let start = millis(self.assumptions.start_seconds);
        self.after(start, Happening::Runs(task_id.clone()));
        if self.targets.get(app_id) != Some(&version) || self.fates.contains_key(task_id) {
            return;
        }
        let fate = self.next_fate(app_id);
        self.fates.insert(task_id.clone(), fate);
        if fate == Fate::Crashes {
            let end = Happening::Ends(task_id.clone(), TaskState::Failed);
            self.after(start + CRASH_MILLIS, end);
        }
    }

    /// The first tasks have the bad fates; a task that replaces one of them inherits its fate.
    fn next_fate(&self, app_id: &AppId) -> Fate {
        let living = |fate: Fate| {
            let tasks = self.state().launched_of(app_id);
            let n = tasks
                .filter(|task| self.fates.get(&task.id) == Some(&fate))
                .count();
            u32::try_from(n).unwrap_or(u32::MAX)
        };
        if self.assumptions.crashes.has_room(living(Fate::Crashes)) {
            Fate::Crashes
        } else if self.assumptions.fails.has_room(living(Fate::Fails)) {
            Fate::Fails
        } else {
            Fate::Good
        }
    }

    /// How a task behaves; one that was there before the prediction is good.
    pub(super) fn fate(&self, task_id: &TaskId) -> Fate {
        self.fates.get(task_id).copied().unwrap_or(Fate::Good)
    }

    fn check(&mut self, order: &CheckOrder) {
        match order {
            CheckOrder::StartHealth { app, check_idx } => {
                if let Some(check) = app.health_checks.get(*check_idx) {
                    let round = Happening::Round(Arc::clone(app), *check_idx);
                    self.after(self.first_round(check), round);
                }
            }
            // A round that finds its check gone is the last one.
            CheckOrder::StopHealth { .. } => {}
            CheckOrder::StartReadiness { task_id, app } => {
                self.asked.insert(task_id.clone(), Arc::clone(app));
                self.after(0, Happening::Ask(task_id.clone()));
            }
            CheckOrder::StopReadiness { task_id } => {
                self.asked.remove(task_id);
            }
        }
    }

    fn happen(&mut self, happening: Happening) -> Turned {
        let mut ready = None;
        let effects = match happening {
            Happening::Runs(task_id) => self.report(&task_id, TaskState::Running),
            Happening::Ends(task_id, state) => self.report(&task_id, state),
            Happening::Drained(edge_id, task_id) => self.step(Input::Drained { edge_id, task_id }),
            Happening::Downloaded(deployment_id, app_id, attempt) => self.step(Input::Downloaded {
                deployment_id,
                app_id,
                attempt,
                result: Ok(()),
            }),
            Happening::Round(app, check_idx) => {
                self.round(&app, check_idx);
                Vec::new()
            }
            Happening::Answer(task_id, check_idx, verdict) => self.step(Input::Health {
                task_id,
                check_idx,
                verdict,
            }),
            Happening::Ask(task_id) => {
                self.ask(&task_id);
                Vec::new()
            }
            Happening::Ready(task_id, is_ready) => {
                ready = (is_ready && self.asked.contains_key(&task_id)).then(|| task_id.clone());
                let status = if is_ready { 200 } else { 503 };
                let response = ReadinessResponse {
                    status,
                    content_type: "text/plain".to_owned(),
                    body: String::new(),
                };
                self.step(Input::Readiness {
                    task_id,
                    is_ready,
                    response,
                })
            }
        };
        Turned { effects, ready }
    }

    fn report(&mut self, task_id: &TaskId, state: TaskState) -> Vec<Effect> {
        let Some(task) = self.state().tasks.get(task_id) else {
            return Vec::new();
        };
        let agent_id = task.agent_id.clone();
        let is_late = state == TaskState::Running && task.killing.is_some();
        if is_late || !self.is_connected(&agent_id) {
            return Vec::new();
        }
        let report = TaskReport {
            task_id: task_id.clone(),
            state,
            message: String::new(),
            reason: None,
            ip_addresses: Vec::new(),
        };
        self.step(Input::TaskStatus { agent_id, report })
    }
}
