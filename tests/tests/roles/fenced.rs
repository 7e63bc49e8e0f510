//! Who must not be obeyed any more, and what did not outlive a boot.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_tests::{Apart, eventually, pid_of, signal};

const APP: &str = "/once";

/// Tasks that write down that they are started, outside of their sandbox.
fn app(starts: &Path, instances: u32) -> Value {
    json!({
        "id": APP, "instances": instances, "cpus": 0.1, "mem": 16,
        "cmd": format!("echo $MESOS_TASK_ID >> {} && exec sleep 100000", starts.display()),
    })
}

/// The ids of all tasks that were started, each as often as it was.
fn started(starts: &Path) -> Vec<String> {
    let text = fs::read_to_string(starts).unwrap_or_default();
    let mut ids: Vec<String> = text.lines().map(str::to_owned).collect();
    ids.sort();
    ids
}

/// Waits until the role's log says this as often.
async fn says(apart: &Apart, role: &str, text: &str, times: usize) {
    eventually(&format!("{role} to say {text:?} {times} times"), || async {
        let log = apart.log(role);
        match log.matches(text).count() >= times {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_agent_process_that_returns_is_fenced() -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    apart.start("master")?;
    apart.start("first agent")?;
    apart.agents_are(1).await;
    let starts = apart.path("starts");
    apart
        .send(Method::POST, "/v2/apps", &app(&starts, 3))
        .await?;
    let before = apart.tasks_of(APP, 3).await;

    let old = apart.running["first agent"].id();
    signal(old, "-STOP")?;
    // Orders go out to it that it cannot take: they wait in its connection.
    let scale = json!({"instances": 4});
    apart.send(Method::PUT, "/v2/apps/once", &scale).await?;
    let doomed = before.keys().next().context("there are three")?;
    let kill = format!("/v2/apps/once/tasks/{doomed}");
    apart.send(Method::DELETE, &kill, &json!({})).await?;

    // Its locks are lost, as when a disk is mounted a second time, and another process takes its place.
    for lock in ["agent.lock", "lock"] {
        fs::remove_file(apart.path("data/agent-11").join(lock))?;
    }
    apart.start("first agent again")?;
    says(&apart, "first agent again", "registered", 1).await;
    let now = apart.tasks_of(APP, 4).await;
    let kept = before.iter().filter(|(id, pid)| now.get(*id) == Some(pid));
    assert_eq!(kept.count(), 2, "{before:?}, now {now:?}");

    signal(old, "-CONT")?;
    let status = apart.end_of("first agent").await?;
    assert_eq!(status.code(), Some(1), "{status}");
    says(&apart, "first agent", "this one stops", 1).await;

    // The new one does its work, and the old one did none that was not its any more.
    apart.agents_are(1).await;
    assert_eq!(apart.tasks_of(APP, 4).await, now);
    let scale = json!({"instances": 5});
    apart.send(Method::PUT, "/v2/apps/once", &scale).await?;
    let last = apart.tasks_of(APP, 5).await;
    assert!(
        now.iter().all(|(id, pid)| last.get(id) == Some(pid)),
        "{now:?}, {last:?}"
    );
    let mut expected: Vec<String> = last.keys().chain([doomed]).cloned().collect();
    expected.sort();
    assert_eq!(started(&starts), expected);
    // Nor did it spoil the books: the next one finds what runs.
    apart.kill("first agent again")?;
    apart.start("first agent")?;
    says(&apart, "first agent", "registered", 2).await;
    assert_eq!(apart.tasks_of(APP, 5).await, last);
    assert_eq!(started(&starts), expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_another_protocol_is_refused() -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    apart.start("master")?;
    apart.start("first agent")?;
    apart.agents_are(1).await;
    let registration = |protocol: u32| {
        json!({
            "protocol": protocol, "agentId": null, "epoch": 1, "hostname": "127.0.0.9", "port": 5051, "role": "*",
            "attributes": {}, "tasks": [],
            "resources": {"cpus": 1.0, "mem": 100.0, "disk": 0.0, "gpus": 0, "ports": [], "dynamic_ports": []},
        })
    };
    let path = "/zdd/v1/agents/register";
    let (status, body) = apart
        .send_as_member(Method::POST, path, &registration(99))
        .await?;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert!(body.contains("99") && body.contains("protocol"), "{body}");
    apart.agents_are(1).await;
    // It was the number, and nothing else.
    let (status, body) = apart
        .send_as_member(Method::POST, path, &registration(1))
        .await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_of_another_boot_are_lost_and_replaced() -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    for role in ["master", "first agent", "second agent"] {
        apart.start(role)?;
    }
    apart.agents_are(2).await;
    let starts = apart.path("starts");
    apart
        .send(Method::POST, "/v2/apps", &app(&starts, 4))
        .await?;
    let before = apart.tasks_of(APP, 4).await;

    // The host of one goes down: nothing on it ends in good order.
    apart.kill("first agent")?;
    let books = apart.path("data/agent-11/meta/tasks");
    let mut lost = Vec::new();
    // Somebody else's process by the time the host is back. It is not to be touched.
    let stranger = std::process::Command::new("sleep").arg("100000").spawn()?;
    let stranger_pid = stranger.id();
    apart.running.insert("stranger", stranger);
    for task_dir in fs::read_dir(&books)? {
        let task_dir = task_dir?.path();
        for name in ["executor.json", "process.json"] {
            let path = task_dir.join(name);
            let mut record: Value = serde_json::from_slice(&fs::read(&path)?)?;
            let pid = record["pid"].as_u64().context("a pid")?;
            signal(u32::try_from(pid)?, "-KILL")?;
            record["pid"] = stranger_pid.into();
            record["bootId"] = "another".into();
            fs::write(&path, record.to_string())?;
        }
        let name = task_dir.file_name().unwrap_or_default();
        lost.push(name.to_string_lossy().into_owned());
    }
    assert_eq!(lost.len(), 2, "two agents take two each");
    apart.start("first agent")?;

    let now = eventually("the lost ones to be replaced", || async {
        let now = apart.tasks_of(APP, 4).await;
        match lost.iter().any(|id| now.contains_key(id)) {
            true => Err(format!("{now:?}")),
            false => Ok(now),
        }
    })
    .await;
    let kept = before.iter().filter(|(id, pid)| now.get(*id) == Some(pid));
    assert_eq!(kept.count(), 2, "{before:?}, now {now:?}");
    let app: Value = apart.http.get_json(&apart.front("/v2/apps/once")).await?;
    let failure = &app["app"]["lastTaskFailure"];
    assert_eq!(failure["state"], "TASK_LOST", "{failure}");
    let message = failure["message"].as_str().unwrap_or_default();
    assert!(message.contains("rebooted"), "{failure}");
    let mut expected: Vec<String> = now.keys().chain(&lost).cloned().collect();
    expected.sort();
    assert_eq!(started(&starts), expected, "each once");
    // Were it dead already, this would fail.
    apart.kill("stranger")?;
    assert_eq!(lost.iter().filter_map(|id| pid_of(id)).next(), None);
    Ok(())
}
