//! The routing table: who listens where, and which servers may take traffic. Pure and comparable.
//!
//! [`build`] turns what Marathon says (apps with their tasks) and what the edge knows itself (draining tasks, the last known
//! health, resolved names) into a [`Table`]. A service without a server that may take traffic is not in it at
//! all, so it has no listener either. Several backends may stand behind one port: connections are split between them.
//!
//! A task takes traffic if
//!
//! ```text
//!   it is not draining here                             (an order of the master)
//!   and its state is RUNNING, LOST or UNREACHABLE       (or not given)
//!   and, if its app has health checks and the edge runs with --health-check:
//!       there are results and all are alive, else the last known word on that task
//! ```
//!
//! Source: contract marathon-lb §0-§2.3.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use zddcluster_client::marathon::{App, Task};
use zddcluster_model::TaskId;

use crate::labels::{HTTP, Mode, Policy, Service, Warning, services};

/// Who listens where, and what stands behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// All backends, by (app id, port).
    pub(crate) backends: Vec<Arc<Backend>>,
    /// The vhost rules in the order in which they are tried; positions are into `backends`.
    pub(crate) rules: Vec<Rule>,
    /// The rules of each host name, in order.
    by_vhost: HashMap<String, Vec<usize>>,
    /// App id in lower case to the backend of the app's first port, if that speaks HTTP.
    pub(crate) by_app_id: BTreeMap<String, usize>,
    /// Service listeners and the backends their connections are split between. A service that shares the vhost port is
    /// under that port.
    pub(crate) ports: BTreeMap<u16, Vec<usize>>,
}

/// One service and the servers behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backend {
    /// As in statistics: `zdd_blue_10080`.
    pub(crate) name: String,
    /// The app, with its leading slash.
    pub(crate) app_id: String,
    /// The port in the name.
    pub(crate) port: u16,
    /// How traffic is understood.
    pub(crate) mode: Mode,
    /// Marathon checks the health of its tasks.
    pub(crate) is_checked: bool,
    /// The vhosts as the label has them.
    pub(crate) vhost_texts: Vec<String>,
    /// At least one, by (host, port).
    pub(crate) servers: Vec<Server>,
}

/// A task's port that may take traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// As in statistics: `10_0_3_192_3238`.
    pub(crate) name: String,
    /// The task.
    pub(crate) task_id: TaskId,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its share of the turns.
    pub(crate) weight: u32,
}

/// Requests for a host, and perhaps a path, go to a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The host, in lower case, without port.
    pub(crate) vhost: String,
    /// Prefixes, of which one must match; none: any path.
    pub(crate) paths: Vec<String>,
    /// The prefixes are in lower case and match in any case.
    pub(crate) paths_ignore_case: bool,
    /// Position of the backend.
    pub(crate) backend: usize,
}

impl Rule {
    fn takes(&self, path: &str) -> bool {
        let matches = |prefix: &String| match path.get(..prefix.len()) {
            Some(start) if self.paths_ignore_case => start.eq_ignore_ascii_case(prefix),
            Some(start) => start == prefix,
            None => false,
        };
        self.paths.is_empty() || self.paths.iter().any(matches)
    }
}

impl Table {
    /// The backend for a request to `host` (the `Host` header, any case, port allowed) and `path`.
    pub(crate) fn route(&self, host: &str, path: &str) -> Option<usize> {
        let host = without_port(host);
        let rules = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.by_vhost.get(&host.to_ascii_lowercase())?
        } else {
            self.by_vhost.get(host)?
        };
        let rule = rules
            .iter()
            .map(|&at| &self.rules[at])
            .find(|rule| rule.takes(path))?;
        Some(rule.backend)
    }

    /// What `self` changes of `old`.
    pub(crate) fn diff(&self, old: &Self) -> Diff {
        let members = |table: &Self| -> BTreeSet<(String, String)> {
            let pairs = table.backends.iter().flat_map(|backend| {
                let name = |server: &Server| (backend.name.clone(), server.name.clone());
                backend.servers.iter().map(name)
            });
            pairs.collect()
        };
        let (before, after) = (members(old), members(self));
        let ports = |table: &Self| table.ports.keys().copied().collect::<BTreeSet<_>>();
        Diff {
            opened: ports(self).difference(&ports(old)).copied().collect(),
            closed: ports(old).difference(&ports(self)).copied().collect(),
            added: after.difference(&before).cloned().collect(),
            removed: before.difference(&after).cloned().collect(),
        }
    }
}

/// The difference between two tables, for the log and for tests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Diff {
    /// Service listeners that are new.
    pub(crate) opened: Vec<u16>,
    /// Service listeners that are gone.
    pub(crate) closed: Vec<u16>,
    /// New servers: (backend, server).
    pub(crate) added: Vec<(String, String)>,
    /// Servers that are gone.
    pub(crate) removed: Vec<(String, String)>,
}

impl Diff {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What [`build`] goes by besides the apps.
pub(crate) struct Rules<'a> {
    /// Which services are exposed.
    pub(crate) policy: &'a Policy,
    /// Health decides.
    pub(crate) health_check: bool,
    /// An app that is never exposed: Marathon's own.
    pub(crate) hidden_apps: &'a BTreeSet<String>,
    /// Tasks that take nothing new.
    pub(crate) draining: &'a dyn Fn(&TaskId) -> bool,
    /// The last known word on each task's health.
    pub(crate) last_health: &'a BTreeMap<String, bool>,
    /// Addresses of hosts that are given by name.
    pub(crate) hosts: &'a BTreeMap<String, IpAddr>,
}

/// Makes the table, and says what is odd about the apps.
pub(crate) fn build<'a>(
    apps: impl IntoIterator<Item = &'a App>,
    rules: &Rules<'_>,
) -> (Table, Vec<Warning>) {
    let mut warnings = Vec::new();
    let mut found: Vec<(Service, Backend)> = Vec::new();
    let mut first_ports: Vec<(String, String)> = Vec::new();
    for app in apps
        .into_iter()
        .filter(|app| !rules.hidden_apps.contains(&app.id))
    {
        let (services, mut of_app) = services(app, rules.policy);
        warnings.append(&mut of_app);
        for service in services {
            let backend = backend(app, &service, rules);
            if backend.servers.is_empty() {
                continue;
            }
            if service.indices.contains(&0) && service.mode == Mode::Http {
                first_ports.push((app.id.to_ascii_lowercase(), backend.name.clone()));
            }
            found.push((service, backend));
        }
    }
    found.sort_by(|(_, a), (_, b)| (&a.app_id, a.port).cmp(&(&b.app_id, b.port)));

    let mut table = Table::default();
    let mut weighted: Vec<(bool, i64, Rule)> = Vec::new();
    for (at, (service, backend)) in found.into_iter().enumerate() {
        let port = match rules.policy.http_port {
            Some(http_port) if service.port == HTTP => http_port,
            _ => service.port,
        };
        let sharers = table.ports.entry(port).or_default();
        if let Some(&other) = sharers.first() {
            warnings.push(Warning {
                app_id: backend.app_id.clone(),
                subject: format!("port {port}"),
                text: format!(
                    "is claimed by {} too: connections are split",
                    other_app(&table.backends, other)
                ),
            });
        }
        sharers.push(at);
        for vhost in service.vhosts {
            let rule = Rule {
                vhost,
                paths: service.paths.clone(),
                paths_ignore_case: service.paths_ignore_case,
                backend: at,
            };
            weighted.push((rule.paths.is_empty(), service.weight, rule));
        }
        table.backends.push(Arc::new(backend));
    }
    // Plain vhosts (a map in the original) come after all other rules; the sort is stable, so equals stay in (app id, port) order.
    weighted.sort_by_key(|(is_plain, weight, _)| (*is_plain, std::cmp::Reverse(*weight)));
    table.rules = weighted.into_iter().map(|(_, _, rule)| rule).collect();
    for (at, rule) in table.rules.iter().enumerate() {
        table
            .by_vhost
            .entry(rule.vhost.clone())
            .or_default()
            .push(at);
    }
    for (app_id, name) in first_ports {
        if let Some(at) = table
            .backends
            .iter()
            .position(|backend| backend.name == name)
        {
            table.by_app_id.entry(app_id).or_insert(at);
        }
    }
    (table, warnings)
}

fn other_app(backends: &[Arc<Backend>], at: usize) -> &str {
    &backends[at].app_id
}

fn backend(app: &App, service: &Service, rules: &Rules<'_>) -> Backend {
    let is_checked = !app.health_checks.is_empty();
    let mut servers: Vec<(String, Server)> = Vec::new();
    for task in app
        .tasks
        .iter()
        .filter(|task| takes_traffic(task, is_checked, rules))
    {
        for &index in &service.indices {
            let Some((host, address)) = address(app, task, index, rules.hosts) else {
                continue;
            };
            let server = Server {
                name: server_name(&host, address),
                task_id: TaskId::new(&task.id),
                address,
                weight: 1,
            };
            servers.push((host, server));
        }
    }
    servers.sort_by(|(host_a, a), (host_b, b)| {
        (host_a, a.address.port(), &a.name).cmp(&(host_b, b.address.port(), &b.name))
    });
    let mut servers: Vec<_> = servers.into_iter().map(|(_, server)| server).collect();
    // A task that died may still be listed beside the one that has its port now.
    servers.dedup_by(|a, b| a.name == b.name && a.task_id == b.task_id);
    Backend {
        name: backend_name(&app.id, service.port),
        app_id: app.id.clone(),
        port: service.port,
        mode: service.mode,
        is_checked,
        vhost_texts: service.vhost_texts.clone(),
        servers,
    }
}

fn takes_traffic(task: &Task, is_checked: bool, rules: &Rules<'_>) -> bool {
    if (rules.draining)(&TaskId::new(&task.id)) {
        return false;
    }
    let is_alive = match task.state.as_deref() {
        None | Some("TASK_RUNNING" | "TASK_LOST" | "TASK_UNREACHABLE") => true,
        Some(_) => false,
    };
    if !is_alive || !is_checked || !rules.health_check {
        return is_alive;
    }
    health(task)
        .or_else(|| rules.last_health.get(&task.id).copied())
        .unwrap_or(false)
}

/// What Marathon says of a task's health; `None` if nothing.
pub(crate) fn health(task: &Task) -> Option<bool> {
    let results = task.health_check_results.as_ref()?;
    let mut results = results.iter().flatten().peekable();
    results.peek()?;
    Some(results.all(|result| result.alive))
}

/// The host (for the order and the name) and the address of the task's port number `index`.
fn address(
    app: &App,
    task: &Task,
    index: usize,
    hosts: &BTreeMap<String, IpAddr>,
) -> Option<(String, SocketAddr)> {
    let (host, port) = if has_own_address(app) {
        let mappings = app.container.as_ref().and_then(|container| {
            let of_docker = container
                .docker
                .as_ref()
                .and_then(|d| d.port_mappings.as_ref());
            of_docker.or(container.port_mappings.as_ref())
        });
        let container_port = mappings
            .and_then(|mappings| mappings.get(index))
            .and_then(|mapping| mapping.container_port);
        let port = container_port.or_else(|| task.ports.get(index).copied())?;
        (task.ip_addresses.first()?.ip_address.as_str(), port)
    } else {
        (task.host.as_str(), *task.ports.get(index)?)
    };
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    let ip = host.parse().ok().or_else(|| hosts.get(host).copied())?;
    Some((host.to_owned(), SocketAddr::new(ip, port)))
}

/// The app's tasks are reached at addresses of their own.
fn has_own_address(app: &App) -> bool {
    let network = app
        .container
        .as_ref()
        .and_then(|container| container.docker.as_ref()?.network.as_deref());
    app.ip_address.is_some()
        || network == Some("USER")
        || app
            .networks
            .iter()
            .any(|network| network.mode == "container")
}

/// The host names among the tasks' hosts that have to be resolved.
pub(crate) fn host_names<'a>(apps: impl IntoIterator<Item = &'a App>) -> BTreeSet<String> {
    let tasks = apps.into_iter().flat_map(|app| &app.tasks);
    let names = tasks.map(|task| &task.host);
    names
        .filter(|host| !host.is_empty() && host.parse::<IpAddr>().is_err())
        .cloned()
        .collect()
}

/// `/zdd/blue` on 10080 is `zdd_blue_10080`.
pub(crate) fn backend_name(app_id: &str, port: u16) -> String {
    format!(
        "{}_{port}",
        app_id.trim_start_matches('/').replace('/', "_")
    )
}

fn server_name(host: &str, address: SocketAddr) -> String {
    let ip = address.ip().to_string();
    let text = if host == ip {
        format!("{ip}_{}", address.port())
    } else {
        format!("{host}_{ip}_{}", address.port())
    };
    let keep = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    text.chars().map(keep).collect()
}

/// A `Host` header or host name without its port; brackets of IPv6 addresses stay.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(at) if host.starts_with('[') => {
            if host.as_bytes()[at - 1] == b']' {
                &host[..at]
            } else {
                host
            }
        }
        Some(at) if !host[..at].contains(':') => &host[..at],
        _ => host,
    }
}

#[cfg(test)]
mod tests;
