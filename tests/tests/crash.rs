//! kill -9 of `up` at random moments: nothing acknowledged is lost, a half-done deployment goes on and ends, tasks live on under
//! their pids, none is started twice, and `down` leaves none behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use zddcluster_client::HttpError;
use zddcluster_tests::{ClusterSandbox, Options, eventually, variable_of};

/// Kills of one cluster, each in the middle of a rolling update.
const ROUNDS: u64 = 20;

/// Of them, how many have to have hit a deployment in its middle, that the test be worth its name. Nearly all do.
const IN_THE_MIDDLE: u64 = 10;

/// Updated all the time.
const APP: &str = "/crash/journal";

/// Never updated.
const STEADY: &str = "/crash/steady";

/// Three tasks that write down their start, outside of their sandbox, and then wait. `revision` makes a new version, which
/// is rolled out one by one. They ignore SIGTERM: each replacement takes their grace, so that kills find a deployment under way.
fn app(app_id: &str, starts: &Path, revision: u64) -> Value {
    let cmd = format!(
        "trap '' TERM; echo $MESOS_TASK_ID $$ >> {} && exec sleep 100000",
        starts.display()
    );
    json!({
        "id": app_id,
        "cmd": cmd,
        "instances": 3,
        "cpus": 0.1,
        "mem": 16,
        "env": {"REVISION": revision.to_string()},
        "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0},
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
            .send_json(http::Method::PUT, &url, &app(APP, starts, revision))
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

/// Ids of the app's tasks with the pids they wrote down, once these are three and all have.
async fn three_tasks(
    cluster: &ClusterSandbox,
    app_id: &str,
    starts: &Path,
) -> BTreeMap<String, u32> {
    eventually("three running tasks that said so", || async {
        let tasks = cluster.tasks(app_id).await;
        let tasks = tasks.map_err(|error| format!("{error:?}"))?;
        let pids = started(starts);
        let ours: BTreeMap<_, _> = tasks
            .iter()
            .filter(|task| task["state"] == "TASK_RUNNING")
            .filter_map(|task| task["id"].as_str())
            .filter_map(|id| Some((id.to_owned(), *pids.get(id)?)))
            .collect();
        if ours.len() == 3 && tasks.len() == 3 {
            Ok(ours)
        } else {
            Err(format!("{tasks:?}, started {pids:?}"))
        }
    })
    .await
}

/// Those of the tasks that live, as the very processes that wrote down their pid, with the value of `REVISION` they have.
fn living(pids: &BTreeMap<String, u32>) -> BTreeMap<String, u64> {
    pids.iter()
        .filter(|(id, pid)| variable_of(**pid, "MESOS_TASK_ID").as_ref() == Some(*id))
        .filter_map(|(id, pid)| Some((id.clone(), variable_of(*pid, "REVISION")?.parse().ok()?)))
        .collect()
}

/// Ids of the deployments that run.
async fn deployments(cluster: &ClusterSandbox) -> anyhow::Result<BTreeSet<String>> {
    let running = cluster.get("/v2/deployments").await?;
    let running = running.as_array().into_iter().flatten();
    Ok(running
        .filter_map(|deployment| deployment["id"].as_str().map(str::to_owned))
        .collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_and_no_task_starts_twice() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start_with(Options::args(&["--speed", "20"])).await?;
    let starts = cluster.data_dir().with_file_name("starts");
    let steady_starts = cluster.data_dir().with_file_name("steady-starts");
    cluster.post_app(&app(STEADY, &steady_starts, 0)).await?;
    let steady = three_tasks(&cluster, STEADY, &steady_starts).await;

    let url = cluster.url(&format!("/v2/apps/{APP}?force=true"));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut moment = 0x5eed_u64;
    let mut n_in_the_middle = 0;
    for round in 0..ROUNDS {
        let first = acknowledged.load(Ordering::SeqCst) + 1;
        let writer = write(url.clone(), &starts, first, Arc::clone(&acknowledged));
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let wait = Duration::from_millis(20 + (moment >> 33) % 900);
        // The moment is the point of the test, not a wait for something.
        let _ = tokio::time::timeout(wait, writer).await;
        let running_before = deployments(&cluster).await?;
        cluster.kill()?;
        let left = living(&started(&starts));
        cluster.up().await?;

        let goes_on = deployments(&cluster).await?;
        if running_before.intersection(&goes_on).next().is_some() {
            n_in_the_middle += 1;
        }
        let expected = acknowledged.load(Ordering::SeqCst);
        if expected == 0 {
            continue;
        }
        let latest = revision(&cluster).await.map_err(anyhow::Error::msg)?;
        assert!(
            latest >= expected,
            "round {round}: {expected} was acknowledged, {latest} is there"
        );
        acknowledged.store(latest, Ordering::SeqCst);

        // The deployment ends where it was going, and what it had done already stays done.
        cluster.settled().await;
        let now = three_tasks(&cluster, APP, &starts).await;
        let alive = living(&now);
        assert!(
            alive.len() == 3 && alive.values().all(|revision| *revision == latest),
            "round {round}: {latest} is rolled out, {alive:?} live of {now:?}"
        );
        for (id, _) in left.iter().filter(|(_, revision)| **revision == latest) {
            assert!(
                now.contains_key(id),
                "round {round}: {id} had the latest revision and was replaced by one of {now:?}"
            );
        }
        // And what it had nothing to do with is as it was.
        assert_eq!(three_tasks(&cluster, STEADY, &steady_starts).await, steady);
        assert_eq!(living(&steady).len(), 3, "round {round}: {steady:?}");
    }
    assert!(
        n_in_the_middle >= IN_THE_MIDDLE,
        "only {n_in_the_middle} of {ROUNDS} kills hit a deployment"
    );

    // A kill while nothing changes.
    let before = three_tasks(&cluster, APP, &starts).await;
    cluster.kill()?;
    cluster.up().await?;
    assert_eq!(three_tasks(&cluster, APP, &starts).await, before);
    assert_eq!(living(&before).len(), 3, "{before:?}");
    assert_eq!(started(&steady_starts), steady);

    let running = cluster.processes();
    assert!(
        steady.values().all(|pid| running.contains_key(pid)),
        "{running:?}"
    );
    cluster.stop().await?;
    assert_eq!(cluster.processes(), BTreeMap::new());
    Ok(())
}
