//! The world's agents: they start, end and report tasks, lose their connection, or are gone for long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::agent::{PROTOCOL, Registration, Resources, TaskReport};
use zddcluster_model::{AgentId, TaskId, TaskState};

use super::checks::fate;
use super::world::{Happening, World};
use crate::effect::Effect;
use crate::input::{Input, Ticket};
use crate::volume::Reservation;

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
    /// Its persistent volumes.
    volumes: Vec<String>,
    /// The master has this state in its store.
    is_acknowledged: bool,
}

pub(super) struct FakeAgent {
    id: Option<AgentId>,
    hostname: String,
    port: u16,
    role: &'static str,
    attributes: BTreeMap<String, String>,
    resources: Resources,
    epoch: u64,
    /// Grows with each registration; what was sent on an earlier stream is lost.
    stream: u64,
    is_connected: bool,
    processes: BTreeMap<TaskId, Process>,
    /// Its persistent volumes.
    volumes: BTreeSet<String>,
    /// Those to be destroyed as soon as no process uses them.
    doomed: BTreeSet<String>,
    /// Launches that wait until a process of before has let their volumes go.
    waiting: Vec<Effect>,
}

impl FakeAgent {
    /// A stream ends: what was only remembered is forgotten.
    fn stream_is_cut(&mut self) {
        self.is_connected = false;
        self.stream += 1;
        self.doomed.clear();
        self.waiting.clear();
    }

    fn uses(&self, volume_id: &String) -> bool {
        let mut live = self.processes.values().filter(|it| !it.state.is_terminal());
        live.any(|process| process.volumes.contains(volume_id))
    }

    fn destroy_doomed(&mut self) {
        let doomed: Vec<String> = self.doomed.iter().cloned().collect();
        for id in doomed {
            if !self.uses(&id) {
                self.doomed.remove(&id);
                self.volumes.remove(&id);
            }
        }
    }
}

/// All agents.
#[derive(Default)]
pub(super) struct Agents {
    all: Vec<FakeAgent>,
    /// Who asked for a registration.
    waiting: BTreeMap<Ticket, usize>,
}

impl Agents {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn are_all_connected(&self) -> bool {
        self.all
            .iter()
            .all(|agent| agent.is_connected && agent.id.is_some())
    }

    /// The master is gone, and with it all streams and whoever waited for an answer.
    pub(super) fn all_streams_end(&mut self) {
        for agent in &mut self.all {
            agent.stream_is_cut();
        }
        self.waiting.clear();
    }

    pub(super) fn registered(&mut self, ticket: Ticket, id: AgentId) {
        if let Some(index) = self.waiting.remove(&ticket) {
            self.all[index].id = Some(id);
        }
    }

    fn index_of(&self, id: &AgentId) -> Option<usize> {
        self.all
            .iter()
            .position(|agent| agent.id.as_ref() == Some(id))
    }

    /// The master has this state of a task in its store.
    pub(super) fn acknowledge(&mut self, id: &AgentId, task_id: &TaskId, state: TaskState) {
        let Some(index) = self.index_of(id) else {
            return;
        };
        let processes = &mut self.all[index].processes;
        if let Some(process) = processes.get_mut(task_id)
            && process.state == state
        {
            process.is_acknowledged = true;
            if state.is_terminal() {
                processes.remove(task_id);
            }
        }
    }
}

impl World {
    /// Two to four agents, some in a rack, some of them public.
    pub(super) fn add_agents(&mut self) {
        let n_agents = 2 + self.below(3) as usize;
        let is_single_address = self.one_in(8);
        for index in 0..n_agents {
            let is_public = index == 3 || (index == 2 && self.one_in(3));
            let mut attributes = BTreeMap::new();
            if !self.one_in(4) {
                let rack = self.pick(&["r1", "r2", "r3"]);
                attributes.insert("rack".to_owned(), rack.to_owned());
            }
            let first = 20_000 + 1_000 * index as u16;
            let n_ports = if self.one_in(6) { 5 } else { 200 };
            let cpus = if self.one_in(4) { 1.5 } else { 4.0 };
            self.agents.all.push(FakeAgent {
                id: None,
                hostname: if is_single_address {
                    "127.0.0.1".to_owned()
                } else {
                    format!("127.0.0.{}", 11 + index)
                },
                port: 5051 + index as u16,
                role: if is_public { "slave_public" } else { "*" },
                attributes,
                resources: Resources {
                    cpus,
                    mem: 4096.0,
                    disk: 1000.0,
                    gpus: 0,
                    ports: vec![(1025, 2180), (8082, 32_000)],
                    dynamic_ports: vec![(first, first + n_ports)],
                },
                epoch: 1,
                stream: 0,
                is_connected: false,
                processes: BTreeMap::new(),
                volumes: BTreeSet::new(),
                doomed: BTreeSet::new(),
                waiting: Vec::new(),
            });
            self.after(0, Happening::Register { agent: index });
        }
    }

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
            .map(|(task_id, process)| report(task_id, process.state))
            .collect();
        let registration = Registration {
            protocol: PROTOCOL,
            agent_id: agent.id.clone(),
            epoch: agent.epoch,
            hostname: agent.hostname.clone(),
            port: agent.port,
            role: agent.role.to_owned(),
            attributes: agent.attributes.clone(),
            resources: agent.resources.clone(),
            tasks,
            volumes: agent.volumes.iter().cloned().collect(),
        };
        self.agents.waiting.insert(ticket, index);
        self.step(Input::AgentRegistered {
            ticket,
            registration: Box::new(registration),
        });
        self.report_soon(index);
    }

    /// The answer to a registration never comes: the agent tries again.
    pub(super) fn registration_failed(&mut self, ticket: Ticket) {
        let Some(index) = self.agents.waiting.remove(&ticket) else {
            return;
        };
        self.agents.all[index].stream_is_cut();
        self.after(500, Happening::Register { agent: index });
    }

    /// An agent loses its connection; the master may take a while to see it.
    pub(super) fn disconnect(&mut self, index: usize, back_after: i64) {
        let is_new_process = self.one_in(2);
        let agent = &mut self.agents.all[index];
        if !agent.is_connected {
            return;
        }
        agent.stream_is_cut();
        let (stream, epoch) = (agent.stream, agent.epoch);
        agent.epoch += u64::from(is_new_process);
        self.after(back_after, Happening::Register { agent: index });
        let seen_after = if self.one_in(3) {
            i64::from(self.below(30_000))
        } else {
            0
        };
        let seen = Happening::StreamEnds {
            agent: index,
            stream,
            epoch,
        };
        self.after(seen_after, seen);
    }

    /// The master sees that a stream has ended, unless there is a newer one.
    pub(super) fn stream_ends(&mut self, index: usize, stream: u64, epoch: u64) {
        let agent = &self.agents.all[index];
        if let Some(agent_id) = agent.id.clone().filter(|_| agent.stream == stream) {
            self.step(Input::AgentDisconnected { agent_id, epoch });
        }
    }

    /// An agent's machine is switched off and on: its tasks are gone, and perhaps all it knew of itself.
    pub(super) fn reboot(&mut self, index: usize, forgets_itself: bool) {
        let back_after = i64::from(self.below(30_000));
        self.disconnect(index, back_after);
        let agent = &mut self.agents.all[index];
        agent.processes.clear();
        agent.epoch += 1;
        if forgets_itself {
            self.tell(|| format!("agent {index} forgets who it was"));
            self.agents.all[index].id = None;
            self.agents.all[index].volumes.clear();
        }
    }

    /// Sends an order to an agent; on a broken stream it is lost.
    pub(super) fn send(&mut self, agent_id: &AgentId, effect: Effect) {
        let found = self.agents.index_of(agent_id);
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
                if agent.processes.contains_key(&launch.task_id) {
                    return;
                }
                let volumes = launch.volumes.iter();
                let volumes: Vec<String> = volumes.map(|it| it.persistence_id.clone()).collect();
                if volumes.iter().any(|id| agent.uses(id)) {
                    agent.waiting.push(Effect::Launch(agent_id, launch));
                    return;
                }
                for volume in &launch.volumes {
                    let id = &volume.persistence_id;
                    let is_there = !agent.volumes.insert(id.clone());
                    assert!(is_there || volume.is_new, "{id} has lost its data");
                    assert!(!agent.doomed.contains(id), "{id} is to be destroyed");
                }
                let process = Process {
                    state: TaskState::Staging,
                    volumes,
                    is_acknowledged: true,
                };
                agent.processes.insert(launch.task_id.clone(), process);
                let delay = 10 + i64::from(self.below(1_500));
                let app = self.snapshot.version_of(&launch.app_id, launch.app_version);
                let is_doomed = app.is_some_and(|app| fate(app) == "crash");
                let is_unlucky = !self.is_peaceful && !self.is_faultless && self.one_in(25);
                let turn = if is_doomed || is_unlucky {
                    let states = [TaskState::Failed, TaskState::Finished, TaskState::Error];
                    TaskTurn::Ends(self.pick(&states))
                } else {
                    TaskTurn::Runs
                };
                let task_id = launch.task_id;
                let agent = index;
                self.after(
                    delay,
                    Happening::Task {
                        agent,
                        task_id,
                        turn,
                    },
                );
            }
            Effect::DestroyVolumes { volume_ids, .. } => {
                let agent = &mut self.agents.all[index];
                agent.doomed.extend(volume_ids);
                agent.destroy_doomed();
            }
            Effect::Kill(order) => {
                let agent = &mut self.agents.all[index];
                let is_order = |effect: &Effect| matches!(effect, Effect::Launch(_, launch) if launch.task_id == order.task_id);
                if agent.waiting.iter().any(is_order) {
                    agent.waiting.retain(|effect| !is_order(effect));
                    let process = Process {
                        state: TaskState::Killed,
                        volumes: Vec::new(),
                        is_acknowledged: false,
                    };
                    agent.processes.insert(order.task_id, process);
                    self.report_soon(index);
                    return;
                }
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
        process.is_acknowledged = false;
        self.report_soon(index);
        let agent = &mut self.agents.all[index];
        agent.destroy_doomed();
        let stream = agent.stream;
        for launch in std::mem::take(&mut agent.waiting) {
            self.command(index, stream, launch);
        }
    }

    /// The first agent that does not keep exactly what the master believes; of volumes with which no task has run yet it may keep
    /// any.
    pub(super) fn with_other_volumes(&self) -> Option<&str> {
        let has_others = |agent: &&FakeAgent| {
            let reservations = self.snapshot.reservations.values();
            let (made, begun): (Vec<_>, Vec<_>) = reservations
                .filter(|reservation| Some(&reservation.agent_id) == agent.id.as_ref())
                .partition(|reservation| reservation.is_made);
            let ids = |reservations: Vec<&Arc<Reservation>>| -> BTreeSet<String> {
                let volumes = reservations.into_iter().flat_map(|it| it.volumes.iter());
                volumes.map(|it| it.persistence_id.clone()).collect()
            };
            let begun = ids(begun);
            let kept = agent.volumes.iter().filter(|id| !begun.contains(*id));
            !kept.eq(&ids(made))
        };
        let agent = self.agents.all.iter().find(has_others)?;
        Some(&agent.hostname)
    }

    /// A task of an agent, if it has any.
    pub(super) fn some_process(&mut self, index: usize) -> Option<TaskId> {
        let ids: Vec<TaskId> = self.agents.all[index].processes.keys().cloned().collect();
        let pick = self.below(ids.len() as u32) as usize;
        ids.get(pick).cloned()
    }

    pub(super) fn report_soon(&mut self, index: usize) {
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

    /// Delivers everything the master has not acknowledged yet.
    pub(super) fn report(&mut self, index: usize, stream: u64) {
        let agent = &self.agents.all[index];
        if agent.stream != stream {
            return;
        }
        let Some(agent_id) = agent.id.clone() else {
            // The answer to its registration is not there yet.
            self.report_soon(index);
            return;
        };
        let reports: Vec<TaskReport> = agent
            .processes
            .iter()
            .filter(|(_, process)| !process.is_acknowledged)
            .map(|(task_id, process)| report(task_id, process.state))
            .collect();
        for report in reports {
            self.step(Input::TaskStatus {
                agent_id: agent_id.clone(),
                report,
            });
        }
    }
}

fn report(task_id: &TaskId, state: TaskState) -> TaskReport {
    TaskReport {
        task_id: task_id.clone(),
        state,
        message: String::new(),
        reason: None,
        ip_addresses: Vec::new(),
    }
}
