//! What `zddcluster plan` says of an update, and then the update itself: both kill and start in the same order.

use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};
use zddcluster_client::sse::EventStream;
use zddcluster_tests::{ClusterSandbox, Options};

/// No event and no keep-alive for so long means that the stream is dead.
const IDLE: Duration = Duration::from_secs(30);

/// What an update does at once, and then for each thing that happens.
#[derive(Debug, Default, PartialEq, Eq)]
struct Course {
    killed_at_once: usize,
    started_at_once: usize,
    /// Old tasks killed right after each new one that came to count.
    kills_for_each_new: Vec<usize>,
    /// New tasks started right after each old one that ended.
    starts_for_each_end: Vec<usize>,
}

/// One visible transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Kill,
    Start,
    End,
    /// A new task counts.
    Counts,
}

fn course(steps: impl IntoIterator<Item = Step>) -> Course {
    let mut course = Course::default();
    let mut last = None;
    for step in steps {
        match (step, last) {
            (Step::Kill, None) => course.killed_at_once += 1,
            (Step::Start, None) => course.started_at_once += 1,
            (Step::Kill, Some(_)) => {
                if let Some(n) = course.kills_for_each_new.last_mut() {
                    *n += 1;
                }
            }
            (Step::Start, Some(_)) => {
                if let Some(n) = course.starts_for_each_end.last_mut() {
                    *n += 1;
                }
            }
            (Step::End, _) => course.starts_for_each_end.push(0),
            (Step::Counts, _) => course.kills_for_each_new.push(0),
        }
        if matches!(step, Step::End | Step::Counts) {
            last = Some(step);
        }
    }
    course
}

fn app(name: &str, version: &str, has_checks: bool, strategy: (f64, f64)) -> Value {
    let mut app = json!({
        "id": format!("/zdd/{name}"),
        "instances": 4,
        "cpus": 0.1,
        "mem": 32,
        "container": {
            "type": "DOCKER",
            "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"}
        },
        "env": {"SIMPLE_SERVICE_VERSION": version},
        "upgradeStrategy": {"minimumHealthCapacity": strategy.0, "maximumOverCapacity": strategy.1}
    });
    if has_checks {
        app["healthChecks"] = json!([{"path": "/health", "intervalSeconds": 20}]);
    }
    app
}

/// The course that the plan of an update tells.
fn planned(cluster: &ClusterSandbox, new: &Value, has_checks: bool) -> anyhow::Result<Course> {
    let file = cluster.data_dir().join("new.json");
    std::fs::write(&file, new.to_string())?;
    let file = file.display().to_string();
    let output = cluster
        .command(&["--output", "json", "plan", &file])
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{}: {stderr}", output.status);
    let timeline: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(timeline["verdict"]["outcome"], "finishes", "{timeline:#}");
    let counts = if has_checks { "healthy" } else { "runs" };
    let mut steps = Vec::new();
    for point in timeline["points"].as_array().context("points")? {
        for happened in point["happened"].as_array().context("what happened")? {
            let step = match happened["what"].as_str() {
                Some("killed") => Step::Kill,
                Some("started") => Step::Start,
                Some("ended") => Step::End,
                Some(what) if what == counts => Step::Counts,
                _ => continue,
            };
            let count = happened["count"].as_u64().context("a count")?;
            steps.extend((0..count).map(|_| step));
        }
    }
    Ok(course(steps))
}

/// Carries the update out and takes its course from the events.
async fn lived(cluster: &ClusterSandbox, new: &Value, has_checks: bool) -> anyhow::Result<Course> {
    let id = new["id"].as_str().context("an id")?;
    let url = cluster.url("/v2/events");
    let mut stream = EventStream::open(cluster.http(), &url).await?;
    let attached = stream.next(IDLE).await?.context("the stream begins")?;
    assert_eq!(attached.kind, "event_stream_attached");
    cluster
        .dcos_ok(&["marathon", "app", "update", id], &new.to_string())
        .await?;
    let mut steps = Vec::new();
    loop {
        let event = stream.next(IDLE).await?.context("the stream goes on")?;
        let data: Value = serde_json::from_str(&event.data)?;
        let is_alive = data["alive"] == json!(true);
        let step = match (event.kind.as_str(), data["taskStatus"].as_str()) {
            ("status_update_event", Some("TASK_KILLING")) => Step::Kill,
            ("status_update_event", Some("TASK_STAGING")) => Step::Start,
            ("status_update_event", Some("TASK_KILLED")) => Step::End,
            ("status_update_event", Some("TASK_RUNNING")) if !has_checks => Step::Counts,
            ("health_status_changed_event", _) if has_checks && is_alive => Step::Counts,
            ("deployment_success", _) => return Ok(course(steps)),
            _ => continue,
        };
        steps.push(step);
    }
}

#[tokio::test]
async fn an_update_goes_as_it_was_planned() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start_with(Options::args(&["--speed", "20"])).await?;
    for (name, has_checks, strategy, at_once) in [
        ("base", false, (1.0, 1.0), (0, 4)),
        ("half", true, (0.5, 0.1), (2, 0)),
        ("min-over", true, (0.25, 0.25), (3, 1)),
        ("one-by-one", true, (1.0, 0.0), (0, 1)),
    ] {
        cluster
            .post_app(&app(name, "0.9", has_checks, strategy))
            .await?;
        cluster.settled().await;
        let new = app(name, "1.0", has_checks, strategy);
        let before = cluster.get("/v2/groups").await?;
        let planned = planned(&cluster, &new, has_checks)?;
        assert_eq!(
            (planned.killed_at_once, planned.started_at_once),
            at_once,
            "{name}"
        );
        assert_eq!(
            cluster.get("/v2/groups").await?,
            before,
            "nothing has changed"
        );
        let lived = lived(&cluster, &new, has_checks).await?;
        assert_eq!(lived, planned, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_cluster_written_down_is_planned_on_when_it_is_gone() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    cluster
        .post_app(&app("base", "0.9", false, (1.0, 1.0)))
        .await?;
    cluster.settled().await;
    let written = cluster.get("/zdd/v1/cluster").await?;
    let file = cluster.data_dir().join("written.json");
    std::fs::write(&file, written.to_string())?;
    cluster.stop().await?;
    let file = file.display().to_string();

    let plan = ["plan", "/zdd/base", "cpus=0.2", "--cluster", &file];
    let output = cluster.command(&plan).output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}");
    assert!(stdout.contains("[old] [old] [old] [old] <new>"), "{stdout}");

    let plan = ["plan", "/zdd/base", "cpus=5", "--cluster", &file];
    let output = cluster.command(&plan).output()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.contains("CANNOT FINISH"), "{stdout}");

    // Without any cluster and without a file there is nothing to plan on.
    let output = cluster.command(&["plan", "/zdd/base", "cpus=5"]).output()?;
    assert_eq!(output.status.code(), Some(3));
    Ok(())
}
