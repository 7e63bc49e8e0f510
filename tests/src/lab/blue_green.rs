//! The lab's blue-green chapter, with a prober that accounts for every request of the switch.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use zddcluster_probe::{Config, Report, run};

use crate::sandbox::examples;
use crate::{ClusterSandbox, Options, eventually};

/// Requests a second.
const RATE: f64 = 250.0;

fn example(path: &str) -> Value {
    let path = examples().join(path);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
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
///
/// Of the options, edge and speed are set here.
pub async fn switch(load: Load, mut options: Options) -> anyhow::Result<(Report, String)> {
    options
        .args
        .extend(["--with", "marathon-lb", "--speed", "20"].map(str::to_owned));
    let cluster = ClusterSandbox::start_with(options).await?;
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
