//! Tasks that do harm: each ends or is limited as its definition says, and its neighbours notice nothing.
//!
//! | task | what is to become of it |
//! |---|---|
//! | forks children, some in sessions of their own | they end with it |
//! | ignores SIGTERM | SIGKILL after its `taskKillGracePeriodSeconds`, not before |
//! | prints 100 MB | runs on; the last 20 MB at most are kept, the end of it among them |
//! | eats memory | ends, and the message says so |
//! | fills the disk | ends by its own error; its sandbox does not keep the space |
//!
//! Once as processes, once as containers of a Docker engine, which has limits of its own for memory and logs.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::json;
use zddcluster_tests::{Bystander, ClusterSandbox, Engine, Options, eventually};

/// Children in the task's group, in a session of their own, and of a parent that is gone; all deaf to SIGTERM.
const FORKS: &str = "trap '' TERM; sleep 100001 & setsid sleep 100002 & (setsid sleep 100003 &); \
    echo forked; while :; do sleep 1; done";

const DEAF: &str = "trap 'echo not now' TERM; echo up; while :; do sleep 0.1; done";

const LOUD: &str = "yes 0123456789012345678901234567890123456789 | head -c 104857600; \
    echo; echo the last line; exec sleep 100000";

/// Grows in one process: `tail` keeps what has no end of a line. A busy engine listens for the kernel's notices only a moment
/// after the start, and tells of status 137 alone where it was too late.
const FAT: &str = "sleep 1; tail /dev/zero; status=$?; sleep 1; exit $status";

/// Seconds that the deaf task has.
const GRACE: u64 = 3;

/// Two files for each stream, of 10 MiB.
const MOST_LOGS: u64 = 20 << 20;

/// Posts an app with a command, with an image if there is one.
async fn post(
    cluster: &ClusterSandbox,
    id: &str,
    cmd: &str,
    mem: u32,
    image: Option<&str>,
) -> anyhow::Result<()> {
    let mut app = json!({
        "id": id, "cmd": cmd, "cpus": 0.1, "mem": mem, "ports": [],
        "taskKillGracePeriodSeconds": GRACE,
    });
    if let Some(image) = image {
        app["container"] = json!({"type": "DOCKER", "docker": {"image": image, "network": "HOST"}});
    }
    cluster.post_app(&app).await
}

async fn delete(cluster: &ClusterSandbox, id: &str) -> anyhow::Result<()> {
    let path = format!("/v2/apps{id}");
    let (status, body) = cluster.send(Method::DELETE, &path, "").await?;
    anyhow::ensure!(status.is_success(), "{status}: {body}");
    Ok(())
}

fn size(sandbox: &Path, name: &str) -> u64 {
    std::fs::metadata(sandbox.join(name)).map_or(0, |metadata| metadata.len())
}

/// All of them at once, beside tasks that must not notice.
async fn all_harm(cluster: &ClusterSandbox, image: Option<&str>) -> anyhow::Result<()> {
    let bystander = Bystander::start(cluster).await?;
    for (id, cmd) in [
        ("/forks", FORKS),
        ("/deaf", DEAF),
        ("/loud", LOUD),
        ("/fat", FAT),
    ] {
        post(cluster, id, cmd, 32, image).await?;
    }

    let fat = cluster.failure("/fat").await;
    assert_eq!(fat["state"], "TASK_FAILED", "{fat}");
    let message = fat["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("Memory limit exceeded: Requested: 32MB Maximum Used: "),
        "{fat}"
    );
    delete(cluster, "/fat").await?;

    let loud = cluster.says("/loud", "the last line").await;
    let (new, old) = (size(&loud, "stdout"), size(&loud, "stdout.1"));
    assert!(new + old <= MOST_LOGS, "{old} and {new} bytes");
    // An engine that is written to faster than it is read keeps the last 20 MB, in its own words, which are longer.
    let least = if image.is_some() {
        1 << 20
    } else {
        MOST_LOGS / 2
    };
    assert!(new + old > least, "{old} and {new} bytes");
    assert!(!loud.join("stdout.2").exists());

    cluster.says("/deaf", "up").await;
    cluster.says("/forks", "forked").await;
    if image.is_none() {
        assert_eq!(children(cluster).len(), 3, "{:?}", cluster.processes());
    }
    let began = Instant::now();
    delete(cluster, "/deaf").await?;
    delete(cluster, "/forks").await?;
    cluster.settled().await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(GRACE), "{took:?}");
    assert_eq!(children(cluster), Vec::<String>::new());

    delete(cluster, "/loud").await?;
    cluster.settled().await;
    bystander.is_unharmed(cluster).await
}

/// The processes that the forking task started, of this cluster.
fn children(cluster: &ClusterSandbox) -> Vec<String> {
    let all = cluster.processes().into_values();
    all.filter(|command| {
        command.starts_with("sleep 10000") && !command.starts_with("sleep 100000 ")
    })
    .collect()
}

#[tokio::test]
async fn as_processes() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    all_harm(&cluster, None).await
}

#[tokio::test]
async fn as_containers() -> anyhow::Result<()> {
    let Some(engine) = Engine::find() else {
        return Ok(());
    };
    let image = engine.shell_image()?;
    let mut cluster = ClusterSandbox::start_with(engine.options(&[])).await?;
    all_harm(&cluster, Some(image.name())).await?;
    cluster.stop().await
}

#[tokio::test]
async fn a_task_that_fills_the_disk_does_not_keep_it() -> anyhow::Result<()> {
    let options = Options {
        disk_megabytes: Some(48),
        ..Options::default()
    };
    let cluster = match ClusterSandbox::start_with(options).await {
        Err(error) if error.to_string().contains("cannot mount") => {
            let _ = writeln!(std::io::stderr(), "skipped: {error:#}");
            return Ok(());
        }
        started => started?,
    };
    let bystander = Bystander::start(&cluster).await?;
    let cmd = "echo filling; cat /dev/zero > zeros || exit 7";
    // The disk is in memory, and what is written there counts as the task's.
    post(&cluster, "/fills", cmd, 256, None).await?;
    let failure = cluster.failure("/fills").await;
    assert_eq!(
        failure["message"], "Command exited with status 7",
        "{failure}"
    );
    bystander.runs_on(&cluster).await?;
    eventually("the app to be gone", || async {
        let (status, body) = cluster
            .send(Method::DELETE, "/v2/apps/fills", "")
            .await
            .map_err(|error| format!("{error:#}"))?;
        match status.is_success() || status == http::StatusCode::NOT_FOUND {
            true => Ok(()),
            false => Err(format!("{status}: {body}")),
        }
    })
    .await;
    bystander.is_unharmed(&cluster).await
}
