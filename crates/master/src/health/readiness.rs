//! Readiness checks: the master asks the one task itself, and keeps what it answered for the deployment.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;
use zddcluster_client::ask::{self, Scheme};
use zddcluster_engine::Input;
use zddcluster_engine::state::Task;
use zddcluster_model::app::{HealthProtocol, ReadinessCheck};
use zddcluster_model::task::ReadinessResponse;
use zddcluster_model::{App, TaskId, TaskState};
use zddcluster_runtime::OnFailure;

use super::{Key, Running, claim, divided, endpoint, every};
use crate::metrics::Asked;
use crate::shared::{Message, Shared};

/// Longest body kept of a readiness answer: it is shown in the deployment, one for each new task.
const LONGEST_BODY: usize = 16 * 1024;

/// Asks a task until it is ready or the order is taken back.
pub(super) fn start(shared: &Arc<Shared>, running: &Running, task_id: TaskId, app: Arc<App>) {
    let Some(check) = app.readiness_checks.first().cloned() else {
        return;
    };
    let key = Key::Readiness(task_id.clone());
    let Some(token) = claim(shared, running, &key) else {
        return;
    };
    let shared = Arc::clone(shared);
    let running = running.clone();
    shared
        .tasks
        .clone()
        .spawn("readiness-check", OnFailure::Log, async move {
            let own_turns = running.turns_of(&app.id);
            let turns = [&*own_turns, &*running.turns];
            // Cancel-safe: dropping it abandons one request.
            let _ = token
                .run_until_cancelled(check_until_ready(&shared, turns, &task_id, &app, &check))
                .await;
            running.leave(&app.id, own_turns);
            running.ended(&key, &token);
            Ok(())
        });
}

async fn check_until_ready(
    shared: &Shared,
    [own_turns, turns]: [&Semaphore; 2],
    task_id: &TaskId,
    app: &App,
    check: &ReadinessCheck,
) {
    let interval = divided(check.interval_seconds.saturating_mul(1000), shared.speed);
    let timeout = Duration::from_secs(check.timeout_seconds);
    let mut rounds = every(Duration::ZERO, interval);
    loop {
        rounds.tick().await;
        let Some(task) = shared.state().tasks.get(task_id).cloned() else {
            return;
        };
        if task.state != TaskState::Running {
            continue;
        }
        // Never closed, and in this order, as with health checks.
        let turn = (own_turns.acquire().await, turns.acquire().await);
        let response = ask(app, check, &task, timeout).await;
        drop(turn);
        let is_ready = check.http_status_codes_for_ready.contains(&response.status);
        shared.metrics.checked(Asked::Readiness, is_ready);
        let input = Input::Readiness {
            task_id: task_id.clone(),
            is_ready,
            response,
        };
        if shared.send(Message::Input(input)).await.is_err() || is_ready {
            return;
        }
    }
}

/// Asks a task whether it is ready. A task that cannot be asked answers 504.
async fn ask(
    app: &App,
    check: &ReadinessCheck,
    task: &Task,
    timeout: Duration,
) -> ReadinessResponse {
    let port_index = port_index(app, &check.port_name);
    let endpoint = endpoint::outside(app, task, port_index, None).filter(|_| port_index.is_some());
    let scheme = match check.protocol {
        HealthProtocol::Https | HealthProtocol::MesosHttps => Scheme::Https,
        HealthProtocol::Http
        | HealthProtocol::Tcp
        | HealthProtocol::Command
        | HealthProtocol::MesosHttp
        | HealthProtocol::MesosTcp => Scheme::Http,
    };
    let shown = scheme.as_str();
    let Some((host, port)) = endpoint else {
        let text = format!("no port named {}", check.port_name);
        return not_asked(&format!("{shown}://{}{}", task.host, check.path), &text);
    };
    match ask::get(scheme, (host, port), &check.path, timeout, LONGEST_BODY).await {
        Ok(answer) => ReadinessResponse {
            status: answer.status.as_u16(),
            content_type: answer.content_type,
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        },
        Err(failure) => not_asked(
            &format!("{shown}://{host}:{port}{}", check.path),
            &failure.to_string(),
        ),
    }
}

fn not_asked(url: &str, text: &str) -> ReadinessResponse {
    ReadinessResponse {
        status: StatusCode::GATEWAY_TIMEOUT.as_u16(),
        content_type: "text/plain".to_owned(),
        body: format!("Marathon could not query {url}: {text}"),
    }
}

/// The index of the app's port with this name.
fn port_index(app: &App, name: &str) -> Option<u32> {
    let is_named = |given: &Option<String>| given.as_deref() == Some(name);
    let at = match app.port_mappings() {
        Some(mappings) => mappings.iter().position(|mapping| is_named(&mapping.name)),
        None => app
            .port_definitions
            .iter()
            .position(|definition| is_named(&definition.name)),
    };
    at.and_then(|at| u32::try_from(at).ok())
}
