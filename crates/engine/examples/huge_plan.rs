//! How long the engine takes for one plan that acts on many apps: `cargo run --release -p zddcluster-engine --example
//! huge_plan -- [APPS] [INSTANCES] [AGENTS] [resident]`; `resident` gives each app a persistent volume.
//!
//! Two plans, each over all apps at once: the first starts them, the second replaces every task. Agents answer at once; the
//! times are the engine's own, its mutations are dropped.

#![expect(clippy::print_stdout, reason = "the numbers are the output")]

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use zddcluster_engine::input::Command;
use zddcluster_engine::{Config, Effect, Engine, Input, Ticket};
use zddcluster_model::agent::{PROTOCOL, Registration, Resources, TaskReport};
use zddcluster_model::app::AppUpdate;
use zddcluster_model::{TaskId, TaskState, Timestamp};

#[expect(clippy::disallowed_types, reason = "this measures")]
type Instant = std::time::Instant;

/// Instances on one agent; each may be there twice during a replacement.
const ON_AN_AGENT: usize = 400;

/// What makes an app resident.
const VOLUME: &str = r#", "container": {"type": "MESOS", "volumes": [
    {"containerPath": "data", "mode": "RW", "persistent": {"size": 1}}]}"#;

/// The engine, what agents have still to say, and how long the steps took.
struct World {
    engine: Engine,
    now: i64,
    reports: VecDeque<Input>,
    took: Vec<Duration>,
}

impl World {
    fn new(n_agents: usize) -> Self {
        let config = Config {
            master_uuid: uuid::Uuid::from_u128(7),
            node: [1, 2, 3, 4, 5, 6],
            seed: 1,
            speed: 1.0,
            drain_millis: 0,
            agent_timeout_millis: 75_000,
            max_apps: None,
        };
        let now = 1_476_272_335_934;
        let mut world = Self {
            engine: Engine::new(config, Timestamp::from_millis(now)),
            now,
            reports: VecDeque::new(),
            took: Vec::new(),
        };
        for agent in 0..n_agents {
            let registration = Registration {
                protocol: PROTOCOL,
                agent_id: None,
                epoch: 1,
                hostname: format!("agent-{agent}"),
                port: 5051,
                role: "*".to_owned(),
                attributes: BTreeMap::new(),
                resources: Resources {
                    cpus: 1000.0,
                    mem: 1e6,
                    disk: 1e6,
                    gpus: 0,
                    ports: vec![(1025, 32_000)],
                    dynamic_ports: vec![(20_000, 31_999)],
                },
                tasks: Vec::new(),
                volumes: Vec::new(),
            };
            let registration = Box::new(registration);
            let ticket = Ticket(0);
            world.step(Input::AgentRegistered {
                ticket,
                registration,
            });
        }
        world
    }

    #[expect(clippy::disallowed_methods, reason = "this measures")]
    fn step(&mut self, input: Input) {
        self.now += 1;
        let began = Instant::now();
        let effects = self.engine.step(Timestamp::from_millis(self.now), input);
        let _ = std::hint::black_box(self.engine.next_wake());
        self.took.push(began.elapsed());
        for effect in effects {
            let (agent_id, task_id, state) = match effect {
                Effect::Launch(agent_id, launch) => (agent_id, launch.task_id, TaskState::Running),
                Effect::Kill(order) => (order.agent_id, order.task_id, TaskState::Killed),
                _ => continue,
            };
            let report = report(task_id, state);
            self.reports
                .push_back(Input::TaskStatus { agent_id, report });
        }
    }

    /// Carries out a plan over all apps, and tells how long it took.
    fn deploy(&mut self, name: &str, n_apps: usize, instances: usize, release: u32, more: &str) {
        let updates = (0..n_apps).map(|app| {
            let definition = format!(
                r#"{{"id": "/huge/app-{app}", "cmd": "serve", "instances": {instances}, "cpus": 0.1, "mem": 32,
                    "env": {{"RELEASE": "{release}"}}{more}}}"#
            );
            let read = AppUpdate::read(definition.as_bytes(), zddcluster_model::app::Form::Partial);
            read.expect("a good definition")
        });
        let updates = updates.collect();
        self.took.clear();
        let ticket = Ticket(1);
        let force = false;
        let command = Command::UpdateApps { updates, force };
        self.step(Input::Command { ticket, command });
        loop {
            let input = match self.reports.pop_front() {
                Some(report) => report,
                None if self.engine.state().deployments.is_empty() => break,
                None => Input::Wake,
            };
            self.step(input);
        }
        let total: Duration = self.took.iter().sum();
        let n_steps = self.took.len();
        self.took.sort();
        let median = self.took[n_steps / 2];
        let longest = self.took[n_steps - 1];
        println!(
            "{name:>10}: {total:>9.2?} in {n_steps} steps, median {median:.1?}, longest {longest:.1?}"
        );
    }
}

fn report(task_id: TaskId, state: TaskState) -> TaskReport {
    TaskReport {
        task_id,
        state,
        message: String::new(),
        reason: None,
        ip_addresses: Vec::new(),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |idx: usize| args.get(idx)?.parse::<usize>().ok();
    let n_apps = number(0).unwrap_or(1000);
    let instances = number(1).unwrap_or(10);
    let n_tasks = n_apps * instances;
    let n_agents = number(2).unwrap_or_else(|| n_tasks.div_ceil(ON_AN_AGENT).max(1));
    let more = match args.iter().any(|arg| arg == "resident") {
        true => VOLUME,
        false => "",
    };
    println!("{n_apps} apps with {instances} instances on {n_agents} agents");
    let mut world = World::new(n_agents);
    world.deploy("start", n_apps, instances, 1, more);
    world.deploy("replace", n_apps, instances, 2, more);
}
