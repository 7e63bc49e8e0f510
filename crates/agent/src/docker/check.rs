//! Commands run inside a task's container, for COMMAND health checks: what `docker exec` does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::models::ExecInspectResponse;
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal};
use tokio::sync::oneshot;
use zddcluster_model::agent::CheckEnd;
use zddcluster_runtime::{OnFailure, Tasks};

use super::engine::{ASK_LIMIT, Engine, EngineError};
use crate::containerizer::Order;
use crate::executor::procfs;

/// How long the end of a command that nobody waits for is seen to.
const END_LIMIT: Duration = Duration::from_secs(3);

/// Between two looks at whether it has started.
const LOOK: Duration = Duration::from_millis(20);

/// Runs one for at most `limit`; an engine in trouble says nothing of the task.
///
/// Dropped, the command is ended: whoever asked may have gone. That takes calls to the engine, so `owner` has a task that makes
/// them in any case.
pub(super) async fn run(
    engine: &Arc<Engine>,
    owner: &Tasks,
    order: &Order,
    command: &str,
    limit: Duration,
) -> io::Result<CheckEnd> {
    let (mut answer, answered) = oneshot::channel();
    let (engine, token) = (Arc::clone(engine), owner.token().clone());
    let (order, command) = (order.clone(), command.to_owned());
    owner.spawn("check", OnFailure::Log, async move {
        let given_up = async {
            tokio::select! {
                () = answer.closed() => {}
                () = token.cancelled() => {}
            }
        };
        let end = execute(&engine, &order, &command, limit, given_up).await;
        // Nobody hears it who has gone.
        let _ = answer.send(end);
        Ok(())
    });
    match answered.await {
        Ok(Ok(end)) => Ok(end),
        Ok(Err(error)) if error.is_passing() => Err(io::Error::other(error)),
        Ok(Err(error)) => Ok(CheckEnd::NotRun {
            message: error.to_string(),
        }),
        Err(_) => Err(io::Error::other("the check was interrupted")),
    }
}

async fn execute(
    engine: &Engine,
    order: &Order,
    command: &str,
    limit: Duration,
    given_up: impl Future<Output = ()>,
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
    let running = engine.call("run the check", limit, |docker| async move {
        // Its output tells when it has ended.
        if let StartExecResults::Attached { mut output, .. } = docker.start_exec(id, None).await? {
            while let Some(chunk) = output.next().await {
                chunk?;
            }
        }
        Ok(())
    });
    let ended = tokio::select! {
        ended = running => ended,
        () = given_up => {
            end_started(engine, order, id).await;
            return Ok(CheckEnd::TimedOut);
        }
    };
    let seen = describe(engine, id).await?;
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

async fn describe(engine: &Engine, id: &str) -> Result<ExecInspectResponse, EngineError> {
    engine
        .call("describe the check", ASK_LIMIT, |docker| async move {
            docker.inspect_exec(id).await
        })
        .await
}

/// Ends one that the engine was asked to start, and may be starting only now.
async fn end_started(engine: &Engine, order: &Order, id: &str) {
    let ended = async {
        loop {
            let seen = describe(engine, id).await?;
            if seen.pid.is_some_and(|pid| pid > 0) || seen.exit_code.is_some() {
                if seen.running == Some(true) {
                    end_by_force(order, seen.pid);
                }
                return Ok::<(), EngineError>(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    // Past the time it was not started, or the engine is away.
    if let Ok(Err(error)) = tokio::time::timeout(END_LIMIT, ended).await {
        tracing::debug!(task = %order.launch.task_id, %error, "a health check that nobody waits for cannot be ended");
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
