//! Ten thousand readers of events: each gets every event, and nobody else has to wait for them.

#![expect(
    clippy::print_stderr,
    reason = "a measurement is told, and why it is smaller"
)]

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use zddcluster_tests::{ClusterSandbox, LIMIT, Options};

/// As many as may come.
const READERS: usize = 10_000;
/// Files that the two processes need besides.
const FILES_KEPT: usize = 1_000;
/// Connections that are being made at once: less than any listener's backlog.
const AT_ONCE: usize = 100;
/// Longest wait for an answer of the API while all readers get an event. Far more than it takes; a build beside the test
/// takes most of the machine.
const LONGEST: Duration = Duration::from_secs(5);

/// As many readers as this machine's limit of open files allows; the cluster has the same limit.
fn n_readers() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        eprintln!("the limit of open files stays as it is: {error}");
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    files.saturating_sub(FILES_KEPT).min(READERS)
}

/// A stream of deployments' ends, opened as far as its head.
async fn open(address: String) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(&address).await?;
    let head = format!(
        "GET /v2/events?event_type=deployment_success&plan-format=light HTTP/1.1\r\n\
         Host: {address}\r\nAccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let head = read_to(&mut stream, b"\r\n\r\n").await?;
    ensure!(
        head.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    Ok(stream)
}

async fn read_to(stream: &mut TcpStream, end: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    while !text.windows(end.len()).any(|window| window == end) {
        let n = stream.read_buf(&mut text).await?;
        ensure!(
            n > 0,
            "the stream ended: {}",
            String::from_utf8_lossy(&text)
        );
    }
    Ok(text)
}

/// Memory of a process, KiB.
fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.unwrap_or_default().parse()?)
}

#[tokio::test]
async fn ten_thousand_readers_do_not_stop_the_api() -> anyhow::Result<()> {
    let n = n_readers();
    if n < READERS {
        eprintln!("only {n} readers: no more files may be open (ulimit -Hn)");
    }
    // The edge and tasks are not needed; the fewer else runs, the better it is seen.
    let cluster = ClusterSandbox::start_with(Options::args(&["--agents", "1"])).await?;
    let address = cluster.url("").trim_start_matches("http://").to_owned();
    let pid = cluster.pid().context("it runs")?;
    let before = resident(pid)?;

    let began = Instant::now();
    let mut opening = JoinSet::new();
    let mut streams = Vec::with_capacity(n);
    for _ in 0..n {
        if opening.len() == AT_ONCE {
            let opened = opening.join_next().await.context("one is being opened")?;
            streams.push(opened??);
        }
        opening.spawn(tokio::time::timeout(LIMIT, open(address.clone())));
    }
    while let Some(opened) = opening.join_next().await {
        streams.push(opened??);
    }
    let streams: Vec<TcpStream> = streams.into_iter().collect::<Result<_, _>>()?;
    let took = began.elapsed();
    let per_stream = (resident(pid)? - before) / n as u64;
    eprintln!("{n} streams opened in {took:.1?}, {per_stream} KiB each");

    let mut readers = JoinSet::new();
    for mut stream in streams {
        readers.spawn(async move {
            let read = read_to(&mut stream, b"\"timestamp\"");
            let text = tokio::time::timeout(LIMIT, read).await??;
            let has_it = text
                .windows(25)
                .any(|part| part == b"event: deployment_success");
            ensure!(has_it, "{}", String::from_utf8_lossy(&text));
            anyhow::Ok(stream)
        });
    }
    let began = Instant::now();
    cluster
        .post_app(&json!({"id": "/seen", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16}))
        .await?;
    let mut slowest = Duration::ZERO;
    let mut n_asked = 0;
    let mut told = Vec::with_capacity(n);
    while told.len() < n {
        let asked = Instant::now();
        cluster.get("/v2/apps").await?;
        slowest = slowest.max(asked.elapsed());
        n_asked += 1;
        while let Some(reader) = readers.try_join_next() {
            told.push(reader??);
        }
        ensure!(
            began.elapsed() < LIMIT,
            "{} of {n} got the event",
            told.len()
        );
    }
    let took = began.elapsed();
    eprintln!(
        "all got the event {took:.1?} after the app was posted; of {n_asked} GETs the slowest took {slowest:.1?}"
    );
    assert!(slowest < LONGEST, "{slowest:?}");

    // They go at once; the next reader is as good as the first.
    drop(told);
    let mut stream = open(address).await?;
    cluster
        .post_app(&json!({"id": "/next", "cmd": "exec sleep 1000", "cpus": 0.1, "mem": 16}))
        .await?;
    tokio::time::timeout(LIMIT, read_to(&mut stream, b"deployment_success")).await??;
    Ok(())
}
