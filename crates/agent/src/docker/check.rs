//! Commands run inside a task's container, for COMMAND health checks: what `docker exec` does.

use std::io;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal};
use zddcluster_model::agent::CheckEnd;

use super::engine::{ASK_LIMIT, Engine, EngineError};
use crate::containerizer::Order;
use crate::executor::procfs;

/// Runs one for at most `limit`; an engine in trouble says nothing of the task.
pub(super) async fn run(
    engine: &Engine,
    order: &Order,
    command: &str,
    limit: Duration,
) -> io::Result<CheckEnd> {
    match execute(engine, order, command, limit).await {
        Ok(end) => Ok(end),
        Err(error) if error.is_passing() => Err(io::Error::other(error)),
        Err(error) => Ok(CheckEnd::NotRun {
            message: error.to_string(),
        }),
    }
}

async fn execute(
    engine: &Engine,
    order: &Order,
    command: &str,
    limit: Duration,
) -> Result<CheckEnd, EngineError> {
    let options = CreateExecOptions {
        cmd: Some(vec!["/bin/sh", "-c", command]),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let name = &order.container_name;
    let id = engine
        .call("prepare the check", ASK_LIMIT, |docker| async move {
            docker.create_exec(name, options).await
        })
        .await?
        .id;
    let id = id.as_str();
    let ended = engine
        .call("run the check", limit, |docker| async move {
            // Its output tells when it has ended.
            if let StartExecResults::Attached { mut output, .. } =
                docker.start_exec(id, None).await?
            {
                while let Some(chunk) = output.next().await {
                    chunk?;
                }
            }
            Ok(())
        })
        .await;
    let seen = engine
        .call("describe the check", ASK_LIMIT, |docker| async move {
            docker.inspect_exec(id).await
        })
        .await?;
    match ended {
        Ok(()) => Ok(
            match seen.exit_code.and_then(|code| i32::try_from(code).ok()) {
                Some(status) => CheckEnd::Exited { status },
                None => CheckEnd::NotRun {
                    message: "the Docker engine does not tell how it ended".to_owned(),
                },
            },
        ),
        Err(EngineError::Slow { .. }) => {
            end_by_force(order, seen.pid);
            Ok(CheckEnd::TimedOut)
        }
        Err(error) => Err(error),
    }
}

/// The engine has no call to end what `exec` started, so its process is killed, if it is one of this machine.
fn end_by_force(order: &Order, pid: Option<i64>) {
    let Some(number) = pid
        .and_then(|pid| i32::try_from(pid).ok())
        .filter(|pid| *pid > 0)
    else {
        return;
    };
    // An engine of another machine counts its own processes: only one with the container's own environment is meant.
    let marker = format!("MESOS_CONTAINER_NAME={}", order.container_name);
    let environment = std::fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
    let is_ours = environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == marker.as_bytes());
    let Some(pid) = Pid::from_raw(number).filter(|_| is_ours) else {
        tracing::warn!(task = %order.launch.task_id, "a health check's command that took too long cannot be ended");
        return;
    };
    let is_leader = procfs::Stat::of(number).is_ok_and(|stat| stat.group == number);
    let _ = if is_leader {
        rustix::process::kill_process_group(pid, Signal::KILL)
    } else {
        rustix::process::kill_process(pid, Signal::KILL)
    };
}
