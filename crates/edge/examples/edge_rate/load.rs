//! Driving a peer with `wrk`, and reading what it says.

use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::peer::Peer;

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Kept,
    OnePerConnection,
    Large,
}

impl Scenario {
    pub(crate) const ALL: [Self; 3] = [Self::Kept, Self::OnePerConnection, Self::Large];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Kept => "64 kept connections, answers of 12 bytes",
            Self::OnePerConnection => "64 clients, one request per connection, answers of 12 bytes",
            Self::Large => "16 kept connections, answers of 1 MiB",
        }
    }
}

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) per_cpu_second: f64,
    pub(crate) per_second: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    /// Milliseconds.
    pub(crate) p99: f64,
    pub(crate) n_failed: u64,
}

pub(crate) fn run(scenario: Scenario, peer: &Peer, seconds: u64) -> anyhow::Result<Run> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--latency", "-t", "1", "-d"])
        .arg(format!("{seconds}s"));
    let base = format!("http://{}", peer.address);
    match scenario {
        Scenario::Kept => wrk.args(["-c", "64", &format!("{base}/")]),
        Scenario::OnePerConnection => {
            wrk.args(["-c", "64", "-H", "Connection: close", &format!("{base}/")])
        }
        Scenario::Large => wrk.args(["-c", "16", &format!("{base}/big")]),
    };
    let before = peer.cpu_seconds()?;
    let output = wrk.output()?;
    let cpu = peer.cpu_seconds()? - before;
    ensure!(output.status.success(), "wrk failed: {output:?}");
    read(&String::from_utf8_lossy(&output.stdout), cpu)
}

fn read(text: &str, cpu: f64) -> anyhow::Result<Run> {
    let after = |mark: &str| {
        let line = text.lines().map(str::trim).find(|l| l.starts_with(mark));
        line.map(|line| line[mark.len()..].trim())
    };
    let number = |text: &str| text.parse::<f64>().with_context(|| text.to_owned());
    let n_requests = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .with_context(|| format!("no count of requests in {text}"))?;
    let socket_errors = after("Socket errors:").unwrap_or_default();
    let socket_errors = socket_errors
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse::<u64>().ok());
    let bad = after("Non-2xx or 3xx responses:").map_or(Ok(0), str::parse)?;
    Ok(Run {
        per_cpu_second: number(n_requests.0)? / cpu,
        per_second: number(after("Requests/sec:").context("no rate")?)?,
        p50: milliseconds(after("50%").context("no median")?)?,
        p99: milliseconds(after("99%").context("no p99")?)?,
        n_failed: socket_errors.sum::<u64>() + bad,
    })
}

fn milliseconds(text: &str) -> anyhow::Result<f64> {
    let at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .context("a time has a unit")?;
    let number: f64 = text[..at].parse()?;
    Ok(number
        * match &text[at..] {
            "us" => 0.001,
            "ms" => 1.0,
            "s" => 1000.0,
            unit => anyhow::bail!("the unit {unit}"),
        })
}
