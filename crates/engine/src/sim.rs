//! A seeded world around the engine: virtual time, users, agents, edges, checks, and everything that can go wrong.
//!
//! One seed is one life of a cluster: some minutes of commands and faults, then peace, in which everything has to come to rest.
//! The [`watch`]er holds each step against the contract, in words of its own; the engine's invariants are checked after each
//! step, and the store is replayed now and then and at each crash.
//!
//! `ZDD_SIM_SEED=n` replays one seed and prints what happens, `ZDD_SIM_SEEDS=n` runs another number of them.

#![expect(clippy::print_stderr, reason = "tests tell which seeds they ran")]

mod agents;
mod groups;
mod users;
mod watch;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// A mistake built into the engine or its world, which the simulation has to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// A rolling restart kills one old task more at once.
    KillsOneMore,
    /// A rolling restart counts only the old tasks that are not on their way out.
    CountsRunningOnly,
    /// A write is acknowledged but its app version never reaches the store.
    LosesAWrite,
}

impl Plant {
    /// The bounds as the mistake has them.
    pub(crate) fn spoil(self, bounds: crate::rollout::Bounds) -> crate::rollout::Bounds {
        let kill_now = bounds.kill_now + i64::from(self == Self::KillsOneMore);
        crate::rollout::Bounds { kill_now, ..bounds }
    }
}

/// Seeds run by the plain test command.
const SEEDS: u64 = 10_000;

/// Runs one life; `Err` is what went wrong.
fn live(seed: u64, plant: Option<Plant>, is_told: bool) -> Result<u64, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, plant, is_told);
        world.live();
        world.n_steps()
    }));
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "panic without text".to_owned())
    })
}

/// Keeps the panics of lives that are meant to be judged from filling the output.
fn quietly<T>(body: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(body));
    std::panic::set_hook(hook);
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The first of these seeds whose life goes wrong.
fn first_failure(seeds: std::ops::Range<u64>, plant: Option<Plant>) -> Option<(u64, String)> {
    seeds
        .into_iter()
        .find_map(|seed| live(seed, plant, false).err().map(|text| (seed, text)))
}

#[test]
fn every_life_keeps_the_contract() {
    // contract: restart-most-launched, restart-never-blocks
    #[expect(
        clippy::disallowed_methods,
        reason = "replaying a seed is asked for from outside"
    )]
    let replayed = std::env::var("ZDD_SIM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    if let Some(seed) = replayed {
        let steps = live(seed, None, true).unwrap_or_else(|text| panic!("seed {seed}: {text}"));
        eprintln!("seed {seed}: {steps} steps");
        return;
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the number of seeds is asked for from outside"
    )]
    let n_seeds = std::env::var("ZDD_SIM_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(SEEDS);
    let half = n_seeds / 2;
    let (steps, failure) = quietly(|| {
        std::thread::scope(|scope| {
            let run = |seeds: std::ops::Range<u64>| {
                let mut steps = 0;
                for seed in seeds {
                    match live(seed, None, false) {
                        Ok(n) => steps += n,
                        Err(text) => return (steps, Some((seed, text))),
                    }
                }
                (steps, None)
            };
            let other = scope.spawn(move || run(half..n_seeds));
            let (a, first) = run(0..half);
            let (b, second) = other.join().expect("a life's panic is caught");
            (a + b, first.or(second))
        })
    });
    if let Some((seed, text)) = failure {
        panic!(
            "seed {seed}: {text}\nreplay: ZDD_SIM_SEED={seed} cargo test -p zddcluster-engine every_life"
        );
    }
    eprintln!("{n_seeds} seeds, {steps} steps");
}

#[test]
fn planted_mistakes_are_found() {
    for plant in [
        Plant::KillsOneMore,
        Plant::CountsRunningOnly,
        Plant::LosesAWrite,
    ] {
        let found = quietly(|| first_failure(0..2_000, Some(plant)));
        let (seed, text) = found.unwrap_or_else(|| panic!("{plant:?} is not found"));
        eprintln!("{plant:?}: seed {seed}: {text}");
    }
}
