//! A cluster whose parts can be killed one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use zddcluster_client::HttpClient;
use zddcluster_tests::{Engine, Net, eventually, processes_of, seconds, variable_of, zddcluster};

const APP: &str = "/matrix/app";

/// Tasks of one revision of the app.
pub(crate) const REVISION_TASKS: usize = 3;

/// A master that is only just back may take its time for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// Who runs the tasks.
#[derive(Clone, Debug)]
pub(crate) enum Runner {
    Processes,
    Containers(Arc<Engine>),
}

/// What is one process, and what are several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Together,
    Apart,
}

/// The cluster; dropped, it is ended with all its tasks.
pub(crate) struct Parts {
    runner: Runner,
    layout: Layout,
    net: Net,
    dir: TempDir,
    http: HttpClient,
    running: BTreeMap<&'static str, Child>,
    /// Starts of containers, by container and time.
    starts: BTreeMap<(String, i64), String>,
    /// When the engine was asked for starts last, seconds since 1970.
    noted_at: u64,
}

impl Parts {
    /// Starts all parts, and waits until the agents have joined.
    pub(crate) async fn start(runner: Runner, layout: Layout) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("zdd-matrix-")?;
        let mut parts = Self {
            runner,
            layout,
            net: Net::take(),
            dir,
            http: HttpClient::new(),
            running: BTreeMap::new(),
            starts: BTreeMap::new(),
            noted_at: seconds(),
        };
        let token = parts.path("token");
        fs::write(&token, "a-token-for-the-parts-of-this-test")?;
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600))?;
        for role in parts.roles() {
            parts.start_role(role)?;
        }
        parts.agents_are_back().await;
        Ok(parts)
    }

    const fn roles(&self) -> &'static [&'static str] {
        match self.layout {
            Layout::Together => &["up"],
            Layout::Apart => &["master", "first agent", "second agent"],
        }
    }

    const fn n_agents(&self) -> usize {
        match self.layout {
            // With the public one.
            Layout::Together => 3,
            Layout::Apart => 2,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}:8080{path}", self.net.host(1))
    }

    pub(crate) const fn engine(&self) -> Option<&Arc<Engine>> {
        match &self.runner {
            Runner::Processes => None,
            Runner::Containers(engine) => Some(engine),
        }
    }

    fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(zddcluster());
        command
            .args(args)
            .env("ZDD_DATA_DIR", self.path("data"))
            .env("ZDD_CONTAINERIZER", "process")
            .env("ZDD_SPEED", "20")
            .env("ZDD_LOG", "debug")
            .env("NO_COLOR", "1")
            .envs(
                self.engine()
                    .map(|engine| engine.env())
                    .into_iter()
                    .flatten(),
            );
        if self.layout == Layout::Apart {
            command.env("ZDD_TOKEN_FILE", self.path("token"));
        }
        command
    }

    fn start_role(&mut self, role: &'static str) -> anyhow::Result<()> {
        let host = |host: u8| self.net.host(host);
        let data = self.path("data").display().to_string();
        let agent = |n: u8| {
            format!(
                "agent --master {} --hostname {} --work-dir {data}/agent-{n}",
                self.url(""),
                host(n)
            )
        };
        let line = match role {
            "up" => format!("up --net {}", self.net.cidr()),
            "master" => format!(
                "master --front {}:8080 --mesos {}:5050 --data-dir {data}",
                host(1),
                host(1)
            ),
            "first agent" => agent(11),
            "second agent" => agent(12),
            other => panic!("there is no {other}"),
        };
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path(&format!("{role}.log")))?;
        let child = self
            .command(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start the binary under test")?;
        self.running.insert(role, child);
        Ok(())
    }

    /// Starts a part that was killed.
    pub(crate) fn restart(&mut self, role: &'static str) -> anyhow::Result<()> {
        self.start_role(role)
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, role: &'static str) -> anyhow::Result<()> {
        let mut child = self.running.remove(role).context("it does not run")?;
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "{role} had ended by itself: {ended:?}");
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// The app, whose tasks say when they are started, outside of their sandbox.
    fn app(&self, revision: u64) -> Value {
        let mut app = json!({
            "id": APP,
            "instances": REVISION_TASKS,
            "cpus": 0.1,
            "mem": 32,
            "env": {"REVISION": revision.to_string()},
            "upgradeStrategy": {"minimumHealthCapacity": 1, "maximumOverCapacity": 0},
        });
        match self.runner {
            // The engine itself keeps account of starts.
            Runner::Containers(_) => {
                app["container"] = json!({
                    "type": "DOCKER",
                    "docker": {"image": "mhausenblas/simpleservice:0.4.0", "network": "HOST"},
                });
            }
            Runner::Processes => {
                let journal = self.path("starts");
                app["cmd"] = json!(format!(
                    "echo $MESOS_TASK_ID >> {} && exec sleep 100000",
                    journal.display()
                ));
            }
        }
        app
    }

    pub(crate) async fn post(&self, revision: u64) -> anyhow::Result<()> {
        self.send(Method::POST, "/v2/apps", revision).await
    }

    pub(crate) async fn put(&self, revision: u64) -> anyhow::Result<()> {
        self.send(Method::PUT, &format!("/v2/apps/{APP}"), revision)
            .await
    }

    async fn send(&self, method: Method, path: &str, revision: u64) -> anyhow::Result<()> {
        let request = Request::builder()
            .method(method)
            .uri(self.url(path))
            .header("content-type", "application/json")
            .body(Bytes::from(self.app(revision).to_string()))?;
        let answer = self.http.send(request, ANSWER_LIMIT).await?;
        let status = answer.status();
        ensure!(status.is_success(), "{status}: {:?}", answer.body());
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Value, String> {
        let answer = self.http.get_json(&self.url(path)).await;
        answer.map_err(|error| format!("{error:?}"))
    }

    /// Waits until all agents are joined to the master.
    pub(crate) async fn agents_are_back(&self) {
        eventually("all agents", || async {
            let state = self.get("/mesos/master/slaves").await?;
            let slaves = state["slaves"].as_array().map_or(&[][..], Vec::as_slice);
            let n_active = slaves
                .iter()
                .filter(|slave| slave["active"] == true)
                .count();
            match n_active == self.n_agents() {
                true => Ok(()),
                false => Err(state.to_string()),
            }
        })
        .await;
    }

    /// Whether no deployment runs.
    pub(crate) async fn is_settled(&self) -> Result<bool, String> {
        Ok(self.get("/v2/deployments").await? == json!([]))
    }

    /// Waits until no deployment runs.
    pub(crate) async fn settled(&self) {
        eventually("the deployment to end", || async {
            match self.get("/v2/deployments").await? {
                running if running == json!([]) => Ok(()),
                running => Err(running.to_string()),
            }
        })
        .await;
    }

    /// Waits until the app's tasks are running ones of this revision, and only these; their processes by their ids.
    pub(crate) async fn tasks_of(&self, revision: u64) -> BTreeMap<String, u32> {
        eventually("the app's tasks to run", || async {
            let tasks = self.get(&format!("/v2/apps/{APP}/tasks")).await?;
            let tasks = tasks["tasks"].as_array().cloned().unwrap_or_default();
            let living = self.living().map_err(|error| format!("{error:#}"))?;
            let running: BTreeMap<String, u32> = tasks
                .iter()
                .filter(|task| task["state"] == "TASK_RUNNING")
                .filter_map(|task| task["id"].as_str())
                .filter_map(|id| Some((id.to_owned(), *living.get(id)?)))
                .filter(|(_, pid)| {
                    variable_of(*pid, "REVISION").as_deref() == Some(&revision.to_string())
                })
                .collect();
            match running.len() == REVISION_TASKS && tasks.len() == REVISION_TASKS {
                true => Ok(running),
                false => Err(format!("{tasks:?}, living {living:?}")),
            }
        })
        .await
    }

    /// The tasks of this cluster that live, by id, whoever knows of them.
    ///
    /// # Errors
    /// When a task has two containers or processes, or a container has ended and is still there.
    pub(crate) fn living(&self) -> anyhow::Result<BTreeMap<String, u32>> {
        let mut living = BTreeMap::new();
        let mut add = |task_id: String, pid: u32| {
            let other = living.insert(task_id.clone(), pid);
            ensure!(other.is_none(), "{task_id} lives twice: {other:?}, {pid}");
            Ok(())
        };
        match self.engine() {
            Some(engine) => {
                for container in engine.containers(&self.path("data"))? {
                    add(container.task_id, container.pid)?;
                }
            }
            None => {
                for pid in processes_of(&self.path("data")).into_keys() {
                    // Executors are told of no such variable.
                    if let Some(task_id) = variable_of(pid, "MESOS_TASK_ID") {
                        add(task_id, pid)?;
                    }
                }
            }
        }
        Ok(living)
    }

    /// Takes down what the engine has told of starts until now. It forgets when it ends: of a start just before that, the
    /// container that runs is all there is to tell.
    pub(crate) fn note_starts(&mut self) -> anyhow::Result<()> {
        let Some(engine) = self.engine().cloned() else {
            return Ok(());
        };
        let data = self.path("data");
        // Looked at first, so that the start of each that began in this life of the engine is among what is told next.
        let containers = engine.containers(&data)?;
        let since = std::mem::replace(&mut self.noted_at, seconds().saturating_sub(1));
        let told = engine.starts(since, &data.display().to_string())?;
        self.starts.extend(told);
        for container in containers.into_iter().filter(|it| it.pid != 0) {
            let mut noted = self.starts.keys();
            if !noted.any(|(id, _)| *id == container.id) {
                self.starts.insert((container.id, 0), container.task_id);
            }
        }
        Ok(())
    }

    /// The ids of all tasks that were ever started, and how often.
    ///
    /// # Errors
    /// When one was started twice.
    pub(crate) fn started(&self) -> anyhow::Result<BTreeSet<String>> {
        let ids: Vec<String> = match self.runner {
            Runner::Processes => fs::read_to_string(self.path("starts"))
                .unwrap_or_default()
                .lines()
                .map(str::to_owned)
                .collect(),
            Runner::Containers(_) => self.starts.values().cloned().collect(),
        };
        let mut started = BTreeSet::new();
        for id in ids {
            ensure!(started.insert(id.clone()), "{id} was started twice");
        }
        Ok(started)
    }

    /// Kills all parts, and has `down` end the tasks they leave.
    pub(crate) fn stop(&mut self) -> anyhow::Result<()> {
        for role in self.roles() {
            self.kill(role)?;
        }
        let output = self.command(&["down".to_owned()]).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "down: {}: {stderr}", output.status);
        Ok(())
    }

    /// Waits until no process of the cluster is left.
    pub(crate) async fn is_gone(&self) {
        eventually("all processes to be gone", || async {
            let left = processes_of(self.dir.path());
            match left.is_empty() {
                true => Ok(()),
                false => Err(left),
            }
        })
        .await;
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if std::thread::panicking() {
            use std::io::Write as _;
            let mut stderr = std::io::stderr();
            for role in self.roles() {
                let log = fs::read_to_string(self.path(&format!("{role}.log"))).unwrap_or_default();
                let mut tail: Vec<&str> = log.lines().rev().take(150).collect();
                tail.reverse();
                let _ = writeln!(stderr, "--- {role}\n{}", tail.join("\n"));
            }
        }
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = self
            .command(&["down".to_owned(), "--timeout".to_owned(), "2".to_owned()])
            .output();
    }
}
