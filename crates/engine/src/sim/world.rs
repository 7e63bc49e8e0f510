//! The world: its clock, its calendar, and the passage of inputs through the engine.
//!
//! As in the master, decisions are gathered in a batch; only when the batch is in the store are answers given, events
//! published and orders sent. Most batches hold one decision, some several, and some never get there.

use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zddcluster_model::{AgentId, AppId, EdgeId, TaskId, TaskState, Timestamp};

use super::Plant;
use super::agents::{Agents, TaskTurn};
use super::checks::Checks;
use super::faults::Crash;
use super::users::Users;
use super::watch::Watch;
use crate::effect::Effect;
use crate::input::{CheckVerdict, Command, Input, Selection, Ticket};
use crate::{Config, Engine, State};

/// 2016-10-12T11:38:55.934Z, when the lab's first app was created.
const START: i64 = 1_476_272_335_934;

/// Virtual time during which users write and things break, milliseconds.
const UNREST_MILLIS: i64 = 180_000;

/// Virtual time after which everything must have come to rest, milliseconds.
const PEACE_MILLIS: i64 = 3_600_000;

/// Wakes at one moment that can only mean that the engine asks for a time that has passed.
const TOO_MANY_WAKES: u32 = 2_000;

/// What may be on the calendar.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    /// The engine asked to be woken.
    Wake(u64),
    /// An open batch is flushed.
    Flush,
    /// A user does something.
    User,
    /// Something breaks.
    Fault,
    /// The master dies.
    Crash(Crash),
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
        turn: TaskTurn,
    },
    /// An agent's reports arrive at the master, unless its stream has ended.
    Report { agent: usize, stream: u64 },
    /// An agent registers.
    Register { agent: usize },
    /// The master sees that an agent's stream has ended.
    StreamEnds {
        agent: usize,
        stream: u64,
        epoch: u64,
    },
    /// A health check of a version comes round.
    HealthRound {
        key: (AppId, Timestamp),
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

/// What the watcher has to know of an input.
#[derive(Clone, Debug)]
pub(super) enum Note {
    Command(Ticket),
    ResetDelay(Ticket, AppId),
    StopTasks(Ticket),
    Abdicate(Ticket),
    /// A kill with `wipe` of these tasks, and of all that the app keeps on agents.
    Wipe(Ticket, Option<AppId>, BTreeSet<TaskId>),
    Registration(Ticket),
    Status(AgentId, TaskId, TaskState),
    Healthy(TaskId),
    Unhealthy,
    Ready(TaskId),
    Drained(EdgeId, TaskId),
    EdgeHere(EdgeId),
    EdgeGone(EdgeId),
    Other,
}

impl Note {
    fn of(input: &Input) -> Self {
        match input {
            Input::Command { ticket, command } => match command {
                Command::ResetDelay { app_id } => Self::ResetDelay(*ticket, app_id.clone()),
                Command::StopTasks => Self::StopTasks(*ticket),
                Command::Abdicate => Self::Abdicate(*ticket),
                Command::KillTasks {
                    selection,
                    wipe: true,
                    ..
                } => match selection {
                    Selection::Ids(ids) => Self::Wipe(*ticket, None, ids.iter().cloned().collect()),
                    Selection::App { app_id, .. } => {
                        Self::Wipe(*ticket, Some(app_id.clone()), BTreeSet::new())
                    }
                    Selection::One { task_id, .. } => {
                        Self::Wipe(*ticket, None, BTreeSet::from([task_id.clone()]))
                    }
                },
                _ => Self::Command(*ticket),
            },
            Input::AgentRegistered { ticket, .. } => Self::Registration(*ticket),
            Input::TaskStatus { agent_id, report } => {
                Self::Status(agent_id.clone(), report.task_id.clone(), report.state)
            }
            Input::Health {
                task_id, verdict, ..
            } => match verdict {
                CheckVerdict::Healthy => Self::Healthy(task_id.clone()),
                CheckVerdict::Unhealthy(_) => Self::Unhealthy,
            },
            Input::Readiness {
                task_id,
                is_ready: true,
                ..
            } => Self::Ready(task_id.clone()),
            Input::Drained { edge_id, task_id } => Self::Drained(edge_id.clone(), task_id.clone()),
            Input::EdgeConnected(edge_id) => Self::EdgeHere(edge_id.clone()),
            Input::EdgeDisconnected(edge_id) => Self::EdgeGone(edge_id.clone()),
            _ => Self::Other,
        }
    }
}

/// A decision that is not durable yet.
pub(super) struct Decided {
    pub(super) now: i64,
    pub(super) note: Note,
    pub(super) before: State,
    pub(super) effects: Vec<Effect>,
    /// The input, if its sender will not say it again by itself.
    pub(super) unrepeated: Option<Input>,
}

pub(super) struct World {
    pub(super) rng: ChaCha8Rng,
    pub(super) now: i64,
    pub(super) engine: Engine,
    /// What readers of the API see: the state of the last flush.
    pub(super) snapshot: State,
    pub(super) config: Config,
    pub(super) store: BTreeMap<String, Vec<u8>>,
    pub(super) batch: Vec<Decided>,
    /// The disk is slow: batches stay open.
    pub(super) is_holding: bool,
    pub(super) agents: Agents,
    pub(super) users: Users,
    pub(super) checks: Checks,
    pub(super) watch: Watch,
    pub(super) edges: BTreeSet<EdgeId>,
    pub(super) is_peaceful: bool,
    /// Nothing breaks in this life at all.
    pub(super) is_faultless: bool,
    /// The store is compared after each flush, not now and then.
    is_pedantic: bool,
    calendar: BTreeMap<(i64, u64), Happening>,
    next_seq: u64,
    wake_generation: u64,
    n_wakes: (i64, u32),
    /// Grows with each start of the master: checks of an earlier one are void.
    pub(super) epoch: u64,
    next_ticket: u64,
    n_steps: u64,
    pub(super) plant: Option<Plant>,
    is_told: bool,
    /// Grows with everything the engine has decided, so that two lives can be compared.
    digest: u64,
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
        let engine = Engine::new(config.clone(), now);
        let mut world = Self {
            snapshot: engine.state().clone(),
            engine,
            rng,
            now: START,
            config,
            store: BTreeMap::new(),
            batch: Vec::new(),
            is_holding: false,
            agents: Agents::default(),
            users: Users::default(),
            checks: Checks::default(),
            watch: Watch::default(),
            edges: BTreeSet::new(),
            is_peaceful: false,
            is_faultless,
            is_pedantic: seed.is_multiple_of(50),
            calendar: BTreeMap::new(),
            next_seq: 0,
            wake_generation: 0,
            n_wakes: (0, 0),
            epoch: 0,
            next_ticket: 0,
            n_steps: 0,
            plant,
            is_told,
            digest: 0,
        };
        world.watch.mirror.read(&world.snapshot);
        world.step(Input::Wake);
        world.flush();
        world.add_agents();
        for edge in 0..world.below(3) {
            let edge_id = EdgeId::new(&format!("edge-{edge}"));
            world.after(5, Happening::EdgeConnects(edge_id));
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

    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    /// A random number below `bound`.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.rng.next_u32()) * u64::from(bound.max(1))) >> 32) as u32
    }

    /// True once in `n` times.
    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u32) as usize]
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

    /// Lives to the end: unrest, then peace, in which all that can end must end; then what cannot end is mended, and the rest
    /// is judged.
    pub(super) fn live(&mut self) {
        self.live_until(START + UNREST_MILLIS);
        self.is_peaceful = true;
        self.tell(|| "peace".to_owned());
        self.come_to_rest(false);
        self.mend();
        self.come_to_rest(true);
        self.compare_with_store();
        self.judge();
    }

    /// Lives until nothing goes on but what is blocked for a reason; once all is mended, until nothing goes on.
    fn come_to_rest(&mut self, is_mended: bool) {
        let end = self.now + PEACE_MILLIS;
        while let Some(goes_on) = self.unrest(is_mended) {
            assert!(self.now < end, "never came to rest: {goes_on}");
            self.live_until(self.calendar.keys().next().map_or(end, |(at, _)| *at));
        }
    }

    fn live_until(&mut self, end: i64) {
        while let Some((&(at, seq), _)) = self.calendar.first_key_value()
            && at <= end
        {
            let happening = self.calendar.remove(&(at, seq));
            self.now = self.now.max(at);
            self.happen(happening.expect("the first of the calendar"));
        }
        self.now = self.now.max(end);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(generation) => {
                if generation == self.wake_generation {
                    self.step(Input::Wake);
                }
            }
            Happening::Flush => {
                if !self.is_holding {
                    self.flush();
                }
            }
            Happening::User => self.user(),
            Happening::Fault => self.fault(),
            Happening::Crash(crash) => self.crash_master(crash),
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
            Happening::StreamEnds {
                agent,
                stream,
                epoch,
            } => self.stream_ends(agent, stream, epoch),
            Happening::HealthRound {
                key,
                check_idx,
                epoch,
            } => self.health_round(key, check_idx, epoch),
            Happening::Readiness { task_id, epoch } => self.ask(task_id, epoch),
            Happening::EdgeConnects(edge_id) => {
                self.edges.insert(edge_id.clone());
                self.step(Input::EdgeConnected(edge_id));
            }
            Happening::EdgeDrained(edge_id, task_id) => {
                if self.edges.contains(&edge_id) {
                    self.step(Input::Drained { edge_id, task_id });
                }
            }
        }
    }

    /// Gives the engine an input; what it decides takes effect with its batch.
    pub(super) fn step(&mut self, input: Input) {
        self.n_steps += 1;
        self.guard_wakes(&input);
        self.tell(|| format!("{input:?}").chars().take(160).collect());
        let note = Note::of(&input);
        let is_unrepeated = matches!(
            input,
            Input::AgentDisconnected { .. }
                | Input::EdgeConnected(_)
                | Input::EdgeDisconnected(_)
                | Input::Drained { .. }
                | Input::Readiness { is_ready: true, .. }
        );
        let unrepeated = is_unrepeated.then(|| input.clone());
        let before = self.engine.state().clone();
        let effects = self.engine.step(Timestamp::from_millis(self.now), input);
        self.engine.check_invariants();
        self.batch.push(Decided {
            now: self.now,
            note,
            before,
            effects,
            unrepeated,
        });
        self.set_wake();
        if self.is_holding {
            return;
        }
        if self.batch.len() < 5 && self.one_in(4) {
            if self.batch.len() == 1 {
                let delay = i64::from(self.below(6));
                self.after(delay, Happening::Flush);
            }
        } else {
            self.flush();
        }
    }

    fn guard_wakes(&mut self, input: &Input) {
        if !matches!(input, Input::Wake) || self.n_wakes.0 != self.now {
            self.n_wakes = (self.now, 0);
        }
        self.n_wakes.1 += 1;
        assert!(
            self.n_wakes.1 < TOO_MANY_WAKES,
            "the engine wants to be woken at a time that has passed"
        );
    }

    pub(super) fn new_ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// The batch is durable: everybody hears of it, in the order of the master's actor.
    pub(super) fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        self.commit(&batch);
        self.snapshot = self.engine.state().clone();
        let afters: Vec<State> = batch
            .iter()
            .skip(1)
            .map(|decided| decided.before.clone())
            .chain([self.snapshot.clone()])
            .collect();
        for (decided, after) in batch.iter().zip(&afters) {
            for effect in &decided.effects {
                self.note_effect(effect);
            }
            self.watch.step(decided, after);
        }
        let mut orders = Vec::new();
        for (decided, after) in batch.into_iter().zip(afters) {
            self.acknowledge(&decided.note);
            for effect in decided.effects {
                match effect {
                    Effect::Persist(_) | Effect::Publish(_) => {}
                    Effect::Reply(ticket, answer) => self.answered(ticket, answer, &after),
                    order => orders.push(order),
                }
            }
        }
        self.users.check(&self.snapshot);
        for order in orders {
            self.carry_out(order);
        }
        self.checks.compare(&self.snapshot);
        if self.is_pedantic || self.n_steps.is_multiple_of(101) {
            self.compare_with_store();
        }
    }

    fn note_effect(&mut self, effect: &Effect) {
        if matches!(effect, Effect::Persist(_)) {
            return;
        }
        if self.is_told {
            let text = format!("{effect:?}");
            let text = if text.contains("Deployment") {
                text.rsplit("steps:").next().unwrap_or_default().to_owned()
            } else {
                text
            };
            self.tell(|| format!("      -> {}", text.chars().take(190).collect::<String>()));
        }
        let kind = match effect {
            Effect::Persist(_) => 0,
            Effect::Reply(..) => 1,
            Effect::Publish(_) => 2,
            Effect::Launch(_, launch) => launch.ports.iter().map(|port| u64::from(*port)).sum(),
            Effect::Kill(order) => 4 + order.grace_millis,
            Effect::Drain(..) => 5,
            Effect::Check(_) => 6,
            Effect::Download(_) | Effect::StopDownload(_) => 7,
            Effect::DestroyVolumes { volume_ids, .. } => 8 + volume_ids.len() as u64,
        };
        let mixed = self.digest.rotate_left(7) ^ kind ^ (self.now as u64);
        self.digest = mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn carry_out(&mut self, order: Effect) {
        match order {
            Effect::Launch(ref agent_id, _) => {
                let agent_id = agent_id.clone();
                self.send(&agent_id, order);
            }
            Effect::DestroyVolumes { ref agent_id, .. } => {
                let agent_id = agent_id.clone();
                self.send(&agent_id, order);
            }
            Effect::Kill(ref kill) => {
                let agent_id = kill.agent_id.clone();
                self.send(&agent_id, order);
            }
            Effect::Drain(edge_id, task_id) => {
                // Some edges take longer than the engine waits.
                let most = if self.one_in(5) { 20_000 } else { 3_000 };
                let delay = i64::from(self.below(most));
                self.after(delay, Happening::EdgeDrained(edge_id, task_id));
            }
            Effect::Check(order) => self.check(order),
            Effect::Download(_) | Effect::StopDownload(_) => {
                panic!("no user of this world has {order:?}")
            }
            Effect::Persist(_) | Effect::Publish(_) | Effect::Reply(..) => {}
        }
    }

    pub(super) fn set_wake(&mut self) {
        self.wake_generation += 1;
        if let Some(at) = self.engine.next_wake() {
            let generation = self.wake_generation;
            let delay = at.as_millis() - self.now;
            self.after(delay, Happening::Wake(generation));
        }
    }
}
