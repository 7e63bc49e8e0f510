//! A clock that is set back: versions still grow, deployments still end, tasks stay.

use std::fs;
use std::io::Write as _;

use http::Method;
use jiff::{SignedDuration, Timestamp};
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
