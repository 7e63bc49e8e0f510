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
mod peers;

use anyhow::ensure;
use serde_json::Value;

use crate::load::{Run, Scenario};
use crate::peers::Peer;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("dns") => peers::run_dns(&args.next().unwrap_or_default()),
        rounds => compare(number(rounds, 3)?, number(args.next().as_deref(), 3)?),
    }
}

fn number(text: Option<&str>, default: u64) -> anyhow::Result<u64> {
    Ok(text.map_or(Ok(default), str::parse)?)
}

fn compare(n_rounds: u64, seconds: u64) -> anyhow::Result<()> {
    ensure!(
        load::is_installed("dnsperf") && load::is_installed("taskset"),
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
        let mut runs: Vec<Vec<Run>> = peers.iter().map(|_| Vec::new()).collect();
        for round in 0..n_rounds {
            // Each round begins with another one: nobody is always the first after a pause.
            for turn in 0..peers.len() {
                let at = (turn + round as usize) % peers.len();
                runs[at].push(load::run(scenario, &peers[at], seconds)?);
            }
        }
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
    let rate = |runs: &[Run]| median(runs, |run| run.per_cpu_second);
    let base = runs.last().map_or(f64::NAN, |runs| rate(runs));
    for (peer, runs) in peers.iter().zip(runs) {
        let all = runs.iter().map(|run| run.per_cpu_second);
        let (least, most) = all.fold((f64::MAX, 0.0_f64), |(least, most), n| {
            (least.min(n), most.max(n))
        });
        println!(
            "{:6} {:14.0} {:>17} {:8.2} {:10.0} {:10.2} {:6}",
            peer.name,
            rate(runs),
            format!("({least:.0}-{most:.0})"),
            rate(runs) / base,
            median(runs, |run| run.per_second),
            median(runs, |run| run.mean_ms),
            runs.iter().map(|run| run.n_lost).sum::<u64>(),
        );
    }
}

fn median(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    let mut numbers: Vec<f64> = runs.iter().map(of).collect();
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}
