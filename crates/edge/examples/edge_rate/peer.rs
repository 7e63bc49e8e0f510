//! What is measured side by side: servers in processes of their own. The DNS server's `dns_rate` stands on it too.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command};

use anyhow::Context as _;

/// A server that runs; ends when dropped.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) child: Child,
    /// What it reads, if it does: a file, or a directory of its own. Goes with it.
    pub(crate) reads: Option<PathBuf>,
}

impl Peer {
    /// The processor time it has used: user and system, all threads.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind the name in brackets: field 3 on.
        let rest = stat.rsplit_once(") ").context("a name in brackets")?.1;
        let fields: Vec<&str> = rest.split(' ').collect();
        let ticks = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        // The kernel's USER_HZ is 100 on every architecture that we run on.
        Ok(ticks as f64 / 100.0)
    }

    /// The resident set.
    pub(crate) fn resident_kib(&self) -> anyhow::Result<i64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(path) = &self.reads {
            let _ = match path.is_dir() {
                true => fs::remove_dir_all(path),
                false => fs::remove_file(path),
            };
        }
    }
}

pub(crate) fn is_installed(program: &str) -> bool {
    Command::new("which")
        .arg(program)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// An argument, or what stands for it.
pub(crate) fn number(text: Option<&str>, default: u64) -> anyhow::Result<u64> {
    Ok(text.map_or(Ok(default), str::parse)?)
}

/// Least, median and most of what runs have shown.
pub(crate) fn spread<R>(runs: &[R], of: impl Fn(&R) -> f64) -> [f64; 3] {
    let mut numbers: Vec<f64> = runs.iter().map(of).collect();
    numbers.sort_by(f64::total_cmp);
    let at = |n: usize| numbers.get(n).copied().unwrap_or(0.0);
    [0, numbers.len() / 2, numbers.len().saturating_sub(1)].map(at)
}

/// The median of what runs have shown.
pub(crate) fn median<R>(runs: &[R], of: impl Fn(&R) -> f64) -> f64 {
    spread(runs, of)[1]
}

/// Lets everybody have `n_rounds` turns, each round beginning with another one: nobody is always the first after a pause.
pub(crate) fn take_turns<R>(
    peers: &[Peer],
    n_rounds: u64,
    run: impl Fn(&Peer) -> anyhow::Result<R>,
) -> anyhow::Result<Vec<Vec<R>>> {
    let mut runs: Vec<Vec<R>> = peers.iter().map(|_| Vec::new()).collect();
    for round in 0..n_rounds {
        for turn in 0..peers.len() {
            let at = (turn + round as usize) % peers.len();
            runs[at].push(run(&peers[at])?);
        }
    }
    Ok(runs)
}
