//! Each role as a process of its own, killed and started again one after the other: the others go on, the tasks keep their
//! processes, and who comes back joins.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use zddcluster_client::HttpClient;
use zddcluster_tests::{Net, eventually, zddcluster};

const TOKEN: &str = "a-token-for-the-roles-of-this-test";

/// How many answers of the service show that it goes on.
const MANY: u64 = 100;

/// Where the app is reached through the edge.
const SERVICE_PORT: u16 = 10_080;

/// A cluster whose roles are processes of their own.
struct Apart {
    net: Net,
    dir: TempDir,
    http: HttpClient,
    running: BTreeMap<&'static str, Child>,
}

impl Apart {
    fn new() -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("zdd-roles-")?;
        let this = Self {
            net: Net::take(),
            dir,
            http: HttpClient::new(),
            running: BTreeMap::new(),
        };
        write_secret(&this.path("token"), TOKEN)?;
        Ok(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, host: u8, port: u16, path: &str) -> String {
        format!("http://{}:{port}{path}", self.net.host(host))
    }

    fn front(&self, path: &str) -> String {
        self.url(1, 8080, path)
    }

    /// The arguments of a role.
    fn arguments(&self, role: &str) -> Vec<String> {
        let at = |host, port| format!("{}:{port}", self.net.host(host));
        let data = self.path("data").display().to_string();
        let agent = |host: u8, more: &[&str]| {
            let mut args = vec![
                "agent".to_owned(),
                "--master".to_owned(),
                format!("http://{}", at(1, 8080)),
                "--hostname".to_owned(),
                self.net.host(host).to_string(),
                "--work-dir".to_owned(),
                format!("{data}/agent-{host}"),
                "--containerizer".to_owned(),
                "process".to_owned(),
            ];
            args.extend(more.iter().map(|arg| (*arg).to_owned()));
            args
        };
        let words = |line: String| line.split(' ').map(str::to_owned).collect();
        match role {
            "master" => words(format!(
                "master --front {} --mesos {} --data-dir {data}",
                at(1, 8080),
                at(1, 5050)
            )),
            "first agent" => agent(11, &[]),
            "second agent" => agent(12, &[]),
            "public agent" => agent(2, &["--public"]),
            "dns" => words(format!(
                "dns --master http://{} --listen {}",
                at(1, 5050),
                at(1, 8053)
            )),
            "edge" => words(format!(
                "edge --host {} sse -m http://{} --group external",
                self.net.host(3),
                at(1, 8080)
            )),
            other => panic!("there is no {other}"),
        }
    }

    fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(zddcluster());
        command
            .args(args)
            .env("ZDD_TOKEN_FILE", self.path("token"))
            .env("ZDD_SPEED", "20")
            .env("ZDD_LOG", "info")
            .env("NO_COLOR", "1");
        command
    }

    fn start(&mut self, role: &'static str) -> anyhow::Result<()> {
        let child = self.spawn(role, self.command(&self.arguments(role)))?;
        self.running.insert(role, child);
        Ok(())
    }

    fn spawn(&self, name: &str, mut command: Command) -> anyhow::Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{name}.log")))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the binary under test")
    }

    /// kill -9.
    fn kill(&mut self, role: &'static str) -> anyhow::Result<()> {
        let mut child = self.running.remove(role).context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    fn zddcluster(&self, verb: &str) -> anyhow::Result<Output> {
        let data = self.path("data").display().to_string();
        let args = [verb.to_owned(), "--data-dir".to_owned(), data];
        Ok(self.command(&args).output()?)
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<StatusCode> {
        let request = Request::builder()
            .method(method)
            .uri(self.front(path))
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_string()))?;
        Ok(self
            .http
            .send(request, Duration::from_secs(10))
            .await?
            .status())
    }

    /// Waits until so many agents are joined to the master.
    async fn agents_are(&self, n_agents: usize) {
        eventually(&format!("{n_agents} agents"), || async {
            let state: Value = self
                .http
                .get_json(&self.front("/mesos/master/slaves"))
                .await
                .map_err(|error| format!("{error:?}"))?;
            let active = state["slaves"].as_array().map_or(0, |slaves| {
                slaves
                    .iter()
                    .filter(|slave| slave["active"] == true)
                    .count()
            });
            match active == n_agents {
                true => Ok(()),
                false => Err(format!("{state}")),
            }
        })
        .await;
    }

    /// Waits until so many tasks run; their processes by their ids.
    async fn tasks_are(&self, n_tasks: usize) -> BTreeMap<String, u32> {
        eventually(&format!("{n_tasks} running tasks"), || async {
            let answer: Value = self
                .http
                .get_json(&self.front("/v2/apps/zdd/base/tasks"))
                .await
                .map_err(|error| format!("{error:?}"))?;
            let tasks = answer["tasks"].as_array().cloned().unwrap_or_default();
            let running: BTreeMap<String, u32> = tasks
                .iter()
                .filter(|task| task["state"] == "TASK_RUNNING")
                .filter_map(|task| {
                    let id = task["id"].as_str()?;
                    Some((id.to_owned(), pid_of(id)?))
                })
                .collect();
            match running.len() == n_tasks && tasks.len() == n_tasks {
                true => Ok(running),
                false => Err(format!("{answer}, processes {running:?}")),
            }
        })
        .await
    }

    /// Waits until DNS knows so many addresses of the app.
    async fn names_are(&self, n_addresses: u16) {
        let server = (self.net.host(1), 8053);
        eventually(&format!("{n_addresses} addresses"), || async {
            let socket = UdpSocket::bind((self.net.host(1), 0)).map_err(|e| e.to_string())?;
            let wait = Some(Duration::from_millis(500));
            socket.set_read_timeout(wait).map_err(|e| e.to_string())?;
            let query = query_for(&["base-zdd", "marathon", "mesos"]);
            socket.send_to(&query, server).map_err(|e| e.to_string())?;
            let mut answer = [0; 1500];
            let n_bytes = socket.recv(&mut answer).map_err(|e| e.to_string())?;
            match u16::from_be_bytes([answer[6], answer[7]]) {
                found if n_bytes > 12 && found == n_addresses => Ok(()),
                found => Err(format!("{found} answers")),
            }
        })
        .await;
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self.zddcluster("down");
        if std::thread::panicking() {
            use std::io::Write as _;
            for role in self.running.keys() {
                let log = self.log(role);
                let mut tail: Vec<&str> = log.lines().rev().take(40).collect();
                tail.reverse();
                let _ = writeln!(std::io::stderr(), "--- {role}\n{}", tail.join("\n"));
            }
        }
    }
}

fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// The process of a task: not its executor, which has the id among its arguments at most.
fn pid_of(task_id: &str) -> Option<u32> {
    let marker = format!("MESOS_TASK_ID={task_id}");
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let environ = fs::read(entry.path().join("environ")).ok()?;
        environ
            .split(|byte| *byte == 0)
            .any(|variable| variable == marker.as_bytes())
            .then_some(pid)
    })
}

/// A DNS query for addresses.
fn query_for(labels: &[&str]) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        query.push(u8::try_from(label.len()).expect("labels are short"));
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}

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

    let text = include_str!("../../examples/default/base.json");
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
    let app: Value = serde_json::from_str(include_str!("../../examples/default/base.json"))?;
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

fn signal(pid: u32, which: &str) -> anyhow::Result<()> {
    let status = Command::new("kill")
        .args([which, &pid.to_string()])
        .status()?;
    anyhow::ensure!(status.success(), "kill {which} {pid}: {status}");
    Ok(())
}
