//! The executor: the small process between agent and task that makes tasks outlive agents.
//!
//! `zddcluster executor …` branches off `main` before any runtime or command line is set up, so it costs little memory;
//! the spawner forks one for each task. It owns its task from before its first instruction to its exit status:
//!
//! ```text
//!   agent: intent.json (flushed), spec.json ─ spawner forks ─▶ executor: setsid, claims `executor.json` (a second one refuses)
//!                                                            │ forks
//!            task process: setsid, joins its control groups, waits for "go"
//!                                                            │ process.json: pid, start time, boot
//!            task process: "go" ── execs the command         │ "running" to the agent, if it still listens
//!                                                            │ pumps stdout and stderr, watches memory, waits
//!                                                            ▼
//!                          kills what is left of the task, exit.json (flushed), end
//! ```
//!
//! The order is the guarantee. `executor.json` is a claim that only one executor of a task directory ever gets: it writes
//! itself into it while it holds its lock, and nobody starts a task whose claim is written. The command runs only after `process.json` is written, so no running task is ever missed: if the
//! executor dies before, the waiting process sees its socket close and ends without having run anything.
//!
//! Only the intent and the end are flushed. A power cut ends all tasks, and an agent that finds an intent of another boot does
//! not ask whether it was carried out: it may have been, and is not carried out again.
//!
//! The agent signals the task itself (it leads its own session and process group); the executor only ends by its task.

pub(crate) mod cgroup;
pub(crate) mod procfs;
pub(crate) mod pump;
pub(crate) mod spawn;
mod stage;
mod start;
mod watch;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};
use serde::{Deserialize, Serialize};

use self::cgroup::{Cgroup, Limits};
use self::procfs::ProcessRecord;
use self::start::Running;
use crate::containerizer::Exit;
use crate::{durable, headroom};

/// What to run, a [`Spec`].
pub(crate) const SPEC: &str = "spec.json";
/// The claim on a task: whoever writes into it, holding its lock, has it for ever. The executor's own [`ProcessRecord`], or
/// `null` when the agent has seen to it that no executor starts. The lock is held as long as the executor lives.
const EXECUTOR: &str = "executor.json";
/// The task's [`ProcessRecord`].
pub(crate) const PROCESS: &str = "process.json";
/// How it ended, an [`Exit`].
pub(crate) const EXIT: &str = "exit.json";
/// Where the executor's own complaints go, if it has any.
pub(crate) const LOG: &str = "executor.log";

/// What the executor writes to its stdout once the command was executed.
pub(crate) const RUNNING: &str = "running";

/// Exit code of `executor --check` that could not take on the task's environment; as `docker run` says that it failed itself.
pub(crate) const CHECK_NOT_RUN: u8 = 125;

/// Everything needed to run one task, as the agent decided it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    /// `MESOS_CONTAINER_NAME=<name>`: finds the task's processes by their environment.
    pub(crate) marker: String,
    /// Working directory; holds `stdout` and `stderr`.
    pub(crate) sandbox: PathBuf,
    /// The command and its arguments.
    pub(crate) argv: Vec<String>,
    /// The whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Run as this user and group.
    pub(crate) user: Option<(u32, u32)>,
    /// What it may use.
    pub(crate) limits: Limits,
    /// Groups that enforce the limits; without them memory is watched here.
    pub(crate) cgroup: Option<Cgroup>,
    /// Says in the task's stderr how it was started; one line.
    pub(crate) banner: String,
    /// Bytes after which a log file is moved to `<name>.1`.
    pub(crate) log_limit: u64,
}

/// Why an executor gave up.
#[derive(Debug, thiserror::Error)]
enum ExecutorError {
    #[error("{}: another executor holds this task", .0.display())]
    Held(PathBuf),
    #[error("{}: this task was started before; it is never started twice", .0.display())]
    StartedBefore(PathBuf),
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: io::Error,
    },
}

impl ExecutorError {
    fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }
}

/// Runs the executor; `args` are those after the word `executor`.
///
/// To be called first in `main`, while the process has one thread.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let outcome = match args.as_slice() {
        [flag] if flag == "--spawn" => match spawn::serve() {
            Ok(Some(directory)) => return execute(&directory),
            served => served.map(drop),
        },
        [flag] if flag == "--hold" => stage::hold(),
        [flag, directory, command] if flag == "--check" => {
            stage::check(Path::new(directory), command);
            return ExitCode::from(CHECK_NOT_RUN);
        }
        _ => Err(io::Error::other("usage: executor --spawn")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Is the executor of one task.
fn execute(directory: &Path) -> ExitCode {
    let of_panics = directory.to_owned();
    std::panic::set_hook(Box::new(move |panic| {
        complain(&of_panics, &panic.to_string())
    }));
    // Whoever looks for a cluster's processes finds it by the directory it works in.
    let outcome = std::env::set_current_dir(directory)
        .map_err(ExecutorError::io("its directory cannot be entered"))
        .and_then(|()| run(directory));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(directory, &error.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Writes a line into a task's [`LOG`], which the agent shows when the task does not start. There is nobody else to tell.
fn complain(directory: &Path, text: &str) {
    let log = File::options()
        .append(true)
        .create(true)
        .open(directory.join(LOG));
    let _ = log.and_then(|mut log| writeln!(log, "{text}"));
}

/// A command beside a task that runs: in its control groups and its sandbox, as its user, with its environment. This process
/// joins them, so the command is to take its place.
pub(crate) fn command_in(directory: &Path, argv: &[OsString]) -> Result<Command, String> {
    stage::command_in(directory, argv)
}

fn run(directory: &Path) -> Result<(), ExecutorError> {
    // Fails only for a group leader, and a process that was forked is none.
    let _ = rustix::process::setsid();
    let _lock = claim(directory)?;
    let spec: Spec = durable::read_json(&directory.join(SPEC))
        .and_then(|spec| spec.ok_or_else(|| io::ErrorKind::NotFound.into()))
        .map_err(ExecutorError::io("spec.json cannot be read"))?;
    let exit = match start::start(directory, &spec) {
        Ok(running) => supervise(&spec, running),
        Err(message) => Exit::NotStarted { message },
    };
    if let Some(cgroup) = &spec.cgroup {
        remove(cgroup);
    }
    write_exit(directory, &spec, &exit).map_err(ExecutorError::io("exit.json cannot be written"))
}

/// Writes how the task ended. Nobody else knows it: on a full disk room is made of what the task left, else waited for.
#[expect(
    clippy::disallowed_methods,
    reason = "the executor has no runtime and nothing else to do"
)]
fn write_exit(directory: &Path, spec: &Spec, exit: &Exit) -> io::Result<()> {
    for _ in 0..EXIT_ROUNDS {
        match durable::write_json(&directory.join(EXIT), exit) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                headroom::keep_logs_only(&spec.sandbox);
            }
            written => return written,
        }
        std::thread::sleep(EXIT_PAUSE);
    }
    durable::write_json(&directory.join(EXIT), exit)
}

/// Takes the emptied groups away. What stays is tried again by the agent, which has a log to complain in.
#[expect(
    clippy::disallowed_methods,
    reason = "the executor has no runtime and nothing else to do"
)]
fn remove(cgroup: &Cgroup) {
    for _ in 0..REMOVE_ROUNDS {
        if cgroup.remove().is_ok() {
            return;
        }
        std::thread::sleep(KILL_PAUSE);
    }
}

/// Takes the one claim on this task, and holds its lock.
fn claim(directory: &Path) -> Result<File, ExecutorError> {
    let me =
        ProcessRecord::of(std::process::id()).map_err(ExecutorError::io("/proc cannot be read"))?;
    let claim = Claim::lock(directory).map_err(ExecutorError::io("executor.json"))?;
    let mut claim = claim.ok_or_else(|| ExecutorError::Held(directory.to_owned()))?;
    match claim.take(Some(&me)) {
        Ok(true) => Ok(claim.0),
        Ok(false) => Err(ExecutorError::StartedBefore(directory.to_owned())),
        Err(error) => Err(ExecutorError::io("executor.json cannot be written")(error)),
    }
}

/// The claim on a task, locked.
pub(crate) struct Claim(File);

impl Claim {
    /// Takes the lock; `None` if an executor holds it.
    pub(crate) fn lock(directory: &Path) -> io::Result<Option<Self>> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(durable::PRIVATE)
            .open(directory.join(EXECUTOR))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Takes the task for an executor, or for nobody ever; `false` if it was taken before.
    pub(crate) fn take(&mut self, executor: Option<&ProcessRecord>) -> io::Result<bool> {
        if self.0.metadata()?.len() > 0 {
            return Ok(false);
        }
        // In one piece, and few bytes: a reader finds nothing or all of it.
        self.0.write_all(&serde_json::to_vec(&executor)?)?;
        Ok(true)
    }
}

/// The executor that claimed the task of this directory; `None` if none has.
pub(crate) fn executor_of(directory: &Path) -> io::Result<Option<ProcessRecord>> {
    match std::fs::read(directory.join(EXECUTOR)) {
        Ok(bytes) if bytes.is_empty() => Ok(None),
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Watches the task to its end and takes down what it leaves behind.
fn supervise(spec: &Spec, running: Running) -> Exit {
    let Running {
        child,
        record,
        mut stdout,
        mut stderr,
    } = running;
    let over_memory = watch::until_exit(spec, &record, child, &mut stdout, &mut stderr);
    // Before it is waited for: until then nobody else can get its pid, which names its session and group.
    kill_members(spec, &record);
    let exit = end_of(child);
    pump::drain(&stdout.0, &mut stdout.1);
    pump::drain(&stderr.0, &mut stderr.1);
    let oom = spec.cgroup.as_ref().is_some_and(Cgroup::was_out_of_memory);
    let is_good = matches!(exit, Exit::Exited { status: 0 });
    if let Some(used) = over_memory.or_else(|| (oom && !is_good).then_some(0)) {
        let peak = spec.cgroup.as_ref().and_then(Cgroup::peak).unwrap_or(used);
        return Exit::MemoryLimit {
            limit: spec.limits.memory,
            used: peak,
        };
    }
    exit
}

/// Takes the status of a process that has ended, or is about to.
fn end_of(child: Pid) -> Exit {
    let status = loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Err(Errno::INTR) => {}
            Ok(Some((_, status))) => break status,
            Ok(None) => {
                let message = "wait answered nothing".to_owned();
                return Exit::Unknown { message };
            }
            Err(error) => {
                let message = format!("the process cannot be waited for: {error}");
                return Exit::Unknown { message };
            }
        }
    };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => Exit::Exited { status },
        (None, Some(signal)) => Exit::Signalled { signal },
        (None, None) => Exit::Unknown {
            message: format!("wait answered {status:?}"),
        },
    }
}

/// How often remaining processes are killed again before they are given up: some may fork while being killed.
const KILL_ROUNDS: u32 = 200;
/// A group stays busy for a moment after its last process was killed; so often its removal is tried.
const REMOVE_ROUNDS: u32 = 50;
/// Between two rounds; the first ones are done long before.
const KILL_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// How often an end that has no room on the disk is tried to be written, and the pause before the next time: two minutes.
const EXIT_ROUNDS: u32 = 600;
const EXIT_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Kills every process of the task that is left, until none is.
#[expect(
    clippy::disallowed_methods,
    reason = "the executor has no runtime; the agent calls it where it may block"
)]
pub(crate) fn kill_members(spec: &Spec, leader: &ProcessRecord) {
    let ours = i32::try_from(std::process::id()).unwrap_or(0);
    for _ in 0..KILL_ROUNDS {
        let members = match &spec.cgroup {
            Some(cgroup) => cgroup.members(),
            None => procfs::members(leader, &spec.marker, ours),
        };
        if members.is_empty() {
            return;
        }
        for pid in members.into_iter().filter(|&pid| pid != ours) {
            let Some(pid) = Pid::from_raw(pid) else {
                continue;
            };
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        std::thread::sleep(KILL_PAUSE);
    }
}

/// `I1012 11:38:56.152595 27678 containerizer] text`, as Mesos' own lines look. UTC.
pub(crate) fn glog_line(text: &str) -> String {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(0);
    // 2016-10-12T11:38:56.152Z
    let iso = zddcluster_model::Timestamp::from_millis(millis).to_string();
    let (month, day, clock) = (&iso[5..7], &iso[8..10], &iso[11..19]);
    let micros = since_epoch.subsec_micros();
    format!(
        "I{month}{day} {clock}.{micros:06} {} containerizer] {text}",
        std::process::id()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_as_mesos_writes_it() {
        let line = glog_line("Running it");
        let (head, text) = line.split_once("] ").unwrap();
        assert_eq!(text, "Running it");
        let parts: Vec<&str> = head.split(' ').collect();
        assert_eq!(parts[0].len(), 5);
        assert_eq!(parts[1].len(), "11:38:56.152595".len());
        assert_eq!(parts[3], "containerizer");
    }

    #[test]
    fn a_task_is_claimed_once() {
        let directory = tempfile::tempdir().unwrap();
        let first = claim(directory.path()).unwrap();
        assert!(matches!(
            claim(directory.path()),
            Err(ExecutorError::Held(_))
        ));
        drop(first);
        assert!(matches!(
            claim(directory.path()),
            Err(ExecutorError::StartedBefore(_))
        ));
    }
}
