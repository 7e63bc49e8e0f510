//! Readiness checks: the master asks the one task itself, and keeps what it answered for the deployment.

use std::time::Duration;

use http::StatusCode;
use zddcluster_client::ask::{self, Scheme};
use zddcluster_engine::state::Task;
use zddcluster_model::App;
use zddcluster_model::app::{HealthProtocol, ReadinessCheck};
use zddcluster_model::task::ReadinessResponse;

use super::endpoint;

/// Longest body kept of a readiness answer: it is shown in the deployment, one for each new task.
const LONGEST_BODY: usize = 16 * 1024;

/// Asks a task whether it is ready. A task that cannot be asked answers 504.
pub(super) async fn ask(
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
