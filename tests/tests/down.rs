//! `down` leaves no process behind, at whatever moment the cluster was when it died.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use zddcluster_tests::{ClusterSandbox, eventually};

/// Deaths of one cluster, each while it starts its tasks.
const ROUNDS: u64 = 12;

#[tokio::test]
async fn tasks_that_were_just_starting_end_too() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    let app = json!({"id": "/starting", "cmd": "exec sleep 100000", "instances": 6, "cpus": 0.1, "mem": 16});
    cluster.post_app(&app).await?;
    for round in 0..ROUNDS {
        // The moment is the point of the test, not a wait for something: tasks start in the first few milliseconds.
        tokio::time::sleep(Duration::from_millis(round * 5)).await;
        cluster.kill()?;
        let output = cluster.command(&["down"]).output()?;
        assert!(output.status.success(), "round {round}: {output:?}");
        // An executor that came too late ends by itself, without a task.
        eventually("all processes to be gone", || async {
            let left = cluster.processes();
            if left == BTreeMap::new() {
                Ok(())
            } else {
                Err(left)
            }
        })
        .await;
        cluster.up().await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_up_that_is_dying_is_cleaned_up_after() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    let app =
        json!({"id": "/left", "cmd": "exec sleep 100000", "instances": 3, "cpus": 0.1, "mem": 16});
    cluster.post_app(&app).await?;
    cluster.settled().await;
    let pid = cluster.pid().unwrap_or_default().to_string();
    // Stopped, it holds its lock and does nothing.
    let stopped = std::process::Command::new("kill")
        .args(["-STOP", &pid])
        .status()?;
    assert!(stopped.success());
    let down = cluster
        .command(&["down"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    eventually("`down` to have asked it to end", || async {
        match has_pending_sigterm(&pid) {
            Ok(true) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    cluster.kill()?;
    let output = tokio::task::spawn_blocking(move || down.wait_with_output()).await??;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("3 tasks that"), "{said}");
    assert_eq!(cluster.processes(), BTreeMap::new());
    Ok(())
}

#[tokio::test]
async fn an_up_that_was_killed_and_is_not_missed_yet_runs_no_more() -> anyhow::Result<()> {
    let mut cluster = ClusterSandbox::start().await?;
    let pid = cluster.pid().unwrap_or_default();
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid.to_string()])
        .status()?;
    assert!(killed.success());
    // Nobody waits for it: it stays as a zombie.
    eventually("a zombie", || async {
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) if stat.contains(") Z ") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    for verb in ["status", "env"] {
        let output = cluster.command(&[verb]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{verb}: {said}");
        assert!(
            said.contains("error: no cluster runs in "),
            "{verb}: {said}"
        );
    }
    let output = cluster.command(&["down"]).output()?;
    assert!(output.status.success(), "{output:?}");
    cluster.kill()
}

/// Whether the process was sent SIGTERM and did not take notice yet.
fn has_pending_sigterm(pid: &str) -> anyhow::Result<bool> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = u64::from_str_radix(line.unwrap_or_default().trim(), 16)?;
    // Signal 15.
    Ok(pending & (1 << 14) != 0)
}
