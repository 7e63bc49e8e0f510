//! kill -9 of `up` at random moments: nothing acknowledged is lost, a half-done deployment goes on and ends, tasks live on under
//! their pids, and none is started twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use zddcluster_client::HttpError;
use zddcluster_tests::{ClusterSandbox, Options, eventually};

/// Kills of one cluster, each in the middle of a rolling update.
const ROUNDS: u64 = 20;

const APP: &str = "/crash/journal";

/// Three tasks that write down their start, outside of their sandbox, and then wait. `revision` makes a new version.
fn app(starts: &Path, revision: u64) -> Value {
    let cmd = format!(
        "echo $MESOS_TASK_ID $$ >> {} && exec sleep 100000",
        starts.display()
    );
    json!({
        "id": APP,
        "cmd": cmd,
        "instances": 3,
        "cpus": 0.1,
        "mem": 16,
        "env": {"REVISION": revision.to_string()},
    })
}

/// The pids of the tasks by their ids. A task that was started twice fails the test.
fn started(starts: &Path) -> BTreeMap<String, u32> {
    let text = fs::read_to_string(starts).unwrap_or_default();
    let mut pids = BTreeMap::new();
    for line in text.lines() {
        let (task_id, pid) = line
            .split_once(' ')
            .expect("each task writes its id and its pid");
        let pid = pid.parse().expect("a pid is a number");
        assert_eq!(
            pids.insert(task_id.to_owned(), pid),
            None,
            "{task_id} was started twice:\n{text}"
        );
    }
    pids
}

/// Puts one revision after the other and keeps the journal, until the cluster does not answer.
async fn write(url: String, starts: &Path, first: u64, acknowledged: Arc<AtomicU64>) {
    let http = zddcluster_client::HttpClient::new();
    for revision in first.. {
        let answer: Result<Value, HttpError> = http
            .send_json(http::Method::PUT, &url, &app(starts, revision))
            .await;
        match answer {
            Ok(_) => acknowledged.store(revision, Ordering::SeqCst),
            Err(_) => return,
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

async fn revision(cluster: &ClusterSandbox) -> Result<u64, String> {
    let answer = cluster
        .get(&format!("/v2/apps/{APP}"))
        .await
        .map_err(|error| format!("{error:?}"))?;
    let revision = answer["app"]["env"]["REVISION"]
        .as_str()
        .and_then(|text| text.parse().ok());
    revision.ok_or_else(|| answer.to_string())
}

async fn task_ids(cluster: &ClusterSandbox) -> anyhow::Result<BTreeSet<String>> {
    let tasks = cluster.tasks(APP).await?;
    Ok(tasks
        .iter()
        .filter_map(|task| task["id"].as_str().map(str::to_owned))
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_no_task_starts_twice() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start_with(Options::args(&["--speed", "20"])).await?;
    let starts = cluster.data_dir().with_file_name("starts");
    let url = cluster.url(&format!("/v2/apps/{APP}?force=true"));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut moment = 0x5eed_u64;
    for round in 0..ROUNDS {
        let first = acknowledged.load(Ordering::SeqCst) + 1;
        let writer = write(url.clone(), &starts, first, Arc::clone(&acknowledged));
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let wait = Duration::from_millis(20 + (moment >> 33) % 900);
        // The moment is the point of the test, not a wait for something.
        let _ = tokio::time::timeout(wait, writer).await;
        cluster.kill()?;
        cluster.up().await?;
        let expected = acknowledged.load(Ordering::SeqCst);
        if expected > 0 {
            let found = revision(&cluster).await.map_err(anyhow::Error::msg)?;
            assert!(
                found >= expected,
                "round {round}: {expected} was acknowledged, {found} is there"
            );
            acknowledged.store(found, Ordering::SeqCst);
        }
        started(&starts);
    }

    cluster.settled().await;
    let before = eventually("three running tasks that said so", || async {
        let ids = task_ids(&cluster)
            .await
            .map_err(|error| error.to_string())?;
        let pids = started(&starts);
        let ours: BTreeMap<_, _> = pids
            .into_iter()
            .filter(|(id, _)| ids.contains(id))
            .collect();
        if ours.len() == 3 {
            Ok(ours)
        } else {
            Err(format!("{ids:?}, started {ours:?}"))
        }
    })
    .await;
    cluster.kill()?;
    cluster.up().await?;
    eventually("the same tasks after a last kill", || async {
        let ids = task_ids(&cluster)
            .await
            .map_err(|error| error.to_string())?;
        if ids.iter().eq(before.keys()) {
            Ok(())
        } else {
            Err(format!("{ids:?}"))
        }
    })
    .await;
    for (task_id, pid) in &before {
        assert!(
            Path::new(&format!("/proc/{pid}")).exists(),
            "{task_id} does not live as {pid}"
        );
    }
    assert_eq!(
        started(&starts)
            .iter()
            .filter(|(id, _)| before.contains_key(*id))
            .count(),
        3
    );
    Ok(())
}
