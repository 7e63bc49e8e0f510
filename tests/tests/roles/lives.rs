//! Roles that die and come back, roles that may not join, and an agent that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use zddcluster_client::HttpClient;
use zddcluster_tests::{Apart, TOKEN, eventually, pid_of, signal, write_secret};

/// How many answers of the service show that it goes on.
const MANY: u64 = 100;

/// Where the app is reached through the edge.
const SERVICE_PORT: u16 = 10_080;

/// A steady load through the edge; what it counts.
#[derive(Default)]
struct Load {
    n_good: AtomicU64,
    failures: std::sync::Mutex<Vec<String>>,
    /// While the edge itself is killed, nothing is sent.
    is_paused: AtomicBool,
    is_over: AtomicBool,
}

impl Load {
    async fn run(self: Arc<Self>, url: String) {
        let http = HttpClient::new();
        while !self.is_over.load(Ordering::SeqCst) {
            if !self.is_paused.load(Ordering::SeqCst) {
                match http.get_json::<Value>(&url).await {
                    Ok(_) => {
                        self.n_good.fetch_add(1, Ordering::SeqCst);
                    }
                    Err(error) => self
                        .failures
                        .lock()
                        .expect("nobody panics with it")
                        .push(format!("{error:?}")),
                }
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits for many more good answers, and none that is not.
    async fn goes_on(&self, when: &str) {
        let before = self.n_good.load(Ordering::SeqCst);
        eventually(&format!("answers {when}"), || async {
            match self.n_good.load(Ordering::SeqCst) - before {
                n_more if n_more >= MANY => Ok(()),
                n_more => Err(n_more),
            }
        })
        .await;
        let failures = self.failures.lock().expect("nobody panics with it");
        assert!(failures.is_empty(), "{when}: {failures:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_dies_leaves_the_others_at_work_and_joins_again() -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    // Without a master they all wait for one.
    for role in ["first agent", "second agent", "public agent", "dns", "edge"] {
        apart.start(role)?;
    }
    eventually("an agent that says that it waits", || async {
        let log = apart.log("first agent");
        match log.contains("no link to the master") {
            true => Ok(()),
            false => Err(log),
        }
    })
    .await;
    apart.start("master")?;
    apart.agents_are(3).await;

    let text = include_str!("../../../examples/default/base.json");
    let mut app: Value = serde_json::from_str(text)?;
    app["labels"] = json!({
        "HAPROXY_GROUP": "external",
        "HAPROXY_0_PORT": SERVICE_PORT.to_string(),
    });
    let status = apart.send(Method::POST, "/v2/apps", &app).await?;
    assert_eq!(status, StatusCode::CREATED);
    let before = apart.tasks_are(4).await;
    apart.names_are(2).await;
    let service = apart.url(3, SERVICE_PORT, "/endpoint0");
    let answers = || async { apart.http.get_json::<Value>(&service).await };
    eventually("an answer through the edge", answers).await;

    let load = Arc::new(Load::default());
    let mut running = JoinSet::new();
    running.spawn(Arc::clone(&load).run(service.clone()));
    load.goes_on("at first").await;
    for role in [
        "master",
        "first agent",
        "second agent",
        "public agent",
        "dns",
    ] {
        apart.kill(role)?;
        load.goes_on(&format!("without {role}")).await;
        if role != "dns" {
            apart.names_are(2).await;
        }
        apart.start(role)?;
        apart.agents_are(3).await;
        apart.names_are(2).await;
        assert_eq!(apart.tasks_are(4).await, before, "after {role}");
        load.goes_on(&format!("with {role} again")).await;
    }
    load.is_paused.store(true, Ordering::SeqCst);
    apart.kill("edge")?;
    apart.start("edge")?;
    let answers = || async { apart.http.get_json::<Value>(&service).await };
    eventually("an answer through the new edge", answers).await;
    load.failures.lock().expect("nobody panics with it").clear();
    load.is_paused.store(false, Ordering::SeqCst);
    load.goes_on("with the edge again").await;

    // All that joined again does its work: one task more, and it is served and named.
    let status = apart
        .send(Method::PUT, "/v2/apps/zdd/base", &json!({"instances": 5}))
        .await?;
    assert_eq!(status, StatusCode::OK);
    let after = apart.tasks_are(5).await;
    assert!(before.iter().all(|task| after.iter().any(|t| t == task)));
    load.goes_on("with a task more").await;
    load.is_over.store(true, Ordering::SeqCst);
    running.join_all().await;

    // Killed as a whole, the tasks are left; they are told, and ended.
    for role in [
        "edge",
        "dns",
        "public agent",
        "second agent",
        "first agent",
        "master",
    ] {
        apart.kill(role)?;
    }
    let said = String::from_utf8_lossy(&apart.zddcluster("status")?.stderr).into_owned();
    assert!(said.contains("5 tasks were left behind"), "{said}");
    let said = String::from_utf8_lossy(&apart.zddcluster("down")?.stdout).into_owned();
    assert!(said.contains("ended 5 tasks"), "{said}");
    assert_eq!(after.keys().filter_map(|id| pid_of(id)).next(), None);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_another_token_does_not_join() -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    apart.start("master")?;
    apart.start("first agent")?;
    apart.agents_are(1).await;
    let wrong = apart.path("wrong");
    write_secret(&wrong, "another-token-0123456789")?;
    for (name, token_file) in [("wrong", Some(&wrong)), ("missing", None)] {
        let mut command = apart.command(&apart.arguments("second agent"));
        command.env_remove("ZDD_TOKEN_FILE");
        command.envs(token_file.map(|path| ("ZDD_TOKEN_FILE", path)));
        command.env("ZDD_LOG", "debug");
        let mut child = apart.spawn(name, command)?;
        // It tries again and again, and says so once.
        let log = eventually("several attempts", || async {
            let log = apart.log(name);
            match log.matches("still no link to the master").count() {
                0..3 => Err(log),
                _ => Ok(log),
            }
        })
        .await;
        child.kill()?;
        child.wait()?;
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
        let [warning] = warnings[..] else {
            panic!("{warnings:#?}")
        };
        let expected = match name {
            "wrong" => "the token is not this cluster's",
            _ => "a token is needed",
        };
        assert!(warning.contains("does not let this agent in"), "{warning}");
        assert!(warning.contains(expected), "{warning}");
    }
    apart.agents_are(1).await;
    // Neither escapes in the path nor another spelling of it go around the token.
    for path in [
        "/zdd/v1/agents/register",
        "/zdd/v1/%61gents/register",
        "//zdd//v1/agents/register",
        "/zdd/v1/edges/e/drained",
    ] {
        let status = apart.send(Method::POST, path, &json!({})).await?;
        assert!(
            [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND].contains(&status),
            "{path}: {status}"
        );
    }
    // `down` ends roles on their own as it ends `up`.
    let output = apart.zddcluster("down")?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    for (role, child) in &mut apart.running {
        let status = child.try_wait()?.with_context(|| format!("{role} lives"))?;
        assert!(status.success(), "{role} ended with {status}");
    }
    for role in ["master", "first agent", "wrong", "missing"] {
        let log = apart.log(role);
        assert!(
            !log.contains(TOKEN) && !log.contains("another-token"),
            "{role}: {log}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_agent_is_given_up_and_its_old_tasks_are_told_apart() -> anyhow::Result<()> {
    let mut apart = Apart::new()?;
    for role in ["master", "first agent", "second agent"] {
        apart.start(role)?;
    }
    apart.agents_are(2).await;
    let app: Value = serde_json::from_str(include_str!("../../../examples/default/base.json"))?;
    apart.send(Method::POST, "/v2/apps", &app).await?;
    let before = apart.tasks_are(4).await;

    // It closes nothing, as a host that lost its power.
    let frozen = apart.running["first agent"].id();
    signal(frozen, "-STOP")?;
    apart.agents_are(1).await;
    let replaced = eventually("four tasks beside the lost ones", || async {
        let tasks = apart.tasks_are(4).await;
        let n_kept = tasks.keys().filter(|id| before.contains_key(*id)).count();
        match n_kept {
            2 => Ok(tasks),
            n => Err(n),
        }
    })
    .await;

    signal(frozen, "-CONT")?;
    apart.agents_are(2).await;
    eventually("the old tasks to end", || async {
        let lost = before.keys().filter(|id| !replaced.contains_key(*id));
        let alive: Vec<_> = lost.filter(|id| pid_of(id).is_some()).collect();
        match alive.is_empty() {
            true => Ok(()),
            false => Err(format!("{alive:?}")),
        }
    })
    .await;
    assert_eq!(apart.tasks_are(4).await, replaced);
    Ok(())
}
