//! A seeded world around the engine: virtual time, users, agents, edges, checks, and everything that can go wrong.
//!
//! ```text
//!   users, faults, agents, edges, checker ─▶ step ─▶ batch ─▶ store ─▶ watcher ─▶ answers, events, orders ─▶ …
//!                                              └ lost with the master, or refused by the store
//! ```
//!
//! One seed is one life of a cluster: some minutes of commands and faults, then peace, in which everything that can end has to
//! end and all else has to wait for something true; then that is mended, and all has to come to rest. The `watch`er holds
//! each step against the contract, in words of its own; the engine's invariants are checked after each step, and the store is
//! replayed now and then and at each crash.
//!
//! `ZDD_SIM_SEED=n` replays one seed and prints what happens, `ZDD_SIM_SEEDS=n` runs another number of them,
//! `ZDD_SIM_FIRST=n` begins with another one, `ZDD_SIM_PLANT=n` replays with the n-th planted mistake.

#![expect(clippy::print_stderr, reason = "tests tell which seeds they ran")]

mod agents;
mod checks;
mod definitions;
mod fair;
mod faults;
mod groups;
mod journal;
mod mirror;
mod plant;
mod rest;
mod store;
mod users;
mod watch;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use plant::Plant;
use world::World;

/// Seeds run by the plain test command.
const SEEDS: u64 = 10_000;

/// Lives that go wrong before a run is given up: several faults at once are seen at once.
const MOST_FAILURES: usize = 10;

/// What is known of a life that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    n_steps: u64,
    digest: u64,
}

/// Runs one life; `Err` is what went wrong, and at which step.
fn live(seed: u64, plant: Option<Plant>, is_told: bool) -> Result<Life, String> {
    let mut world = None;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        world.insert(World::new(seed, plant, is_told)).live();
    }));
    let n_steps = world.as_ref().map_or(0, World::n_steps);
    let digest = world.as_ref().map_or(0, World::digest);
    match outcome {
        Ok(()) => Ok(Life { n_steps, digest }),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panic without text");
            Err(format!("step {n_steps}: {text}"))
        }
    }
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
fn first_failure(mut seeds: std::ops::Range<u64>, plant: Option<Plant>) -> Option<(u64, String)> {
    seeds.find_map(|seed| live(seed, plant, false).err().map(|text| (seed, text)))
}

fn number(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "which seeds to run is asked for from outside"
    )]
    let text = std::env::var(name);
    text.ok().and_then(|number| number.parse().ok())
}

#[test]
fn every_life_keeps_the_contract() {
    // contract: restart-most-launched, restart-never-blocks
    if let Some(seed) = number("ZDD_SIM_SEED") {
        let plant = number("ZDD_SIM_PLANT").and_then(|n| Plant::ALL.get(n as usize).copied());
        let life = live(seed, plant, true).unwrap_or_else(|text| panic!("seed {seed}: {text}"));
        eprintln!("seed {seed}: {} steps", life.n_steps);
        return;
    }
    let n_seeds = number("ZDD_SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("ZDD_SIM_FIRST").unwrap_or(0);
    let (middle, last) = (first + n_seeds / 2, first + n_seeds);
    let (steps, failures) = quietly(|| {
        std::thread::scope(|scope| {
            let run = |seeds: std::ops::Range<u64>| {
                let mut steps = 0;
                let mut failures = Vec::new();
                for seed in seeds {
                    match live(seed, None, false) {
                        Ok(life) => steps += life.n_steps,
                        Err(text) => failures.push((seed, text)),
                    }
                    if failures.len() >= MOST_FAILURES {
                        break;
                    }
                }
                (steps, failures)
            };
            let other = scope.spawn(move || run(middle..last));
            let (a, mut failures) = run(first..middle);
            let (b, more) = other.join().expect("a life's panic is caught");
            failures.extend(more);
            (a + b, failures)
        })
    });
    for (seed, text) in &failures {
        let text: String = text.chars().take(400).collect();
        eprintln!("seed {seed}: {text}");
    }
    if let Some((seed, _)) = failures.first() {
        panic!(
            "{} seeds went wrong\nreplay: ZDD_SIM_SEED={seed} cargo test -p zddcluster-engine every_life",
            failures.len()
        );
    }
    eprintln!("{n_seeds} seeds from {first}, {steps} steps");
}

#[test]
fn the_same_seed_is_the_same_life() {
    for seed in 0..20 {
        assert_eq!(live(seed, None, false), live(seed, None, false), "{seed}");
    }
}

#[test]
fn planted_mistakes_are_found() {
    for plant in Plant::ALL {
        let found = quietly(|| first_failure(0..2_000, Some(plant)));
        let (seed, text) = found.unwrap_or_else(|| panic!("{plant:?} is not found"));
        let text: String = text.chars().take(200).collect();
        eprintln!("{plant:?}: seed {seed}, {text}");
    }
}
