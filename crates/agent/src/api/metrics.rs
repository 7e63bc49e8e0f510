//! `/metrics/snapshot` under Mesos' names, and `/metrics` for Prometheus.
//!
//! Counts of ends are of the tasks that are still known here: the last ones, whose sandboxes are kept.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use rustix::fs::statvfs;
use serde_json::{Map, Value};
use zddcluster_model::TaskState;
use zddcluster_runtime::{Exposition, Form, Kind, machine_metrics};

use super::Api;
use super::containers::measure;
use crate::actor::View;

/// States that are shown even if no task is in them.
const STATES: [TaskState; 9] = [
    TaskState::Staging,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Killing,
    TaskState::Finished,
    TaskState::Failed,
    TaskState::Killed,
    TaskState::Lost,
    TaskState::Error,
];

/// `/metrics/snapshot`.
pub(super) async fn snapshot(State(api): State<Api>) -> Response {
    match api.view().await {
        Ok(view) => Json(numbers(&api, &view)).into_response(),
        Err(refusal) => refusal,
    }
}

/// All numbers.
pub(super) fn numbers(api: &Api, view: &View) -> Map<String, Value> {
    let mut numbers = Map::new();
    let mut put = |name: &str, value: f64| {
        numbers.insert(name.to_owned(), value.into());
    };
    let is_registered = view.identity.agent_id.is_some();
    put("slave/registered", f64::from(u8::from(is_registered)));
    put("slave/uptime_secs", api.started_at.elapsed().as_secs_f64());
    put(
        "slave/frameworks_active",
        f64::from(u8::from(is_registered)),
    );
    let counts = counts(view);
    for (state, n) in &counts {
        let word = state.as_str().trim_start_matches("TASK_").to_lowercase();
        put(&format!("slave/tasks_{word}"), *n as f64);
    }
    let n_live: u64 = counts
        .iter()
        .filter(|(state, _)| !state.is_terminal())
        .map(|(_, n)| n)
        .sum();
    let n_running = counts[&TaskState::Running];
    put("slave/executors_running", n_running as f64);
    put("slave/executors_registering", (n_live - n_running) as f64);
    let all = &api.about.resources;
    let used = Held::of(view);
    for (name, total, used) in [
        ("cpus", all.cpus, used.cpus),
        ("mem", all.mem, used.mem),
        ("disk", all.disk, used.disk),
        ("gpus", all.gpus.into(), 0.0),
    ] {
        put(&format!("slave/{name}_total"), total);
        put(&format!("slave/{name}_used"), used);
        let share = if total > 0.0 { used / total } else { 0.0 };
        put(&format!("slave/{name}_percent"), share);
    }
    for (name, value) in machine_metrics() {
        put(name, value);
    }
    numbers
}

/// What live tasks hold: what they asked for.
#[derive(Default)]
struct Held {
    cpus: f64,
    mem: f64,
    disk: f64,
}

impl Held {
    fn of(view: &View) -> Self {
        let mut held = Self::default();
        for task in view.tasks.iter().filter(|task| !task.state.is_terminal()) {
            let launch = &task.order.launch;
            held.cpus += launch.cpus;
            held.mem += launch.mem;
            held.disk += launch.disk;
        }
        held
    }
}

fn counts(view: &View) -> BTreeMap<TaskState, u64> {
    let mut counts: BTreeMap<TaskState, u64> = STATES.map(|state| (state, 0)).into();
    for task in &view.tasks {
        *counts.entry(task.state).or_default() += 1;
    }
    counts
}

/// `/metrics`.
pub(super) async fn prometheus(State(api): State<Api>, headers: HeaderMap) -> Response {
    let view = match api.view().await {
        Ok(view) => view,
        Err(refusal) => return refusal,
    };
    let measured = measure(&api, &view).await;
    let mut out = Exposition::new(Form::wanted(&headers));
    out.single(
        "zddcluster_agent_uptime_seconds",
        Kind::Gauge,
        "Age of the agent.",
        api.started_at.elapsed().as_secs_f64(),
    );
    out.single(
        "zddcluster_agent_registered",
        Kind::Gauge,
        "1 from the first registration with a master on.",
        u8::from(view.identity.agent_id.is_some()),
    );
    // Left out where the system cannot tell.
    if let Ok(disk) = statvfs(api.sandboxes.work_dir()) {
        let families = [
            (
                "zddcluster_agent_disk_bytes",
                "Size of the disk with the work directory.",
                disk.f_blocks,
            ),
            (
                "zddcluster_agent_disk_free_bytes",
                "What is free of it for tasks.",
                disk.f_bavail,
            ),
        ];
        for (name, help, n_blocks) in families {
            out.single(
                name,
                Kind::Gauge,
                help,
                n_blocks.saturating_mul(disk.f_frsize),
            );
        }
    }
    out.family(
        "zddcluster_agent_tasks",
        Kind::Gauge,
        "Known tasks by state; of those that ended, the last ones.",
    );
    for (state, n) in counts(&view) {
        out.sample(&[("state", state.as_str())], n);
    }
    let held = Held::of(&view);
    let offered = &api.about.resources;
    out.family(
        "zddcluster_agent_resources",
        Kind::Gauge,
        "What the agent offers: cores, and MiB.",
    );
    for (name, amount) in [
        ("cpus", offered.cpus),
        ("mem", offered.mem),
        ("disk", offered.disk),
    ] {
        out.sample(&[("resource", name)], amount);
    }
    out.family(
        "zddcluster_agent_resources_used",
        Kind::Gauge,
        "What live tasks have asked for.",
    );
    for (name, amount) in [("cpus", held.cpus), ("mem", held.mem), ("disk", held.disk)] {
        out.sample(&[("resource", name)], amount);
    }
    let of_tasks: Vec<(String, &str, crate::usage::Usage)> = measured
        .into_iter()
        .filter_map(|(task, usage)| {
            let launch = &task.order.launch;
            Some((launch.app_id.to_string(), launch.task_id.as_str(), usage?))
        })
        .collect();
    out.family(
        "zddcluster_task_cpu_seconds",
        Kind::Counter,
        "Processor time of running tasks.",
    );
    for (app, task, usage) in &of_tasks {
        let mut sample = |mode: &str, time: std::time::Duration| {
            out.sample(
                &[("app", app), ("task", task), ("mode", mode)],
                time.as_secs_f64(),
            );
        };
        sample("user", usage.cpu_user);
        sample("system", usage.cpu_system);
    }
    out.family(
        "zddcluster_task_memory_bytes",
        Kind::Gauge,
        "Memory of running tasks that cannot be dropped.",
    );
    for (app, task, usage) in &of_tasks {
        out.sample(&[("app", app), ("task", task)], usage.memory_rss);
    }
    out.family(
        "zddcluster_task_memory_limit_bytes",
        Kind::Gauge,
        "The most memory that running tasks may use.",
    );
    for (app, task, usage) in &of_tasks {
        out.sample(&[("app", app), ("task", task)], usage.memory_limit);
    }
    out.family(
        "zddcluster_task_processes",
        Kind::Gauge,
        "Processes of running tasks.",
    );
    for (app, task, usage) in &of_tasks {
        out.sample(&[("app", app), ("task", task)], usage.processes);
    }
    out.finish()
}
