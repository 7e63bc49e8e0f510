//! Swaps of the lab's apps on a real cluster, by our own verb and by zdd.py's calls in zdd.py's order, under load that is accounted for.

mod long;
mod py;
mod swaps;

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use zddcluster_probe::{Config, Report, run};
use zddcluster_tests::{ClusterSandbox, Options, eventually};

use crate::py::ZddPy;

/// Requests a second.
const RATE: f64 = 200.0;
/// What supplies the labels that the lab's files lack.
const FLAGS: [&str; 9] = [
    "--group",
    "zdd",
    "--port",
    "10080",
    "--alt-port",
    "10081",
    "--force",
    "--step-delay",
    "0.2",
];
const BLUE: &str = "blue-green/blue.json";
const GREEN: &str = "blue-green/green.json";

async fn cluster() -> anyhow::Result<ClusterSandbox> {
    ClusterSandbox::start_with(Options::args(&["--with", "marathon-lb", "--speed", "20"])).await
}

/// Runs the verb to its end.
async fn zdd(cluster: &ClusterSandbox, file: &str, words: &[&str]) -> anyhow::Result<Output> {
    let mut command = cluster.command(&["zdd", file]);
    command.args(FLAGS).args(words);
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

/// The same; it has to succeed.
async fn zdd_ok(cluster: &ClusterSandbox, file: &str, words: &[&str]) -> anyhow::Result<String> {
    let output = zdd(cluster, file, words).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "zdd {file} {words:?}: {}: {said}",
        output.status
    );
    Ok(said)
}

/// Loads the service while `work` is done.
async fn under_load<T>(
    cluster: &ClusterSandbox,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<(Report, T)> {
    let stop = CancellationToken::new();
    let url = format!("http://{}:10080/endpoint0", cluster.host(2));
    eventually("the service answers", || async {
        cluster
            .http()
            .get_json::<Value>(&url)
            .await
            .map_err(|error| format!("{error:?}"))
    })
    .await;
    let probe = Config::new(&url, RATE)?;
    #[expect(clippy::disallowed_methods, reason = "joined below")]
    let probing = tokio::spawn(run(probe, stop.clone()));
    let done = work.await;
    // What comes right after the last step counts, too.
    sleep(Duration::from_millis(500)).await;
    stop.cancel();
    Ok((probing.await?, done?))
}

/// The ids and sizes of the apps in the group.
async fn sizes(cluster: &ClusterSandbox) -> anyhow::Result<Vec<String>> {
    let apps = cluster.get("/v2/apps").await?;
    let apps = apps["apps"].as_array().context("no apps")?.iter();
    let of_group = apps.filter(|app| !app["labels"]["HAPROXY_DEPLOYMENT_GROUP"].is_null());
    Ok(of_group
        .map(|app| {
            format!(
                "{} {}",
                app["id"].as_str().unwrap_or_default(),
                app["instances"]
            )
        })
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_loses_nothing_and_survives_a_kill() -> anyhow::Result<()> {
    // contract: lb-native-resume, lb-native-missing, lb-zdd-steps
    let cluster = cluster().await?;
    zdd_ok(&cluster, BLUE, &[]).await?;
    cluster.settled().await;
    let (report, ()) = under_load(&cluster, async {
        let mut command = cluster.command(&["zdd", GREEN]);
        let mut swap = command
            .args(FLAGS)
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .spawn()?;
        let lines =
            BufReader::new(swap.stdout.take().context("the pipe was just asked for")?).lines();
        let killed = tokio::task::spawn_blocking(move || {
            lines
                .map_while(Result::ok)
                .any(|line| line.contains("\"event\":\"killed\""))
        });
        ensure!(killed.await?, "it ended before its first kill");
        swap.kill()?;
        swap.wait()?;
        let refused = zdd(&cluster, GREEN, &[]).await?;
        ensure!(refused.status.code() == Some(2), "{refused:?}");
        zdd_ok(&cluster, GREEN, &["--resume"]).await.map(drop)
    })
    .await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    assert_eq!(sizes(&cluster).await?, ["/zdd/green-green 4"]);
    assert_eq!(
        report.by_version.keys().collect::<Vec<_>>(),
        ["0.9", "1.0"],
        "{}",
        report.table()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_stops_half_way_and_goes_back() -> anyhow::Result<()> {
    // contract: lb-native-rollback, lb-zdd-hybrid, lb-run-zdd-hybrid
    let cluster = cluster().await?;
    zdd_ok(&cluster, BLUE, &[]).await?;
    cluster.settled().await;
    let (report, ()) = under_load(&cluster, async {
        zdd_ok(&cluster, GREEN, &["--pause-at", "50%"]).await?;
        ensure!(sizes(&cluster).await? == ["/zdd/blue-blue 2", "/zdd/green-green 2"]);
        zdd_ok(&cluster, GREEN, &["-p"]).await?;
        ensure!(sizes(&cluster).await? == ["/zdd/blue-blue 4"]);
        cluster.settled().await;
        // And again, to go on this time.
        zdd_ok(&cluster, GREEN, &["-n", "2"]).await?;
        zdd_ok(&cluster, GREEN, &["-c"]).await.map(drop)
    })
    .await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    assert_eq!(sizes(&cluster).await?, ["/zdd/green-green 4"]);
    cluster.settled().await;

    // The next one never gets well; the way back does not wait for it.
    let mut sick: Value = serde_json::from_slice(&std::fs::read(
        zddcluster_tests::source::root().join("examples").join(BLUE),
    )?)?;
    sick["healthChecks"][0]["path"] = json!("/nothing/there");
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), sick.to_string())?;
    let mut command = cluster.command(&["zdd"]);
    let mut swap = command
        .arg(file.path())
        .args(FLAGS)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    eventually("the sick app is there", || async {
        let sizes = sizes(&cluster)
            .await
            .map_err(|error| format!("{error:?}"))?;
        if sizes.len() == 2 {
            Ok(())
        } else {
            Err(format!("{sizes:?}"))
        }
    })
    .await;
    swap.kill()?;
    swap.wait()?;
    zdd_ok(&cluster, BLUE, &["--rollback"]).await?;
    assert_eq!(sizes(&cluster).await?, ["/zdd/green-green 4"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zdd_pys_calls_swap_without_a_failed_request() -> anyhow::Result<()> {
    // contract: lb-zdd-calls
    let cluster = cluster().await?;
    let file = |path: &str| -> anyhow::Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(
            zddcluster_tests::source::root().join("examples").join(path),
        )?)?)
    };
    let mut zdd_py = ZddPy {
        cluster: &cluster,
        changes: Vec::new(),
    };
    zdd_py.swap(file(BLUE)?).await?;
    cluster.settled().await;
    let (report, ()) = under_load(&cluster, zdd_py.swap(file(GREEN)?)).await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    assert_eq!(sizes(&cluster).await?, ["/zdd/green-green 4"]);
    assert_eq!(
        zdd_py.changes,
        [
            "POST /v2/apps",
            "POST /v2/apps",
            "POST /v2/tasks/delete?scale=true",
            "PUT /v2/apps/zdd/green-green",
            "POST /v2/tasks/delete?scale=true",
            "PUT /v2/apps/zdd/green-green",
            "DELETE /v2/apps/zdd/blue-blue",
        ]
    );
    Ok(())
}
