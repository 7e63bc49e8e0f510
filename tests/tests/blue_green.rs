//! The lab's blue-green chapter, with a prober that accounts for every request of the switch.

#![expect(clippy::print_stderr, reason = "the control tells its numbers")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use zddcluster_probe::{Config, Report, run};
use zddcluster_tests::{ClusterSandbox, Options, eventually};

/// Requests a second.
const RATE: f64 = 250.0;

fn example(path: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(path);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("examples are JSON")
}

/// What the edge answers on the service port.
async fn version(cluster: &ClusterSandbox) -> Result<String, String> {
    let url = format!("http://{}:10080/endpoint0", cluster.host(2));
    let answer: Value = cluster
        .http()
        .get_json(&url)
        .await
        .map_err(|error| format!("{error:?}"))?;
    Ok(answer["version"].as_str().unwrap_or_default().to_owned())
}

/// What is asked of the service while it is switched.
#[derive(Clone, Copy, PartialEq)]
enum Load {
    /// Answers that take no time.
    Quick,
    /// Answers that take longer than a task's kill grace: what is in flight when SIGTERM goes out is lost with SIGKILL.
    Slow,
}

impl Load {
    /// The lab's app, made slow if need be: 300 ms to 450 ms for an answer, 50 ms of grace (at the speed of these tests).
    fn app(self, path: &str) -> Value {
        let mut app = example(path);
        if self == Self::Slow {
            app["env"]["HEALTH_MIN"] = json!("6000");
            app["env"]["HEALTH_MAX"] = json!("9000");
            app["taskKillGracePeriodSeconds"] = json!(1);
        }
        app
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Quick => "/endpoint0",
            Self::Slow => "/health",
        }
    }
}

/// Switches from blue to green under load; what the load met, and the version at the end.
async fn switch(load: Load, more_args: &[&str]) -> anyhow::Result<(Report, String)> {
    let args = [&["--with", "marathon-lb", "--speed", "20"], more_args].concat();
    let cluster = ClusterSandbox::start_with(Options::args(&args)).await?;
    let blue = load.app("blue-green/blue.json");
    cluster
        .dcos_ok(&["marathon", "app", "add"], &blue.to_string())
        .await?;
    cluster.settled().await;
    eventually("blue behind the edge", || async {
        let version = version(&cluster).await?;
        if version == "0.9" {
            Ok(())
        } else {
            Err(version)
        }
    })
    .await;

    let stop = CancellationToken::new();
    let url = format!("http://{}:10080{}", cluster.host(2), load.path());
    let probe = Config::new(&url, RATE)?;
    #[expect(clippy::disallowed_methods, reason = "joined at the end of the test")]
    let probing = tokio::spawn(run(probe, stop.clone()));
    // As in the lab: green beside blue, then green behind the edge, then blue away.
    let mut green = load.app("blue-green/green.json");
    cluster
        .dcos_ok(&["marathon", "app", "add"], &green.to_string())
        .await?;
    cluster.settled().await;
    green["labels"] = blue["labels"].clone();
    cluster
        .dcos_ok(
            &["marathon", "app", "update", "/zdd/green"],
            &green.to_string(),
        )
        .await?;
    cluster.settled().await;
    cluster
        .dcos_ok(
            &["marathon", "app", "update", "/zdd/blue", "instances=0"],
            "",
        )
        .await?;
    cluster.settled().await;
    let at_end = eventually("green alone behind the edge", || async {
        let tasks = cluster
            .tasks("/zdd/blue")
            .await
            .map_err(|error| format!("{error:?}"))?;
        if tasks.is_empty() {
            version(&cluster).await
        } else {
            Err(json!(tasks).to_string())
        }
    })
    .await;
    // A second of green alone.
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.cancel();
    Ok((probing.await?, at_end))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_blue_becomes_green() -> anyhow::Result<()> {
    let (report, at_end) = switch(Load::Quick, &[]).await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    assert_eq!(at_end, "1.0");
    assert!(report.by_version.contains_key("0.9") && report.by_version.contains_key("1.0"));
    let last = report.timeline.last().expect("it ran for seconds");
    assert_eq!(
        last.by_version.keys().collect::<Vec<_>>(),
        ["1.0"],
        "{}",
        report.table()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_requests_in_flight_are_let_finish() -> anyhow::Result<()> {
    let (report, at_end) = switch(Load::Slow, &[]).await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    assert_eq!(at_end, "1.0");
    Ok(())
}

/// The control: without drain the same switch loses what was in flight, so the zeros above mean something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_drain_requests_in_flight_are_lost() -> anyhow::Result<()> {
    let (report, at_end) = switch(Load::Slow, &["--no-drain"]).await?;
    assert!(report.failed > 0, "{}", report.table());
    assert_eq!(at_end, "1.0");
    eprintln!("draining off:\n{}", report.table());
    Ok(())
}
