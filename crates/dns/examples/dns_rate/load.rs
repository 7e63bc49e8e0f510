//! Driving a server with `dnsperf`, and reading what it says.

use std::net::UdpSocket;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::peer::Peer;
use crate::peers::CLIENT_CORE;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    Address,
    Service,
}

impl Scenario {
    pub(crate) const ALL: [Self; 2] = [Self::Address, Self::Service];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Address => "A, one address",
            Self::Service => "SRV, 4 targets and their addresses",
        }
    }

    fn query(self) -> (&'static str, &'static str, u8) {
        match self {
            Self::Address => ("blue-zdd.marathon.mesos", "A", 1),
            Self::Service => ("_blue-zdd._tcp.marathon.mesos", "SRV", 33),
        }
    }
}

/// What one run showed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) per_cpu_second: f64,
    pub(crate) per_second: f64,
    pub(crate) mean_ms: f64,
    pub(crate) n_lost: u64,
}

pub(crate) fn run(scenario: Scenario, peer: &Peer, seconds: u64) -> anyhow::Result<Run> {
    let (name, rtype, _) = scenario.query();
    let queries = std::env::temp_dir().join(format!("dns-rate-{}", std::process::id()));
    std::fs::write(&queries, format!("{name} {rtype}\n"))?;
    let mut dnsperf = Command::new("taskset");
    dnsperf
        .args([
            "-c",
            CLIENT_CORE,
            "dnsperf",
            "-c",
            "8",
            "-T",
            "1",
            "-q",
            "64",
        ])
        .args(["-s", &peer.address.ip().to_string()])
        .args(["-p", &peer.address.port().to_string()])
        .args(["-l", &seconds.to_string(), "-d"])
        .arg(&queries);
    let before = peer.cpu_seconds()?;
    let output = dnsperf.output();
    let cpu = peer.cpu_seconds()? - before;
    std::fs::remove_file(&queries)?;
    let output = output?;
    ensure!(output.status.success(), "dnsperf failed: {output:?}");
    read(&String::from_utf8_lossy(&output.stdout), cpu)
}

fn read(text: &str, cpu: f64) -> anyhow::Result<Run> {
    let first_number = |mark: &str| -> anyhow::Result<f64> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(mark));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok())
            .with_context(|| format!("no {mark:?} in {text}"))
    };
    ensure!(text.contains("NOERROR"), "not answered: {text}");
    let n_completed = first_number("Queries completed:")?;
    Ok(Run {
        per_cpu_second: n_completed / cpu,
        per_second: first_number("Queries per second:")?,
        mean_ms: first_number("Average Latency (s):")? * 1000.0,
        n_lost: first_number("Queries lost:")? as u64,
    })
}

/// How long single queries take, one each millisecond: median and 99th percentile, in microseconds.
pub(crate) fn latency(scenario: Scenario, peer: &Peer) -> anyhow::Result<[f64; 2]> {
    let (name, _, rtype) = scenario.query();
    let mut query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        query.push(u8::try_from(label.len())?);
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, rtype, 0, 1]);
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(peer.address)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut times = Vec::new();
    let begin = Instant::now();
    for n in 0..3000_u32 {
        let at = begin + n * Duration::from_millis(1);
        #[expect(clippy::disallowed_methods, reason = "it has nothing else to do")]
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        socket.send(&query)?;
        socket.recv(&mut [0; 1500])?;
        times.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok([50, 99].map(|percent| times[times.len() * percent / 100]))
}
