//! A cluster whose roles are processes of their own, so that each can be killed and started again alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use zddcluster_client::HttpClient;

use crate::{LIMIT, Net, eventually, zddcluster};

/// What lets agents and edges in.
pub const TOKEN: &str = "a-token-for-the-roles-of-this-test";

/// A cluster whose roles are processes of their own.
#[derive(Debug)]
pub struct Apart {
    net: Net,
    dir: TempDir,
    /// A client of the front door.
    pub http: HttpClient,
    /// The processes by their roles; those still here at the end are killed.
    pub running: BTreeMap<&'static str, Child>,
}

impl Apart {
    /// Nothing runs yet.
    pub fn new() -> anyhow::Result<Self> {
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

    /// A file in the directory of all roles.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The address with this last byte.
    pub fn host(&self, host: u8) -> Ipv4Addr {
        self.net.host(host)
    }

    /// A URL at any role.
    pub fn url(&self, host: u8, port: u16, path: &str) -> String {
        format!("http://{}:{port}{path}", self.net.host(host))
    }

    /// A URL at the master's front door.
    pub fn front(&self, path: &str) -> String {
        self.url(1, 8080, path)
    }

    /// The arguments of a role.
    pub fn arguments(&self, role: &str) -> Vec<String> {
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
            // Where the first one lives, while that still has its port.
            "first agent again" => agent(11, &["--port", "5052"]),
            "second agent" => agent(12, &[]),
            "public agent" => agent(2, &["--public"]),
            "dns" => words(format!(
                "dns --master http://{} --listen {} --data-dir {data}",
                at(1, 5050),
                at(1, 8053)
            )),
            "edge" => words(format!(
                "edge --host {} --data-dir {data} sse -m http://{} --group external",
                self.net.host(3),
                at(1, 8080)
            )),
            other => panic!("there is no {other}"),
        }
    }

    /// The binary with these arguments, for this cluster.
    pub fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new(zddcluster());
        command
            .args(args)
            .env("ZDD_TOKEN_FILE", self.path("token"))
            .env("ZDD_SPEED", "20")
            .env("ZDD_LOG", "info")
            .env("NO_COLOR", "1");
        command
    }

    /// Starts a role.
    pub fn start(&mut self, role: &'static str) -> anyhow::Result<()> {
        self.start_with(role, &[], &[])
    }

    /// The same with more arguments and environment.
    pub fn start_with(
        &mut self,
        role: &'static str,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let mut command = self.command(&self.arguments(role));
        command.args(args).envs(env.iter().copied());
        let child = self.spawn(role, command)?;
        self.running.insert(role, child);
        Ok(())
    }

    /// Starts a process whose log has this name; it is the caller's.
    pub fn spawn(&self, name: &str, mut command: Command) -> anyhow::Result<Child> {
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
    pub fn kill(&mut self, role: &'static str) -> anyhow::Result<()> {
        let mut child = self.running.remove(role).context("it does not run")?;
        let ended = child.try_wait()?;
        ensure!(ended.is_none(), "{role} had ended by itself: {ended:?}");
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub async fn end_of(&mut self, role: &'static str) -> anyhow::Result<ExitStatus> {
        let mut child = self.running.remove(role).context("it does not run")?;
        let deadline = tokio::time::Instant::now() + LIMIT;
        while tokio::time::Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.running.insert(role, child);
        bail!("{role} does not end")
    }

    /// What a role has said so far.
    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default()
    }

    /// Runs a verb about the data directory.
    pub fn zddcluster(&self, verb: &str) -> anyhow::Result<Output> {
        let data = self.path("data").display().to_string();
        let args = [verb.to_owned(), "--data-dir".to_owned(), data];
        Ok(self.command(&args).output()?)
    }

    /// Sends a request to the front door; its status.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<StatusCode> {
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

    /// The same as an agent or an edge, which know the token; with the answer's body.
    pub async fn send_as_member(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<(StatusCode, String)> {
        let request = Request::builder()
            .method(method)
            .uri(self.front(path))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {TOKEN}"))
            .body(Bytes::from(body.to_string()))?;
        let answer = self.http.send(request, Duration::from_secs(10)).await?;
        let body = String::from_utf8_lossy(answer.body()).into_owned();
        Ok((answer.status(), body))
    }

    /// Waits until so many agents are joined to the master.
    pub async fn agents_are(&self, n_agents: usize) {
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

    /// Waits until no deployment runs.
    pub async fn has_no_deployment(&self) {
        eventually("the deployment to end", || async {
            let answer = self.http.get_json(&self.front("/v2/deployments")).await;
            match answer {
                Ok(Value::Array(running)) if running.is_empty() => Ok(()),
                Ok(other) => Err(other.to_string()),
                Err(error) => Err(format!("{error:?}")),
            }
        })
        .await;
    }

    /// Waits until so many tasks run; their processes by their ids.
    pub async fn tasks_are(&self, n_tasks: usize) -> BTreeMap<String, u32> {
        self.tasks_of("/zdd/base", n_tasks).await
    }

    /// The same for another app.
    pub async fn tasks_of(&self, app_id: &str, n_tasks: usize) -> BTreeMap<String, u32> {
        eventually(&format!("{n_tasks} running tasks"), || async {
            let answer: Value = self
                .http
                .get_json(&self.front(&format!("/v2/apps{app_id}/tasks")))
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

    /// How many addresses DNS knows of the app, if it answers.
    fn n_names(&self) -> std::io::Result<u16> {
        let socket = UdpSocket::bind((self.net.host(1), 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        let query = query_for(&["base-zdd", "marathon", "mesos"]);
        socket.send_to(&query, (self.net.host(1), 8053))?;
        let mut answer = [0; 1500];
        socket.recv(&mut answer)?;
        Ok(u16::from_be_bytes([answer[6], answer[7]]))
    }

    /// Waits until DNS knows so many addresses of the app.
    pub async fn names_are(&self, n_addresses: u16) {
        eventually(&format!("{n_addresses} addresses"), || async {
            match self.n_names() {
                Ok(found) if found == n_addresses => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Waits until DNS listens; without a master it knows nothing.
    pub async fn dns_listens(&self) {
        eventually("DNS to listen", || async {
            TcpStream::connect((self.net.host(1), 8053))
        })
        .await;
    }

    /// Waits until the edge answers for itself.
    pub async fn edge_answers(&self) {
        let url = self.url(3, 9090, "/_haproxy_health_check");
        eventually("the edge to answer", || async {
            let request = Request::get(&url).body(Bytes::new());
            let request = request.map_err(|error| error.to_string())?;
            let answer = self.http.send(request, Duration::from_secs(2)).await;
            answer.map_err(|error| format!("{error:?}"))
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

/// Writes a file that only its owner can read.
pub fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// The process of a task: not its executor, which has the id among its arguments at most.
pub fn pid_of(task_id: &str) -> Option<u32> {
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

/// As the `kill` command sends it.
pub fn signal(pid: u32, which: &str) -> anyhow::Result<()> {
    let status = Command::new("kill")
        .args([which, &pid.to_string()])
        .stderr(Stdio::null())
        .status()?;
    anyhow::ensure!(status.success(), "kill {which} {pid}: {status}");
    Ok(())
}
