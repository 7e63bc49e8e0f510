//! `/metrics`: JSON as Marathon's, Prometheus text when asked for (contract marathon §2.7, Z22).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use axum::response::Response;
use serde_json::{Map, Value, json};
use zddcluster_engine::State;
use zddcluster_model::{Group, TaskState};
use zddcluster_runtime::{Exposition, Form, Kind, Seen};

use super::Outcome;
use crate::error::ApiError;
use crate::http::{Call, JSON, ok};
use crate::metrics::{Asked, Observed};
use crate::render::Counts;
use crate::shared::Shared;

/// What Marathon's metrics are called in JSON.
const PREFIX: &str = "service.mesosphere.marathon";

pub(super) fn metrics(shared: &Shared, call: &Call) -> Outcome {
    if !call.is_read() {
        return Err(ApiError::wrong_method());
    }
    let now = Now::look(shared);
    let prometheus = call.quality(&["text/plain"]);
    let open_metrics = call.quality(&["application/openmetrics-text"]);
    if call.quality(&JSON) >= prometheus.max(open_metrics) {
        return Ok(as_json(&now));
    }
    let form = if open_metrics >= prometheus {
        Form::OpenMetrics
    } else {
        Form::Prometheus
    };
    Ok(as_text(&now, form))
}

/// Everything that is shown, at one moment.
struct Now {
    n_apps: u64,
    n_groups: u64,
    uptime_millis: i64,
    /// Every state a known task is in, and the two that are always shown.
    tasks: BTreeMap<&'static str, u64>,
    n_deployments: u64,
    /// Instances that wait to be launched.
    n_queued: u64,
    n_agents: u64,
    events_published: u64,
    /// Streams cut off for being too slow, and events that callbacks missed.
    events_dropped: u64,
    n_streams: u64,
    requests: BTreeMap<u16, u64>,
    request_time: Observed,
    flush_time: Observed,
    failed_flushes: u64,
    launch_time: Observed,
    /// Ends of tasks since the start.
    ended_tasks: Vec<(TaskState, u64)>,
    /// Ends of deployments since the start, the good ones and the others.
    ended_deployments: [u64; 2],
    /// Good and bad outcomes of health checks, and of readiness checks.
    checks: [(Asked, [u64; 2]); 2],
    /// How long the oldest deployment has been running; 0 if none is.
    oldest_deployment_millis: i64,
    apps: Vec<AppNow>,
}

/// One app at that moment.
struct AppNow {
    id: String,
    /// Wanted.
    instances: u64,
    /// Wait to be launched.
    n_queued: u64,
    counts: Counts,
}

impl Now {
    fn look(shared: &Shared) -> Self {
        let state: &State = &shared.state();
        let shown = [TaskState::Running, TaskState::Staging];
        let mut tasks: BTreeMap<&'static str, u64> =
            shown.iter().map(|state| (state.as_str(), 0)).collect();
        for task in state.tasks.values() {
            *tasks.entry(task.state.as_str()).or_default() += 1;
        }
        let connected =
            |agent: &&std::sync::Arc<zddcluster_engine::state::Agent>| agent.is_connected;
        let metrics = &shared.metrics;
        let events = shared.bus.counts();
        Self {
            n_apps: state.root.transitive_apps().len() as u64,
            n_groups: n_groups(&state.root),
            uptime_millis: shared.clock.now().millis_since(shared.clock.started_at()),
            tasks,
            n_deployments: state.deployments.size() as u64,
            n_queued: state
                .queue
                .values()
                .map(|entry| u64::from(entry.count))
                .sum(),
            n_agents: state.agents.values().filter(connected).count() as u64,
            events_published: events.published,
            events_dropped: events.cut_off + shared.callbacks.dropped(),
            n_streams: events.streams as u64,
            requests: metrics.requests(),
            request_time: metrics.request_time.look(),
            flush_time: metrics.flush_time.look(),
            failed_flushes: metrics.failed_flushes.load(Ordering::Relaxed),
            launch_time: metrics.launch_time.look(),
            ended_tasks: metrics.ended_tasks(),
            ended_deployments: [true, false].map(|good| metrics.ended_deployments(good)),
            checks: [Asked::Health, Asked::Readiness]
                .map(|asked| (asked, [true, false].map(|good| metrics.checks(asked, good)))),
            oldest_deployment_millis: state
                .deployments
                .values()
                .map(|deployment| shared.clock.now().millis_since(deployment.plan.version))
                .max()
                .unwrap_or_default()
                .max(0),
            apps: state
                .root
                .transitive_apps()
                .iter()
                .map(|app| {
                    let tasks: Vec<_> = state.tasks_of(&app.id).collect();
                    AppNow {
                        id: app.id.to_string(),
                        instances: u64::from(app.instances),
                        n_queued: u64::from(state.queued_of(&app.id)),
                        counts: Counts::of(&tasks),
                    }
                })
                .collect(),
        }
    }
}

fn n_groups(group: &Group) -> u64 {
    1 + group
        .groups
        .values()
        .map(|group| n_groups(group))
        .sum::<u64>()
}

/// In the shape of the library that Marathon uses; names of our own follow the same prefix.
fn as_json(now: &Now) -> Response {
    let named = |values: Vec<(String, Value)>| -> Map<String, Value> {
        values
            .into_iter()
            .map(|(name, value)| (format!("{PREFIX}.{name}"), value))
            .collect()
    };
    let value = |name: &str, value: u64| (name.to_owned(), json!({ "value": value }));
    let mut gauges = vec![
        value("app.count", now.n_apps),
        value("group.count", now.n_groups),
        ("uptime".to_owned(), json!({ "value": now.uptime_millis })),
        value("task.running.count", now.tasks[TaskState::Running.as_str()]),
        value("task.staged.count", now.tasks[TaskState::Staging.as_str()]),
        value("deployment.count", now.n_deployments),
        value("queue.count", now.n_queued),
        value("agent.count", now.n_agents),
        value("event.stream.count", now.n_streams),
    ];
    gauges.extend(
        now.tasks
            .iter()
            .map(|(state, n)| value(&format!("task.{state}.count"), *n)),
    );
    let count = |name: &str, n: u64| (name.to_owned(), json!({ "count": n }));
    let mut counters = vec![
        count("events.published", now.events_published),
        count("events.dropped", now.events_dropped),
        count("store.failed", now.failed_flushes),
    ];
    counters.extend(
        now.requests
            .iter()
            .map(|(status, n)| count(&format!("requests.{status}"), *n)),
    );
    let timer = |name: &str, seen: &Observed| {
        let mean = match seen.count() {
            0 => 0.0,
            n => seen.total_seconds / n as f64,
        };
        let value = json!({ "count": seen.count(), "mean": mean, "duration_units": "seconds" });
        (name.to_owned(), value)
    };
    let timers = vec![
        timer("requests", &now.request_time),
        timer("store.flush", &now.flush_time),
    ];
    ok(&json!({
        "version": "3.0.0",
        "gauges": named(gauges),
        "counters": named(counters),
        "histograms": {},
        "meters": {},
        "timers": named(timers),
    }))
}

fn as_text(now: &Now, form: Form) -> Response {
    let mut out = Exposition::new(form);
    let gauges = [
        ("marathon_app_count", "Apps.", now.n_apps),
        (
            "marathon_group_count",
            "Groups, the root included.",
            now.n_groups,
        ),
        (
            "marathon_deployment_count",
            "Running deployments.",
            now.n_deployments,
        ),
        (
            "marathon_queue_count",
            "Instances that wait to be launched.",
            now.n_queued,
        ),
        ("marathon_agent_count", "Connected agents.", now.n_agents),
        (
            "marathon_event_streams",
            "Open event streams.",
            now.n_streams,
        ),
    ];
    for (name, help, value) in gauges {
        out.single(name, Kind::Gauge, help, value);
    }
    out.single(
        "marathon_uptime_seconds",
        Kind::Gauge,
        "Age of the master.",
        now.uptime_millis as f64 / 1000.0,
    );
    out.single(
        "marathon_deployment_oldest_seconds",
        Kind::Gauge,
        "How long the oldest deployment has been running; 0 if none is.",
        now.oldest_deployment_millis as f64 / 1000.0,
    );
    out.family("marathon_tasks", Kind::Gauge, "Known tasks by state.");
    for (state, n) in &now.tasks {
        out.sample(&[("state", state)], *n);
    }
    write_apps(now, &mut out);
    write_ends(now, &mut out);
    let counters = [
        (
            "marathon_events_published",
            "Events put on the bus.",
            now.events_published,
        ),
        (
            "marathon_events_dropped",
            "Streams cut off for being too slow, and events that callbacks missed.",
            now.events_dropped,
        ),
        (
            "marathon_store_failures",
            "Batches that could not be stored.",
            now.failed_flushes,
        ),
    ];
    for (name, help, value) in counters {
        out.single(name, Kind::Counter, help, value);
    }
    out.family(
        "marathon_http_requests",
        Kind::Counter,
        "Answers of the front door by status.",
    );
    for (status, n) in &now.requests {
        out.sample(&[("status", &status.to_string())], *n);
    }
    out.histogram(
        "marathon_http_request_seconds",
        "Time to the head of an answer of the front door.",
        seen(&now.request_time),
    );
    out.histogram(
        "marathon_store_flush_seconds",
        "Time until a batch of decisions was durable.",
        seen(&now.flush_time),
    );
    out.finish()
}

/// What there is of each app.
fn write_apps(now: &Now, out: &mut Exposition) {
    out.family(
        "marathon_app_instances",
        Kind::Gauge,
        "Instances that are wanted, by app.",
    );
    for app in &now.apps {
        out.sample(&[("app", &app.id)], app.instances);
    }
    out.family(
        "marathon_app_queue_count",
        Kind::Gauge,
        "Instances that wait to be launched, by app.",
    );
    for app in &now.apps {
        out.sample(&[("app", &app.id)], app.n_queued);
    }
    out.family(
        "marathon_app_tasks",
        Kind::Gauge,
        "Tasks of apps: staged, running, and of those with results of checks healthy and unhealthy.",
    );
    for app in &now.apps {
        let Counts {
            staged,
            running,
            healthy,
            unhealthy,
        } = app.counts;
        for (state, n) in [
            ("staged", staged),
            ("running", running),
            ("healthy", healthy),
            ("unhealthy", unhealthy),
        ] {
            out.sample(&[("app", &app.id), ("state", state)], n);
        }
    }
}

/// What has come to an end since the start: launches, tasks, deployments, checks.
fn write_ends(now: &Now, out: &mut Exposition) {
    out.histogram(
        "marathon_task_launch_seconds",
        "Time from the decision to launch a task until it ran.",
        seen(&now.launch_time),
    );
    out.family(
        "marathon_tasks_ended",
        Kind::Counter,
        "Ends of tasks by state.",
    );
    for (state, n) in &now.ended_tasks {
        out.sample(&[("state", state.as_str())], *n);
    }
    out.family(
        "marathon_deployments_ended",
        Kind::Counter,
        "Deployments that succeeded, and that failed, were stopped or rolled back.",
    );
    for (result, n) in ["success", "failed"].into_iter().zip(now.ended_deployments) {
        out.sample(&[("result", result)], n);
    }
    for (asked, outcomes) in now.checks {
        let (name, help, results) = match asked {
            Asked::Health => (
                "marathon_health_checks",
                "Outcomes of health checks.",
                ["healthy", "unhealthy"],
            ),
            Asked::Readiness => (
                "marathon_readiness_checks",
                "Outcomes of readiness checks.",
                ["ready", "not_ready"],
            ),
        };
        out.family(name, Kind::Counter, help);
        for (result, n) in results.into_iter().zip(outcomes) {
            out.sample(&[("result", result)], n);
        }
    }
}

fn seen(observed: &Observed) -> Seen<'_> {
    Seen {
        bounds: observed.bounds,
        up_to: &observed.up_to,
        sum: observed.total_seconds,
    }
}
