//! How many queries a core answers: ours beside Knot, of the same records, in the same minutes.
//!
//! ```text
//! cargo run --release -p zddcluster-dns --example dns_rate [ROUNDS [SECONDS]]
//! ```
//!
//! Servers take turns in every round. Each has one core for itself while it is asked, and `dnsperf`, which drives the load, another
//! one. A server or `dnsperf` that is not installed is skipped, and said to be.
//!
//! `queries/cpu-s` are answers in a second of the server's own processor time (user and system, all threads). Latency is dnsperf's
//! at full load; below, at 1,000 queries a second, it is that of single queries.

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]

mod load;
#[path = "../../tests/support/master.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod master;
#[path = "../../../edge/examples/edge_rate/peer.rs"]
#[allow(dead_code, reason = "proxies are measured by more of it")]
mod peer;
mod peers;

use anyhow::ensure;
use serde_json::Value;

use crate::load::{Run, Scenario};
use crate::peer::{Peer, is_installed, median, number, spread, take_turns};

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("dns") => peers::run_dns(&args.next().unwrap_or_default()),
        rounds => compare(number(rounds, 3)?, number(args.next().as_deref(), 3)?),
    }
}

fn compare(n_rounds: u64, seconds: u64) -> anyhow::Result<()> {
    ensure!(
        is_installed("dnsperf") && is_installed("taskset"),
        "skipped: dnsperf or taskset is not installed; they drive the load"
    );
    let state: Value = serde_json::from_str(include_str!("../../tests/data/mesos-dns-state.json"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let master = runtime.block_on(master::Master::start(state));
    let mut peers = vec![peers::start_ours(&master.url())?];
    match peers::start_knot()? {
        Ok(knot) => peers.push(knot),
        Err(skipped) => println!("skipped: {skipped}"),
    }
    for scenario in Scenario::ALL {
        println!("\n{}", scenario.title());
        let runs = take_turns(&peers, n_rounds, |peer| load::run(scenario, peer, seconds))?;
        print(&peers, &runs);
    }
    println!("\nlatency of 1,000 queries a second, one at a time");
    for peer in &peers {
        for scenario in Scenario::ALL {
            let [p50, p99] = load::latency(scenario, peer)?;
            let what = scenario.title();
            println!(
                "{:6} {what:32} p50 {p50:6.0} µs, p99 {p99:6.0} µs",
                peer.name
            );
        }
    }
    drop(peers);
    runtime.block_on(master.stop());
    Ok(())
}

/// Prints the medians, and how they stand to those of the last server.
fn print(peers: &[Peer], runs: &[Vec<Run>]) {
    println!(
        "{:6} {:>14} {:>17} {:>8} {:>10} {:>10} {:>6}",
        "", "queries/cpu-s", "(least-most)", "of last", "queries/s", "mean ms", "lost"
    );
    let base = runs
        .last()
        .map_or(f64::NAN, |runs| median(runs, |run| run.per_cpu_second));
    for (peer, runs) in peers.iter().zip(runs) {
        let [least, rate, most] = spread(runs, |run| run.per_cpu_second);
        println!(
            "{:6} {:14.0} {:>17} {:8.2} {:10.0} {:10.2} {:6}",
            peer.name,
            rate,
            format!("({least:.0}-{most:.0})"),
            rate / base,
            median(runs, |run| run.per_second),
            median(runs, |run| run.mean_ms),
            runs.iter().map(|run| run.n_lost).sum::<u64>(),
        );
    }
}
