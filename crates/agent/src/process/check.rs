//! Commands run beside a task, for COMMAND health checks: in its sandbox, its control groups, as its user, with its
//! environment.
//!
//! `executor --check` takes all that on and executes the shell, as the task's own process did. The marker in the environment
//! makes it one of the task's processes: what is left of it ends with the task.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use zddcluster_model::agent::CheckEnd;

use crate::containerizer::Order;
use crate::executor::CHECK_NOT_RUN;

/// Runs one for at most `limit`; then everything it started is killed.
pub(super) async fn run(
    executable: &Path,
    order: &Order,
    command: &str,
    limit: Duration,
) -> CheckEnd {
    match execute(executable, order, command, limit).await {
        Ok(end) => end,
        Err(error) => CheckEnd::NotRun {
            message: error.to_string(),
        },
    }
}

/// The processes of a command that has not ended; dropped, they are killed: whoever asked may have gone.
///
/// The command leads its own session and is not waited for before this is emptied, so the number is its own.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

async fn execute(
    executable: &Path,
    order: &Order,
    command: &str,
    limit: Duration,
) -> io::Result<CheckEnd> {
    let mut child = tokio::process::Command::new(executable)
        .args(["executor", "--check"])
        .arg(&order.task_dir)
        .arg(command)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group(id.and_then(Pid::from_raw));
    let Ok(status) = tokio::time::timeout(limit, child.wait()).await else {
        drop(group);
        child.kill().await?;
        return Ok(CheckEnd::TimedOut);
    };
    let status = status?;
    group.0 = None;
    Ok(match (status.code(), status.signal()) {
        (Some(status), _) if status == i32::from(CHECK_NOT_RUN) => CheckEnd::NotRun {
            message: "the task's environment cannot be entered".to_owned(),
        },
        (Some(status), _) => CheckEnd::Exited { status },
        (None, Some(signal)) => CheckEnd::Signalled { signal },
        (None, None) => CheckEnd::NotRun {
            message: format!("wait answered {status:?}"),
        },
    })
}
