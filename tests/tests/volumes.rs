//! Persistent volumes: what a resident app has written is there for its next task, whatever happened to the one before.

use std::fs;
use std::path::PathBuf;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_tests::{ClusterSandbox, Options, eventually};

/// Writes its name into the volume, says what is there, and waits.
const CMD: &str = "echo $MESOS_TASK_ID >> data/journal && exec sleep 100000";

fn app(revision: u32) -> Value {
    json!({
        "id": "/db",
        "cmd": CMD,
        "cpus": 0.1,
        "mem": 16,
        "env": {"REVISION": revision.to_string()},
        "container": {
            "type": "MESOS",
            "volumes": [{"containerPath": "data", "mode": "RW", "persistent": {"size": 10}}],
        },
    })
}

/// The only running task, once it is another than `before`.
async fn successor(cluster: &ClusterSandbox, before: Option<&Value>) -> Value {
    eventually("the next task to run", || async {
        let tasks = cluster
            .tasks("/db")
            .await
            .map_err(|error| error.to_string())?;
        match tasks.as_slice() {
            [task] if task["state"] == "TASK_RUNNING" && Some(&task["id"]) != before => {
                Ok(task.clone())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// Where the agents keep the task's volume.
fn volume_of(cluster: &ClusterSandbox, task: &Value) -> Vec<PathBuf> {
    let id = task["localVolumes"][0]["persistenceId"]
        .as_str()
        .expect("a volume");
    let agents = fs::read_dir(cluster.data_dir()).expect("agents have directories there");
    let volumes = agents.map(|agent| agent.expect("readable").path().join("volumes").join(id));
    volumes.filter(|path| path.is_dir()).collect()
}

/// Who has written into the volume so far.
fn journal(cluster: &ClusterSandbox, task: &Value) -> Vec<String> {
    let volumes = volume_of(cluster, task);
    let [volume] = volumes.as_slice() else {
        panic!("one volume of one agent, not {volumes:?}");
    };
    let text = fs::read_to_string(volume.join("journal")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

async fn writes(cluster: &ClusterSandbox, task: &Value, earlier: &[String]) -> Vec<String> {
    let id = task["id"].as_str().expect("an id").to_owned();
    let expected = [earlier, &[id]].concat();
    eventually("the task to write", || async {
        let journal = journal(cluster, task);
        if journal == expected {
            Ok(journal)
        } else {
            Err(journal)
        }
    })
    .await
}

#[tokio::test]
async fn data_outlives_kill_update_and_the_cluster_and_ends_with_a_wipe() -> anyhow::Result<()> {
    let options = Options::args(&["--containerizer", "process"]);
    let mut cluster = ClusterSandbox::start_with(options).await?;
    cluster.post_app(&app(1)).await?;
    let mut task = successor(&cluster, None).await;
    let (host, volumes) = (task["host"].clone(), task["localVolumes"].clone());
    let mut journal = writes(&cluster, &task, &[]).await;
    // Killed, updated, restarted.
    for (method, path, body) in [
        (Method::DELETE, "/v2/apps/db/tasks", Value::Null),
        (Method::PUT, "/v2/apps/db", app(2)),
        (Method::POST, "/v2/apps/db/restart", Value::Null),
    ] {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let (status, answer) = cluster.send(method, path, body).await?;
        assert_eq!(status, StatusCode::OK, "{answer}");
        task = successor(&cluster, Some(&task["id"])).await;
        assert_eq!((&task["host"], &task["localVolumes"]), (&host, &volumes));
        journal = writes(&cluster, &task, &journal).await;
    }
    // kill -9 of the whole cluster: the task lives on. Stopped in good order it ends, and comes back.
    cluster.kill()?;
    cluster.up().await?;
    let same = successor(&cluster, None).await;
    assert_eq!(same["id"], task["id"]);
    cluster.stop().await?;
    cluster.up().await?;
    task = successor(&cluster, Some(&task["id"])).await;
    assert_eq!((&task["host"], &task["localVolumes"]), (&host, &volumes));
    writes(&cluster, &task, &journal).await;
    // Given up.
    let path = "/v2/apps/db/tasks?wipe=true";
    let (status, answer) = cluster.send(Method::DELETE, path, "").await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let next = successor(&cluster, Some(&task["id"])).await;
    assert_ne!(next["localVolumes"], volumes);
    writes(&cluster, &next, &[]).await;
    eventually("the old volume to be gone", || async {
        let left = volume_of(&cluster, &task);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    // And with the app the last one goes.
    cluster.send(Method::DELETE, "/v2/apps/db", "").await?;
    eventually("the last volume to be gone", || async {
        let left = volume_of(&cluster, &next);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    Ok(())
}
