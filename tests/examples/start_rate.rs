//! How fast the cluster starts containers, beside `docker run -d` in a loop with the same image on the same engine.
//!
//! ```text
//! cargo run --profile bench -p zddcluster-tests --example start_rate [CONTAINERS [PAIRS]]
//! ```
//!
//! Both are given the limits and the network of the lab's tasks. The cluster's time is from the app's POST until all its tasks
//! are shown as running; the loop's from the first command until the last one has returned. They take turns, and who goes
//! first changes. Also printed: from the start of `up` to the first 200 through the edge, with the images to be made and with
//! them made.

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use http::Method;
use serde_json::{Value, json};
use zddcluster_tests::{ClusterSandbox, Engine, eventually, zddcluster};

const IMAGE: &str = "mhausenblas/simpleservice:0.4.0";

const APP: &str = "/rate";

/// Ports of the loop's services, on an address that no cluster uses.
const FIRST_PORT: usize = 20_000;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 99, 0, 1);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let n_containers = numbers.next().transpose()?.unwrap_or(60);
    let n_pairs = numbers.next().transpose()?.unwrap_or(3);
    let engine = Engine::find().context("there is no Docker engine")?;

    for images in ["to be made", "made"] {
        let (ready, answered) = first_answer(&engine).await?;
        println!(
            "images {images}: ready after {ready:.2?}, first 200 through the edge after {answered:.2?}"
        );
    }

    let cluster = ClusterSandbox::start_with(engine.options(&[])).await?;
    // What is done once is not what is compared.
    by_cluster(&cluster, 1).await?;
    by_loop(&engine, 1)?;
    let (mut of_cluster, mut of_loop) = (Duration::ZERO, Duration::ZERO);
    for pair in 0..n_pairs {
        let (cluster_took, loop_took);
        if pair % 2 == 0 {
            cluster_took = by_cluster(&cluster, n_containers).await?;
            loop_took = by_loop(&engine, n_containers)?;
        } else {
            loop_took = by_loop(&engine, n_containers)?;
            cluster_took = by_cluster(&cluster, n_containers).await?;
        }
        tell(
            &format!("pair {pair}"),
            n_containers,
            cluster_took,
            loop_took,
        );
        of_cluster += cluster_took;
        of_loop += loop_took;
    }
    if n_pairs == 0 {
        return Ok(());
    }
    tell("all", n_containers * n_pairs, of_cluster, of_loop);
    Ok(())
}

fn tell(name: &str, n_containers: usize, cluster_took: Duration, loop_took: Duration) {
    let rate = |took: Duration| n_containers as f64 / took.as_secs_f64();
    println!(
        "{name}: {n_containers} containers: cluster {:.2}/s, docker run -d {:.2}/s, ratio {:.2}",
        rate(cluster_took),
        rate(loop_took),
        rate(cluster_took) / rate(loop_took)
    );
}

/// Starts an app of so many tasks, and takes it away again.
async fn by_cluster(cluster: &ClusterSandbox, n_tasks: usize) -> anyhow::Result<Duration> {
    let began = Instant::now();
    cluster
        .post_app(&json!({
            "id": APP, "instances": n_tasks, "cpus": 0.1, "mem": 32,
            "container": {"type": "DOCKER", "docker": {"image": IMAGE, "network": "HOST"}},
        }))
        .await?;
    eventually("all tasks to run", || async {
        match cluster.get(&format!("/v2/apps/{APP}")).await {
            Ok(app) if app["app"]["tasksRunning"] == n_tasks => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let took = began.elapsed();
    let path = format!("/v2/apps/{APP}");
    let (status, body) = cluster.send(Method::DELETE, &path, "").await?;
    ensure!(status.is_success(), "{status}: {body}");
    cluster.settled().await;
    Ok(took)
}

/// `docker run -d`, one after the other.
fn by_loop(engine: &Engine, n_containers: usize) -> anyhow::Result<Duration> {
    let host = format!("HOST={ADDRESS}");
    let began = Instant::now();
    let mut ids = Vec::new();
    for n in 0..n_containers {
        let port = format!("PORT0={}", FIRST_PORT + n);
        let id = engine.docker(&[
            "run",
            "--detach",
            "--cpu-shares",
            "102",
            "--memory",
            "33554432",
            "--net",
            "host",
            "--env",
            &host,
            "--env",
            &port,
            IMAGE,
        ])?;
        ids.push(id.trim().to_owned());
    }
    let took = began.elapsed();
    for id in &ids {
        engine.docker(&["rm", "--force", "--volumes", id])?;
    }
    Ok(took)
}

/// From the start of `up`: to its word that it is ready, and to the first 200 of a service through the edge.
async fn first_answer(engine: &Engine) -> anyhow::Result<(Duration, Duration)> {
    // Builds it if need be.
    zddcluster();
    let began = Instant::now();
    let options = engine.options(&["--with", "marathon-lb"]);
    let cluster = ClusterSandbox::start_with(options).await?;
    let ready = began.elapsed();
    let text = include_str!("../../examples/blue-green/blue.json");
    let mut blue: Value = serde_json::from_str(text)?;
    // The first of them comes after five seconds, as in Marathon, and the edge waits for it.
    blue["healthChecks"] = json!([]);
    cluster.post_app(&blue).await?;
    let url = format!("http://{}:10080/endpoint0", cluster.host(2));
    eventually("a 200 through the edge", || {
        cluster.http().get_json::<Value>(&url)
    })
    .await;
    Ok((ready, began.elapsed()))
}
