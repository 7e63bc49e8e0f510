//! How much a core forwards: ours beside HAProxy and nginx, before the same origin, in the same minutes.
//!
//! ```text
//! cargo run --release -p zddcluster-edge --example edge_rate [ROUNDS [SECONDS]]
//! cargo run --release -p zddcluster-edge --example edge_rate slow [SECONDS]
//! ```
//!
//! Peers take turns in every round, so that a machine that grows slower does so for all of them. `wrk` drives the load. A peer that
//! is not installed is skipped, and said to be. HAProxy runs twice, with one thread each: `keep` keeps connections to servers, `mlb`
//! closes them after each answer as Marathon-LB's template has it (`option http-server-close`). nginx runs one worker that keeps them.
//! Ours runs as it comes, with a thread for each core, and with one.
//!
//! `req/cpu-s` are answers in a second of the proxy's own processor time (user and system, all threads); p50 and p99 are
//! wrk's at full load, so they hang on what the machine does besides; memory is the resident set with 5,000 clients that are
//! connected and say nothing, and how much of it they made.

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]

mod load;
mod origin;
mod peer;
mod peers;
mod slow;

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::load::{Run, Scenario};
use crate::peer::{Peer, is_installed, median, number, spread, take_turns};

/// Clients that are connected and say nothing. Below the usual limit of descriptors of HAProxy (twice its connections).
const N_IDLE: usize = 5_000;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("origin") => origin::run(),
        Some("edge") => peers::run_edge(&args.next().context("no address of Marathon")?),
        Some("slow") => {
            let origin = origin::start()?;
            slow::compare(
                &start_peers(origin.address)?,
                number(args.next().as_deref(), 4)?,
            )
        }
        rounds => compare(number(rounds, 3)?, number(args.next().as_deref(), 3)?),
    }
}

fn compare(n_rounds: u64, seconds: u64) -> anyhow::Result<()> {
    ensure!(
        is_installed("wrk"),
        "skipped: wrk is not installed; it drives the load"
    );
    let origin = origin::start()?;
    let peers = start_peers(origin.address)?;
    for scenario in Scenario::ALL {
        println!("\n{}", scenario.title());
        let runs = take_turns(&peers, n_rounds, |peer| load::run(scenario, peer, seconds))?;
        print(&peers, &runs);
    }
    println!("\nmemory with {N_IDLE} silent clients");
    for peer in &peers {
        let (before, with_idle) = idle(peer)?;
        println!(
            "{:14} {with_idle:7} KiB, {:6.2} KiB a client",
            peer.name,
            (with_idle - before) as f64 / N_IDLE as f64
        );
    }
    Ok(())
}

/// Starts all that are installed, and waits until they listen.
fn start_peers(origin: SocketAddr) -> anyhow::Result<Vec<Peer>> {
    let mut peers = Vec::new();
    for start in [
        peers::start_ours,
        peers::start_ours_1,
        peers::start_haproxy_keep,
        peers::start_haproxy_mlb,
        peers::start_nginx,
    ] {
        match start(origin)? {
            Ok(peer) => peers.push(peer),
            Err(skipped) => println!("skipped: {skipped}"),
        }
    }
    for peer in &peers {
        ready(peer.address).with_context(|| format!("{} does not listen", peer.name))?;
    }
    Ok(peers)
}

/// Prints the medians, and how they stand to those of the first HAProxy.
fn print(peers: &[Peer], runs: &[Vec<Run>]) {
    println!(
        "{:14} {:>10} {:>17} {:>8} {:>8} {:>8} {:>7} {:>6}",
        "", "req/cpu-s", "(least-most)", "of keep", "req/s", "p50 ms", "p99 ms", "failed"
    );
    let base = peers
        .iter()
        .position(|peer| peer.name == peers::HAPROXY_KEEP)
        .map(|at| median(&runs[at], |run| run.per_cpu_second));
    for (peer, runs) in peers.iter().zip(runs) {
        let [least, rate, most] = spread(runs, |run| run.per_cpu_second);
        println!(
            "{:14} {:10.0} {:>17} {:>8} {:8.0} {:8.2} {:7.2} {:6}",
            peer.name,
            rate,
            format!("({least:.0}-{most:.0})"),
            base.map_or_else(String::new, |base| format!("{:.2}", rate / base)),
            median(runs, |run| run.per_second),
            median(runs, |run| run.p50),
            median(runs, |run| run.p99),
            runs.iter().map(|run| run.n_failed).sum::<u64>(),
        );
    }
}

/// The peer's resident memory before and with the idle clients, in KiB.
fn idle(peer: &Peer) -> anyhow::Result<(i64, i64)> {
    let before = peer.resident_kib()?;
    let mut clients = Vec::with_capacity(N_IDLE);
    for n in 0..N_IDLE {
        let client = TcpStream::connect(peer.address);
        clients.push(client.with_context(|| format!("client {n} of {}", peer.name))?);
    }
    // The proxy accepts on: what counts is when it has.
    std::thread::park_timeout(Duration::from_millis(500));
    let with_idle = peer.resident_kib()?;
    drop(clients);
    Ok((before, with_idle))
}

/// Waits until somebody listens.
fn ready(address: SocketAddr) -> anyhow::Result<()> {
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    anyhow::bail!("nobody listens at {address}")
}
