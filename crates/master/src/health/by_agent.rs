//! Checks that the task's agent makes: COMMAND beside the task, MESOS_HTTP, MESOS_HTTPS and MESOS_TCP in the task's network. It
//! tells what came of them; what that means is told here.

use std::time::Duration;

use http::{Request, StatusCode, header};
use zddcluster_engine::CheckVerdict;
use zddcluster_engine::state::Task;
use zddcluster_model::agent::{Check, CheckEnd, RunCheck};

use super::Outcome;
use crate::shared::Shared;

/// What starting the command and answering may take beyond the check's own time limit.
const AGENT_MARGIN: Duration = Duration::from_secs(5);

/// What became of a question to an agent.
#[derive(Debug)]
pub(super) enum Asked {
    /// It did what was asked.
    Outcome(Outcome),
    /// It cannot be asked, or does not run the task any more: that says nothing of the task's health.
    Nothing,
    /// It is of the first ones, which know commands only.
    TooOld,
}

/// Has the task's agent make a check.
pub(super) async fn ask(shared: &Shared, check: Check, task: &Task, timeout: Duration) -> Asked {
    let is_command = matches!(check, Check::Command(_));
    match post(shared, check, task, timeout).await {
        Ok((StatusCode::OK, body)) => match serde_json::from_slice(&body) {
            Ok(end) => Asked::Outcome(outcome(end, timeout)),
            Err(error) => not_made(task, &error.to_string()),
        },
        // It has just ended; its status is on the way.
        Ok((StatusCode::NOT_FOUND, _)) => Asked::Nothing,
        Ok((StatusCode::UNPROCESSABLE_ENTITY, _)) if !is_command => Asked::TooOld,
        Ok((status, body)) => {
            let text = String::from_utf8_lossy(&body);
            not_made(task, &format!("the agent answered {status}: {text}"))
        }
        Err(error) => not_made(task, &error),
    }
}

fn not_made(task: &Task, error: &str) -> Asked {
    let (task_id, agent_id) = (&task.id, &task.agent_id);
    tracing::warn!(%task_id, %agent_id, error, "a health check was not made by the agent");
    Asked::Nothing
}

async fn post(
    shared: &Shared,
    check: Check,
    task: &Task,
    timeout: Duration,
) -> Result<(StatusCode, bytes::Bytes), String> {
    let state = shared.state();
    let agent = state
        .agents
        .get(&task.agent_id)
        .filter(|agent| agent.is_connected)
        .ok_or("its agent is away")?;
    let url = format!(
        "http://{}:{}/zdd/v1/tasks/{}/check",
        agent.hostname, agent.port, task.id
    );
    let question = RunCheck {
        check,
        timeout_millis: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    };
    let body = serde_json::to_vec(&question).map_err(|error| error.to_string())?;
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .map_err(|error| error.to_string())?;
    let answer = shared
        .http
        .send(request, timeout.saturating_add(AGENT_MARGIN))
        .await
        .map_err(|error| error.to_string())?;
    Ok((answer.status(), answer.into_body()))
}

/// Of commands in the words of Mesos' health checker.
fn outcome(end: CheckEnd, timeout: Duration) -> Outcome {
    let cause = match end {
        CheckEnd::Exited { status: 0 } => return Outcome::Verdict(CheckVerdict::Healthy),
        CheckEnd::Connected => return Outcome::Verdict(CheckVerdict::Healthy),
        CheckEnd::Answered { status } => return Outcome::Status(status),
        CheckEnd::NotAnswered { cause } => cause,
        CheckEnd::Exited { status } => format!("Command returned: exited with status {status}"),
        CheckEnd::Signalled { signal } => {
            format!("Command returned: terminated with signal {signal}")
        }
        CheckEnd::TimedOut => format!(
            "Command has not returned after {}secs; aborting",
            timeout.as_secs()
        ),
        CheckEnd::NotRun { message } => format!("Command could not be run: {message}"),
    };
    Outcome::Verdict(CheckVerdict::Unhealthy(cause))
}
