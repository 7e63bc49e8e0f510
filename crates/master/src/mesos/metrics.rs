//! `/metrics/snapshot`: one flat object of numbers under Mesos' names, as far as there is something to measure here.
//!
//! What Mesos has and we do not (messages by kind, the allocator, the registry's log) is left out rather than shown as zero.

use serde_json::{Map, Value};
use zddcluster_engine::State;
use zddcluster_model::TaskState;
use zddcluster_runtime::machine_metrics;

use super::present;
use super::record::{Amounts, counts, live};
use crate::shared::Shared;

/// The whole snapshot.
pub(super) fn snapshot(shared: &Shared) -> Map<String, Value> {
    let state: &State = &shared.state();
    let mut numbers = Map::new();
    let mut put = |name: &str, value: f64| {
        numbers.insert(name.to_owned(), value.into());
    };
    let uptime = shared.clock.now().millis_since(shared.clock.started_at());
    put("master/elected", 1.0);
    put("master/uptime_secs", uptime as f64 / 1000.0);
    agents(shared, state, &mut put);
    for (name, n) in [
        ("master/frameworks_active", 1.0),
        ("master/frameworks_connected", 1.0),
        ("master/frameworks_disconnected", 0.0),
        ("master/frameworks_inactive", 0.0),
        ("master/outstanding_offers", 0.0),
    ] {
        put(name, n);
    }
    let task_metric = |state: TaskState| {
        let word = state.as_str().trim_start_matches("TASK_").to_lowercase();
        format!("master/tasks_{word}")
    };
    for (state, n) in counts(live(state)) {
        put(&task_metric(state), n as f64);
    }
    for (state, n) in shared.metrics.ended_tasks() {
        put(&task_metric(state), n as f64);
    }
    used(state, &mut put);
    let flushes = shared.metrics.flush_time.look();
    put("registrar/state_store_ms/count", flushes.count() as f64);
    put("registrar/queued_operations", 0.0);
    for (name, value) in machine_metrics() {
        put(name, value);
    }
    numbers
}

fn agents(shared: &Shared, state: &State, put: &mut impl FnMut(&str, f64)) {
    let n_listed = present::agents(shared, state).count();
    let n_active = state
        .agents
        .values()
        .filter(|agent| agent.is_connected)
        .count();
    let n_inactive = n_listed - n_active;
    for (name, n) in [
        ("master/slaves_active", n_active),
        ("master/slaves_connected", n_active),
        ("master/slaves_disconnected", n_inactive),
        ("master/slaves_inactive", n_inactive),
    ] {
        put(name, n as f64);
    }
}

/// Of all connected agents together.
fn used(state: &State, put: &mut impl FnMut(&str, f64)) {
    let mut total = Amounts::default();
    for agent in state.agents.values().filter(|agent| agent.is_connected) {
        let all = Amounts::of_agent(agent);
        total.cpus += all.cpus;
        total.mem += all.mem;
        total.disk += all.disk;
        total.gpus += all.gpus;
    }
    let used = Amounts::of_tasks(live(state));
    for (name, total, used) in [
        ("cpus", total.cpus, used.cpus),
        ("mem", total.mem, used.mem),
        ("disk", total.disk, used.disk),
        ("gpus", total.gpus, used.gpus),
    ] {
        put(&format!("master/{name}_total"), total);
        put(&format!("master/{name}_used"), used);
        let share = if total > 0.0 { used / total } else { 0.0 };
        put(&format!("master/{name}_percent"), share);
    }
}
