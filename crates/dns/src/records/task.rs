//! The records of the tasks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use zddcluster_client::mesos::{Framework, State, Status, Task};

use super::gateway::{self, AppWeights, Gateway, Weights};
use super::{FrameworkRecords, Records, TaskRecord, TaskRecords, Value, socket_of};
use crate::config::{IpSource, ZoneConfig};
use crate::label;

/// The only state in which a task is published.
const PUBLISHED: &str = "TASK_RUNNING";
/// The label under which the Mesos containerizer's network isolator tells the container's address.
const MESOS_ADDRESS: &str = "MesosContainerizer.NetworkSettings.IPAddress";
/// The label under which the Docker containerizer tells it.
const DOCKER_ADDRESS: &str = "Docker.NetworkSettings.IPAddress";
/// The most host ports of one task that are published: there are no more, whatever its ranges say.
const MAX_PORTS: usize = 65536;

/// Adds the records of all tasks that are published. Each gateway's name is that of its records.
pub(super) fn add_tasks(
    records: &mut Records,
    state: &State,
    config: &ZoneConfig,
    origin: &str,
    gateways: &[Gateway],
) {
    // Every known agent, with its address when it has a usable one.
    let agents: HashMap<&str, Option<IpAddr>> = state
        .agents
        .iter()
        .map(|agent| {
            let socket = agent.pid.as_deref().and_then(socket_of);
            (agent.id.as_str(), socket.map(|socket| socket.ip()))
        })
        .collect();
    let is_published =
        |task: &Task| task.state == PUBLISHED && agents.contains_key(task.agent_id.as_str());
    let weights = Weights::of(gateways, state, is_published);
    let agent_addresses: HashSet<IpAddr> = agents.values().flatten().copied().collect();
    for framework in &state.frameworks {
        let label = config.label_rule.mangle_framework(&framework.name);
        if label.is_empty() {
            continue;
        }
        let mut tasks = Vec::new();
        for task in &framework.tasks {
            let Some(&agent) = agents.get(task.agent_id.as_str()) else {
                continue;
            };
            if task.state != PUBLISHED {
                continue;
            }
            let mut pen = Pen {
                records: &mut *records,
                config,
                framework: format!("{label}.{origin}"),
                framework_on_agent: format!("{label}.slave.{origin}"),
                task,
                agent,
                agent_addresses: &agent_addresses,
                weights: weights.of_task(task),
                added: Vec::new(),
            };
            pen.write_task(framework);
            let added = pen.added;
            tasks.push(TaskRecords {
                name: task.name.clone(),
                id: task.id.clone(),
                records: added,
            });
        }
        records.frameworks.push(FrameworkRecords {
            name: framework.name.clone(),
            tasks,
        });
    }
}

/// The labels of one pass over a task: once with the discovery name as it stands, once mangled.
struct Labels {
    /// Before addresses.
    task: String,
    /// Before `_proto`, without its `_`.
    service: String,
    /// The instance's.
    canonical: String,
}

/// Writes one task's records and remembers those that are new.
struct Pen<'a> {
    records: &'a mut Records,
    config: &'a ZoneConfig,
    /// `F.D`
    framework: String,
    /// `F.slave.D`
    framework_on_agent: String,
    task: &'a Task,
    agent: Option<IpAddr>,
    /// Those of all agents.
    agent_addresses: &'a HashSet<IpAddr>,
    /// Those of its app in the edge's gateways.
    weights: Option<&'a AppWeights>,
    added: Vec<TaskRecord>,
}

impl Pen<'_> {
    fn write_task(&mut self, framework: &Framework) {
        let task = self.task;
        let hash = label::task_hash(&task.id);
        let tail = label::agent_tail(&task.agent_id);
        let discovery_name = task
            .discovery
            .as_ref()
            .map(|discovery| discovery.name.as_str())
            .filter(|name| !name.is_empty());
        if let Some(raw) = discovery_name {
            self.write_pass(&Labels {
                task: raw.to_owned(),
                service: raw.to_owned(),
                canonical: label::canonical(raw, &hash, &tail),
            });
        }
        let mangled = self
            .config
            .label_rule
            .mangle(discovery_name.unwrap_or(&task.name));
        if mangled.is_empty() {
            let what = format!("task {} of {}", task.id, framework.name);
            self.records.skip(&what, "its name has no usable character");
            return;
        }
        let labels = Labels {
            service: label::service_that_fits(&mangled).to_owned(),
            canonical: label::canonical_that_fits(&mangled, &hash, &tail),
            task: mangled,
        };
        self.write_pass(&labels);
        if self.config.extras {
            self.write_extras(&format!("{}.{}", labels.canonical, self.framework));
        }
    }

    /// What belongs to the instance's own name but to no task: it is not listed with the task's records.
    fn write_extras(&mut self, own: &str) {
        for address in self.task_addresses() {
            if !self.agent_addresses.contains(&address) {
                self.records.point(address, own);
            }
        }
        for gateway in self.weights.into_iter().flat_map(|app| &app.gateways) {
            if let Some(port) = gateway::port_of(self.task, gateway.port) {
                let service = Value::Service {
                    target: own,
                    port: wire_port(port),
                    weight: Some(gateway.weight),
                };
                self.records.add(&gateway.name, &service);
            }
        }
    }

    fn write_pass(&mut self, labels: &Labels) {
        let Labels {
            task,
            service,
            canonical,
        } = labels;
        let own = format!("{canonical}.{}", self.framework);
        let on_agent = format!("{canonical}.{}", self.framework_on_agent);
        for address in self.task_addresses() {
            self.write(
                &format!("{task}.{}", self.framework),
                &Value::Address(address),
            );
            self.write(&own, &Value::Address(address));
        }
        if let Some(address) = self.agent {
            self.write(
                &format!("{task}.{}", self.framework_on_agent),
                &Value::Address(address),
            );
            self.write(&on_agent, &Value::Address(address));
        }
        let has_discovery_name = self
            .task
            .discovery
            .as_ref()
            .is_some_and(|d| !d.name.is_empty());
        let host_ports = self
            .task
            .ports
            .iter()
            .flat_map(|range| range.begin..=range.end)
            .take(MAX_PORTS);
        for port in host_ports {
            let value = Value::Service {
                target: &on_agent,
                port: wire_port(port),
                weight: self.weights.map(|app| app.own),
            };
            for protocol in ["tcp", "udp"] {
                self.write(
                    &format!("_{service}._{protocol}.{}", self.framework_on_agent),
                    &value,
                );
            }
            if !has_discovery_name {
                for protocol in ["tcp", "udp"] {
                    self.write(
                        &format!("_{service}._{protocol}.{}", self.framework),
                        &value,
                    );
                }
            }
        }
        if has_discovery_name {
            self.write_discovery_ports(service, &own);
        }
    }

    fn write_discovery_ports(&mut self, service: &str, target: &str) {
        let rule = self.config.label_rule;
        for port in self
            .task
            .discovery
            .iter()
            .flat_map(|discovery| &discovery.ports)
        {
            let value = Value::Service {
                target,
                port: wire_port(port.number),
                weight: self.weights.map(|app| app.own),
            };
            let protocol = rule.mangle(&port.protocol);
            let protocols = match protocol.as_str() {
                "" => vec!["tcp", "udp"],
                protocol => vec![label::service_that_fits(protocol)],
            };
            for protocol in &protocols {
                self.write(
                    &format!("_{service}._{protocol}.{}", self.framework),
                    &value,
                );
            }
            let name = rule.mangle(&port.name);
            if !name.is_empty() {
                let name = label::service_that_fits(&name);
                for protocol in &protocols {
                    self.write(
                        &format!("_{name}._{service}._{protocol}.{}", self.framework),
                        &value,
                    );
                }
            }
        }
    }

    fn write(&mut self, name: &str, value: &Value<'_>) {
        if self.records.add(name, value) {
            let (host, rtype) = value.shown();
            self.added.push(TaskRecord {
                name: name.to_owned(),
                host,
                rtype,
            });
        }
    }

    /// The addresses of the first source that has any.
    fn task_addresses(&self) -> Vec<IpAddr> {
        let status = chosen_status(self.task);
        for source in &self.config.ip_sources {
            let found = match source {
                IpSource::Host => self.agent.into_iter().collect(),
                IpSource::NetInfo => status.map_or_else(Vec::new, |status| {
                    addresses(status.networks.iter().flatten())
                }),
                IpSource::Mesos => labelled(status, MESOS_ADDRESS),
                IpSource::Docker => labelled(status, DOCKER_ADDRESS),
            };
            if !found.is_empty() {
                return found;
            }
        }
        Vec::new()
    }
}

/// The latest report that the task runs, the first of several at the same time.
fn chosen_status(task: &Task) -> Option<&Status> {
    let mut chosen: Option<&Status> = None;
    for status in task
        .statuses
        .iter()
        .filter(|status| status.state == PUBLISHED)
    {
        if chosen.is_none_or(|chosen| status.timestamp > chosen.timestamp) {
            chosen = Some(status);
        }
    }
    chosen
}

fn labelled(status: Option<&Status>, key: &str) -> Vec<IpAddr> {
    let labels = status.map(|status| &status.labels[..]).unwrap_or_default();
    addresses(
        labels
            .iter()
            .filter(|(k, _)| k == key)
            .map(|(_, value)| value),
    )
}

/// The texts that are addresses, IPv4 written as IPv6 counting as IPv4, each once.
fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    let mut seen = BTreeSet::new();
    texts
        .filter_map(|text| text.parse::<IpAddr>().ok())
        .map(|address| address.to_canonical())
        .filter(|&address| seen.insert(address))
        .collect()
}

/// Ports above 65535 lose their upper bits, as in the original.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the port is wanted modulo 65536"
)]
fn wire_port(port: u64) -> u16 {
    port as u16
}
