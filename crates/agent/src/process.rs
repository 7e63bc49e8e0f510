//! The `process` containerizer: tasks are processes of this machine, each under an executor of its own.
//!
//! It writes down what to run ([`Spec`]), starts the executor and from then on knows the task only by the files the
//! executor keeps (see [`crate::executor`]); a task it started and one it found after a restart are the same to it.

mod check;
pub(crate) mod command;
mod detect;
mod spawner;
pub(crate) mod user;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use zddcluster_model::agent::CheckEnd;

pub(crate) use self::detect::Mechanism;
pub use self::detect::limits_of_processes;
use self::spawner::Spawner;
use self::user::User;
use crate::banner::quoted;
use crate::containerizer::{
    Addresses, Containerizer, Exit, KillSignal, LaunchError, Order, Owner, Recovered,
};
use crate::durable;
use crate::executor::cgroup::Limits;
use crate::executor::procfs::ProcessRecord;
use crate::executor::{self, Claim, Spec};
use crate::usage::Usage;

/// Bytes after which a task's log is moved to `<name>.1`: Mesos' own logrotate module keeps 10 MB by default.
const LOG_LIMIT: u64 = 10 << 20;

/// How long an executor may take to get the task's command executed: a machine that swaps takes seconds for what are milliseconds.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Between two looks at files an executor is about to write.
const LOOK: Duration = Duration::from_millis(20);

/// How long an executor that lives may go without having recorded its task, when an agent finds it.
const RECOVER_LIMIT: Duration = Duration::from_secs(60);

/// A group stays busy for a moment after its last process was killed; so often its removal is tried again.
const CLEAN_TRIES: u32 = 25;

/// The containerizer for processes.
#[derive(Clone, Debug)]
pub struct ProcessContainerizer {
    executable: PathBuf,
    built_in_env: Arc<BTreeMap<String, String>>,
    mechanism: Arc<Mechanism>,
    spawner: Arc<Spawner>,
    log_limit: u64,
}

impl ProcessContainerizer {
    /// Finds out how this machine limits processes, and says it in the log. Blocks for some milliseconds.
    ///
    /// `executable` must answer to `executor …` by [`crate::executor::main`]; built-in images run as its roles, with
    /// `built_in_env` under the app's own environment.
    pub fn new(executable: PathBuf, built_in_env: BTreeMap<String, String>) -> Self {
        let mechanism = Mechanism::detect(&executable);
        // Once for all agents of a process: they share the machine.
        static SAID: std::sync::Once = std::sync::Once::new();
        SAID.call_once(|| {
            tracing::info!(limits = %mechanism.describe(), "tasks run as processes");
        });
        Self {
            spawner: Arc::new(Spawner::new(executable.clone())),
            executable,
            built_in_env: Arc::new(built_in_env),
            mechanism: Arc::new(mechanism),
            log_limit: LOG_LIMIT,
        }
    }

    /// The same without control groups: the executor watches memory. For machines where groups are somebody else's.
    pub fn without_cgroups(executable: PathBuf, built_in_env: BTreeMap<String, String>) -> Self {
        Self {
            spawner: Arc::new(Spawner::new(executable.clone())),
            executable,
            built_in_env: Arc::new(built_in_env),
            mechanism: Arc::new(Mechanism::Watcher),
            log_limit: LOG_LIMIT,
        }
    }

    /// Everything before the executor: sandbox, groups, spec. Blocks.
    fn write_down(&self, order: &Order) -> Result<(), LaunchError> {
        let launch = &order.launch;
        let user = user::of(launch)?;
        let line = command::command_line(order, &self.executable)?;
        order.make_sandbox(user.as_ref().map(User::owner).as_ref())?;
        order.link_volumes()?;
        if let Some(user) = &user {
            order.give_volumes(&user.owner())?;
        }
        let limits = Limits::new(launch.cpus, launch.mem);
        let cgroup = self.mechanism.cgroup(&launch.container_id);
        if let Some(cgroup) = &cgroup {
            cgroup.create(limits).map_err(|error| {
                LaunchError::new(format!("Failed to create the control group: {error}"))
            })?;
        }
        let env = command::environment(
            order,
            user.as_ref(),
            line.is_built_in.then_some(self.built_in_env.as_ref()),
        );
        let spec = Spec {
            marker: format!("MESOS_CONTAINER_NAME={}", order.container_name),
            sandbox: order.sandbox.clone(),
            banner: banner(order, &line, limits, user.as_ref()),
            argv: line.argv,
            env,
            user: user.map(|user| (user.uid, user.gid)),
            limits,
            cgroup,
            log_limit: self.log_limit,
        };
        durable::note(&order.task_dir.join(executor::SPEC), &spec)
            .map_err(|error| LaunchError::new(format!("Failed to write down the task: {error}")))
    }

    /// Waits for an executor's word that the command was executed.
    async fn has_begun(&self, word: OwnedFd) -> io::Result<bool> {
        let mut pipe = pipe::Receiver::from_owned_fd(word)?;
        let mut word = String::new();
        tokio::time::timeout(START_LIMIT, pipe.read_to_string(&mut word))
            .await
            .map_err(|_| io::Error::other("the executor did not start it in time"))??;
        Ok(word == executor::RUNNING)
    }
}

/// The line that stands first in a task's stderr, as Mesos' docker executor writes its `docker run` there.
fn banner(
    order: &Order,
    line: &command::CommandLine,
    limits: Limits,
    user: Option<&User>,
) -> String {
    let mut text = format!(
        "Running {}",
        line.argv
            .iter()
            .map(|arg| quoted(arg))
            .collect::<Vec<_>>()
            .join(" ")
    );
    text.push_str(&format!(
        " --cpu-shares {} --memory {}",
        limits.shares, limits.memory
    ));
    if let Some(user) = user {
        text.push_str(&format!(" --user {}", user.name));
    }
    for (key, value) in &order.launch.env {
        text.push_str(&format!(" -e {}", quoted(&format!("{key}={value}"))));
    }
    text.push_str(&format!(" in {}", order.sandbox.display()));
    if let Some(image) = order
        .launch
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref())
    {
        text.push_str(&format!(" for image {}", image.image()));
    }
    for note in &line.notes {
        text.push_str(&format!(" ({note})"));
    }
    text
}

#[async_trait]
impl Containerizer for ProcessContainerizer {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn prepare(&self, order: &Order) -> Result<Option<Owner>, LaunchError> {
        let (this, order) = (self.clone(), order.clone());
        let prepared = tokio::task::spawn_blocking(move || {
            command::command_line(&order, &this.executable)?;
            let owner = user::of(&order.launch)?.as_ref().map(User::owner);
            order.make_closed_sandbox()?;
            Ok(owner)
        });
        prepared
            .await
            .map_err(|error| LaunchError::new(error.to_string()))?
    }

    async fn launch(&self, order: &Order) -> Result<(), LaunchError> {
        let (this, owned) = (self.clone(), order.clone());
        let not_started =
            |error: io::Error| LaunchError::new(format!("Failed to start the executor: {error}"));
        let start = move || {
            this.write_down(&owned)?;
            this.spawner.spawn(&owned.task_dir).map_err(not_started)
        };
        let word = tokio::task::spawn_blocking(start)
            .await
            .map_err(|error| LaunchError::new(error.to_string()))??;
        match self.has_begun(word).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(LaunchError::new(why_not(order).await)),
            Err(error) => Err(not_started(error)),
        }
    }

    async fn recover(&self, order: &Order) -> io::Result<Recovered> {
        if order.is_of_another_boot() {
            let exit = order.exit()?.unwrap_or(Exit::Rebooted);
            order.record_exit(&exit)?;
            return Ok(Recovered::Ended(exit));
        }
        let mut waited = Duration::ZERO;
        loop {
            if let Some(exit) = order.exit()? {
                return Ok(Recovered::Ended(exit));
            }
            if record(order, executor::PROCESS)?.is_some() {
                // Whether it lives is for `wait` to find out.
                return Ok(Recovered::Running);
            }
            // Nothing recorded: either nobody holds the lock, and then nothing ran or will, or somebody is starting it.
            if let Some(mut claim) = Claim::lock(&order.task_dir)? {
                if order.exit()?.is_some() || record(order, executor::PROCESS)?.is_some() {
                    continue;
                }
                // Ours or a dead executor's: a late one refuses.
                claim.take(None)?;
                return Ok(Recovered::NeverStarted);
            }
            if waited > RECOVER_LIMIT {
                return Err(io::Error::other("its executor lives but did not start it"));
            }
            tokio::time::sleep(LOOK).await;
            waited += LOOK;
        }
    }

    async fn addresses(&self, _: &Order) -> Addresses {
        Addresses::OfAgent
    }

    async fn wait(&self, order: &Order) -> Exit {
        match wait(order).await {
            Ok(exit) => exit,
            Err(error) => Exit::Unknown {
                message: format!("the task cannot be watched: {error}"),
            },
        }
    }

    async fn kill(&self, order: &Order, signal: KillSignal) -> io::Result<()> {
        let owned = order.clone();
        tokio::task::spawn_blocking(move || kill(&owned, signal))
            .await
            .map_err(io::Error::other)?
    }

    async fn check(&self, order: &Order, command: &str, limit: Duration) -> io::Result<CheckEnd> {
        Ok(check::run(&self.executable, order, command, limit).await)
    }

    async fn usage(&self, order: &Order) -> io::Result<Usage> {
        let order = order.clone();
        let measure = move || {
            let gone = || io::Error::new(io::ErrorKind::NotFound, "the task does not run");
            let spec = spec(&order)?.ok_or_else(gone)?;
            let main = record(&order, executor::PROCESS)?.ok_or_else(gone)?;
            Usage::of_process(&spec, &main)
        };
        tokio::task::spawn_blocking(measure)
            .await
            .map_err(io::Error::other)?
    }

    async fn clean(&self, order: &Order) {
        let cgroup = spec(order).ok().flatten().and_then(|spec| spec.cgroup);
        let cgroup = cgroup.or_else(|| self.mechanism.cgroup(&order.launch.container_id));
        let Some(cgroup) = cgroup else { return };
        let mut outcome = cgroup.remove();
        for _ in 0..CLEAN_TRIES {
            if outcome.is_ok() {
                return;
            }
            tokio::time::sleep(LOOK).await;
            outcome = cgroup.remove();
        }
        if let Err(error) = outcome {
            tracing::warn!(task = %order.launch.task_id, %error, "its control group stays");
        }
    }
}

fn record(order: &Order, file: &str) -> io::Result<Option<ProcessRecord>> {
    durable::read_json(&order.task_dir.join(file))
}

fn spec(order: &Order) -> io::Result<Option<Spec>> {
    durable::read_json(&order.task_dir.join(executor::SPEC))
}

/// Sends a signal to the processes of a task. Blocks while it sees to it that a SIGKILL reached all.
pub(crate) fn kill(order: &Order, signal: KillSignal) -> io::Result<()> {
    let Some(record) = record(order, executor::PROCESS)? else {
        return Ok(());
    };
    match signal {
        KillSignal::Terminate => record.signal_group(Signal::TERM),
        KillSignal::Kill => {
            record.signal_group(Signal::KILL)?;
            if let Some(spec) = spec(order)?.filter(|_| !record.is_of_another_boot()) {
                executor::kill_members(&spec, &record);
            }
            Ok(())
        }
    }
}

/// Sees to it that an executor that has not claimed the task yet never will; `false` if one is just starting it.
pub(crate) fn forbid_start(order: &Order) -> io::Result<bool> {
    if order.is_of_another_boot() {
        return Ok(true);
    }
    let is_settled = || {
        Ok::<_, io::Error>(order.exit()?.is_some() || record(order, executor::PROCESS)?.is_some())
    };
    if is_settled()? {
        return Ok(true);
    }
    let Some(mut claim) = Claim::lock(&order.task_dir)? else {
        return Ok(false);
    };
    if !is_settled()? {
        claim.take(None)?;
    }
    Ok(true)
}

/// Whether a task's main process or its executor lives.
pub(crate) fn is_alive(order: &Order) -> bool {
    let lives = |record: io::Result<Option<ProcessRecord>>| {
        record.is_ok_and(|record| record.is_some_and(|record| record.is_alive()))
    };
    !order.is_of_another_boot()
        && (lives(record(order, executor::PROCESS))
            || lives(executor::executor_of(&order.task_dir)))
}

/// Why an executor did not say that the task runs: its exit file, else its own last words.
async fn why_not(order: &Order) -> String {
    let mut waited = Duration::ZERO;
    while waited < START_LIMIT {
        if let Ok(Some(exit)) = order.exit() {
            return match exit {
                Exit::NotStarted { message } | Exit::Unknown { message } => message,
                Exit::Exited { .. }
                | Exit::Signalled { .. }
                | Exit::MemoryLimit { .. }
                | Exit::Rebooted => "the executor ended without a word".to_owned(),
            };
        }
        // The pipe closes a moment before the file is there, but nobody writes it once the lock is free.
        if matches!(Claim::lock(&order.task_dir), Ok(Some(_))) && matches!(order.exit(), Ok(None)) {
            break;
        }
        tokio::time::sleep(LOOK).await;
        waited += LOOK;
    }
    let log = std::fs::read_to_string(order.task_dir.join(executor::LOG)).unwrap_or_default();
    match log.trim() {
        "" => "the executor died before it started the task".to_owned(),
        words => format!("the executor gave up: {words}"),
    }
}

async fn wait(order: &Order) -> io::Result<Exit> {
    let executor = executor::executor_of(&order.task_dir)?;
    if let Some(pidfd) = executor.and_then(|executor| executor.open()) {
        end_of(pidfd).await?;
    }
    if let Some(exit) = order.exit()? {
        return Ok(exit);
    }
    // The executor is gone without a word. Nobody but the task's parent learns its status.
    let exit = match record(order, executor::PROCESS)? {
        Some(process) if process.is_of_another_boot() => Exit::Rebooted,
        Some(process) => {
            if let Some(pidfd) = process.open() {
                tracing::warn!(task = %order.launch.task_id, "its executor is gone; the task goes on, its output is lost");
                end_of(pidfd).await?;
            }
            let owned = order.clone();
            tokio::task::spawn_blocking(move || kill(&owned, KillSignal::Kill))
                .await
                .map_err(io::Error::other)??;
            Exit::Unknown {
                message: "exit status unknown: the task's executor died before it".to_owned(),
            }
        }
        None => Exit::Unknown {
            message: "the executor died before it started the task".to_owned(),
        },
    };
    order.record_exit(&exit)?;
    Ok(exit)
}

/// Waits until the process behind the handle has ended.
async fn end_of(pidfd: OwnedFd) -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "tokio has no safe way left to watch a descriptor of another kind"
    )]
    // SAFETY: an `OwnedFd` is one open descriptor for its whole life, and the `AsyncFd` owns it.
    let watched = unsafe { AsyncFd::register_with_interest(pidfd, Interest::READABLE) }?;
    watched.readable().await.map(|_| ())
}
