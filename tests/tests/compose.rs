//! The compose file: a container for each role, the lab from the host, and each container stopped in turn.
//!
//! Names, network, addresses and token are the test's own; images are made from the executable under test. It needs the machine's
//! engine, which lets the containers of a network speak to each other, and `docker-compose` or `docker compose`.

#![expect(clippy::print_stderr, reason = "a skipped test says why")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use zddcluster_client::HttpClient;
use zddcluster_probe::{Config, run};
use zddcluster_tests::{Engine, Net, eventually, zddcluster};

/// Requests a second while blue becomes green. All else on this machine has a share of it, too.
const RATE: f64 = 50.0;

/// For an answer through the edge while an agent's address is gone: three seconds for each of its tasks that is tried.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long tasks are there that stay: the master has decided about others by then.
const STAYS: Duration = Duration::from_secs(1);

/// All roles of the file.
const ROLES: [&str; 6] = ["master", "agent1", "agent2", "public", "dns", "edge"];

/// The cluster; dropped, its containers, volumes, network and images are taken away.
struct Compose {
    engine: Engine,
    /// `docker-compose`, or `docker compose`.
    words: &'static [&'static str],
    name: String,
    net: Net,
    dir: TempDir,
    http: HttpClient,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What runs compose files here.
fn composer(engine: &Engine) -> Option<&'static [&'static str]> {
    let candidates: [&[&str]; 2] = [&["docker-compose"], &["docker", "compose"]];
    candidates.into_iter().find(|words| {
        let version = Command::new(words[0])
            .args(&words[1..])
            .arg("version")
            .env("DOCKER_HOST", engine.host())
            .output();
        version.is_ok_and(|output| output.status.success())
    })
}

impl Compose {
    /// Makes the images and starts all roles; `None` after telling why not.
    fn start() -> anyhow::Result<Option<Self>> {
        let Some(engine) = Engine::of_the_machine() else {
            return Ok(None);
        };
        let Some(words) = composer(&engine) else {
            eprintln!("skipped: neither `docker-compose` nor `docker compose` is installed");
            return Ok(None);
        };
        let this = Self {
            engine,
            words,
            name: format!("zddtest{}", std::process::id()),
            net: Net::take(),
            dir: TempDir::with_prefix("zdd-compose-")?,
            http: HttpClient::new(),
        };
        let mut build = this.with_settings(Command::new(repository().join("docker/build.sh")));
        done(build.arg(zddcluster()).output()?, "docker/build.sh")?;
        this.compose(&["up", "-d"])?;
        Ok(Some(this))
    }

    fn token_file(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// What sets this cluster apart from the one a user may have started.
    fn with_settings(&self, mut command: Command) -> Command {
        command
            .env("DOCKER_HOST", self.engine.host())
            .env("ZDD_IMAGE", &self.name)
            .env("ZDD_TOKEN_FILE", self.token_file())
            // Three numbers; processes that run at once differ in the last.
            .env("ZDD_SUBNET", format!("10.214.{}", std::process::id() % 250))
            .env("MASTER_ADDRESS", self.net.host(1).to_string())
            .env("EDGE_ADDRESS", self.net.host(2).to_string())
            .env("ZDD_SPEED", "10");
        command
    }

    fn compose(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = self.with_settings(Command::new(self.words[0]));
        command
            .args(&self.words[1..])
            .args(["--project-name", &self.name, "--file"])
            .arg(repository().join("docker/docker-compose.yml"))
            .args(args);
        done(command.output()?, &format!("compose {args:?}"))
    }

    fn container(&self, role: &str) -> anyhow::Result<String> {
        let id = self.compose(&["ps", "--quiet", role])?;
        Ok(id.trim().to_owned())
    }

    fn stop(&self, role: &str) -> anyhow::Result<()> {
        let container = self.container(role)?;
        self.engine.docker(&["stop", "--time", "15", &container])?;
        // It went by itself, not because it was late.
        let state = self.engine.inspect(&container)?;
        ensure!(
            state["State"]["ExitCode"] == 0,
            "{role}: {}",
            state["State"]
        );
        Ok(())
    }

    fn dcos(&self, args: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(zddcluster());
        command
            .arg("dcos")
            .args(args)
            .env("DCOS_URL", format!("http://{}:8080", self.net.host(1)))
            .env("ZDD_TOKEN_FILE", self.token_file())
            .env("NO_COLOR", "1")
            .current_dir(repository().join("examples/blue-green"));
        done(command.output()?, &format!("dcos {args:?}"))
    }

    /// An answer of the API, for who knows the token.
    async fn get(&self, path: &str) -> Result<Value, String> {
        let token = std::fs::read_to_string(self.token_file()).map_err(|e| e.to_string())?;
        let request = Request::get(format!("http://{}:8080{path}", self.net.host(1)))
            .header("authorization", format!("Bearer {}", token.trim()))
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let answer = self.http.send(request, Duration::from_secs(5)).await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        serde_json::from_slice(answer.body()).map_err(|error| error.to_string())
    }

    fn service(&self) -> String {
        format!("http://{}:10080/endpoint0", self.net.host(2))
    }

    /// The version of the service behind the edge.
    async fn version(&self) -> Result<String, String> {
        let request = Request::get(self.service()).body(Bytes::new());
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.http.send(request, PATIENCE).await;
        let answer = answer.map_err(|error| format!("{error:?}"))?;
        let answer: Value = serde_json::from_slice(answer.body()).map_err(|e| e.to_string())?;
        Ok(answer["version"].as_str().unwrap_or_default().to_owned())
    }

    /// How many addresses DNS has for green.
    fn n_names(&self) -> Result<usize, String> {
        let server = (self.net.host(1), 8053);
        let ask = || -> std::io::Result<usize> {
            // The proxy of the host takes connections for a container that is gone, so only an answer counts.
            let socket = UdpSocket::bind((self.net.host(1), 0))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in ["green-zdd", "marathon", "mesos"] {
                query.push(u8::try_from(label.len()).expect("labels are short"));
                query.extend(label.as_bytes());
            }
            query.extend([0, 0, 1, 0, 1]);
            socket.send_to(&query, server)?;
            let mut answer = [0; 1500];
            socket.recv(&mut answer)?;
            Ok(usize::from(u16::from_be_bytes([answer[6], answer[7]])))
        };
        ask().map_err(|error| error.to_string())
    }

    async fn settled(&self) {
        eventually("the deployments to end", || async {
            match self.get("/v2/deployments").await? {
                Value::Array(running) if running.is_empty() => Ok(()),
                running => Err(running.to_string()),
            }
        })
        .await;
    }

    async fn agents_are(&self, n_agents: usize) {
        eventually(&format!("{n_agents} agents"), || async {
            let state = self.get("/mesos/master/slaves").await?;
            let slaves = state["slaves"].as_array().map_or(&[][..], Vec::as_slice);
            let active = slaves.iter().filter(|slave| slave["active"] == true);
            match active.count() == n_agents {
                true => Ok(()),
                false => Err(state.to_string()),
            }
        })
        .await;
    }

    /// Green as one answer shows it: how many of its tasks are healthy, and their ids with their hosts.
    async fn green(&self) -> Result<(u64, BTreeMap<String, String>), String> {
        let app = self.get("/v2/apps//zdd/green").await?;
        let text = |task: &Value, key: &str| task[key].as_str().map(str::to_owned);
        let tasks = app["app"]["tasks"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let tasks = tasks
            .iter()
            .map(|it| Some((text(it, "id")?, text(it, "host")?)));
        let tasks = tasks.collect::<Option<_>>();
        let healthy = app["app"]["tasksHealthy"].as_u64();
        healthy.zip(tasks).ok_or_else(|| app.to_string())
    }

    /// Waits until all is as it should be: API, agents, tasks, names, service. Where an agent has been away there are six tasks for a
    /// while, its own and others instead of them; four may be healthy then, but they are not those that stay.
    async fn is_well(&self) {
        self.agents_are(3).await;
        eventually("four healthy tasks that stay, named and served", || async {
            let (healthy, tasks) = self.green().await?;
            let (hosts, names) = (n_hosts(&tasks), self.n_names()?);
            let version = self.version().await?;
            tokio::time::sleep(STAYS).await;
            let then = self.green().await?;
            match healthy == 4 && tasks.len() == 4 && names == hosts && version == "1.0" {
                true if then == (healthy, tasks) => Ok(()),
                _ => Err(format!(
                    "{healthy} healthy on {hosts} hosts, {names} names, {version}, then {then:?}"
                )),
            }
        })
        .await;
    }
}

/// On how many hosts tasks are.
fn n_hosts(tasks: &BTreeMap<String, String>) -> usize {
    tasks.values().collect::<BTreeSet<_>>().len()
}

fn done(output: Output, what: &str) -> anyhow::Result<String> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{what}: {}: {stderr}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Drop for Compose {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.compose(&["logs", "--no-color", "--tail", "40"]);
            eprintln!(
                "--- logs\n{}",
                logs.unwrap_or_else(|error| format!("{error:#}"))
            );
        }
        if let Err(error) = self.compose(&["down", "--volumes", "--timeout", "1"]) {
            eprintln!("cannot take it away: {error:#}");
        }
        let images = [self.name.clone(), format!("{}/simpleservice", self.name)];
        for image in images {
            let _ = self.engine.docker(&["rmi", "--force", &image]);
        }
    }
}

/// Blue becomes green as in the lab, under load.
async fn switch(compose: &Compose) -> anyhow::Result<()> {
    compose.dcos(&["marathon", "app", "add", "blue.json"])?;
    compose.settled().await;
    eventually("blue behind the edge", || async {
        match compose.version().await? {
            version if version == "0.9" => Ok(()),
            version => Err(version),
        }
    })
    .await;
    let stop = CancellationToken::new();
    let probe = Config::new(&compose.service(), RATE)?;
    #[expect(clippy::disallowed_methods, reason = "joined at the end of the test")]
    let probing = tokio::spawn(run(probe, stop.clone()));
    compose.dcos(&["marathon", "app", "add", "green.json"])?;
    compose.settled().await;
    let blue = std::fs::read_to_string(repository().join("examples/blue-green/blue.json"))?;
    let blue: Value = serde_json::from_str(&blue)?;
    let labels = format!("labels={}", blue["labels"]);
    compose.dcos(&["marathon", "app", "update", "/zdd/green", &labels])?;
    compose.settled().await;
    compose.dcos(&["marathon", "app", "update", "/zdd/blue", "instances=0"])?;
    compose.settled().await;
    compose.is_well().await;
    stop.cancel();
    let report = probing.await?;
    assert_eq!(report.failed, 0, "{}", report.table());
    for version in ["0.9", "1.0"] {
        assert!(
            report.by_version.contains_key(version),
            "{}",
            report.table()
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lab_works_from_the_host_and_each_role_may_stop() -> anyhow::Result<()> {
    let Some(compose) = Compose::start()? else {
        return Ok(());
    };
    compose.agents_are(3).await;
    for role in ROLES {
        ensure!(
            !compose.container(role)?.is_empty(),
            "{role} has no container"
        );
    }
    switch(&compose).await?;

    for role in ["master", "agent1", "public", "dns", "edge"] {
        let (_, tasks) = compose.green().await.map_err(anyhow::Error::msg)?;
        let n_hosts = n_hosts(&tasks);
        compose
            .stop(role)
            .with_context(|| format!("stopping {role}"))?;
        // All others do their work.
        if role != "edge" {
            for _ in 0..4 {
                let version = compose.version().await;
                assert_eq!(version.as_deref(), Ok("1.0"), "without {role}");
            }
        }
        if role != "dns" {
            let names = compose.n_names();
            // An agent's tasks are named until they are given up and replaced elsewhere.
            let are_known = match role {
                "agent1" => matches!(names, Ok(n_names) if (1..=n_hosts).contains(&n_names)),
                _ => names == Ok(n_hosts),
            };
            assert!(
                are_known,
                "without {role}: {names:?} names, {n_hosts} hosts before"
            );
        }
        match role {
            "master" => {
                let answer = compose.get("/v2/apps").await;
                assert!(answer.is_err(), "{answer:?}");
            }
            "agent1" | "public" => compose.agents_are(2).await,
            _ => {
                let healthy = compose.green().await.map(|(healthy, _)| healthy);
                assert_eq!(healthy, Ok(4), "without {role}");
            }
        }
        let container = compose.container(role)?;
        compose.engine.docker(&["start", &container])?;
        compose.is_well().await;
    }
    Ok(())
}
