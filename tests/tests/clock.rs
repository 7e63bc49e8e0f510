//! A clock that is set back, and a machine that stands still: versions still grow, deployments still end, tasks stay.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use http::Method;
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use zddcluster_tests::{Bystander, ClusterSandbox, Options, WallClock, eventually};

const APP: &str = "/clock/app";

fn app(revision: u32) -> String {
    json!({
        "id": APP, "cmd": "exec sleep 100000", "instances": 2, "cpus": 0.1, "mem": 16,
        "env": {"REVISION": revision.to_string()},
    })
    .to_string()
}

async fn shown(cluster: &ClusterSandbox) -> anyhow::Result<Value> {
    Ok(cluster.get(&format!("/v2/apps/{APP}")).await?["app"].take())
}

#[tokio::test]
async fn an_hour_back_harms_nothing() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    cluster
        .dcos_ok(&["marathon", "app", "add"], &app(1))
        .await?;
    cluster.settled().await;
    let before = shown(&cluster).await?;

    cluster.kill()?;
    cluster.set_args(&["--clock-offset-seconds", "-3600"]);
    cluster.up().await?;
    let after = shown(&cluster).await?;
    let ids = |app: &Value| -> Vec<String> {
        let tasks = app["tasks"].as_array().cloned().unwrap_or_default();
        tasks.iter().map(|task| task["id"].to_string()).collect()
    };
    assert_eq!(ids(&before), ids(&after));

    cluster
        .dcos_ok(&["marathon", "app", "update", APP], &app(2))
        .await?;
    cluster.settled().await;
    let updated = shown(&cluster).await?;
    assert_eq!(updated["env"]["REVISION"], "2");
    assert!(
        updated["version"].as_str() > before["version"].as_str(),
        "{updated}"
    );
    assert_eq!(updated["tasksRunning"], 2);
    assert!(
        ids(&updated).iter().all(|id| !ids(&before).contains(id)),
        "{updated}"
    );
    Ok(())
}

/// How far the time of the last line in the cluster's log lies back.
fn log_lies_back(cluster: &ClusterSandbox) -> anyhow::Result<SignedDuration> {
    let log = fs::read_to_string(cluster.data_dir().with_file_name("up.log"))?;
    let mut times = log
        .lines()
        .filter_map(|line| line.split_once(' ')?.0.parse::<Timestamp>().ok());
    let last = times.next_back().unwrap_or_default();
    Ok(Timestamp::now().duration_since(last))
}

/// The next revision comes through, under a later version, with new tasks.
async fn check_update(cluster: &ClusterSandbox, revision: u32) -> anyhow::Result<()> {
    let before = shown(cluster).await?;
    cluster
        .dcos_ok(&["marathon", "app", "update", APP], &app(revision))
        .await?;
    cluster.settled().await;
    let after = shown(cluster).await?;
    assert_eq!(after["env"]["REVISION"], revision.to_string());
    assert!(
        after["version"].as_str() > before["version"].as_str(),
        "{before}, then {after}"
    );
    assert_eq!(after["tasksRunning"], 2, "{after}");
    Ok(())
}

#[tokio::test]
async fn an_hour_back_while_it_runs_harms_nothing() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let clock = match WallClock::build(dir.path()) {
        Ok(clock) => clock,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "skipped: {error:#}");
            return Ok(());
        }
    };
    let options = Options {
        env: clock.env(),
        ..Options::default()
    };
    let mut cluster = ClusterSandbox::start_with(options).await?;
    let bystander = Bystander::start(&cluster).await?;
    cluster
        .dcos_ok(&["marathon", "app", "add"], &app(1))
        .await?;
    cluster.settled().await;

    clock.set_back()?;
    eventually("the process to see the clock set back", || async {
        // A request that is refused is logged.
        let headers = [("host", "evil.example")];
        let url = cluster.url("/ping");
        let refused = cluster.send_to(Method::GET, &url, "", &headers).await;
        refused.map_err(|error| format!("{error:#}"))?;
        match log_lies_back(&cluster) {
            Ok(back) if back > SignedDuration::from_mins(59) => Ok(()),
            other => Err(format!("the log is behind by {other:?}")),
        }
    })
    .await;
    check_update(&cluster, 2).await?;
    // Timers go on: a failure's delay runs out, and the next one comes.
    let fails = json!({"id": "/clock/fails", "cmd": "exit 3", "cpus": 0.1, "mem": 16});
    cluster.post_app(&fails).await?;
    let failed_task = || async {
        let app = cluster.get("/v2/apps//clock/fails").await;
        let app = app.map_err(|error| format!("{error:?}"))?;
        match app["app"]["lastTaskFailure"]["taskId"].as_str() {
            Some(id) => Ok(id.to_owned()),
            None => Err(app.to_string()),
        }
    };
    let first = eventually("a failure", failed_task).await;
    eventually("the next failure", || async {
        match failed_task().await {
            Ok(id) if id == first => Err(id),
            other => other.map(drop),
        }
    })
    .await;
    bystander.is_unharmed(&cluster).await?;

    // It is still back at the next start.
    cluster.kill()?;
    cluster.up().await?;
    check_update(&cluster, 3).await?;
    bystander.is_unharmed(&cluster).await
}

/// Longer than master, agents and edges wait for a word of each other, 30 s, before they take the other for gone.
const ASLEEP: Duration = Duration::from_secs(33);

/// Sends a signal to every process of the cluster.
fn signal_all(cluster: &ClusterSandbox, signal: Signal) {
    for pid in cluster.processes().into_keys() {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        // One that ended meanwhile is fine.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }
}

#[tokio::test]
async fn a_cluster_that_stood_still_goes_on() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start_with(Options::args(&["--with", "marathon-lb"])).await?;
    let bystander = Bystander::start(&cluster).await?;
    // One bad answer is enough to be killed.
    let checked = json!({
        "id": "/checked", "instances": 2, "cpus": 0.1, "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"},
        },
        "healthChecks": [{
            "protocol": "HTTP", "path": "/health", "gracePeriodSeconds": 3, "intervalSeconds": 1,
            "timeoutSeconds": 20, "maxConsecutiveFailures": 1,
        }],
    });
    cluster.post_app(&checked).await?;
    let healthy = || async {
        let app = cluster.get("/v2/apps/checked").await;
        let mut app = app.map_err(|error| format!("{error:?}"))?;
        match app["app"]["tasksHealthy"] == 2 {
            true => Ok(app["app"].take()),
            false => Err(app.to_string()),
        }
    };
    let ids = |app: &Value| -> Vec<String> {
        let tasks = app["tasks"].as_array().cloned().unwrap_or_default();
        let mut ids: Vec<_> = tasks.iter().map(|task| task["id"].to_string()).collect();
        ids.sort();
        ids
    };
    let before = eventually("two healthy tasks", healthy).await;

    // As a machine that sleeps, but for timers: these run on, so that every patience is over when it wakes up.
    signal_all(&cluster, Signal::STOP);
    tokio::time::sleep(ASLEEP).await;
    signal_all(&cluster, Signal::CONT);
    let woke = Instant::now();
    let after = eventually("two healthy tasks again", healthy).await;
    assert_eq!(ids(&before), ids(&after));
    assert_eq!(after["lastTaskFailure"], Value::Null, "{after}");
    bystander.is_unharmed(&cluster).await?;
    // Not only at once: what the end of a patience brings comes with the next rounds.
    eventually("some rounds of checks", || async {
        match woke.elapsed() >= Duration::from_secs(5) {
            true => Ok(()),
            false => Err("not yet"),
        }
    })
    .await;
    let later = eventually("two healthy tasks still", healthy).await;
    assert_eq!(ids(&before), ids(&later));
    assert_eq!(later["lastTaskFailure"], Value::Null, "{later}");
    Ok(())
}
