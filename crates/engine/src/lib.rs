//! The deterministic core: every decision of the cluster, without I/O, clock or randomness of its own.
//!
//! ```text
//!                    now, Input                       Vec<Effect>
//!   API, agents, ───────────────▶  Engine::step  ───────────────▶  store, agents, event bus,
//!   checks, timer                  (this crate)                     checks, callers
//! ```
//!
//! The master feeds it and carries out its effects; the simulator (`sim`, in tests) does the same under virtual time. The
//! same inputs at the same times always give the same effects.
//!
//! Reading order: [`input`] and [`effect`] are the alphabet, [`state`] is what is kept; `deployment` plans and runs changes,
//! `rollout` and `scale` hold their arithmetic; `placement` chooses agents and ports, `launch` makes tasks, `kill` ends
//! them, `volume` is what they leave behind; `health` judges them, `backoff` delays them; `persist` and `history` are what the store keeps. [`predict`] runs it all
//! ahead of time.

pub mod effect;
pub mod input;
pub mod reason;
pub mod state;

pub mod predict;

mod actions;
mod agents;
mod backoff;
mod blocker;
mod change;
mod constraint;
mod deployment;
mod env;
mod health;
mod history;
mod invariants;
mod kill;
mod launch;
mod offer;
mod persist;
mod placement;
mod plan;
mod regroup;
mod rollout;
mod scale;
#[cfg(test)]
mod script;
mod settle;
#[cfg(test)]
mod sim;
mod turn;
mod volume;

pub use blocker::{Blocker, blockers, blockers_of_app};
pub use effect::{
    Answer, Attempt, CheckOrder, DownloadOrder, Effect, KillOrder, Mutation, Refusal,
};
pub use input::{CheckVerdict, Command, Input, Ticket};
pub use state::State;
pub use volume::Reservation;

use zddcluster_model::Timestamp;

use crate::turn::Turn;

/// What never changes while an engine lives.
#[derive(Clone, Debug)]
pub struct Config {
    /// The master's UUID: agents are `<uuid>-S<n>`, the framework `<uuid>-0000`.
    pub master_uuid: uuid::Uuid,
    /// Node part of the task ids made by this process.
    pub node: [u8; 6],
    /// Seed of the engine's random choices (host ports, deployment ids); a different one for each process, or ids repeat.
    pub seed: u64,
    /// Divides control-plane durations: back-off, kill grace, agent timeout, sweeps.
    pub speed: f64,
    /// Longest hold of a SIGTERM for edges to drain, milliseconds of real time, unless the app's label says otherwise; 0 switches
    /// draining off.
    pub drain_millis: i64,
    /// An agent away longer than this loses its tasks, milliseconds.
    pub agent_timeout_millis: i64,
    /// Most apps.
    pub max_apps: Option<usize>,
    /// A mistake for the simulation to find.
    #[cfg(test)]
    pub(crate) plant: Option<sim::Plant>,
}

/// The cluster's decisions and the state they stand on.
pub struct Engine {
    config: Config,
    state: State,
}

impl Engine {
    /// An engine for an empty cluster.
    pub fn new(config: Config, now: Timestamp) -> Self {
        let state = State::new(&config, now);
        Self { config, state }
    }

    /// An engine that continues from what an earlier one persisted; running deployments are taken up by the first [`Input::Wake`].
    ///
    /// `records` are all `(key, value)` pairs of the store. `Err` if one cannot be read.
    pub fn restore(
        config: Config,
        now: Timestamp,
        records: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<Self, state::ReplayError> {
        let state = State::replay(&config, now, records)?;
        #[cfg(test)]
        let state = {
            let mut state = state;
            if let Some(plant) = config.plant {
                plant.spoil_state(&mut state);
            }
            state
        };
        Ok(Self { config, state })
    }

    /// Takes one input at the time `now` and decides what follows. The only way in.
    ///
    /// Time never runs backwards inside: an earlier `now` counts as the latest one seen.
    pub fn step(&mut self, now: Timestamp, input: Input) -> Vec<Effect> {
        let mut turn = Turn::begin(&self.config, &mut self.state, now);
        turn.resume();
        turn.take(input);
        turn.settle();
        turn.finish()
    }

    /// What a command would be answered in this state; nothing changes.
    ///
    /// # Errors
    /// The refusal that it would get.
    pub fn rehearse(
        config: &Config,
        state: &State,
        now: Timestamp,
        command: Command,
    ) -> Result<Answer, Refusal> {
        let mut engine = Self {
            config: config.clone(),
            state: state.clone(),
        };
        let ticket = Ticket(0);
        let effects = engine.step(now, Input::Command { ticket, command });
        let mut answers = effects.into_iter().filter_map(|effect| match effect {
            Effect::Reply(_, answer) => Some(answer),
            _ => None,
        });
        answers
            .next()
            .expect("a command is answered in its own step")
    }

    /// The present state; cloning it is cheap (persistent maps).
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Goes back to an earlier state, when its successor could not be made durable.
    pub fn roll_back(&mut self, state: State) {
        self.state = state;
    }

    /// When [`Input::Wake`] is due next; `None` if nothing waits for time.
    pub fn next_wake(&self) -> Option<Timestamp> {
        settle::next_wake(&self.config, &self.state)
    }

    /// Everything the store has to hold for this state, for a full rewrite after a store failure.
    pub fn export(&self) -> Vec<(String, Vec<u8>)> {
        persist::export(&self.state)
    }

    /// Panics if anything that must always hold does not (DESIGN of the engine, "invariants"); for tests.
    pub fn check_invariants(&self) {
        invariants::check(&self.state);
    }
}
