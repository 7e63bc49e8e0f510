//! How fast the cluster starts processes: from the POST of an app to all of its tasks shown as running.
//!
//! ```text
//! cargo run --profile bench -p zddcluster-tests --example process_rate [TASKS [ROUNDS]]
//! ```
//!
//! Each task is one process, `sleep` in place of its shell. Beside it stands what the machine takes for the processes alone: as
//! many `sh -c 'exec sleep'` started one after the other from one process.

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::ensure;
use http::Method;
use serde_json::json;
use zddcluster_tests::{ClusterSandbox, Options, processes_of};

const APP: &str = "/rate";
const CMD: &str = "exec sleep 100000";

/// Between two looks: an answer takes the master a millisecond.
const LOOK: Duration = Duration::from_millis(20);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let n_tasks = numbers.next().transpose()?.unwrap_or(500);
    let n_rounds = numbers.next().transpose()?.unwrap_or(5);
    println!("{n_tasks} processes alone: {:.2?}", alone(n_tasks)?);
    let options = Options {
        env: vec![("ZDD_LOG".to_owned(), "info".to_owned())],
        ..Options::args(&["--resources", "cpus:1000;mem:100000"])
    };
    let cluster = ClusterSandbox::start_with(options).await?;
    // What is done once is not measured.
    start(&cluster, 1).await?;
    for round in 0..n_rounds {
        let (answered, running) = start(&cluster, n_tasks).await?;
        println!("round {round}: answered after {answered:.2?}, all running after {running:.2?}");
    }
    Ok(())
}

/// Starts an app of so many tasks, and takes it away again: when the POST was answered, and when all ran.
async fn start(cluster: &ClusterSandbox, n_tasks: usize) -> anyhow::Result<(Duration, Duration)> {
    let began = Instant::now();
    cluster
        .post_app(&json!({
            "id": APP, "cmd": CMD, "instances": n_tasks, "cpus": 0.01, "mem": 16, "ports": [],
        }))
        .await?;
    let answered = began.elapsed();
    loop {
        let apps = cluster.get("/v2/apps?id=rate").await?;
        if apps["apps"][0]["tasksRunning"] == n_tasks {
            break;
        }
        ensure!(began.elapsed() < Duration::from_secs(120), "{apps}");
        tokio::time::sleep(LOOK).await;
    }
    let running = began.elapsed();
    let sandboxes = processes_of(&cluster.data_dir());
    let n_sleeping = sandboxes
        .values()
        .filter(|command| command.starts_with("sleep "));
    ensure!(n_sleeping.count() == n_tasks, "not all of them are there");
    let path = format!("/v2/apps{APP}");
    let (status, body) = cluster.send(Method::DELETE, &path, "").await?;
    ensure!(status.is_success(), "{status}: {body}");
    cluster.settled().await;
    Ok((answered, running))
}

/// The same processes without any cluster.
fn alone(n_tasks: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let mut children = Vec::new();
    for _ in 0..n_tasks {
        let child = Command::new("/bin/sh")
            .args(["-c", CMD])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        children.push(child);
    }
    let took = began.elapsed();
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    Ok(took)
}
