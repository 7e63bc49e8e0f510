//! COMMAND checks: the task's agent runs the command beside the task and tells how it ended.

use std::time::Duration;

use http::{Request, StatusCode, header};
use zddcluster_engine::CheckVerdict;
use zddcluster_engine::state::Task;
use zddcluster_model::agent::{CheckEnd, RunCheck};

use crate::shared::Shared;

/// What starting the command and answering may take beyond the check's own time limit.
const AGENT_MARGIN: Duration = Duration::from_secs(5);

/// Runs one; `None` if the agent cannot be asked, or does not run the task any more: that says nothing of the task's health.
pub(super) async fn verdict(
    shared: &Shared,
    command: &str,
    task: &Task,
    timeout: Duration,
) -> Option<CheckVerdict> {
    match ask(shared, command, task, timeout).await {
        Ok(Some(end)) => Some(judged(&end, timeout)),
        Ok(None) => None,
        Err(error) => {
            let (task_id, agent_id) = (&task.id, &task.agent_id);
            tracing::warn!(%task_id, %agent_id, error, "a COMMAND health check was not run");
            None
        }
    }
}

async fn ask(
    shared: &Shared,
    command: &str,
    task: &Task,
    timeout: Duration,
) -> Result<Option<CheckEnd>, String> {
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
        command: command.to_owned(),
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
    match answer.status() {
        StatusCode::OK => serde_json::from_slice(answer.body())
            .map(Some)
            .map_err(|error| error.to_string()),
        // It has just ended; its status is on the way.
        StatusCode::NOT_FOUND => Ok(None),
        status => Err(format!(
            "the agent answered {status}: {}",
            String::from_utf8_lossy(answer.body())
        )),
    }
}

/// In the words of Mesos' health checker.
fn judged(end: &CheckEnd, timeout: Duration) -> CheckVerdict {
    CheckVerdict::Unhealthy(match end {
        CheckEnd::Exited { status: 0 } => return CheckVerdict::Healthy,
        CheckEnd::Exited { status } => format!("Command returned: exited with status {status}"),
        CheckEnd::Signalled { signal } => {
            format!("Command returned: terminated with signal {signal}")
        }
        CheckEnd::TimedOut => format!(
            "Command has not returned after {}secs; aborting",
            timeout.as_secs()
        ),
        CheckEnd::NotRun { message } => format!("Command could not be run: {message}"),
    })
}
