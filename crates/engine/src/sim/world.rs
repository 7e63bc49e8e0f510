//! The world: clock, event queue, store, and the carrying out of effects.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zddcluster_model::{EdgeId, TaskId, Timestamp};

use super::Plant;
use super::agents::Agents;
use super::users::Users;
use super::watch::Watch;
use crate::effect::{CheckOrder, Effect, Mutation};
use crate::input::{CheckVerdict, Input, Ticket};
use crate::{Config, Engine, State};

/// 2016-10-12T11:38:55.934Z, when the lab's first app was created.
const START: i64 = 1_476_272_335_934;

/// Virtual time during which users write and things break, milliseconds.
const UNREST_MILLIS: i64 = 180_000;

/// Virtual time after which everything must have come to rest, milliseconds.
const PEACE_MILLIS: i64 = 3_600_000;

/// What may be on the calendar.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// The engine asked to be woken.
    Wake(u64),
    /// A user does something.
    User,
    /// Something breaks.
    Fault,
    /// A command of the master arrives at an agent, unless its stream has ended.
    Command {
        agent: usize,
        stream: u64,
        effect: Box<Effect>,
    },
    /// A task at an agent goes on.
    Task {
        agent: usize,
        task_id: TaskId,
        turn: super::agents::TaskTurn,
    },
    /// An agent's reports arrive at the master, unless its stream has ended.
    Report { agent: usize, stream: u64 },
    /// An agent registers.
    Register { agent: usize },
    /// A health check of a version comes round.
    HealthRound {
        key: (zddcluster_model::AppId, Timestamp),
        check_idx: usize,
        epoch: u64,
    },
    /// A task answers its readiness check.
    Readiness { task_id: TaskId, epoch: u64 },
    /// An edge connects.
    EdgeConnects(EdgeId),
    /// An edge has let a task go.
    EdgeDrained(EdgeId, TaskId),
}

pub(super) struct World {
    pub(super) rng: ChaCha8Rng,
    pub(super) now: i64,
    pub(super) engine: Engine,
    pub(super) config: Config,
    pub(super) store: BTreeMap<String, Vec<u8>>,
    pub(super) agents: Agents,
    pub(super) users: Users,
    pub(super) watch: Watch,
    pub(super) edges: BTreeSet<EdgeId>,
    pub(super) is_peaceful: bool,
    /// Nothing breaks in this life at all.
    pub(super) is_faultless: bool,
    calendar: BTreeMap<(i64, u64), Happening>,
    next_seq: u64,
    wake_generation: u64,
    /// Grows with each start of the master: checks of an earlier one are void.
    pub(super) epoch: u64,
    asked: BTreeSet<TaskId>,
    next_ticket: u64,
    n_steps: u64,
    plant: Option<Plant>,
    is_told: bool,
}

impl World {
    pub(super) fn new(seed: u64, plant: Option<Plant>, is_told: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let is_faultless = rng.next_u32().is_multiple_of(3);
        let config = Config {
            master_uuid: uuid::Builder::from_random_bytes([7; 16]).into_uuid(),
            node: [1, 2, 3, 4, 5, 6],
            seed,
            speed: 1.0,
            drain_millis: 10_000,
            agent_timeout_millis: 75_000,
            max_apps: None,
            plant,
        };
        let now = Timestamp::from_millis(START);
        let mut world = Self {
            engine: Engine::new(config.clone(), now),
            rng,
            now: START,
            config,
            store: BTreeMap::new(),
            agents: Agents::default(),
            users: Users::default(),
            watch: Watch::default(),
            edges: BTreeSet::new(),
            is_peaceful: false,
            is_faultless,
            calendar: BTreeMap::new(),
            next_seq: 0,
            wake_generation: 0,
            epoch: 0,
            asked: BTreeSet::new(),
            next_ticket: 0,
            n_steps: 0,
            plant,
            is_told,
        };
        world.step(Input::Wake);
        let n_agents = 2 + world.below(2) as usize;
        for agent in 0..n_agents {
            world.agents.add(agent);
            world.after(0, Happening::Register { agent });
        }
        for edge in 0..world.below(3) {
            world.after(
                5,
                Happening::EdgeConnects(EdgeId::new(&format!("edge-{edge}"))),
            );
        }
        world.after(1000, Happening::User);
        if !is_faultless {
            let first = i64::from(world.below(60_000));
            world.after(first, Happening::Fault);
        }
        world
    }

    pub(super) const fn n_steps(&self) -> u64 {
        self.n_steps
    }

    /// A random number below `bound`.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.rng.next_u32()) * u64::from(bound.max(1))) >> 32) as u32
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    pub(super) fn tell(&self, text: impl FnOnce() -> String) {
        if self.is_told {
            eprintln!("{:>9} {}", self.now - START, text());
        }
    }

    pub(super) fn after(&mut self, millis: i64, happening: Happening) {
        self.calendar
            .insert((self.now + millis.max(0), self.next_seq), happening);
        self.next_seq += 1;
    }

    /// Lives to the end: unrest, then peace, then the last judgement.
    pub(super) fn live(&mut self) {
        let end = START + UNREST_MILLIS + PEACE_MILLIS;
        while let Some(((at, _), happening)) = self.calendar.pop_first() {
            if at > end {
                break;
            }
            self.now = at;
            if !self.is_peaceful && at > START + UNREST_MILLIS {
                self.is_peaceful = true;
                self.tell(|| "peace".to_owned());
            }
            if self.is_peaceful && self.is_at_rest() {
                break;
            }
            self.happen(happening);
        }
        self.compare_with_store();
        self.judge();
    }

    fn is_at_rest(&self) -> bool {
        let state = self.engine.state();
        state.deployments.is_empty()
            && state.queue.is_empty()
            && state.tasks.values().all(|task| task.is_serving())
            && state
                .root
                .transitive_apps()
                .iter()
                .all(|app| state.launched_of(&app.id).count() == app.instances as usize)
            && self.agents.are_all_connected()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(generation) => {
                if generation == self.wake_generation {
                    self.step(Input::Wake);
                }
            }
            Happening::User => self.user(),
            Happening::Fault => self.fault(),
            Happening::Command {
                agent,
                stream,
                effect,
            } => self.command(agent, stream, *effect),
            Happening::Task {
                agent,
                task_id,
                turn,
            } => self.task_turn(agent, &task_id, turn),
            Happening::Report { agent, stream } => self.report(agent, stream),
            Happening::Register { agent } => self.register(agent),
            Happening::HealthRound {
                key,
                check_idx,
                epoch,
            } => {
                self.health_round(key, check_idx, epoch);
            }
            Happening::Readiness { task_id, epoch } => self.ask(task_id, epoch),
            Happening::EdgeConnects(edge_id) => {
                self.edges.insert(edge_id.clone());
                self.step(Input::EdgeConnected(edge_id));
            }
            Happening::EdgeDrained(edge_id, task_id) => {
                if self.edges.contains(&edge_id) {
                    self.watch.let_go(&edge_id, &task_id);
                    self.step(Input::Drained { edge_id, task_id });
                }
            }
        }
    }

    /// Gives the engine an input, makes its mutations durable, carries out its effects, and checks everything.
    pub(super) fn step(&mut self, input: Input) {
        self.n_steps += 1;
        let before = self.engine.state().clone();
        let is_told = self.is_told;
        let input_text = if is_told {
            format!("{input:?}")
        } else {
            String::new()
        };
        let effects = self.engine.step(Timestamp::from_millis(self.now), input);
        self.tell(|| input_text.chars().take(160).collect());
        self.engine.check_invariants();
        self.commit(&effects);
        let now = self.now;
        self.watch.step(now, &before, self.engine.state(), &effects);
        self.carry_out(effects);
        if self.n_steps.is_multiple_of(101) {
            self.compare_with_store();
        }
        self.set_wake();
    }

    pub(super) fn new_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    fn commit(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Persist(Mutation::Put(key, value)) => {
                    let is_lost = self.plant == Some(Plant::LosesAWrite)
                        && key.starts_with("version/")
                        && self.n_steps.is_multiple_of(7);
                    if !is_lost {
                        self.store.insert(key.clone(), value.clone());
                    }
                }
                Effect::Persist(Mutation::Remove(key)) => {
                    self.store.remove(key);
                }
                _ => {}
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.is_told && !matches!(effect, Effect::Persist(_)) {
                let text = format!("{effect:?}");
                let text = if text.contains("Deployment") {
                    text.rsplit("steps:").next().unwrap_or_default().to_owned()
                } else {
                    text
                };
                self.tell(|| format!("      -> {}", text.chars().take(190).collect::<String>()));
            }
            match effect {
                Effect::Persist(_) | Effect::Publish(_) => {}
                Effect::Reply(ticket, answer) => self.answered(ticket, answer),
                Effect::Launch(ref agent_id, _) => {
                    let agent_id = agent_id.clone();
                    self.send(&agent_id, effect);
                }
                Effect::Kill(ref order) => {
                    let agent_id = order.agent_id.clone();
                    self.send(&agent_id, effect);
                }
                Effect::Drain(edge_id, task_id) => {
                    let delay = i64::from(self.below(3_000));
                    self.after(delay, Happening::EdgeDrained(edge_id, task_id));
                }
                Effect::Check(order) => self.check(order),
                Effect::Download(order) => panic!("no user of this world has {order:?}"),
            }
        }
    }

    fn check(&mut self, order: CheckOrder) {
        match order {
            CheckOrder::StartHealth { app, check_idx } => {
                let key = (app.id.clone(), app.version);
                let epoch = self.epoch;
                self.after(
                    5_000,
                    Happening::HealthRound {
                        key,
                        check_idx,
                        epoch,
                    },
                );
            }
            CheckOrder::StartReadiness { task_id, .. } => {
                self.asked.insert(task_id.clone());
                let epoch = self.epoch;
                self.after(10, Happening::Readiness { task_id, epoch });
            }
            CheckOrder::StopReadiness { task_id } => {
                self.asked.remove(&task_id);
            }
            CheckOrder::StopHealth { .. } => {}
        }
    }

    fn health_round(
        &mut self,
        key: (zddcluster_model::AppId, Timestamp),
        check_idx: usize,
        epoch: u64,
    ) {
        if epoch != self.epoch || !self.engine.state().checks.contains_key(&key) {
            return;
        }
        let tasks: Vec<TaskId> = self
            .engine
            .state()
            .tasks_of(&key.0)
            .filter(|task| task.version == key.1 && task.is_serving())
            .map(|task| task.id.clone())
            .collect();
        for task_id in tasks {
            let is_bad = !self.is_peaceful && !self.is_faultless && self.one_in(6);
            let verdict = if is_bad {
                CheckVerdict::Unhealthy("500 Internal Server Error".to_owned())
            } else {
                CheckVerdict::Healthy
            };
            self.step(Input::Health {
                task_id,
                check_idx,
                verdict,
            });
        }
        self.after(
            20_000,
            Happening::HealthRound {
                key,
                check_idx,
                epoch,
            },
        );
    }

    fn ask(&mut self, task_id: TaskId, epoch: u64) {
        if epoch != self.epoch || !self.asked.contains(&task_id) {
            return;
        }
        let is_ready = self.one_in(2);
        let response = zddcluster_model::task::ReadinessResponse {
            status: if is_ready { 200 } else { 503 },
            content_type: "text/plain".to_owned(),
            body: String::new(),
        };
        self.step(Input::Readiness {
            task_id: task_id.clone(),
            is_ready,
            response,
        });
        self.after(3_000, Happening::Readiness { task_id, epoch });
    }

    fn set_wake(&mut self) {
        self.wake_generation += 1;
        if let Some(at) = self.engine.next_wake() {
            let generation = self.wake_generation;
            let delay = at.as_millis() - self.now;
            self.after(delay, Happening::Wake(generation));
        }
    }

    /// The master dies, before or after its last batch was flushed, and starts again from the store.
    pub(super) fn crash_master(&mut self) {
        if self.one_in(2) {
            // Flushed, but nothing of it was carried out.
            let effects = self
                .engine
                .step(Timestamp::from_millis(self.now), Input::Wake);
            self.commit(&effects);
        }
        self.compare_with_store();
        self.tell(|| "the master is killed".to_owned());
        let down = i64::from(self.below(3_000));
        self.now += down;
        self.epoch += 1;
        // Never one of before (with an exclusive or it was, after three crashes): ids would repeat.
        self.config.seed = self.config.seed.wrapping_add(1 << 32);
        self.asked.clear();
        let records = self.store.clone();
        let now = Timestamp::from_millis(self.now);
        self.engine = Engine::restore(self.config.clone(), now, records)
            .expect("a store of ours is readable");
        self.watch.master_restarted();
        self.agents.all_streams_end();
        for agent in 0..self.agents.len() {
            let delay = i64::from(self.below(1_500));
            self.after(delay, Happening::Register { agent });
        }
        for edge_id in std::mem::take(&mut self.edges) {
            let delay = i64::from(self.below(1_500));
            self.after(delay, Happening::EdgeConnects(edge_id));
        }
        self.step(Input::Wake);
    }

    /// What the engine believes and what a new engine would read from the store are the same.
    pub(super) fn compare_with_store(&self) {
        let of = |records: Vec<(String, Vec<u8>)>| -> BTreeMap<String, Vec<u8>> {
            records
                .into_iter()
                .filter(|(key, _)| key != "meta/cluster")
                .collect()
        };
        let believed = of(self.engine.export());
        let stored = of(self.store.clone().into_iter().collect());
        for (key, value) in &believed {
            let in_store = stored.get(key);
            assert!(
                in_store == Some(value),
                "the store does not hold {key} as acknowledged: {:?} instead of {}",
                in_store.map(|value| String::from_utf8_lossy(value).into_owned()),
                String::from_utf8_lossy(value)
            );
        }
        for key in stored.keys() {
            assert!(
                believed.contains_key(key),
                "the store holds {key}, which is gone"
            );
        }
        let replayed = State::replay(
            &self.config,
            Timestamp::from_millis(self.now),
            self.store.clone(),
        )
        .expect("a store of ours is readable");
        let again = of(crate::persist::export(&replayed));
        assert!(
            again == believed,
            "a replay of the store gives another state"
        );
    }
}
