//! What the master says of itself: `/v2/info`, `/v2/plugins`, `/ping` (contract marathon §2.7).

use http::StatusCode;
use serde_json::json;

use super::Outcome;
use super::help::require_read;
use crate::http::{Call, ok, with_type};
use crate::shared::Shared;

/// The Marathon that this API behaves as; clients choose their paths by it.
pub(crate) const MARATHON_VERSION: &str = "1.3.13";

pub(super) fn info(shared: &Shared, call: &Call) -> Outcome {
    require_read(call)?;
    let identity = &shared.identity;
    let front = identity.front;
    let mesos = identity.mesos;
    // The only master leads until it goes down.
    let leader = (!shared.state().is_stopping()).then(|| front.to_string());
    Ok(ok(&json!({
        "name": "marathon",
        "version": MARATHON_VERSION,
        "buildref": concat!("zddcluster-", env!("CARGO_PKG_VERSION")),
        "elected": leader.is_some(),
        "leader": leader,
        "frameworkId": identity.framework_id(),
        "marathon_config": {
            "master": mesos.to_string(),
            "failover_timeout": 604_800,
            "framework_name": "marathon",
            "ha": true,
            "checkpoint": true,
            "local_port_min": 10_000,
            "local_port_max": 20_000,
            "executor": "//cmd",
            "hostname": front.ip().to_string(),
            "webui_url": format!("http://{front}"),
            "mesos_role": "slave_public",
            "task_launch_timeout": 86_400_000,
            "task_reservation_timeout": 20_000,
            "reconciliation_initial_delay": 15_000,
            "reconciliation_interval": 600_000,
            "mesos_user": "root",
            "leader_proxy_connection_timeout_ms": 5_000,
            "leader_proxy_read_timeout_ms": 10_000,
            "features": ["task_killing"],
            "mesos_leader_ui_url": format!("http://{mesos}/"),
        },
        "zookeeper_config": {
            "zk": "zk://localhost:2181/marathon",
            "zk_timeout": 10_000,
            "zk_session_timeout": 10_000,
            "zk_max_versions": 25,
        },
        // Z14: always on; none is configured, they come and go by /v2/eventSubscriptions.
        "event_subscriber": { "type": "http_callback", "http_endpoints": [] },
        "http_config": { "http_port": front.port(), "https_port": 8443 },
    })))
}

pub(super) fn plugins(call: &Call) -> Outcome {
    require_read(call)?;
    Ok(ok(&json!({ "plugins": [] })))
}

pub(super) fn ping(call: &Call) -> Outcome {
    require_read(call)?;
    Ok(with_type(StatusCode::OK, "text/plain", "pong\n"))
}
