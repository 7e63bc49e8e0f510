//! A command in a task that runs, for whoever is on the task's machine and may read the agent's books: `zddcluster exec`.
//!
//! A process gets the task's control groups, sandbox, user and environment; a container is entered by `docker exec`. The
//! command takes this process' place, so terminal, signals and exit code are its own. The task's marker in its environment makes
//! it one of the task's processes: what is left of it ends with the task.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use zddcluster_model::TaskId;

use crate::containerizer::Order;
use crate::executor;
use crate::{docker, leftovers};

/// What to run in a task, and how.
#[derive(Clone, Debug)]
pub struct Enter {
    /// The command and its arguments.
    pub argv: Vec<OsString>,
    /// It reads our stdin; else it has none.
    pub interactive: bool,
    /// It gets a terminal: ours.
    pub tty: bool,
}

/// Why a command was not run.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// The books do not have it, or it has ended.
    #[error("no task {task_id} runs in {}", .work_dir.display())]
    NoTask {
        /// Which task.
        task_id: TaskId,
        /// Where it was looked for.
        work_dir: std::path::PathBuf,
    },
    /// The books cannot be read.
    #[error("the agent's books in {} cannot be read", .work_dir.display())]
    Books {
        /// Whose.
        work_dir: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The task's environment cannot be taken on.
    #[error("the task's environment cannot be entered: {0}")]
    Environment(String),
    /// The command cannot be executed.
    #[error("{command} cannot be executed")]
    Execute {
        /// Its first word.
        command: String,
        /// Why.
        source: io::Error,
    },
}

/// Runs a command in a task of the agent that works in `work_dir`, in place of this process; returns only if it cannot.
pub fn enter(work_dir: &Path, task_id: &TaskId, enter: &Enter) -> EnterError {
    let mut command = match prepare(work_dir, task_id, enter) {
        Ok(command) => command,
        Err(error) => return error,
    };
    if !enter.interactive {
        command.stdin(Stdio::null());
    }
    let source = command.exec();
    EnterError::Execute {
        command: command.get_program().to_string_lossy().into_owned(),
        source,
    }
}

fn prepare(work_dir: &Path, task_id: &TaskId, enter: &Enter) -> Result<Command, EnterError> {
    let running = leftovers::running(work_dir).map_err(|source| EnterError::Books {
        work_dir: work_dir.to_owned(),
        source,
    })?;
    let order = running
        .into_iter()
        .find(|order| order.launch.task_id == *task_id)
        .ok_or_else(|| EnterError::NoTask {
            task_id: task_id.clone(),
            work_dir: work_dir.to_owned(),
        })?;
    if docker::is_container(&order) {
        return Ok(in_container(&order, enter));
    }
    executor::command_in(&order.task_dir, &enter.argv).map_err(EnterError::Environment)
}

fn in_container(order: &Order, enter: &Enter) -> Command {
    let Enter {
        argv,
        interactive,
        tty,
    } = enter;
    let mut command = Command::new("docker");
    command.arg("exec");
    if *interactive {
        command.arg("--interactive");
    }
    if *tty {
        command.arg("--tty");
    }
    command.arg(&order.container_name).args(argv);
    command
}
