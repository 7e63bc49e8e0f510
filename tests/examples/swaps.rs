//! Zero failed requests: swap after swap under load, with kills in between; and the same without draining, for comparison.
//!
//! ```text
//! cargo run -p zddcluster-tests --example swaps [SWAPS [RATE [SEED]]] [no-drain] [no-kills]
//! cargo run -p zddcluster-tests --example swaps serving [KILLS [RATE]]
//! ```
//!
//! Clients are of five kinds, with `RATE` requests a second together. `ZDD_TEST_BINARY` names another binary than this profile's.
//! With `serving`, tasks that serve are killed instead, and it is told what that has cost.

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]

use anyhow::ensure;
use zddcluster_tests::load::origin;
use zddcluster_tests::swaps::{Plan, kill_serving, needless, run, this_program};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| args.iter().any(|arg| arg == word);
    if has("origin") {
        return origin::run();
    }
    let mut numbers = args.iter().filter_map(|arg| arg.parse::<u64>().ok());
    let plan = Plan {
        n_swaps: numbers.next().unwrap_or(100),
        rate: numbers.next().unwrap_or(600) as f64,
        seed: numbers.next().unwrap_or(1),
        drains: !has("no-drain"),
        kills: !has("no-kills"),
    };
    println!("{plan:?}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    if has("serving") {
        return runtime.block_on(serving(plan.n_swaps as usize, plan.rate));
    }
    let outcome = runtime.block_on(run(plan, &this_program()?))?;
    println!("{}\n{}", outcome.counts.line(), outcome.report.table());
    ensure!(
        outcome.report.total().failed == 0 || !plan.drains,
        "requests have failed"
    );
    Ok(())
}

async fn serving(n_kills: usize, rate: f64) -> anyhow::Result<()> {
    let (report, killed) = kill_serving(n_kills, rate, &this_program()?).await?;
    let in_flight: Vec<u64> = killed.iter().map(|kill| kill.in_flight).collect();
    println!(
        "killed {n_kills} serving tasks, with in flight on each: {in_flight:?}, {} together\n{}",
        in_flight.iter().sum::<u64>(),
        report.table()
    );
    let needless = needless(&report, &killed);
    ensure!(needless.is_empty(), "failed without need: {needless:?}");
    Ok(())
}
