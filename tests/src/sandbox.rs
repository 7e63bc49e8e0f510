//! One cluster under test.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use zddcluster_client::{HttpClient, HttpError};

use crate::{Net, SmallDisk, eventually, zddcluster};

/// How long `up` may take before a test gives it up.
const UP_LIMIT: Duration = Duration::from_secs(30);

/// How a cluster is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// More arguments of `up`.
    pub args: Vec<String>,
    /// More environment of `up`.
    pub env: Vec<(String, String)>,
    /// Another executable than the one under test.
    pub binary: Option<PathBuf>,
    /// Megabytes of a disk of its own for the data directory. Needs the right to mount.
    pub disk_megabytes: Option<u32>,
}

impl Options {
    /// These arguments, and nothing else.
    pub fn args(args: &[&str]) -> Self {
        Self {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// A running cluster; dropped, it is ended with all its tasks.
#[derive(Debug)]
pub struct ClusterSandbox {
    net: Net,
    /// Mounted on the data directory; unmounted before that is removed.
    disk: Option<SmallDisk>,
    dir: TempDir,
    options: Options,
    up: Option<Up>,
    http: HttpClient,
}

#[derive(Debug)]
struct Up {
    child: Child,
    /// What it said until it was ready.
    announcement: String,
    /// From before its start to its word that it is ready.
    took: Duration,
}

impl ClusterSandbox {
    /// Starts a cluster with two private agents and a public one, and waits until it is ready.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// The same with other settings.
    pub async fn start_with(options: Options) -> anyhow::Result<Self> {
        let dir = TempDir::with_prefix("zdd-test-")?;
        let disk = match options.disk_megabytes {
            Some(megabytes) => {
                let data_dir = dir.path().join("data");
                std::fs::create_dir(&data_dir)?;
                Some(SmallDisk::mount(&data_dir, megabytes).context("cannot mount a tmpfs here")?)
            }
            None => None,
        };
        let mut sandbox = Self {
            net: Net::take(),
            disk,
            dir,
            options,
            up: None,
            http: HttpClient::new(),
        };
        sandbox.up().await?;
        Ok(sandbox)
    }

    /// Starts `up` again, after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub async fn up(&mut self) -> anyhow::Result<()> {
        ensure!(self.up.is_none(), "the cluster runs already");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.log_path())?;
        let started = Instant::now();
        let mut child = self
            .command(&["up", "--net", &self.net.cidr()])
            .args(&self.options.args)
            .envs(self.options.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("cannot start the binary under test")?;
        let stdout = child.stdout.take().context("the pipe was just asked for")?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut said = String::new();
            let mut lines = BufReader::new(stdout);
            while lines.read_line(&mut said)? > 0 {
                if said
                    .lines()
                    .last()
                    .is_some_and(|line| line.starts_with("ready in "))
                {
                    // The pipe is kept open by forgetting to close it: `up` may say more later.
                    std::mem::forget(lines);
                    break;
                }
            }
            std::io::Result::Ok(said)
        });
        let said = tokio::time::timeout(UP_LIMIT, reading)
            .await
            .context("`up` is not ready")???;
        let took = started.elapsed();
        if !said.contains("ready in ") {
            let status = child.wait()?;
            bail!("`up` ended with {status} after saying {said:?}");
        }
        self.up = Some(Up {
            child,
            announcement: said,
            took,
        });
        Ok(())
    }

    /// From the next start on, `up` gets these arguments.
    pub fn set_args(&mut self, args: &[&str]) {
        self.options.args = Options::args(args).args;
    }

    /// `zddcluster` with these arguments, for this cluster.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = match &self.options.binary {
            Some(binary) => Command::new(binary),
            None => Command::new(zddcluster()),
        };
        command
            .args(args)
            .env("ZDD_DATA_DIR", self.data_dir())
            .env("ZDD_LOG", "debug")
            // What the tests see does not depend on whether a Docker engine happens to run here.
            .env("ZDD_CONTAINERIZER", "process")
            .env("NO_COLOR", "1")
            .current_dir(examples());
        command
    }

    /// Runs `zddcluster dcos` with these arguments, standard input given as a text.
    pub async fn dcos(&self, args: &[&str], input: &str) -> anyhow::Result<Output> {
        let mut child = self
            .command(&["dcos"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child
            .stdin
            .take()
            .context("the pipe was just asked for")?
            .write_all(input.as_bytes())?;
        Ok(tokio::task::spawn_blocking(move || child.wait_with_output()).await??)
    }

    /// The same for a command that has to succeed; returns what it printed.
    pub async fn dcos_ok(&self, args: &[&str], input: &str) -> anyhow::Result<String> {
        let output = self.dcos(args, input).await?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "dcos {args:?}: {}: {stderr}",
            output.status
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// kill -9 of `up`; its tasks live on.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut up = self.up.take().context("the cluster does not run")?;
        up.child.kill()?;
        up.child.wait()?;
        Ok(())
    }

    /// `zddcluster down`; `up` has to end well.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        let mut up = self.up.take().context("the cluster does not run")?;
        let output = self.command(&["down"]).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "down: {}: {stderr}", output.status);
        let status = tokio::task::spawn_blocking(move || up.child.wait()).await??;
        ensure!(status.success(), "`up` ended with {status}");
        Ok(())
    }

    /// What `up` printed before it was ready.
    pub fn announcement(&self) -> &str {
        self.up.as_ref().map_or("", |up| &up.announcement)
    }

    /// From before the process began to its word that it is ready.
    pub fn took(&self) -> Duration {
        self.up.as_ref().map_or(Duration::MAX, |up| up.took)
    }

    /// The process id of `up`.
    pub fn pid(&self) -> Option<u32> {
        self.up.as_ref().map(|up| up.child.id())
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The disk of [`Options::disk_megabytes`].
    pub const fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// The address with this last byte in the cluster's net.
    pub fn host(&self, host: u8) -> Ipv4Addr {
        self.net.host(host)
    }

    /// A URL at the front door.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}:8080{path}", self.host(1))
    }

    /// The HTTP client.
    pub const fn http(&self) -> &HttpClient {
        &self.http
    }

    /// GET at the front door, read as JSON.
    pub async fn get(&self, path: &str) -> Result<Value, HttpError> {
        self.http.get_json(&self.url(path)).await
    }

    /// Tasks of an app as the API shows them.
    pub async fn tasks(&self, app_id: &str) -> Result<Vec<Value>, HttpError> {
        let mut answer = self.get(&format!("/v2/apps/{app_id}/tasks")).await?;
        Ok(match answer["tasks"].take() {
            Value::Array(tasks) => tasks,
            _ => Vec::new(),
        })
    }

    /// Waits until no deployment runs.
    pub async fn settled(&self) {
        eventually("the deployments to end", || async {
            match self.get("/v2/deployments").await {
                Ok(Value::Array(running)) if running.is_empty() => Ok(()),
                Ok(other) => Err(format!("{other}")),
                Err(error) => Err(format!("{error:?}")),
            }
        })
        .await;
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("up.log")
    }
}

/// The directory of the examples.
pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

impl Drop for ClusterSandbox {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
            let mut tail: Vec<&str> = log.lines().rev().take(200).collect();
            tail.reverse();
            let _ = writeln!(
                std::io::stderr(),
                "--- the cluster's log\n{}",
                tail.join("\n")
            );
        }
        if let Some(mut up) = self.up.take() {
            let _ = up.child.kill();
            let _ = up.child.wait();
        }
        // Without an `up` to ask, `down` ends the tasks itself.
        let _ = self.command(&["down", "--timeout", "2"]).output();
        self.disk = None;
    }
}
