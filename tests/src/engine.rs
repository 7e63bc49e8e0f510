//! Docker engines for tests.
//!
//! A test gets an engine of its own where it may start one (root, and `dockerd` is installed): it can be stopped without harm to
//! anybody, what is in it came from the test, and it keeps its containers while it is away (`live-restore`). Elsewhere the
//! machine's engine is used, and what needs an engine of its own says that it is skipped.

#![expect(clippy::print_stderr, reason = "a skipped test says why")]

mod bridge;
mod shell;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use self::bridge::Bridge;
pub use self::shell::ShellImage;
use crate::{Options, SmallDisk, processes_of};

/// How long an engine may take to answer after its start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// What the cluster's containers bear.
const TASK_LABEL: &str = "zddcluster.task";

/// An engine, ended with its containers when dropped if it is the test's own.
#[derive(Debug)]
pub struct Engine {
    socket: String,
    own: Option<Mutex<Own>>,
}

#[derive(Debug)]
struct Own {
    dir: TempDir,
    driver: String,
    /// Whether containers run on while it is away (`live-restore`); else it ends them, at its own end or at its next start.
    keeps_containers: bool,
    /// For containers with addresses of their own.
    bridge: Option<Bridge>,
    /// Mounted on the engine's directory.
    disk: Option<SmallDisk>,
    /// Lives as long as this: it, not the engine, holds the containers.
    containerd: Option<Child>,
    child: Option<Child>,
}

/// A container of the cluster's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// The id of its task.
    pub task_id: String,
    /// Of its first process; 0 if it has ended.
    pub pid: u32,
}

impl Engine {
    /// The engine for all tests of this process, or `None` after telling why there is none.
    pub fn find() -> Option<Arc<Self>> {
        static SHARED: Mutex<Weak<Engine>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = shared.upgrade() {
            return Some(engine);
        }
        let engine = match Self::start_own(None) {
            Ok(engine) => engine,
            Err(why) => {
                eprintln!("no engine of our own: {why:#}");
                match Self::of_this_machine() {
                    Ok(engine) => engine,
                    Err(error) => {
                        eprintln!("skipped: no Docker engine answers: {error:#}");
                        return None;
                    }
                }
            }
        };
        let engine = Arc::new(engine);
        *shared = Arc::downgrade(&engine);
        Some(engine)
    }

    /// The one that `DOCKER_HOST` names, or the usual one.
    fn of_this_machine() -> anyhow::Result<Self> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_default();
        let socket = match host.as_str() {
            "" => "/var/run/docker.sock",
            host => host
                .strip_prefix("unix://")
                .context("DOCKER_HOST names no local socket")?,
        };
        let engine = Self {
            socket: socket.to_owned(),
            own: None,
        };
        engine.docker(&["version", "--format", "{{.Server.Version}}"])?;
        Ok(engine)
    }

    /// The machine's engine, or `None` after telling why there is none. Others use it, too.
    pub fn of_the_machine() -> Option<Self> {
        Self::of_this_machine()
            .inspect_err(|why| eprintln!("skipped: no Docker engine answers: {why:#}"))
            .ok()
    }

    /// An engine of the test's own on a disk of so many megabytes, or `None` after telling why there is none.
    pub fn on_a_disk(megabytes: u32) -> Option<Self> {
        Self::start_own(Some(megabytes))
            .inspect_err(|why| eprintln!("skipped: no engine on a disk of its own: {why:#}"))
            .ok()
    }

    /// One that nobody else uses.
    fn start_own(disk_megabytes: Option<u32>) -> anyhow::Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "only root may start one"
        );
        // What works for the machine's engine works for another one.
        let driver = Self::of_this_machine()
            .and_then(|engine| engine.docker(&["info", "--format", "{{.Driver}}"]))
            .unwrap_or_default();
        let dir = TempDir::with_prefix("zdd-engine-")?;
        let data = dir.path().join("data");
        fs::create_dir(&data)?;
        let disk = disk_megabytes.map(|megabytes| SmallDisk::mount(&data, megabytes));
        let disk = disk.transpose().context("cannot mount a tmpfs here")?;
        let bridge = Bridge::make()
            .inspect_err(|why| eprintln!("no bridge of our own: {why:#}"))
            .ok();
        let engine = Self {
            socket: dir.path().join("sock").display().to_string(),
            own: Some(Mutex::new(Own {
                dir,
                driver: driver.trim().to_owned(),
                keeps_containers: true,
                bridge,
                disk,
                containerd: None,
                child: None,
            })),
        };
        engine.start()?;
        Ok(engine)
    }

    /// Whether nobody else uses it.
    pub const fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Runs the `docker` command; returns what it printed.
    pub fn docker(&self, args: &[&str]) -> anyhow::Result<String> {
        let output = self.output(args)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {args:?}: {stderr}");
        Ok(String::from_utf8(output.stdout)?)
    }

    fn output(&self, args: &[&str]) -> anyhow::Result<Output> {
        Command::new("docker")
            .args(args)
            .env("DOCKER_HOST", self.host())
            .stdin(Stdio::null())
            .output()
            .context("cannot run `docker`")
    }

    /// As `DOCKER_HOST` takes it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket)
    }

    /// Environment that makes `zddcluster` run containers of this engine.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("ZDD_CONTAINERIZER", "docker".to_owned()),
            ("DOCKER_HOST", self.host()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The settings of a cluster that runs its tasks here.
    pub fn options(&self, args: &[&str]) -> Options {
        let mut options = Options::args(args);
        options.env = self.env();
        options
    }

    /// Containers, ended ones too, of the cluster that keeps its books in `data_dir`.
    pub fn containers(&self, data_dir: &Path) -> anyhow::Result<Vec<Container>> {
        let listed = self.docker(&[
            "ps",
            "--all",
            "--no-trunc",
            "--filter",
            &format!("label={TASK_LABEL}"),
            "--format",
            "{{.ID}} {{.Label \"zddcluster.sandbox\"}}",
        ])?;
        let dir = data_dir.display().to_string();
        let mut containers = Vec::new();
        for (id, _) in listed
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, sandbox)| sandbox.starts_with(&dir))
        {
            // One that is gone by now is none.
            let Ok(container) = self.inspect(id) else {
                continue;
            };
            containers.push(Container {
                id: id.to_owned(),
                task_id: container["Config"]["Labels"][TASK_LABEL]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                pid: u32::try_from(container["State"]["Pid"].as_u64().unwrap_or_default())?,
            });
        }
        Ok(containers)
    }

    /// Containers whose beginnings are there and that an engine of our own, killed in the middle of their start, does not know
    /// any more: it leaves their shim and an init that never became the container's program.
    pub fn forgotten(&self) -> anyhow::Result<usize> {
        let known = self.docker(&["ps", "--all", "--no-trunc", "--quiet"])?;
        let dir = self.lock()?.dir.path().to_owned();
        let shims = processes_of(&dir)
            .into_values()
            .filter(|command| command.contains("containerd-shim"))
            .filter(|command| !known.lines().any(|id| command.contains(id)));
        Ok(shims.count())
    }

    /// The network bridge for its containers, if it has one that is there.
    pub fn bridge(&self) -> anyhow::Result<String> {
        let option = "{{index .Options \"com.docker.network.bridge.name\"}}";
        let name = self.docker(&["network", "inspect", "bridge", "--format", option])?;
        let name = name.trim();
        ensure!(
            Path::new("/sys/class/net").join(name).exists(),
            "the engine's bridge {name:?} is not there"
        );
        Ok(name.to_owned())
    }

    /// Where an engine of the test's own keeps images and containers: the disk, if it has one.
    pub fn data_root(&self) -> anyhow::Result<PathBuf> {
        Ok(self.lock()?.dir.path().join("data"))
    }

    /// What `docker inspect` says of a container or image.
    pub fn inspect(&self, name: &str) -> anyhow::Result<Value> {
        let mut found: Value = serde_json::from_str(&self.docker(&["inspect", name])?)?;
        Ok(found[0].take())
    }

    /// Every start of a container since then (seconds since 1970), of the cluster that keeps its books in `data_dir`: the
    /// container's id, the time, and the task.
    pub fn starts(
        &self,
        since: u64,
        data_dir: &str,
    ) -> anyhow::Result<BTreeMap<(String, i64), String>> {
        let said = self.events(since, &["type=container", "event=start"])?;
        let mut starts = BTreeMap::new();
        for line in said.lines() {
            let event: Value = serde_json::from_str(line)?;
            let actor = &event["Actor"];
            let sandbox = actor["Attributes"]["zddcluster.sandbox"].as_str();
            if let (Some(id), Some(at), Some(task_id)) = (
                actor["ID"].as_str(),
                event["timeNano"].as_i64(),
                actor["Attributes"][TASK_LABEL].as_str(),
            ) && sandbox.is_some_and(|sandbox| sandbox.starts_with(data_dir))
            {
                starts.insert((id.to_owned(), at), task_id.to_owned());
            }
        }
        Ok(starts)
    }

    /// What happened since then, a line of JSON each. An engine keeps 256 events, and forgets them when it ends.
    pub fn events(&self, since: u64, filters: &[&str]) -> anyhow::Result<String> {
        // In the middle of a second is no whole number.
        let until = since_epoch();
        let until = format!("{}.{:09}", until.as_secs(), until.subsec_nanos());
        let since = since.to_string();
        let mut args = vec!["events", "--since", &since, "--until", &until];
        args.extend(filters.iter().flat_map(|filter| ["--filter", filter]));
        args.extend(["--format", "{{json .}}"]);
        self.docker(&args)
    }

    /// Starts an engine of the test's own again.
    #[expect(
        clippy::disallowed_methods,
        reason = "an engine is started before anything else runs in the test, or while all of it waits"
    )]
    pub fn start(&self) -> anyhow::Result<()> {
        let mut own = self.lock()?;
        let dir = own.dir.path().to_owned();
        let path = |name: &str| dir.join(name).display().to_string();
        let log = File::options()
            .create(true)
            .append(true)
            .open(path("log"))?;
        let containerd = path("containerd.sock");
        if own.containerd.is_none() {
            let config = format!(
                "version = 2\nroot = {:?}\nstate = {:?}\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = {containerd:?}\n",
                path("containerd"),
                path("containerd-state"),
            );
            fs::write(path("containerd.toml"), config)?;
            let child = Command::new("containerd")
                .args(["--config", &path("containerd.toml")])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log.try_clone()?)
                .spawn()
                .context("cannot run `containerd`")?;
            own.containerd = Some(child);
        }
        let config = format!("{{\"live-restore\": {}}}", own.keeps_containers);
        fs::write(path("config.json"), config)?;
        let mut command = Command::new("dockerd");
        command
            .args(["--config-file", &path("config.json")])
            .args(["--data-root", &path("data")])
            .args(["--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid")])
            .args(["--containerd", &containerd])
            .args(["--host", &self.host()])
            // Not `--bridge none`: that would delete the bridge of the machine's own engine.
            .args(["--iptables=false", "--ip6tables=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if !own.driver.is_empty() {
            command.args(["--storage-driver", &own.driver]);
        }
        if let Some(bridge) = &own.bridge {
            command.args(["--bridge", bridge.name()]);
        }
        let child = command.spawn().context("cannot run `dockerd`")?;
        let child = own.child.insert(child);
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if self.docker(&["version"]).is_ok() {
                return Ok(());
            }
            let ended = child.try_wait()?;
            if ended.is_some() || Instant::now() >= deadline {
                let log = fs::read_to_string(path("log")).unwrap_or_default();
                let last = log.lines().next_back().unwrap_or_default();
                bail!("`dockerd` does not come up ({ended:?}): {last}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends an engine of the test's own as a restart of the service does.
    pub fn stop(&self) -> anyhow::Result<()> {
        let mut own = self.lock()?;
        let mut child = own.child.take().context("it does not run")?;
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        child.wait()?;
        Ok(())
    }

    /// Whether containers run on while it is away, from its next start on. They do unless told otherwise, and do not in an
    /// engine as it is installed.
    pub fn keep_containers(&self, keeps: bool) -> anyhow::Result<()> {
        self.lock()?.keeps_containers = keeps;
        Ok(())
    }

    /// kill -9 of it; its containers run on, at least until its next start.
    pub fn kill(&self) -> anyhow::Result<()> {
        let mut own = self.lock()?;
        let mut child = own.child.take().context("it does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Has an engine of the test's own listen and answer nothing, until it is [thawed](Self::thaw).
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(rustix::process::Signal::STOP)
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(rustix::process::Signal::CONT)
    }

    fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let own = self.lock()?;
        let child = own.child.as_ref().context("it does not run")?;
        let pid = rustix::process::Pid::from_child(child);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    fn lock(&self) -> anyhow::Result<std::sync::MutexGuard<'_, Own>> {
        let own = self.own.as_ref().context("others use this engine")?;
        Ok(own.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.own.is_none() {
            return;
        }
        // A test that failed may have left it frozen or ended.
        let _ = self.thaw();
        if self.docker(&["version"]).is_err() {
            let _ = self.start();
        }
        for container in self
            .docker(&["ps", "--all", "--quiet"])
            .unwrap_or_default()
            .lines()
        {
            let _ = self.docker(&["rm", "--force", "--volumes", container]);
        }
        let _ = self.docker(&["network", "prune", "--force"]);
        let _ = self.stop();
        let Ok(mut own) = self.lock() else {
            return;
        };
        if let Some(mut containerd) = own.containerd.take() {
            let pid = rustix::process::Pid::from_child(&containerd);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = containerd.wait();
        }
        // What the engine forgot when it was killed, and what it had mounted.
        let dir = own.dir.path();
        for pid in processes_of(dir).into_keys() {
            let pid = i32::try_from(pid)
                .ok()
                .and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        // The innermost ones stand last.
        for mounted in mounts
            .lines()
            .rev()
            .filter_map(|line| line.split(' ').nth(1))
            .filter(|mounted| Path::new(mounted).starts_with(dir))
        {
            let _ = rustix::mount::unmount(mounted, rustix::mount::UnmountFlags::DETACH);
        }
        own.disk = None;
        own.bridge = None;
    }
}

/// Seconds since 1970, as an engine's clock shows them.
pub fn seconds() -> u64 {
    since_epoch().as_secs()
}

fn since_epoch() -> Duration {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
}
