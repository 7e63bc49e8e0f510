//! Agents: registration, what they report, and what their absence means.
//!
//! ```text
//!   (unknown) ──register──▶ connected ◀──register── away ──timeout──▶ its tasks are LOST ──75 s and a look──▶ forgotten
//! ```
//!
//! A registration carries every task the agent knows; it is compared with what the engine believes, and each difference is
//! mended: launches that got lost are ordered again, strangers are killed, what vanished is LOST. A lost task whose persistent
//! volumes are there is never forgotten.
//! Source: contract marathon §4.7; model::agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use zddcluster_model::agent::{PROTOCOL, Registered, Registration, TaskReport};
use zddcluster_model::event::EventKind;
use zddcluster_model::{AgentId, TaskId, TaskState, Timestamp};

use crate::Config;
use crate::effect::{Answer, Effect, KillOrder, Refusal};
use crate::input::Ticket;
use crate::persist;
use crate::state::{Agent, State, Task};
use crate::turn::{Turn, scaled};

/// A lost task whose agent comes back within this time is running again, milliseconds (Marathon's `task_lost_expunge_gc`).
const LOST_KEPT_MILLIS: i64 = 75_000;

/// When lost tasks are first looked through for those to forget, and how often after that, milliseconds (Marathon's
/// `task_lost_expunge_initial_delay` and `task_lost_expunge_interval`).
const FIRST_EXPUNGE_MILLIS: i64 = 300_000;
const EXPUNGE_MILLIS: i64 = 30_000;

/// Grace of a task nobody knows, milliseconds.
const STRANGER_GRACE_MILLIS: i64 = 3_000;

impl Turn<'_> {
    /// Takes an agent in and answers it.
    pub(crate) fn agent_registered(&mut self, ticket: Ticket, registration: Registration) {
        let answer = self.register(registration);
        self.effects.push(Effect::Reply(ticket, answer));
    }

    fn register(&mut self, registration: Registration) -> Result<Answer, Refusal> {
        let Registration {
            protocol,
            agent_id,
            epoch,
            hostname,
            port,
            role,
            attributes,
            resources,
            tasks,
            volumes,
        } = registration;
        if protocol != PROTOCOL {
            return Err(Refusal::WrongProtocol {
                known: PROTOCOL,
                given: protocol,
            });
        }
        let known = agent_id
            .as_ref()
            .and_then(|id| self.state.agents.get(id))
            .map(Arc::clone);
        if let Some(agent) = &known
            && epoch < agent.epoch
        {
            return Err(Refusal::Fenced {
                agent_id: agent.id.clone(),
                known: agent.epoch,
                given: epoch,
            });
        }
        let id = known.as_ref().map_or_else(
            || {
                let id = AgentId::new(&format!(
                    "{}-S{}",
                    self.state.master_uuid, self.state.next_agent
                ));
                self.state.next_agent += 1;
                id
            },
            |agent| agent.id.clone(),
        );
        let agent = Agent {
            id: id.clone(),
            epoch,
            hostname,
            port,
            role,
            attributes,
            resources,
            registered_at: known.as_ref().map_or(self.now, |agent| agent.registered_at),
            is_connected: true,
            away_since: None,
        };
        self.replace_at(&agent);
        self.persist(persist::put_agent(&agent));
        self.state.agents.insert_mut(id.clone(), Arc::new(agent));
        self.state.queue_is_stale = true;
        self.reconcile(&id, tasks);
        self.reconcile_volumes(&id, &volumes);
        Ok(Answer::Registered(Registered {
            agent_id: id,
            framework_id: self.state.framework_id(),
        }))
    }

    /// Whoever was at this agent's address before is gone for good, with all its tasks: an address belongs to one process.
    ///
    /// So does an agent that lost its directory, and with it its id. Source: Mesos' `Master::registerSlave`.
    fn replace_at(&mut self, agent: &Agent) {
        let gone: Vec<AgentId> = self
            .state
            .agents
            .values()
            .filter(|other| other.id != agent.id)
            .filter(|other| other.hostname == agent.hostname && other.port == agent.port)
            .map(|other| other.id.clone())
            .collect();
        for other in gone {
            self.lose_all(&other);
            if let Some(known) = self.state.agents.get(&other).filter(|a| a.is_connected) {
                let away = Agent {
                    is_connected: false,
                    away_since: Some(self.now),
                    ..(**known).clone()
                };
                self.state.agents.insert_mut(other, Arc::new(away));
            }
        }
    }

    /// Gives up all tasks of an agent.
    fn lose_all(&mut self, agent_id: &AgentId) {
        let tasks: Vec<Arc<Task>> = self
            .state
            .tasks
            .values()
            .filter(|task| task.agent_id == *agent_id && task.is_launched())
            .map(Arc::clone)
            .collect();
        for task in tasks {
            self.lose(&task);
        }
    }

    /// Mends every difference between what the agent knows and what the engine believes.
    fn reconcile(&mut self, id: &AgentId, reports: Vec<TaskReport>) {
        let reports: BTreeMap<TaskId, TaskReport> = reports
            .into_iter()
            .map(|report| (report.task_id.clone(), report))
            .collect();
        let believed: Vec<Arc<Task>> = self
            .state
            .tasks
            .values()
            .filter(|task| task.agent_id == *id)
            .map(Arc::clone)
            .collect();
        for task in believed {
            if reports.contains_key(&task.id) {
                continue;
            }
            let was_reported = task.started_at.is_some();
            if task.state == TaskState::Lost {
                self.finalize(&task.id, TaskState::Lost, "forgotten".to_owned());
            } else if task.killing.is_some() {
                let message = "the agent does not know the task any more".to_owned();
                self.finalize(&task.id, TaskState::Killed, message);
            } else if was_reported {
                let message = "the agent came back without the task".to_owned();
                self.finalize(&task.id, TaskState::Lost, message);
            } else {
                self.order_launch(&task);
            }
        }
        for report in reports.into_values() {
            self.task_status(id, report);
        }
    }

    /// Takes what an agent says of one task.
    pub(crate) fn task_status(&mut self, agent_id: &AgentId, report: TaskReport) {
        let TaskReport {
            task_id,
            state,
            message,
            reason,
            ip_addresses,
        } = report;
        let known = self
            .state
            .tasks
            .get(&task_id)
            .filter(|task| task.agent_id == *agent_id);
        let Some(task) = known.map(|task| (**task).clone()) else {
            // It was given up, or belongs to a life of the master that is gone.
            if !state.is_terminal() {
                self.effects.push(Effect::Kill(KillOrder {
                    agent_id: agent_id.clone(),
                    task_id,
                    grace_millis: self.scaled(STRANGER_GRACE_MILLIS).unsigned_abs(),
                }));
            } else if let Some(app_id) = task_id.app_id() {
                self.publish(EventKind::UnknownTaskTerminated {
                    task_id,
                    app_id,
                    status: state,
                });
            }
            return;
        };
        match state {
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Lost
            | TaskState::Error => self.finalize_for(&task_id, state, message, reason),
            TaskState::Staging | TaskState::Starting => {
                if task.state == TaskState::Lost {
                    self.found_again(task, state);
                } else if (task.state, state) == (TaskState::Staging, TaskState::Starting) {
                    let task = Task { state, ..task };
                    self.publish_status(&task);
                    self.touch(&task.app_id);
                    self.put_task(task);
                }
            }
            TaskState::Running | TaskState::Killing => {
                self.volumes_are_made(&task);
                let first_time = task.started_at.is_none();
                let started_at = task.started_at.or(Some(self.now));
                let has_moved = task.ip_addresses != ip_addresses;
                let task = Task {
                    started_at,
                    ip_addresses,
                    ..task
                };
                match task.state {
                    TaskState::Staging | TaskState::Starting => {
                        let task = Task {
                            state: TaskState::Running,
                            ..task
                        };
                        self.publish_status(&task);
                        self.touch(&task.app_id);
                        self.put_task(task);
                    }
                    TaskState::Lost => self.found_again(task, TaskState::Running),
                    TaskState::Running if has_moved => {
                        self.publish_status(&task);
                        self.put_task(task);
                    }
                    _ if first_time || has_moved => self.put_task(task),
                    _ => {}
                }
                self.repeat_kill(&task_id);
            }
        }
    }

    /// A lost task is there after all.
    fn found_again(&mut self, task: Task, state: TaskState) {
        let task = Task {
            state,
            ended_at: None,
            message: String::new(),
            ..task
        };
        self.publish_status(&task);
        self.unbalance(&task.app_id);
        self.put_task(task);
    }

    /// A task that was to be killed is reported alive: the order may have got lost.
    fn repeat_kill(&mut self, id: &TaskId) {
        let Some(task) = self.state.tasks.get(id).map(Arc::clone) else {
            return;
        };
        if task
            .killing
            .as_ref()
            .is_some_and(|killing| killing.is_signalled)
        {
            self.effects.push(Effect::Kill(KillOrder {
                agent_id: task.agent_id.clone(),
                task_id: id.clone(),
                grace_millis: self.grace_millis(&task),
            }));
        }
    }

    /// An agent's command stream has ended.
    pub(crate) fn agent_disconnected(&mut self, id: &AgentId, epoch: u64) {
        let Some(agent) = self
            .state
            .agents
            .get(id)
            .filter(|agent| agent.epoch == epoch)
        else {
            return;
        };
        let agent = Agent {
            is_connected: false,
            away_since: Some(self.now),
            ..(**agent).clone()
        };
        self.state.agents.insert_mut(id.clone(), Arc::new(agent));
        // What waits says so of this agent.
        self.state.queue_is_stale = true;
    }

    /// Gives up the tasks of agents that have been away too long, and forgets those lost for long.
    pub(crate) fn give_up_lost(&mut self) {
        let gone: Vec<AgentId> = self
            .state
            .agents
            .values()
            .filter(|agent| {
                agent_deadline(self.config, self.state, agent).is_some_and(|at| at <= self.now)
            })
            .map(|agent| agent.id.clone())
            .collect();
        for agent_id in gone {
            self.lose_all(&agent_id);
        }
        let forgotten: Vec<TaskId> = self
            .state
            .lost
            .iter()
            .filter(|id| {
                let Some(task) = self.state.tasks.get(*id) else {
                    return false;
                };
                let forgotten = |ended| forgotten_at(self.config, self.state, ended);
                !self.state.is_awaited(task)
                    && task
                        .ended_at
                        .is_none_or(|ended| forgotten(ended) <= self.now)
            })
            .cloned()
            .collect();
        for id in forgotten {
            self.finalize(&id, TaskState::Lost, "forgotten".to_owned());
        }
    }

    fn lose(&mut self, task: &Task) {
        let message = "the agent did not come back in time".to_owned();
        if task.killing.is_some() {
            self.finalize(&task.id, TaskState::Lost, message);
            return;
        }
        let lost = Task {
            state: TaskState::Lost,
            ended_at: Some(self.now),
            message,
            ..task.clone()
        };
        self.publish_status(&lost);
        self.remember_failure(&lost, TaskState::Lost, lost.message.clone());
        self.unbalance(&lost.app_id);
        self.put_task(lost);
    }
}

/// When an agent that is away loses its tasks; `None` while it is here or has none.
pub(crate) fn agent_deadline(config: &Config, state: &State, agent: &Agent) -> Option<Timestamp> {
    let has_tasks = state
        .usage
        .get(&agent.id)
        .is_some_and(|usage| usage.tasks > 0);
    let since = agent.away_since.filter(|_| has_tasks)?;
    Some(since.plus_millis(scaled(config, config.agent_timeout_millis)))
}

/// When the next lost task is forgotten.
pub(crate) fn next_forgetting(config: &Config, state: &State) -> Option<Timestamp> {
    let ended = state
        .lost
        .iter()
        .filter_map(|id| state.tasks.get(id))
        .filter(|task| !state.is_awaited(task))
        .filter_map(|task| task.ended_at)
        .min()?;
    Some(forgotten_at(config, state, ended))
}

/// When a task that was lost at `ended` is forgotten: at the first look that finds it lost for long enough.
fn forgotten_at(config: &Config, state: &State, ended: Timestamp) -> Timestamp {
    let due = ended.plus_millis(scaled(config, LOST_KEPT_MILLIS));
    let first = state
        .began
        .plus_millis(scaled(config, FIRST_EXPUNGE_MILLIS));
    let every = scaled(config, EXPUNGE_MILLIS);
    let n_more = due.millis_since(first).max(0).div_euclid(every);
    let look = first.plus_millis(n_more.saturating_mul(every));
    if look < due {
        look.plus_millis(every)
    } else {
        look
    }
}
