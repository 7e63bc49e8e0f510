//! `/metrics`: JSON as Marathon's, Prometheus text when asked for (contract marathon §2.7, Z22).

use std::fmt::Write as _;

use http::StatusCode;
use serde_json::{Map, Value, json};
use zddcluster_engine::State;
use zddcluster_model::{Group, TaskState};

use super::Outcome;
use crate::error::ApiError;
use crate::http::{Call, ok, with_type};
use crate::shared::Shared;

pub(super) fn metrics(shared: &Shared, call: &Call) -> Outcome {
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let uptime_millis = shared.clock.now().millis_since(shared.clock.started_at());
    let gauges = gauges(&shared.state(), uptime_millis);
    if call.prefers_text() {
        let mut text = String::new();
        for (name, value) in gauges {
            let name = name.replace('.', "_").replace("service_mesosphere_", "");
            writeln!(text, "# TYPE {name} gauge\n{name} {value}")
                .expect("a string takes everything");
        }
        return Ok(with_type(StatusCode::OK, "text/plain; version=0.0.4", text));
    }
    let gauges: Map<String, Value> = gauges
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!({ "value": value })))
        .collect();
    Ok(ok(&json!({
        "version": "3.0.0",
        "gauges": gauges,
        "counters": {},
        "histograms": {},
        "meters": {},
        "timers": {},
    })))
}

fn gauges(state: &State, uptime_millis: i64) -> Vec<(&'static str, i64)> {
    let count = |wanted: TaskState| {
        let n = state
            .tasks
            .values()
            .filter(|task| task.state == wanted)
            .count();
        i64::try_from(n).unwrap_or(i64::MAX)
    };
    let n_apps = i64::try_from(state.root.transitive_apps().len()).unwrap_or(i64::MAX);
    vec![
        ("service.mesosphere.marathon.app.count", n_apps),
        (
            "service.mesosphere.marathon.group.count",
            n_groups(&state.root),
        ),
        ("service.mesosphere.marathon.uptime", uptime_millis),
        (
            "service.mesosphere.marathon.task.running.count",
            count(TaskState::Running),
        ),
        (
            "service.mesosphere.marathon.task.staged.count",
            count(TaskState::Staging),
        ),
    ]
}

fn n_groups(group: &Group) -> i64 {
    1 + group
        .groups
        .values()
        .map(|group| n_groups(group))
        .sum::<i64>()
}
