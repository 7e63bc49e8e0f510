//! A cluster on a string: tests say what happens and look at what follows, at a time of their own.
//!
//! Two private agents that do nothing by themselves; the store is a map. [`Script::step`] checks the invariants, and that each
//! command gets exactly one answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use zddcluster_model::agent::{PROTOCOL, Registration, Resources, TaskReport};
use zddcluster_model::app::{App, AppUpdate, Form};
use zddcluster_model::event::{Event, EventKind};
use zddcluster_model::{AgentId, AppId, TaskId, TaskState, Timestamp};

use crate::effect::{Answer, Effect, KillOrder, Mutation, Refusal};
use crate::input::{CheckVerdict, Command, Input, Origin, Ticket};
use crate::state::Task;
use crate::{Config, Engine};

/// 2016-10-12T11:38:55.934Z, when the lab's first app was created.
const START: i64 = 1_476_272_335_934;

/// The cluster and what came of the last input.
pub(crate) struct Script {
    pub(crate) engine: Engine,
    config: Config,
    now: i64,
    store: BTreeMap<String, Vec<u8>>,
    last_ticket: u64,
    epoch: u64,
    agents: Vec<AgentId>,
    /// What was published since the last look.
    events: Vec<Event>,
    /// The persistent volumes that every agent says it keeps.
    pub(crate) volumes: Vec<String>,
    /// SIGTERMs ordered since the start.
    pub(crate) kills: Vec<KillOrder>,
    /// Other effects since the start.
    pub(crate) effects: Vec<Effect>,
}

impl Script {
    /// Two agents with 4 cpus each, no edge.
    pub(crate) fn new() -> Self {
        let config = Config {
            master_uuid: uuid::Builder::from_random_bytes([7; 16]).into_uuid(),
            node: [1, 2, 3, 4, 5, 6],
            seed: 1,
            speed: 1.0,
            drain_millis: 10_000,
            agent_timeout_millis: 75_000,
            max_apps: None,
            plant: None,
        };
        let mut script = Self {
            engine: Engine::new(config.clone(), Timestamp::from_millis(START)),
            config,
            now: START,
            store: BTreeMap::new(),
            last_ticket: 0,
            epoch: 0,
            agents: Vec::new(),
            events: Vec::new(),
            volumes: Vec::new(),
            kills: Vec::new(),
            effects: Vec::new(),
        };
        script.step(Input::Wake);
        script.register(None, 11);
        script.register(None, 12);
        script
    }

    fn register(&mut self, agent_id: Option<AgentId>, host: u8) {
        let tasks = self.engine.state().tasks.values();
        let tasks = tasks
            .filter(|task| Some(&task.agent_id) == agent_id.as_ref() && task.is_launched())
            .filter(|task| task.started_at.is_some())
            .map(|task| report(task, TaskState::Running))
            .collect();
        self.register_with(agent_id, host, tasks);
    }

    fn register_with(&mut self, agent_id: Option<AgentId>, host: u8, tasks: Vec<TaskReport>) {
        self.epoch += 1;
        let registration = Registration {
            protocol: PROTOCOL,
            agent_id: agent_id.clone(),
            epoch: self.epoch,
            hostname: format!("127.0.0.{host}"),
            port: 5051,
            role: "*".to_owned(),
            attributes: BTreeMap::new(),
            resources: Resources {
                cpus: 4.0,
                mem: 14_861.0,
                disk: 35_577.0,
                gpus: 0,
                ports: vec![(1025, 32_000)],
                dynamic_ports: vec![(20_000, 31_999)],
            },
            tasks,
            volumes: self.volumes.clone(),
        };
        let ticket = self.ticket();
        let registration = Box::new(registration);
        let answer = self.step(Input::AgentRegistered {
            ticket,
            registration,
        });
        let Some(Ok(Answer::Registered(registered))) = answer else {
            panic!("{answer:?}");
        };
        if agent_id.is_none() {
            self.agents.push(registered.agent_id);
        }
    }

    /// One agent more.
    pub(crate) fn register_another(&mut self, host: u8) {
        self.register(None, host);
    }

    fn ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        Ticket(self.last_ticket)
    }

    /// Gives an input; the answer comes back if it was one that has one.
    pub(crate) fn step(&mut self, input: Input) -> Option<Result<Answer, Refusal>> {
        let wants_answer = matches!(input, Input::Command { .. } | Input::AgentRegistered { .. });
        let effects = self.engine.step(Timestamp::from_millis(self.now), input);
        self.engine.check_invariants();
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(Mutation::Put(key, value)) => {
                    self.store.insert(key, value);
                }
                Effect::Persist(Mutation::Remove(key)) => {
                    self.store.remove(&key);
                }
                Effect::Reply(_, answer) => answers.push(answer),
                Effect::Publish(event) => self.events.push(event),
                Effect::Kill(order) => self.kills.push(order),
                Effect::Launch(..)
                | Effect::DestroyVolumes { .. }
                | Effect::Drain(..)
                | Effect::Check(_)
                | Effect::Download(_)
                | Effect::StopDownload(_) => self.effects.push(effect),
            }
        }
        assert_eq!(answers.len(), usize::from(wants_answer), "{answers:?}");
        answers.pop()
    }

    /// Gives a command.
    pub(crate) fn command(&mut self, command: Command) -> Result<Answer, Refusal> {
        let ticket = self.ticket();
        self.step(Input::Command { ticket, command })
            .expect("a command is answered")
    }

    pub(crate) fn post(&mut self, app: Value) -> Result<Answer, Refusal> {
        self.command(Command::CreateApp {
            update: read(&app),
            force: false,
            origin: origin(),
        })
    }

    pub(crate) fn put(&mut self, id: &str, app: Value, force: bool) -> Result<Answer, Refusal> {
        self.command(Command::UpdateApp {
            app_id: AppId::absolute(id),
            update: read(&app),
            is_full: false,
            force,
            origin: origin(),
        })
    }

    pub(crate) fn delete(&mut self, id: &str) -> Result<Answer, Refusal> {
        self.command(Command::DeleteApp {
            app_id: AppId::absolute(id),
            force: true,
        })
    }

    /// POSTs an app and lets its tasks run.
    pub(crate) fn deploy(&mut self, app: Value) {
        self.post(app).unwrap();
        self.run_staged();
        self.answer_checks(true);
        assert!(self.engine.state().deployments.is_empty(), "is deployed");
        self.events.clear();
    }

    /// Time passes; the engine is woken whenever it wants to be.
    pub(crate) fn tick(&mut self, millis: i64) {
        let end = self.now + millis;
        while let Some(at) = self.engine.next_wake().map(Timestamp::as_millis)
            && at <= end
        {
            self.now = self.now.max(at);
            self.step(Input::Wake);
        }
        self.now = end;
        self.step(Input::Wake);
    }

    /// An agent reports a task's state.
    pub(crate) fn report(&mut self, task: &Task, state: TaskState) {
        self.step(Input::TaskStatus {
            agent_id: task.agent_id.clone(),
            report: report(task, state),
        });
    }

    fn each(&mut self, state: TaskState, report: TaskState) {
        let tasks: Vec<Arc<Task>> = self.engine.state().tasks.values().cloned().collect();
        for task in tasks.iter().filter(|task| task.state == state) {
            self.report(task, report);
        }
    }

    /// Every staged task begins to run.
    pub(crate) fn run_staged(&mut self) {
        self.each(TaskState::Staging, TaskState::Running);
    }

    /// Every task on its way out ends.
    pub(crate) fn end_killed(&mut self) {
        self.each(TaskState::Killing, TaskState::Killed);
    }

    /// One killed task ends, the first of an app.
    pub(crate) fn end_one(&mut self, id: &str) {
        let mut tasks = self.tasks(id).into_iter();
        let task = tasks.find(|task| task.state == TaskState::Killing);
        self.report(&task.expect("a killed task"), TaskState::Killed);
    }

    /// One killed task ends, the first of all, its app perhaps gone.
    pub(crate) fn end_one_of_all(&mut self) {
        let mut tasks = self.engine.state().tasks.values().cloned();
        let task = tasks.find(|task| task.state == TaskState::Killing);
        drop(tasks);
        self.report(&task.expect("a killed task"), TaskState::Killed);
    }

    /// A round of all health checks of all running tasks.
    pub(crate) fn answer_checks(&mut self, is_good: bool) {
        let tasks: Vec<Arc<Task>> = self.engine.state().tasks.values().cloned().collect();
        for task in tasks {
            for check_idx in 0..task.health.len() {
                let verdict = if is_good {
                    CheckVerdict::Healthy
                } else {
                    CheckVerdict::Unhealthy("500 Internal Server Error".to_owned())
                };
                let task_id = task.id.clone();
                self.step(Input::Health {
                    task_id,
                    check_idx,
                    verdict,
                });
            }
        }
    }

    /// The master dies and starts again from the store; its agents come back.
    pub(crate) fn restart_master(&mut self) {
        self.config.seed += 1;
        let records = self.store.clone();
        let now = Timestamp::from_millis(self.now);
        self.engine = Engine::restore(self.config.clone(), now, records).unwrap();
        self.step(Input::Wake);
        for (host, agent_id) in (11..).zip(self.agents.clone()) {
            self.register(Some(agent_id), host);
        }
    }

    /// The command stream of an agent ends.
    pub(crate) fn lose_agent(&mut self, agent_id: &AgentId) {
        let epoch = self.engine.state().agents.get(agent_id).map(|a| a.epoch);
        let agent_id = agent_id.clone();
        self.step(Input::AgentDisconnected {
            agent_id,
            epoch: epoch.expect("a known agent"),
        });
    }

    /// An agent comes back with these tasks running.
    pub(crate) fn agent_returns(&mut self, agent_id: &AgentId, tasks: &[Arc<Task>]) {
        let agents = self.agents.iter();
        let host = (11..).zip(agents).find(|(_, id)| *id == agent_id);
        let host = host.expect("a known agent").0;
        let tasks = tasks.iter().map(|task| report(task, TaskState::Running));
        let tasks = tasks.collect();
        self.register_with(Some(agent_id.clone()), host, tasks);
    }

    pub(crate) fn app(&self, id: &str) -> Arc<App> {
        let app = self.engine.state().root.app(&AppId::absolute(id));
        Arc::clone(app.expect("the app is there"))
    }

    /// The launched tasks of an app, oldest id first.
    pub(crate) fn tasks(&self, id: &str) -> Vec<Arc<Task>> {
        let app_id = AppId::absolute(id);
        self.engine.state().launched_of(&app_id).cloned().collect()
    }

    /// How an app's tasks stand: `old` and `new` are told apart by the app's present version.
    ///
    /// `2 old TASK_KILLING, 1 new TASK_RUNNING; 1 queued`.
    pub(crate) fn show(&self, id: &str) -> String {
        let version = self.app(id).version;
        let mut counts: BTreeMap<(bool, TaskState), usize> = BTreeMap::new();
        for task in self.tasks(id) {
            *counts
                .entry((task.version == version, task.state))
                .or_default() += 1;
        }
        let mut text = counts
            .into_iter()
            .map(|((is_new, state), n)| {
                let age = if is_new { "new" } else { "old" };
                format!("{n} {age} {}", state.as_str().trim_start_matches("TASK_"))
            })
            .collect::<Vec<_>>()
            .join(", ");
        let queued = self.engine.state().queued_of(&AppId::absolute(id));
        if queued > 0 {
            text.push_str(&format!("; {queued} queued"));
        }
        text
    }

    /// The names of the events since the last look, states for status updates.
    pub(crate) fn events(&mut self) -> Vec<&'static str> {
        self.take_events().iter().map(|event| name(event)).collect()
    }

    /// The events since the last look.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn task_id(&self, id: &str) -> TaskId {
        self.tasks(id)[0].id.clone()
    }
}

fn name(event: &Event) -> &'static str {
    match &event.kind {
        EventKind::StatusUpdate { task_status, .. } => task_status.as_str(),
        _ => event.name(),
    }
}

fn report(task: &Task, state: TaskState) -> TaskReport {
    TaskReport {
        task_id: task.id.clone(),
        state,
        message: String::new(),
        reason: None,
        ip_addresses: Vec::new(),
    }
}

fn origin() -> Origin {
    Origin {
        client_ip: "127.0.0.1".to_owned(),
        uri: "/v2/apps".to_owned(),
    }
}

/// Reads a definition as a PUT does.
pub(crate) fn read(definition: &Value) -> AppUpdate {
    AppUpdate::read(definition.to_string().as_bytes(), Form::Partial).expect("a good definition")
}

mod tests;
