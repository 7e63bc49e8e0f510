//! The events of the operator API's `SUBSCRIBE`.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::lenient::{list, or_default};
use super::wire::{Id, WireDiscovery, WireStatus};
use super::{Agent, Discovery, Event, MesosError, PortRange, Status, Task};

/// Reads one record of the stream. An event of a shape that is not understood is [`Event::Other`], and logged.
pub(super) fn event(record: &[u8]) -> Result<Event, MesosError> {
    let record: Value = serde_json::from_slice(record).map_err(MesosError::Event)?;
    match V1Event::deserialize(&record) {
        Ok(event) => Ok(event.into()),
        Err(error) => {
            let kind = record.get("type").and_then(Value::as_str).unwrap_or("");
            tracing::debug!(kind, %error, "an event that says nothing about names");
            Ok(Event::Other)
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
enum V1Event {
    Subscribed {
        #[serde(default, deserialize_with = "or_default")]
        subscribed: Subscribed,
    },
    TaskAdded {
        task_added: TaskAdded,
    },
    TaskUpdated {
        task_updated: TaskUpdated,
    },
    AgentAdded {
        agent_added: AgentAdded,
    },
    AgentRemoved {
        agent_removed: AgentRemoved,
    },
    FrameworkAdded,
    FrameworkUpdated,
    FrameworkRemoved,
    Heartbeat,
}

#[derive(Deserialize, Default)]
struct Subscribed {
    #[serde(default, deserialize_with = "or_default")]
    heartbeat_interval_seconds: Option<f64>,
}

#[derive(Deserialize)]
struct TaskAdded {
    task: V1Task,
}

#[derive(Deserialize)]
struct TaskUpdated {
    framework_id: Id,
    status: WireStatus,
    #[serde(default, deserialize_with = "or_default")]
    state: Option<String>,
}

#[derive(Deserialize)]
struct AgentAdded {
    agent: V1Agent,
}

#[derive(Deserialize)]
struct AgentRemoved {
    agent_id: Id,
}

#[derive(Deserialize)]
struct V1Agent {
    agent_info: AgentInfo,
    #[serde(default, deserialize_with = "or_default")]
    pid: Option<String>,
}

#[derive(Deserialize)]
struct AgentInfo {
    id: Id,
    #[serde(default, deserialize_with = "or_default")]
    hostname: String,
    #[serde(default, deserialize_with = "or_default")]
    port: Option<u16>,
}

#[derive(Deserialize)]
struct V1Task {
    task_id: Id,
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    framework_id: Id,
    #[serde(default, deserialize_with = "or_default")]
    agent_id: Id,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default, deserialize_with = "list")]
    resources: Vec<Resource>,
    #[serde(default, deserialize_with = "or_default")]
    discovery: Option<WireDiscovery>,
    #[serde(default, deserialize_with = "list")]
    statuses: Vec<WireStatus>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    ranges: Ranges,
}

#[derive(Deserialize, Default)]
struct Ranges {
    #[serde(default, deserialize_with = "list")]
    range: Vec<Range>,
}

#[derive(Deserialize)]
struct Range {
    begin: u64,
    end: u64,
}

impl From<V1Event> for Event {
    fn from(event: V1Event) -> Self {
        match event {
            V1Event::Subscribed { subscribed } => Self::Subscribed {
                heartbeat: subscribed
                    .heartbeat_interval_seconds
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            },
            V1Event::TaskAdded {
                task_added: TaskAdded { task },
            } => Self::TaskAdded {
                framework_id: task.framework_id.value.clone(),
                task: Box::new(task.into()),
            },
            V1Event::TaskUpdated { task_updated } => {
                let TaskUpdated {
                    framework_id,
                    status,
                    state,
                } = task_updated;
                Self::TaskUpdated {
                    framework_id: framework_id.value,
                    task_id: status.task_id.value.clone(),
                    state: state.unwrap_or_else(|| status.state.clone()),
                    status: Box::new(status.into()),
                }
            }
            V1Event::AgentAdded { agent_added } => Self::AgentAdded(agent_added.agent.into()),
            V1Event::AgentRemoved { agent_removed } => Self::AgentRemoved {
                agent_id: agent_removed.agent_id.value,
            },
            V1Event::FrameworkAdded | V1Event::FrameworkUpdated | V1Event::FrameworkRemoved => {
                Self::FrameworksChanged
            }
            V1Event::Heartbeat => Self::Heartbeat,
        }
    }
}

impl From<V1Agent> for Agent {
    fn from(agent: V1Agent) -> Self {
        let V1Agent { agent_info, pid } = agent;
        let AgentInfo { id, hostname, port } = agent_info;
        // The pid is always told by Mesos itself; without it, an address as host name says as much.
        let from_info = || {
            let address: IpAddr = hostname.parse().ok()?;
            Some(match address {
                IpAddr::V4(address) => format!("slave(1)@{address}:{}", port?),
                IpAddr::V6(address) => format!("slave(1)@[{address}]:{}", port?),
            })
        };
        Self {
            id: id.value,
            pid: pid.filter(|pid| !pid.is_empty()).or_else(from_info),
        }
    }
}

impl From<V1Task> for Task {
    fn from(task: V1Task) -> Self {
        let V1Task {
            task_id,
            name,
            framework_id: _,
            agent_id,
            state,
            resources,
            discovery,
            statuses,
        } = task;
        let ports = resources
            .into_iter()
            .filter(|resource| resource.name == "ports")
            .flat_map(|resource| resource.ranges.range)
            .map(|Range { begin, end }| PortRange { begin, end })
            .collect();
        Self {
            id: task_id.value,
            name,
            agent_id: agent_id.value,
            state,
            ports,
            discovery: discovery.map(Discovery::from),
            statuses: statuses.into_iter().map(Status::from).collect(),
        }
    }
}
