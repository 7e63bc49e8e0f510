//! Which records a Mesos state has: a pure function of the state and the configuration.
//!
//! The order in which records are made is part of the contract, since a record made twice belongs to the one that
//! made it first: frameworks, agents, the name server itself, masters, tasks. A task is published when its state is
//! exactly `TASK_RUNNING` and its agent is known; its health is of no concern here.
//!
//! ```text
//!   task ──▶ label N, instance label C = N-hash-tail            F = framework, D = domain
//!        ├─▶ N.F.D  C.F.D              A    the task's own addresses
//!        ├─▶ N.F.slave.D  C.F.slave.D  A    its agent's addresses
//!        ├─▶ _N._proto.F.D             SRV  discovery ports ─▶ C.F.D
//!        └─▶ _N._tcp.F.slave.D  _udp   SRV  host ports ──────▶ C.F.slave.D
//! ```
//!
//! With extras there are the names of addresses (`reverse`) and those of the edge's gateways (`gateway`) besides.
//!
//! Names are kept as text with a final dot; every one of them can be sent: what does not fit the wire format is cut
//! or left out here, so that answering never fails. Source: contract mesos-dns §3.3, §4, §5.7, §6.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use zddcluster_client::mesos::State;

use crate::config::ZoneConfig;
use crate::label::MAX_LABEL;

mod gateway;
mod reverse;
mod set;
mod task;

pub use self::gateway::{Gateway, Share};
pub use self::set::OrderedSet;

/// The longest name as text with its final dot: 255 bytes in the wire format, which has a length before each label.
const MAX_NAME: usize = 254;

/// All records of a zone, each list in the order of making and without repetition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Owner to IPv4 addresses.
    pub a: BTreeMap<String, OrderedSet<Ipv4Addr>>,
    /// Owner to IPv6 addresses.
    pub aaaa: BTreeMap<String, OrderedSet<Ipv6Addr>>,
    /// Owner to services.
    pub srv: BTreeMap<String, OrderedSet<Service>>,
    /// Name of an address to whom it belongs; only with extras.
    pub ptr: BTreeMap<String, OrderedSet<Arc<str>>>,
    /// What each framework's published tasks have added.
    pub frameworks: Vec<FrameworkRecords>,
    /// What of the state could not be published, and why.
    pub skipped: Vec<Skipped>,
}

/// Where a service is found. Priority is always 0.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Service {
    /// Where the task listens.
    pub port: u16,
    /// With its final dot.
    pub target: Arc<str>,
    /// That of an app in a gateway; else the zone's holds.
    pub weight: Option<u16>,
}

/// The published tasks of one framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameworkRecords {
    /// As the framework calls itself.
    pub name: String,
    /// Those of its tasks that are published.
    pub tasks: Vec<TaskRecords>,
}

/// The records one task was the first to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecords {
    /// As the framework calls the task, not mangled.
    pub name: String,
    /// Of the task.
    pub id: String,
    /// What it added.
    pub records: Vec<TaskRecord>,
}

/// One record, its value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRecord {
    /// Whose record it is.
    pub name: String,
    /// An address, or `target.:port`.
    pub host: String,
    /// `A`, `AAAA` or `SRV`.
    pub rtype: &'static str,
}

/// A part of the state that is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Which one, for example `agent …-S1`.
    pub what: String,
    /// Why, in words.
    pub reason: &'static str,
}

/// An address added to a name, or a service.
enum Value<'a> {
    Address(IpAddr),
    Service {
        target: &'a str,
        port: u16,
        weight: Option<u16>,
    },
}

impl Records {
    /// Makes the records of a state.
    pub fn of(state: &State, config: &ZoneConfig) -> Self {
        Self::with_gateways(state, config, &[])
    }

    /// Makes the records of a state and of the edge's gateways, which only count with extras.
    pub fn with_gateways(state: &State, config: &ZoneConfig, gateways: &[Gateway]) -> Self {
        let mut records = Self::default();
        let origin = config.origin();
        records.add_frameworks(state, config, &origin);
        records.add_agents(state, config, &origin);
        for &address in &config.name_server {
            records.add(&config.soa.mname(), &Value::Address(address));
        }
        records.add_masters(state, config, &origin);
        let gateways = match config.extras {
            true => gateway::named(&mut records, gateways, config, &origin),
            false => Vec::new(),
        };
        task::add_tasks(&mut records, state, config, &origin, &gateways);
        records
    }

    fn add_frameworks(&mut self, state: &State, config: &ZoneConfig, origin: &str) {
        for framework in &state.frameworks {
            let label = config.label_rule.mangle_framework(&framework.name);
            if label.is_empty() {
                self.skip(
                    &format!("framework {}", framework.id),
                    "its name has no usable character",
                );
                continue;
            }
            let name = format!("{label}.{origin}");
            if let Some(pid) = &framework.pid {
                let Some(scheduler) = socket_of(pid) else {
                    self.skip(
                        &format!("framework {}", framework.id),
                        "its pid holds no address",
                    );
                    continue;
                };
                self.add(&name, &Value::Address(scheduler.ip()));
                let port = scheduler.port();
                self.add(
                    &format!("_framework._tcp.{name}"),
                    &Value::Service {
                        target: &name,
                        port,
                        weight: None,
                    },
                );
            } else if let Some(address) = framework.hostname.as_deref().and_then(|h| h.parse().ok())
            {
                self.add(&name, &Value::Address(address));
            }
        }
    }

    fn add_agents(&mut self, state: &State, config: &ZoneConfig, origin: &str) {
        let name = format!("slave.{origin}");
        for agent in &state.agents {
            let Some(socket) = agent.pid.as_deref().and_then(socket_of) else {
                self.skip(
                    &format!("agent {}", agent.id),
                    "its pid is missing or holds no address",
                );
                continue;
            };
            self.add(&name, &Value::Address(socket.ip()));
            if config.extras {
                self.point(socket.ip(), &name);
            }
            let port = socket.port();
            self.add(
                &format!("_slave._tcp.{origin}"),
                &Value::Service {
                    target: &name,
                    port,
                    weight: None,
                },
            );
        }
    }

    fn add_masters(&mut self, state: &State, config: &ZoneConfig, origin: &str) {
        let Some(leader) = socket_of(&state.leader) else {
            self.skip(
                &format!("leader {}", state.leader),
                "its pid holds no address",
            );
            return;
        };
        let (leader_name, master_name) = (format!("leader.{origin}"), format!("master.{origin}"));
        self.add(&leader_name, &Value::Address(leader.ip()));
        self.add(&master_name, &Value::Address(leader.ip()));
        for protocol in ["tcp", "udp"] {
            let service = Value::Service {
                target: &leader_name,
                port: leader.port(),
                weight: None,
            };
            self.add(&format!("_leader._{protocol}.{origin}"), &service);
        }
        // A master whose address is already known uses no number, but for the leader, which has one exactly once.
        let mut n_named = 0;
        let mut is_leader_named = false;
        for &master in config.masters.iter().chain([&leader]) {
            let is_new = if master == leader {
                !std::mem::replace(&mut is_leader_named, true)
            } else {
                self.add(&master_name, &Value::Address(master.ip()))
            };
            if is_new {
                self.add(
                    &format!("master{n_named}.{origin}"),
                    &Value::Address(master.ip()),
                );
                n_named += 1;
            }
        }
    }

    /// Adds a record; returns whether it is new. What does not fit in a message is not added.
    fn add(&mut self, name: &str, value: &Value<'_>) -> bool {
        if !fits(name) {
            self.skip(name, "the name does not fit in a message");
            return false;
        }
        match *value {
            Value::Address(address) => match address.to_canonical() {
                IpAddr::V4(address) => insert(&mut self.a, name, address),
                IpAddr::V6(address) => insert(&mut self.aaaa, name, address),
            },
            Value::Service {
                target,
                port,
                weight,
            } => {
                if !fits(target) {
                    self.skip(name, "the target's name does not fit in a message");
                    return false;
                }
                let service = Service {
                    port,
                    target: target.into(),
                    weight,
                };
                insert(&mut self.srv, name, service)
            }
        }
    }

    fn skip(&mut self, what: &str, reason: &'static str) {
        self.skipped.push(Skipped {
            what: what.to_owned(),
            reason,
        });
    }
}

impl Value<'_> {
    /// As `/v1/enumerate` of the original shows it: the value and the record's type.
    fn shown(&self) -> (String, &'static str) {
        match *self {
            Value::Address(address) => match address.to_canonical() {
                IpAddr::V4(address) => (address.to_string(), "A"),
                IpAddr::V6(address) => (address.to_string(), "AAAA"),
            },
            Value::Service {
                target,
                port,
                weight: _,
            } => (format!("{target}:{port}"), "SRV"),
        }
    }
}

fn insert<T: Clone + Eq + Hash>(
    sets: &mut BTreeMap<String, OrderedSet<T>>,
    name: &str,
    value: T,
) -> bool {
    if let Some(set) = sets.get_mut(name) {
        return set.insert(value);
    }
    sets.entry(name.to_owned()).or_default().insert(value)
}

/// Whether a name, with its final dot, can be sent.
fn fits(name: &str) -> bool {
    let Some(labels) = name.strip_suffix('.') else {
        return false;
    };
    name.len() <= MAX_NAME
        && labels
            .split('.')
            .all(|label| (1..=MAX_LABEL).contains(&label.len()))
}

/// Reads the address out of a pid, `id@IP:PORT`. Host names are not looked up.
fn socket_of(pid: &str) -> Option<SocketAddr> {
    let (_, address) = pid.split_once('@')?;
    address.parse().ok()
}

#[cfg(test)]
mod tests;
