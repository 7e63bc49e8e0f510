//! Apps that are well-formed and cannot run as they want to: each says why, backs off or waits, and harms no other.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use zddcluster_tests::{Bystander, ClusterSandbox, eventually};

/// The most instances an app may ask for.
const MOST: u64 = 2_147_483_647;

/// How long an answer about so many instances may take: milliseconds, but all other tests run at the same time.
const AT_ONCE: Duration = Duration::from_secs(5);

/// How much `up` may grow by an app of so many instances. One byte for each would be 2 GiB.
const GROWTH_KIB: u64 = 64 * 1024;

/// Waits until the app's last failure has a message with `part` and its queue entry a delay that is longer than the first
/// one, 1 s.
async fn backs_off(cluster: &ClusterSandbox, app_id: &str, part: &str) -> Value {
    eventually("a failure, and a delay that grows", || async {
        let path = format!("/v2/apps/{app_id}");
        let (app, queue) = tokio::try_join!(cluster.get(&path), cluster.get("/v2/queue"))
            .map_err(|error| format!("{error:?}"))?;
        let failure = &app["app"]["lastTaskFailure"];
        let says_why = failure["message"]
            .as_str()
            .is_some_and(|message| message.contains(part));
        let entries = queue["queue"].as_array().cloned().unwrap_or_default();
        let entry = entries.iter().find(|entry| entry["app"]["id"] == app_id);
        let delay = entry.map(|entry| &entry["delay"]);
        let waits = delay.is_some_and(|delay| {
            delay["overdue"] == json!(false) && delay["timeLeftSeconds"].as_u64() >= Some(1)
        });
        if says_why && waits {
            Ok(failure.clone())
        } else {
            Err(format!("{failure}, queued {entry:?}"))
        }
    })
    .await
}

#[tokio::test]
async fn a_command_that_ends_at_once_backs_off() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    for (app_id, cmd, part) in [
        ("/fails", "exit 3", "exited with status 3"),
        (
            "/no-such",
            "exec /nowhere/program",
            "exited with status 127",
        ),
    ] {
        let app = json!({"id": app_id, "cmd": cmd, "cpus": 0.1, "mem": 16});
        cluster.post_app(&app).await?;
        let failure = backs_off(&cluster, app_id, part).await;
        assert_eq!(failure["state"], "TASK_FAILED", "{failure}");
    }
    bystander.is_unharmed(&cluster).await
}

#[tokio::test]
async fn an_unknown_image_fails_with_a_hint() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    cluster
        .post_app(&json!({
            "id": "/image", "cpus": 0.1, "mem": 16,
            "container": {"type": "DOCKER", "docker": {"image": "nobody/nothing:1"}},
        }))
        .await?;
    let failure = backs_off(&cluster, "/image", "nobody/nothing:1").await;
    assert_eq!(failure["state"], "TASK_FAILED", "{failure}");
    let message = failure["message"].as_str().unwrap_or_default();
    assert!(message.contains("--containerizer docker"), "{message}");
    bystander.is_unharmed(&cluster).await
}

#[tokio::test]
async fn a_port_in_use_fails_its_task_only() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    let (port, foreign) = hold_a_port(&cluster);
    let app = json!({
        "id": "/in-use", "cpus": 0.1, "mem": 32, "requirePorts": true,
        "portDefinitions": [{"port": port}],
        "container": {
            "type": "DOCKER",
            "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"},
        },
    });
    cluster.post_app(&app).await?;
    let failure = backs_off(&cluster, "/in-use", "exited with status 1").await;
    assert_eq!(failure["state"], "TASK_FAILED", "{failure}");
    let task_id = failure["taskId"].as_str().unwrap_or_default();
    let args = ["task", "log", "--completed", task_id, "stderr"];
    let log = cluster.dcos_ok(&args, "").await?;
    assert!(
        log.contains(&format!(":{port}")) && log.contains("in use"),
        "{log}"
    );
    bystander.is_unharmed(&cluster).await?;

    // Free again, the next try has it.
    drop(foreign);
    eventually("the app to run", || async {
        match cluster.get("/v2/apps//in-use").await {
            Ok(app) if app["app"]["tasksRunning"] == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    let tasks = cluster.tasks("/in-use").await?;
    assert_eq!(tasks[0]["ports"], json!([port]));
    Ok(())
}

#[tokio::test]
async fn a_port_no_agent_offers_waits_with_the_reason() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    let app = json!({
        "id": "/nowhere", "cmd": "exec sleep 100000", "cpus": 0.1, "mem": 16,
        "ports": [50_000], "requirePorts": true,
    });
    cluster.post_app(&app).await?;
    waits_because(&cluster, "/nowhere", "does not offer port 50000").await;
    bystander.is_unharmed(&cluster).await
}

/// Takes a port that private agents offer, on the addresses of both, as a program that is no task would.
fn hold_a_port(cluster: &ClusterSandbox) -> (u16, Vec<TcpListener>) {
    (12_000..19_000)
        .find_map(|port| {
            let hold = |host| TcpListener::bind((cluster.host(host), port));
            Some((port, vec![hold(11).ok()?, hold(12).ok()?]))
        })
        .expect("one of so many ports is free")
}

/// Waits until the app waits, each agent giving a reason, one of them with `part`.
async fn waits_because(cluster: &ClusterSandbox, app_id: &str, part: &str) -> Value {
    eventually("the reason why the app waits", || async {
        let queue = cluster.get("/zdd/v1/queue").await;
        let queue = queue.map_err(|error| format!("{error:?}"))?;
        let entries = queue["queue"].as_array().cloned().unwrap_or_default();
        let entry = entries.into_iter().find(|entry| entry["appId"] == app_id);
        let entry = entry.ok_or_else(|| queue.to_string())?;
        let refusals = entry["refusals"].as_array().cloned().unwrap_or_default();
        let reasons: Vec<_> = refusals
            .iter()
            .filter_map(|refusal| refusal["reason"].as_str())
            .collect();
        if reasons.len() == 3 && reasons.iter().any(|reason| reason.contains(part)) {
            Ok(entry)
        } else {
            Err(entry.to_string())
        }
    })
    .await
}

#[tokio::test]
async fn more_than_the_agents_have_waits_with_the_reason() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    // Two private agents have room for one each.
    let app =
        json!({"id": "/many", "cmd": "exec sleep 100000", "cpus": 3, "mem": 16, "instances": 5});
    cluster.post_app(&app).await?;
    let entry = waits_because(&cluster, "/many", "cpus free, 3 wanted").await;
    assert_eq!(entry["count"], 3, "{entry}");
    let queue = cluster.get("/v2/queue").await?;
    assert_eq!(queue["queue"][0]["count"], 3, "{queue}");
    let delay = json!({"timeLeftSeconds": 0, "overdue": true});
    assert_eq!(queue["queue"][0]["delay"], delay, "{queue}");
    bystander.is_unharmed(&cluster).await
}

/// Memory of a process, KiB.
fn resident(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.unwrap_or_default().parse()?)
}

#[tokio::test]
async fn numbers_of_instances_cost_nothing() -> anyhow::Result<()> {
    let cluster = ClusterSandbox::start().await?;
    let bystander = Bystander::start(&cluster).await?;
    let pid = cluster.pid().unwrap_or_default();
    let before = resident(pid)?;
    let app =
        json!({"id": "/many", "cmd": "exec sleep 100000", "cpus": 3, "mem": 16, "instances": MOST});
    let put = json!({"env": {"A": "1"}, "instances": MOST, "upgradeStrategy": {"maximumOverCapacity": 1}});
    for (method, path, body) in [
        (Method::POST, "/v2/apps", app.to_string()),
        // A rolling update of so many, with as many more allowed.
        (Method::PUT, "/v2/apps//many?force=true", put.to_string()),
        (
            Method::POST,
            "/v2/apps//many/restart?force=true",
            String::new(),
        ),
        (
            Method::GET,
            "/v2/apps?embed=apps.tasks&embed=apps.taskStats",
            String::new(),
        ),
        (Method::GET, "/v2/queue", String::new()),
        (Method::GET, "/v2/deployments", String::new()),
        (Method::GET, "/mesos/master/state", String::new()),
    ] {
        let asked = Instant::now();
        let (status, body) = cluster.send(method.clone(), path, body).await?;
        assert!(status.is_success(), "{method} {path}: {status}: {body}");
        assert!(
            asked.elapsed() < AT_ONCE,
            "{method} {path}: {:?}",
            asked.elapsed()
        );
    }
    // Two private agents have room for one each, and neither may go before all the new ones are there.
    eventually("two to stay and all new ones to wait", || async {
        let queue = cluster.get("/v2/queue").await;
        let queue = queue.map_err(|error| format!("{error:?}"))?;
        let app = cluster.get("/v2/apps//many").await;
        let app = app.map_err(|error| format!("{error:?}"))?;
        let count = queue["queue"][0]["count"].as_u64();
        if app["app"]["tasksRunning"] == 2 && count == Some(MOST) {
            Ok(())
        } else {
            Err(format!("{} {queue}", app["app"]["tasksRunning"]))
        }
    })
    .await;
    let growth = resident(pid)?.saturating_sub(before);
    assert!(growth < GROWTH_KIB, "{growth} KiB more");

    bystander.is_unharmed(&cluster).await?;
    let path = "/v2/apps//many?force=true";
    let (status, body) = cluster
        .send(Method::PUT, path, "{\"instances\": 1}")
        .await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    cluster.settled().await;
    assert_eq!(cluster.tasks("/many").await?.len(), 1);
    Ok(())
}
