//! What the agent needs of something that runs tasks. `process` is one; a container engine can be another.
//!
//! The agent keeps the books (intents, kills, statuses, sandboxes) and decides; a containerizer carries out and tells. It
//! must know a task again by its [`Order`] alone after the agent was started anew.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use zddcluster_model::TaskState;
use zddcluster_model::agent::{CheckEnd, LaunchTask};
use zddcluster_model::task::StatusReason;

use crate::executor::procfs::boot_id;
use crate::usage::Usage;

/// Permissions of a sandbox into which files are put before its task starts,
const CLOSED: u32 = 0o700;

/// and of one whose task starts: others may look, as in Mesos'.
const OPEN: u32 = 0o755;

/// One task as it was ordered; written to disk before anything is started.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// The master's order.
    pub launch: LaunchTask,
    /// The sandbox: `<work_dir>/slaves/<agent>/frameworks/<fw>/executors/<task>/runs/<container>`.
    pub sandbox: PathBuf,
    /// Where the agent keeps persistent volumes, by their persistence ids.
    #[serde(default)]
    pub volumes: PathBuf,
    /// The agent's private directory for this task. A containerizer may keep files of its own in it.
    pub task_dir: PathBuf,
    /// `mesos-<agent>.<container>`: also the value of `MESOS_CONTAINER_NAME`, and the name for a container engine.
    pub container_name: String,
    /// The address of the agent, for `LIBPROCESS_IP`.
    pub ip: String,
    /// The machine's boot at which it was ordered, if the system tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
}

impl Order {
    /// Whether the app asks for an image, so that messages speak of a container.
    pub fn has_image(&self) -> bool {
        self.launch
            .container
            .as_ref()
            .is_some_and(|container| container.docker.is_some())
    }

    /// Whether the machine was started anew since it was ordered: no process of it is left.
    pub(crate) fn is_of_another_boot(&self) -> bool {
        self.boot_id
            .as_ref()
            .is_some_and(|ordered_in| boot_id().is_ok_and(|now| now != *ordered_in))
    }

    /// Makes the sandbox so that only the agent gets into it, whoever of the same user runs meanwhile. Blocks.
    ///
    /// What is put there before the task starts is put by name: nobody may change what a name leads to.
    pub(crate) fn make_closed_sandbox(&self) -> Result<(), LaunchError> {
        let me = rustix::process::geteuid().as_raw();
        self.make_sandbox_with(CLOSED, Some((me, rustix::process::getegid().as_raw())))
    }

    /// Makes the sandbox, or opens the closed one, and gives it to its owner. Blocks.
    pub(crate) fn make_sandbox(&self, owner: Option<&Owner>) -> Result<(), LaunchError> {
        self.make_sandbox_with(OPEN, owner.map(|owner| (owner.uid, owner.gid)))
    }

    fn make_sandbox_with(&self, mode: u32, ids: Option<(u32, u32)>) -> Result<(), LaunchError> {
        let sandbox = &self.sandbox;
        let make = || {
            if let Some(above) = sandbox.parent() {
                fs::create_dir_all(above)?;
            }
            match DirBuilder::new().mode(CLOSED).create(sandbox) {
                // Made before, for a start that came to nothing.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
            if let Some((uid, gid)) = ids {
                std::os::unix::fs::chown(sandbox, Some(uid), Some(gid))?;
            }
            fs::set_permissions(sandbox, Permissions::from_mode(mode))
        };
        make().map_err(|error: io::Error| {
            let sandbox = sandbox.display();
            LaunchError::new(format!("Failed to create the sandbox {sandbox}: {error}"))
        })
    }
}

/// How a task ended, as its containerizer saw it; why is the agent's knowledge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// By itself, with this status.
    Exited {
        /// What the process returned.
        status: i32,
    },
    /// By a signal.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It was killed because it used more memory than it had asked for.
    MemoryLimit {
        /// Bytes allowed.
        limit: u64,
        /// Most bytes used.
        used: u64,
    },
    /// It never ran.
    NotStarted {
        /// Why, for the user.
        message: String,
    },
    /// The machine was started anew while it ran.
    Rebooted,
    /// It is gone, and nobody saw how.
    Unknown {
        /// What is known.
        message: String,
    },
}

/// Why a task could not be started: what the user reads in its last status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// A sentence for the user.
    pub message: String,
}

impl LaunchError {
    /// From a sentence for the user.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

/// What became of an ordered task while no agent was there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It runs; [`Containerizer::wait`] will see its end.
    Running,
    /// It ended.
    Ended(Exit),
    /// It never started, and never will by the old order.
    NeverStarted,
}

/// Whose the files of a task are to be, if not the agent's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// For messages.
    pub name: String,
    /// The user.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
}

/// Where a running task is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Where its agent is: it shares the host's network, or has none.
    OfAgent,
    /// In a network of its own; none if nobody could tell any more.
    Own(Vec<IpAddr>),
}

/// The two signals that end a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillSignal {
    /// SIGTERM to the task's main process and its group: end in good order.
    Terminate,
    /// SIGKILL to everything that belongs to the task.
    Kill,
}

/// Runs tasks.
///
/// Methods may be called for different tasks at once; for one task the agent calls them in turn. Dropping a future
/// leaves the task as it is: whoever asks later with the same [`Order`] finds it.
#[async_trait]
pub trait Containerizer: std::fmt::Debug + Send + Sync + 'static {
    /// Mesos' word for it: `process`, `docker`.
    fn name(&self) -> &'static str;

    /// Makes the sandbox, closed, for files that are fetched into it before the launch opens it; whose they are to be.
    ///
    /// Refuses what a launch would refuse at once. May be called again.
    async fn prepare(&self, order: &Order) -> Result<Option<Owner>, LaunchError>;

    /// Starts a task; returns once its command was executed. Never starts one container twice.
    async fn launch(&self, order: &Order) -> Result<(), LaunchError>;

    /// Finds a task again that was ordered before this agent started.
    ///
    /// `Err` means it cannot be told now; the agent asks again.
    async fn recover(&self, order: &Order) -> io::Result<Recovered>;

    /// Where a task that was launched or recovered is reached. Waits for whoever can tell.
    async fn addresses(&self, order: &Order) -> Addresses;

    /// Where a task that has ended was reached, if that was noted.
    async fn last_addresses(&self, _: &Order) -> Option<Addresses> {
        None
    }

    /// Waits for the end of a task that was launched or recovered.
    async fn wait(&self, order: &Order) -> Exit;

    /// Signals a task; one that is gone already is fine.
    async fn kill(&self, order: &Order, signal: KillSignal) -> io::Result<()>;

    /// Runs a shell command beside a running task, in its sandbox and control groups or in its container, for at most `limit`.
    ///
    /// `Err` means that nothing is known of the task's health now: whoever would run it is away.
    async fn check(&self, order: &Order, command: &str, limit: Duration) -> io::Result<CheckEnd>;

    /// Measures a running task.
    ///
    /// `Err` means that nobody can tell: it has ended, or whoever would measure it is away.
    async fn usage(&self, order: &Order) -> io::Result<Usage>;

    /// Takes away what is left beside sandbox and task directory (control groups, a stopped container).
    async fn clean(&self, order: &Order);
}

/// The last state of a task and the words for it, as Mesos chooses them.
///
/// `killed`: we asked for its end, and then it is TASK_KILLED whatever the status. Source: contract marathon §4.2.
pub fn verdict(exit: &Exit, has_image: bool, killed: bool) -> (TaskState, String) {
    let (state, message) = match *exit {
        Exit::Exited { status } => {
            let state = if status == 0 {
                TaskState::Finished
            } else {
                TaskState::Failed
            };
            let subject = if has_image { "Container" } else { "Command" };
            (state, format!("{subject} exited with status {status}"))
        }
        Exit::Signalled { signal } if has_image => {
            // As a shell and the Docker engine count.
            (
                TaskState::Failed,
                format!("Container exited with status {}", 128 + signal),
            )
        }
        Exit::Signalled { signal } => (
            TaskState::Failed,
            format!("Command terminated with signal {}", signal_name(signal)),
        ),
        Exit::MemoryLimit { limit, used } => {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let message = format!(
                "Memory limit exceeded: Requested: {}MB Maximum Used: {}MB",
                mib(limit),
                mib(used)
            );
            (TaskState::Failed, message)
        }
        // As Mesos' master says of all tasks of an agent whose host came back without them.
        Exit::Rebooted => (
            TaskState::Lost,
            "The host was rebooted while the task ran".to_owned(),
        ),
        Exit::NotStarted { ref message } | Exit::Unknown { ref message } => {
            (TaskState::Failed, message.clone())
        }
    };
    (if killed { TaskState::Killed } else { state }, message)
}

/// Why a task ended, where Mesos' APIs have a word for it. `killed`: we asked for its end, whatever came in between.
pub(crate) fn reason(exit: &Exit, killed: bool) -> Option<StatusReason> {
    match exit {
        Exit::MemoryLimit { .. } if !killed => Some(StatusReason::MemoryLimit),
        Exit::MemoryLimit { .. }
        | Exit::Exited { .. }
        | Exit::Signalled { .. }
        | Exit::NotStarted { .. }
        | Exit::Rebooted
        | Exit::Unknown { .. } => None,
    }
}

/// `strsignal` of the C library, for the signals a task meets.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        24 => "CPU time limit exceeded",
        25 => "File size limit exceeded",
        31 => "Bad system call",
        other => return other.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_mesos_chooses_them() {
        // contract: task-state-finished, task-state-failed, task-state-killed
        use TaskState::{Failed, Finished, Killed};
        let check = |exit: Exit, has_image, killed, state, message: &str| {
            assert_eq!(
                verdict(&exit, has_image, killed),
                (state, message.to_owned())
            );
            let is_memory = matches!(exit, Exit::MemoryLimit { .. });
            assert_eq!(reason(&exit, killed).is_some(), is_memory && !killed);
        };
        let (image, plain, asked, alone) = (true, false, true, false);
        check(
            Exit::Exited { status: 0 },
            plain,
            alone,
            Finished,
            "Command exited with status 0",
        );
        check(
            Exit::Exited { status: 1 },
            image,
            alone,
            Failed,
            "Container exited with status 1",
        );
        check(
            Exit::Exited { status: 0 },
            image,
            asked,
            Killed,
            "Container exited with status 0",
        );
        check(
            Exit::Signalled { signal: 9 },
            image,
            asked,
            Killed,
            "Container exited with status 137",
        );
        check(
            Exit::Signalled { signal: 15 },
            image,
            asked,
            Killed,
            "Container exited with status 143",
        );
        check(
            Exit::Signalled { signal: 9 },
            plain,
            alone,
            Failed,
            "Command terminated with signal Killed",
        );
        check(
            Exit::MemoryLimit {
                limit: 32 << 20,
                used: (31 << 20) + 5,
            },
            image,
            alone,
            Failed,
            "Memory limit exceeded: Requested: 32MB Maximum Used: 32MB",
        );
        check(
            Exit::MemoryLimit {
                limit: 32 << 20,
                used: (31 << 20) + 5,
            },
            image,
            asked,
            Killed,
            "Memory limit exceeded: Requested: 32MB Maximum Used: 32MB",
        );
    }
}
