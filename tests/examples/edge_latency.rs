//! How fast the edge follows: from a task's getting healthy to its first request, and from the decision to kill it to its last.
//!
//! ```text
//! cargo run -p zddcluster-tests --example edge_latency [RESTARTS [RATE]]
//! ```
//!
//! An app of eight tasks is restarted again and again; each restart is eight changes of either sort. Clients send `RATE` requests a
//! second (1,000), so that a task in use has one every `8000 / RATE` ms: so much may pass by itself. The moments of changes are
//! the events' own (`health_status_changed_event`, `TASK_KILLING`), whole milliseconds; those of requests are taken
//! in the task as they come. All on the clock of this machine.

#![expect(clippy::print_stdout, reason = "a program that prints its figures")]

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use zddcluster_client::sse::EventStream;
use zddcluster_tests::Apart;
use zddcluster_tests::load::{Kind, Load, origin};
use zddcluster_tests::swaps::this_program;

const INSTANCES: u64 = 8;
const PORT: u16 = 10_080;
/// The master sends something more often.
const SILENCE: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "origin") {
        return origin::run();
    }
    let mut numbers = args.iter().filter_map(|arg| arg.parse::<u64>().ok());
    let (n_restarts, rate) = (numbers.next().unwrap_or(125), numbers.next());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(measure(n_restarts, rate.unwrap_or(1_000) as f64))
}

async fn measure(n_restarts: u64, rate: f64) -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    for role in ["master", "first agent", "second agent"] {
        apart.start(role)?;
    }
    apart.start_with("edge", &["--health-check"], &[])?;
    apart.agents_are(2).await;
    apart.edge_answers().await;
    let record = apart.path("record");
    std::fs::create_dir(&record)?;
    let app = json!({
        "id": "/followed", "cmd": format!("exec {}", this_program()?), "instances": INSTANCES, "cpus": 0.1, "mem": 32,
        "portDefinitions": [{"port": PORT}], "env": {"RECORD": record},
        "healthChecks": [{
            "protocol": "HTTP", "path": "/health", "gracePeriodSeconds": 300, "intervalSeconds": 2,
            "timeoutSeconds": 60, "maxConsecutiveFailures": 20,
        }],
        "labels": {"HAPROXY_GROUP": "external"},
        "upgradeStrategy": {"minimumHealthCapacity": 0.5, "maximumOverCapacity": 0.5},
    });
    let mut events = EventStream::open(&apart.http, &apart.front("/v2/events")).await?;
    let status = apart.send(Method::POST, "/v2/apps", &app).await?;
    ensure!(status.is_success(), "{status}");
    apart.has_no_deployment().await;
    let load = Load::of(&[Kind::KeptAlive], (apart.host(3), PORT).into(), rate);
    let restarts = async {
        for _ in 0..n_restarts {
            let path = "/v2/apps/followed/restart";
            let status = apart.send(Method::POST, path, &json!({})).await?;
            ensure!(status.is_success(), "{status}");
            apart.has_no_deployment().await;
        }
        anyhow::Ok(())
    };
    let mut changes: [BTreeMap<String, i64>; 2] = Default::default();
    let listen = async {
        loop {
            let event = events.next(SILENCE).await?.context("no more events")?;
            let event: Value = serde_json::from_str(&event.data)?;
            let which = match event["eventType"].as_str() {
                Some("health_status_changed_event") if event["alive"] == true => 0,
                Some("status_update_event") if event["taskStatus"] == "TASK_KILLING" => 1,
                _ => continue,
            };
            let task = event["taskId"].as_str().context("no task")?.to_owned();
            let at: Timestamp = event["timestamp"].as_str().context("no time")?.parse()?;
            changes[which].entry(task).or_insert(at.as_microsecond());
        }
    };
    tokio::select! {
        // Cancel-safe: both are over then.
        done = restarts => done?,
        ended = listen => return ended,
    }
    let report = load.stop().await;
    let mut took: [Vec<i64>; 2] = Default::default();
    for entry in std::fs::read_dir(&record)? {
        let entry = entry?;
        let task = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path())?;
        let (first, last) = text.split_once(' ').context("two moments")?;
        let came = [first.parse::<i64>()?, last.parse::<i64>()?];
        for which in 0..2 {
            // Tasks of before the first event, and those that never had a request, tell nothing.
            if let (Some(at), 1..) = (changes[which].get(&task), came[which]) {
                took[which].push(came[which] - at);
            }
        }
    }
    for (name, took) in ["healthy to first request", "kill to last request"]
        .into_iter()
        .zip(&mut took)
    {
        took.sort_unstable();
        ensure!(!took.is_empty(), "nothing was seen");
        let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize] as f64 / 1000.0;
        println!(
            "{name:25} {:6} changes, ms: p50 {:7.1}, p90 {:7.1}, p99 {:7.1}, most {:7.1}",
            took.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0)
        );
    }
    println!("{}", report.table());
    Ok(())
}
