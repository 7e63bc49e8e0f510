//! A machine that was started anew: no process is taken for a task of before, no task is started twice, apps come back.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use zddcluster_tests::{ClusterSandbox, eventually};

const APP: &str = "/rebooted";

/// Directories of the agents' books on tasks.
fn books(cluster: &ClusterSandbox) -> Vec<PathBuf> {
    let agents = fs::read_dir(cluster.data_dir()).into_iter().flatten();
    agents
        .flatten()
        .flat_map(|agent| fs::read_dir(agent.path().join("meta/tasks")))
        .flatten()
        .flatten()
        .map(|task| task.path())
        .collect()
}

/// Makes a task's books those of another boot: flushed files name it, of the others nothing may be left.
fn age(task_dir: &Path, boot_id: &str) -> anyhow::Result<()> {
    let intent = task_dir.join("intent.json");
    let text = fs::read_to_string(&intent)?;
    anyhow::ensure!(text.contains(boot_id), "{text}");
    fs::write(&intent, text.replace(boot_id, "another"))?;
    for name in ["spec.json", "executor.json", "process.json"] {
        fs::remove_file(task_dir.join(name))?;
    }
    Ok(())
}

#[tokio::test]
async fn apps_come_back_after_a_reboot() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    cluster
        .post_app(&json!({
            "id": APP, "cmd": "echo here >> ran; exec sleep 100000", "instances": 3,
            "cpus": 0.1, "mem": 16,
        }))
        .await?;
    cluster.settled().await;
    let ids = |tasks: &[serde_json::Value]| -> Vec<String> {
        let ids = tasks.iter().filter_map(|task| task["id"].as_str());
        ids.map(str::to_owned).collect()
    };
    let before = ids(&cluster.tasks(APP).await?);
    assert_eq!(before.len(), 3);

    cluster.kill()?;
    for pid in cluster.processes().into_keys() {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        // One that ended with another one is fine.
        let _ = pid.map(|pid| kill_process(pid, Signal::KILL));
    }
    eventually("all processes to be gone", || async {
        let left = cluster.processes();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let books = books(&cluster);
    assert_eq!(books.len(), 3, "{books:?}");
    for task_dir in &books {
        age(task_dir, boot_id.trim())?;
    }

    cluster.up().await?;
    let after = eventually("three other tasks", || async {
        let tasks = cluster.tasks(APP).await;
        let tasks = tasks.map_err(|error| format!("{error:?}"))?;
        let is_new = |task: &serde_json::Value| {
            let id = task["id"].as_str().unwrap_or_default();
            task["state"] == "TASK_RUNNING" && !before.iter().any(|old| old == id)
        };
        match tasks.len() == 3 && tasks.iter().all(is_new) {
            true => Ok(tasks),
            false => Err(format!("{tasks:?}")),
        }
    })
    .await;
    assert_eq!(ids(&after).len(), 3);
    let failure = cluster.failure(APP).await;
    assert_eq!(failure["state"], "TASK_LOST", "{failure}");
    assert_eq!(
        failure["message"],
        "The host was rebooted while the task ran"
    );
    // Each has run once: nobody took an old order up again.
    let sleeping = cluster.processes().into_values();
    let n_sleeping = sleeping.filter(|command| command.starts_with("sleep 100000"));
    assert_eq!(n_sleeping.count(), 3);
    Ok(())
}
