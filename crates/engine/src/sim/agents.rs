//! The world's agents: they start, end and report tasks, lose their connection, or are gone for long.

use std::collections::BTreeMap;

use zddcluster_model::agent::{PROTOCOL, Registration, Resources, TaskReport};
use zddcluster_model::{AgentId, TaskId, TaskState};

use super::world::{Happening, World};
use crate::effect::Effect;
use crate::input::Input;

/// How a task at its agent goes on.
#[derive(Clone, Copy, Debug)]
pub(super) enum TaskTurn {
    /// Its process runs.
    Runs,
    /// Its process has ended.
    Ends(TaskState),
}

struct Process {
    state: TaskState,
    is_reported: bool,
}

pub(super) struct FakeAgent {
    id: Option<AgentId>,
    hostname: String,
    epoch: u64,
    /// Grows with each registration; what was sent on an earlier stream is lost.
    stream: u64,
    is_connected: bool,
    processes: BTreeMap<TaskId, Process>,
    next_port: u16,
}

/// All agents.
#[derive(Default)]
pub(super) struct Agents {
    all: Vec<FakeAgent>,
    /// Who asked for a registration.
    waiting: BTreeMap<u64, usize>,
}

impl Agents {
    pub(super) fn add(&mut self, index: usize) {
        self.all.push(FakeAgent {
            id: None,
            hostname: format!("127.0.0.{}", 11 + index),
            epoch: 1,
            stream: 0,
            is_connected: false,
            processes: BTreeMap::new(),
            next_port: 20_000 + 1_000 * index as u16,
        });
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn are_all_connected(&self) -> bool {
        self.all.iter().all(|agent| agent.is_connected)
    }

    pub(super) fn all_streams_end(&mut self) {
        for agent in &mut self.all {
            agent.is_connected = false;
            agent.stream += 1;
        }
    }

    pub(super) fn registered(&mut self, ticket: u64, id: AgentId) {
        if let Some(index) = self.waiting.remove(&ticket) {
            self.all[index].id = Some(id);
        }
    }
}

impl World {
    pub(super) fn register(&mut self, index: usize) {
        let ticket = self.new_ticket();
        let agent = &mut self.agents.all[index];
        if agent.is_connected {
            return;
        }
        agent.is_connected = true;
        agent.stream += 1;
        let tasks = agent
            .processes
            .iter()
            .map(|(task_id, process)| TaskReport {
                task_id: task_id.clone(),
                state: process.state,
                message: String::new(),
                ip_addresses: Vec::new(),
            })
            .collect();
        let registration = Registration {
            protocol: PROTOCOL,
            agent_id: agent.id.clone(),
            epoch: agent.epoch,
            hostname: agent.hostname.clone(),
            port: 5051,
            role: "*".to_owned(),
            attributes: BTreeMap::new(),
            resources: Resources {
                cpus: 4.0,
                mem: 4096.0,
                disk: 1000.0,
                gpus: 0,
                ports: vec![(1025, 32_000)],
                dynamic_ports: vec![(agent.next_port, agent.next_port + 200)],
            },
            tasks,
        };
        self.agents.waiting.insert(ticket.0, index);
        self.step(Input::AgentRegistered {
            ticket,
            registration: Box::new(registration),
        });
        self.report_soon(index);
    }

    pub(super) fn disconnect(&mut self, index: usize, back_after: i64) {
        let agent = &mut self.agents.all[index];
        if !agent.is_connected {
            return;
        }
        agent.is_connected = false;
        agent.stream += 1;
        let epoch = agent.epoch;
        agent.epoch += 1;
        let Some(agent_id) = agent.id.clone() else {
            return;
        };
        self.step(Input::AgentDisconnected { agent_id, epoch });
        self.after(back_after, Happening::Register { agent: index });
    }

    /// Sends an order to an agent; on a broken stream it is lost.
    pub(super) fn send(&mut self, agent_id: &AgentId, effect: Effect) {
        let found = self
            .agents
            .all
            .iter()
            .position(|agent| agent.id.as_ref() == Some(agent_id));
        let Some(agent) = found.filter(|index| self.agents.all[*index].is_connected) else {
            return;
        };
        let stream = self.agents.all[agent].stream;
        self.after(
            2,
            Happening::Command {
                agent,
                stream,
                effect: Box::new(effect),
            },
        );
    }

    pub(super) fn command(&mut self, index: usize, stream: u64, effect: Effect) {
        if self.agents.all[index].stream != stream {
            return;
        }
        match effect {
            Effect::Launch(agent_id, launch) => {
                let agent = &mut self.agents.all[index];
                assert_eq!(
                    agent.id.as_ref(),
                    Some(&agent_id),
                    "a launch at the wrong agent"
                );
                self.watch.launched(&launch.task_id, &agent_id);
                if agent.processes.contains_key(&launch.task_id) {
                    return;
                }
                let process = Process {
                    state: TaskState::Staging,
                    is_reported: true,
                };
                agent.processes.insert(launch.task_id.clone(), process);
                let delay = 10 + i64::from(self.below(1_500));
                let fails = !self.is_peaceful && !self.is_faultless && self.one_in(25);
                let turn = if fails {
                    TaskTurn::Ends(TaskState::Failed)
                } else {
                    TaskTurn::Runs
                };
                self.after(
                    delay,
                    Happening::Task {
                        agent: index,
                        task_id: launch.task_id,
                        turn,
                    },
                );
            }
            Effect::Kill(order) => {
                if !self.agents.all[index]
                    .processes
                    .contains_key(&order.task_id)
                {
                    return;
                }
                let obeys = self.one_in(2);
                let delay = if obeys {
                    i64::from(self.below(200))
                } else {
                    i64::try_from(order.grace_millis).expect("a grace is short")
                };
                let turn = TaskTurn::Ends(TaskState::Killed);
                self.after(
                    delay,
                    Happening::Task {
                        agent: index,
                        task_id: order.task_id,
                        turn,
                    },
                );
            }
            other => panic!("not for an agent: {other:?}"),
        }
    }

    pub(super) fn task_turn(&mut self, index: usize, task_id: &TaskId, turn: TaskTurn) {
        let Some(process) = self.agents.all[index].processes.get_mut(task_id) else {
            return;
        };
        if process.state.is_terminal() {
            return;
        }
        process.state = match turn {
            TaskTurn::Runs => TaskState::Running,
            TaskTurn::Ends(state) => state,
        };
        process.is_reported = false;
        self.report_soon(index);
    }

    fn report_soon(&mut self, index: usize) {
        let agent = &self.agents.all[index];
        if agent.is_connected {
            let stream = agent.stream;
            self.after(
                3,
                Happening::Report {
                    agent: index,
                    stream,
                },
            );
        }
    }

    /// Delivers everything an agent has not reported yet; what has ended and been taken is forgotten.
    pub(super) fn report(&mut self, index: usize, stream: u64) {
        let agent = &mut self.agents.all[index];
        let Some(agent_id) = agent.id.clone().filter(|_| agent.stream == stream) else {
            return;
        };
        let mut reports = Vec::new();
        for (task_id, process) in &mut agent.processes {
            if !process.is_reported || process.state.is_terminal() {
                process.is_reported = true;
                reports.push(TaskReport {
                    task_id: task_id.clone(),
                    state: process.state,
                    message: String::new(),
                    ip_addresses: Vec::new(),
                });
            }
        }
        agent
            .processes
            .retain(|_, process| !process.state.is_terminal());
        for report in reports {
            self.step(Input::TaskStatus {
                agent_id: agent_id.clone(),
                report,
            });
        }
    }

    /// Something breaks, and something else will soon.
    pub(super) fn fault(&mut self) {
        if self.is_peaceful {
            return;
        }
        let index = self.below(self.agents.len() as u32) as usize;
        match self.below(10) {
            0..=2 => self.crash_master(),
            3..=4 => {
                let back_after = i64::from(self.below(20_000));
                self.watch.fault();
                self.disconnect(index, back_after);
            }
            5 => {
                let back_after = 60_000 + i64::from(self.below(150_000));
                self.watch.fault();
                self.disconnect(index, back_after);
            }
            6..=7 => {
                // A task crashes.
                let running: Vec<TaskId> =
                    self.agents.all[index].processes.keys().cloned().collect();
                if !running.is_empty() {
                    let pick = self.below(running.len() as u32) as usize;
                    self.watch.fault();
                    self.task_turn(index, &running[pick], TaskTurn::Ends(TaskState::Failed));
                }
            }
            8 => {
                // An edge goes, and comes back.
                if let Some(edge_id) = self.edges.pop_first() {
                    self.watch.edge_gone(&edge_id);
                    self.step(Input::EdgeDisconnected(edge_id.clone()));
                    self.after(2_000, Happening::EdgeConnects(edge_id));
                }
            }
            _ => self.kill_by_api(),
        }
        let next = 500 + i64::from(self.below(25_000));
        self.after(next, Happening::Fault);
    }
}
