//! The `/master/state` document.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::lenient::{list, or_default};
use super::wire::{WireDiscovery, WireStatus};
use super::{Agent, Discovery, Framework, MesosError, PortRange, State, Status, Task};

pub(super) fn state(document: Value) -> Result<State, MesosError> {
    let document = Document::deserialize(document).map_err(|_| MesosError::NoLeader)?;
    if document.leader.is_empty() {
        return Err(MesosError::NoLeader);
    }
    Ok(State {
        leader: document.leader,
        agents: document.slaves.into_iter().map(Agent::from).collect(),
        frameworks: document
            .frameworks
            .into_iter()
            .map(Framework::from)
            .collect(),
    })
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "or_default")]
    leader: String,
    #[serde(default, deserialize_with = "list")]
    slaves: Vec<V0Agent>,
    #[serde(default, deserialize_with = "list")]
    frameworks: Vec<V0Framework>,
}

#[derive(Deserialize)]
struct V0Agent {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    pid: Option<String>,
}

#[derive(Deserialize)]
struct V0Framework {
    #[serde(default, deserialize_with = "or_default")]
    id: String,
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    pid: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    hostname: Option<String>,
    #[serde(default, deserialize_with = "list")]
    tasks: Vec<V0Task>,
}

#[derive(Deserialize)]
struct V0Task {
    id: String,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    slave_id: String,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default, deserialize_with = "or_default")]
    resources: Map<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    discovery: Option<WireDiscovery>,
    #[serde(default, deserialize_with = "list")]
    statuses: Vec<WireStatus>,
}

impl From<V0Agent> for Agent {
    fn from(agent: V0Agent) -> Self {
        let V0Agent { id, pid } = agent;
        Self {
            id,
            pid: pid.filter(|pid| !pid.is_empty()),
        }
    }
}

impl From<V0Framework> for Framework {
    fn from(framework: V0Framework) -> Self {
        let V0Framework {
            id,
            name,
            pid,
            hostname,
            tasks,
        } = framework;
        Self {
            id,
            name,
            pid: pid.filter(|pid| !pid.is_empty()),
            hostname: hostname.filter(|hostname| !hostname.is_empty()),
            tasks: tasks.into_iter().map(Task::from).collect(),
        }
    }
}

impl From<V0Task> for Task {
    fn from(task: V0Task) -> Self {
        let V0Task {
            id,
            name,
            slave_id,
            state,
            resources,
            discovery,
            statuses,
        } = task;
        let ports = match resources.get("ports") {
            Some(Value::String(ranges)) => port_ranges(ranges),
            _ => Vec::new(),
        };
        Self {
            id,
            name,
            agent_id: slave_id,
            state,
            ports,
            discovery: discovery.map(Discovery::from),
            statuses: statuses.into_iter().map(Status::from).collect(),
        }
    }
}

/// Reads `[31000-31001, 31005-31005]`. A range that cannot be read is left out.
fn port_ranges(text: &str) -> Vec<PortRange> {
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let mut ranges = Vec::new();
    for range in inner.split(',').map(str::trim).filter(|r| !r.is_empty()) {
        let ends = range
            .split_once('-')
            .and_then(|(begin, end)| Some((begin.trim().parse().ok()?, end.trim().parse().ok()?)));
        match ends {
            Some((begin, end)) => ranges.push(PortRange { begin, end }),
            None => tracing::warn!(range, "skipping a port range that cannot be read"),
        }
    }
    ranges
}
