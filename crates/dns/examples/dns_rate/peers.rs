//! The servers: ours and Knot, each a process of its own, on a core of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;
use tokio::net::TcpListener;
use zddcluster_dns::{Config, ForwardConfig, Source, ZoneConfig};
use zddcluster_runtime::Tasks;

use crate::peer::{Peer, is_installed};

pub(crate) const CLIENT_CORE: &str = "0";
const SERVER_CORE: &str = "1";
const OURS: Ipv4Addr = Ipv4Addr::new(127, 99, 8, 1);
const KNOT: Ipv4Addr = Ipv4Addr::new(127, 99, 8, 2);
const PORT: u16 = 8053;
/// The recorded records, `Records` of `/v1/axfr`.
const RECORDS: &str = include_str!("../../tests/data/mesos-dns-records.json");

/// Ours, with as many threads as it has cores: one.
pub(crate) fn start_ours(master: &str) -> anyhow::Result<Peer> {
    let child = Command::new("taskset")
        .args(["-c", SERVER_CORE])
        .arg(std::env::current_exe()?)
        .args(["dns", master])
        .spawn()?;
    ready(Peer {
        name: "ours",
        address: (OURS, PORT).into(),
        child,
        reads: None,
    })
}

/// What the child process of [`start_ours`] runs.
pub(crate) fn run_dns(master: &str) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let tasks = Tasks::new();
        let config = Config {
            source: Source::Follow {
                master: master.to_owned(),
            },
            token: None,
            udp: Some(tokio::net::UdpSocket::bind((OURS, PORT)).await?),
            tcp: Some(TcpListener::bind((OURS, PORT)).await?),
            http: None,
            zone: ZoneConfig::default(),
            forward: ForwardConfig::default(),
            file: None,
        };
        zddcluster_dns::start(config, &tasks)?;
        std::future::pending().await
    })
}

/// Knot with the recorded records as a zone, or why there is none.
pub(crate) fn start_knot() -> anyhow::Result<Result<Peer, String>> {
    if !is_installed("knotd") {
        return Ok(Err("knotd is not installed".to_owned()));
    }
    let dir = std::env::temp_dir().join(format!("dns-rate-knot-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("mesos.zone"), zone()?)?;
    let shown = dir.display();
    let conf = format!(
        "server:\n    rundir: {shown}\n    listen: {KNOT}@{PORT}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
         database:\n    storage: {shown}\n\
         zone:\n  - domain: mesos\n    storage: {shown}\n    file: mesos.zone\n    semantic-checks: off\n"
    );
    fs::write(dir.join("knot.conf"), conf)?;
    let child = Command::new("taskset")
        .args(["-c", SERVER_CORE, "knotd", "-c"])
        .arg(dir.join("knot.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    ready(Peer {
        name: "knot",
        address: (KNOT, PORT).into(),
        child,
        reads: Some(dir),
    })
    .map(Ok)
}

/// The records as a zone file, without names that cannot be sent.
fn zone() -> anyhow::Result<String> {
    let recorded: Value = serde_json::from_str(RECORDS)?;
    let records = &recorded["lab"]["axfr"]["Records"];
    let mut text = "$ORIGIN .\n$TTL 60\nmesos. SOA ns1.mesos. root.ns1.mesos. 1 60 600 86400 60\nmesos. NS ns1.mesos.\n".to_owned();
    for (key, rtype) in [("As", "A"), ("AAAAs", "AAAA"), ("SRVs", "SRV")] {
        let owners: BTreeMap<String, Vec<String>> = serde_json::from_value(records[key].clone())?;
        for (owner, values) in owners {
            let can_be_sent = |name: &str| name.split('.').all(|label| label.len() <= 63);
            for value in values {
                let value = match (rtype, value.rsplit_once(':')) {
                    ("SRV", Some((target, port))) => format!("0 0 {port} {target}"),
                    _ => value,
                };
                if can_be_sent(&owner) && can_be_sent(&value) {
                    writeln!(text, "{owner} {rtype} {value}")?;
                }
            }
        }
    }
    Ok(text)
}

/// Waits until a server answers.
fn ready(peer: Peer) -> anyhow::Result<Peer> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    for _ in 0..100 {
        let query = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0\x06leader\x05mesos\0\0\x01\0\x01";
        // Nobody may be there yet.
        let _ = socket.send_to(query, peer.address);
        if socket.recv(&mut [0; 512]).is_ok_and(|n| n > query.len()) {
            return Ok(peer);
        }
    }
    bail!("{} does not answer", peer.name)
}
