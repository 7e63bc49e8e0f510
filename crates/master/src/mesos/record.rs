//! The parts of tasks and agents that Mesos shows, shared by the v0 documents and the v1 stream.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zddcluster_engine::State;
use zddcluster_engine::state::{Agent, Task};
use zddcluster_model::task::IpAddress;
use zddcluster_model::{AgentId, TaskState, Timestamp};

/// How an agent is reached by libprocess.
pub(super) fn agent_pid(agent: &Agent) -> String {
    format!("slave(1)@{}:{}", agent.hostname, agent.port)
}

/// How a task wishes to be found.
pub(super) fn discovery(task: &Task) -> Value {
    let ports: Vec<Value> = discovery_ports(task)
        .into_iter()
        .map(|port| {
            let mut json = json!({ "number": port.number, "protocol": port.protocol });
            if let Some(name) = port.name {
                json["name"] = name.into();
            }
            json
        })
        .collect();
    let name = task.app_id.mesos_name();
    json!({ "visibility": "FRAMEWORK", "name": name, "ports": { "ports": ports } })
}

/// A task's container in each of its statuses.
pub(super) fn container_status(task: &Task) -> Value {
    json!({
        "container_id": { "value": task.container_id },
        "network_infos": network_infos(&task.ip_addresses),
    })
}

/// One network with these addresses.
pub(super) fn network_infos<'a>(addresses: impl IntoIterator<Item = &'a IpAddress>) -> Value {
    let addresses: Vec<Value> = addresses
        .into_iter()
        .map(|address| json!({ "ip_address": address.ip_address, "protocol": address.protocol }))
        .collect();
    json!([{ "ip_addresses": addresses }])
}

/// A published port: number, protocol, name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    number: u16,
    protocol: String,
    name: Option<String>,
}

/// The discovery ports that Marathon publishes for a task (contract mesos-dns §2).
fn discovery_ports(task: &Task) -> Vec<Port> {
    let Some(app) = &task.app else {
        let tcp = |number: &u16| Port {
            number: *number,
            protocol: "tcp".to_owned(),
            name: None,
        };
        return task.ports.iter().map(tcp).collect();
    };
    let mut ports = Vec::new();
    let mut add = |number: u16, protocols: &str, name: Option<&str>| {
        for protocol in protocols.split(',').map(str::trim) {
            let (protocol, name) = (protocol.to_owned(), name.map(str::to_owned));
            ports.push(Port {
                number,
                protocol,
                name,
            });
        }
    };
    if let Some(ip_address) = &app.ip_address {
        for port in &ip_address.discovery.ports {
            add(port.number, &port.protocol, Some(&port.name));
        }
    } else if let Some(mappings) = app.port_mappings() {
        let mut host_ports = task.ports.iter();
        for mapping in mappings {
            // The engine gives a port for each mapping; one without host port is reached in its container.
            let given = host_ports.next().copied();
            let number = match (mapping.host_port, given) {
                (Some(_), Some(port)) => port,
                (Some(_) | None, _) => mapping.container_port,
            };
            add(number, &mapping.protocol, mapping.name.as_deref());
        }
    } else {
        for (definition, port) in app.port_definitions.iter().zip(&task.ports) {
            add(*port, &definition.protocol, definition.name.as_deref());
        }
    }
    ports
}

/// Host ports as inclusive ranges, neighbours joined.
fn ranges(ports: &[u16]) -> Vec<(u16, u16)> {
    let mut sorted = ports.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in sorted {
        match ranges.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(port) => *end = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

/// Ranges as v0 writes them: `[1025-2180, 2182-3887]`.
pub(super) fn ranges_text(ranges: &[(u16, u16)]) -> String {
    let parts: Vec<String> = ranges
        .iter()
        .map(|(begin, end)| format!("{begin}-{end}"))
        .collect();
    format!("[{}]", parts.join(", "))
}

/// The statuses a task went through, oldest first, as far as they are kept.
pub(super) fn statuses(task: &Task) -> Vec<(TaskState, Timestamp)> {
    let mut statuses = Vec::with_capacity(3);
    if let Some(started_at) = task.started_at {
        statuses.push((TaskState::Running, started_at));
    }
    if task.state != TaskState::Running {
        let killing_since = task.killing.as_ref().map(|killing| killing.since);
        let at = match task.state {
            TaskState::Killing => killing_since,
            _ => task.ended_at,
        };
        let at = at
            .or(killing_since)
            .or(task.started_at)
            .unwrap_or(task.staged_at);
        statuses.push((task.state, at));
    }
    statuses
}

/// Puts the reason of a task's end, if there is one, into the last of its statuses.
pub(super) fn with_reason(mut statuses: Vec<Value>, task: &Task) -> Vec<Value> {
    if let (Some(reason), Some(last)) = (task.reason, statuses.last_mut()) {
        last["reason"] = json!(reason);
    }
    statuses
}

/// What is offered or used: cores, memory and disk in MiB, devices, and ports as inclusive ranges.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Amounts {
    pub(super) cpus: f64,
    pub(super) mem: f64,
    pub(super) disk: f64,
    pub(super) gpus: f64,
    pub(super) ports: Vec<(u16, u16)>,
}

impl Amounts {
    /// All that an agent offers.
    pub(super) fn of_agent(agent: &Agent) -> Self {
        let all = &agent.resources;
        Self {
            cpus: all.cpus,
            mem: all.mem,
            disk: all.disk,
            gpus: all.gpus.into(),
            ports: all.ports.clone(),
        }
    }

    /// What a task holds.
    pub(super) fn of_task(task: &Task) -> Self {
        Self::of_tasks([task])
    }

    /// What tasks hold together. The engine counts in millionths, so that the sum is exact.
    pub(super) fn of_tasks<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> Self {
        const MILLION: f64 = 1_000_000.0;
        let (mut cpus, mut mem, mut disk, mut ports) = (0, 0, 0, Vec::new());
        for task in tasks {
            cpus += task.cpus;
            mem += task.mem;
            disk += task.disk;
            ports.extend_from_slice(&task.ports);
        }
        let amount = |millionths: i64| millionths as f64 / MILLION;
        Self {
            cpus: amount(cpus),
            mem: amount(mem),
            disk: amount(disk),
            gpus: 0.0,
            ports: ranges(&ports),
        }
    }

    /// The same without ports, as a framework's sums have it.
    pub(super) fn without_ports(self) -> Self {
        Self {
            ports: Vec::new(),
            ..self
        }
    }
}

/// The tasks of each agent that have not ended.
pub(super) fn live_by_agent(state: &State) -> BTreeMap<&AgentId, Vec<&Task>> {
    let mut by_agent: BTreeMap<&AgentId, Vec<&Task>> = BTreeMap::new();
    for task in live(state) {
        by_agent.entry(&task.agent_id).or_default().push(task);
    }
    by_agent
}

/// All tasks that have not ended.
pub(super) fn live(state: &State) -> impl Iterator<Item = &Task> {
    let tasks = state.tasks.values().map(|task| &**task);
    tasks.filter(|task| !task.state.is_terminal())
}

/// How many tasks there are in each state that a task may be in before its end.
pub(super) fn counts<'a>(tasks: impl IntoIterator<Item = &'a Task>) -> [(TaskState, u64); 4] {
    let mut counts = [
        TaskState::Staging,
        TaskState::Starting,
        TaskState::Running,
        TaskState::Killing,
    ]
    .map(|state| (state, 0));
    for task in tasks {
        if let Some((_, n)) = counts.iter_mut().find(|(state, _)| *state == task.state) {
            *n += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_ports_are_one_range() {
        assert_eq!(
            ranges_text(&ranges(&[31002, 31000, 31001, 40000])),
            "[31000-31002, 40000-40000]"
        );
        assert_eq!(ranges_text(&ranges(&[])), "[]");
    }
}
