//! Making the table of what Marathon says.
//!
//! A task takes traffic if
//!
//! ```text
//!   it is not draining here                             (an order of the master)
//!   and its state is RUNNING, LOST or UNREACHABLE       (or not given)
//!   and no readiness check says that it is not ready
//!   and, if its app has health checks and the edge runs with --health-check:
//!       there are results and all are alive, else the last known word on that task
//! ```
//!
//! Source: contract marathon-lb §1.3, §2.1-§2.3.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use zddcluster_client::marathon::{App, Task};
use zddcluster_model::TaskId;

use super::assign::{Assigned, task_ports};
use super::deployment::{self, Exposed};
use super::{Backend, Rule, Server, Table, backend_name, gateways, server_name};
use crate::gateways::Set;
use crate::labels::{Check, CheckPort, HTTP, Mode, Policy, Service, Warning, services};
use crate::verdict;

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
    /// Service ports for apps whose tasks have addresses of their own and that name none.
    pub(crate) assignable: Option<&'a RangeInclusive<u16>>,
    /// What else deals requests out.
    pub(crate) gateways: &'a Set,
}

/// Where the backends are that labels have made, by app and its port's number.
pub(super) type Found = HashMap<(String, usize), usize>;

/// Makes the table, and says what is odd about the apps.
pub(crate) fn build<'a>(
    apps: impl IntoIterator<Item = &'a App>,
    rules: &Rules<'a>,
) -> (Table, Vec<Warning>) {
    let visible: Vec<&App> = apps
        .into_iter()
        .filter(|app| !rules.hidden_apps.contains(&app.id))
        .collect();
    let assigned = rules.assignable.map_or_else(Assigned::default, |range| {
        Assigned::new(&visible, range, rules.policy)
    });
    let by_id: BTreeMap<&str, &App> = visible.iter().map(|app| (app.id.as_str(), *app)).collect();
    let (all_exposed, mut warnings) = deployment::merge(visible.into_iter(), rules);
    let mut found: Vec<(Service, Backend)> = Vec::new();
    let mut first_ports: Vec<(String, String)> = Vec::new();
    for exposed in &all_exposed {
        let ports = assigned.of(&exposed.app.id);
        let (services, mut of_app) = services(exposed.app, ports, rules.policy);
        if assigned.is_short(&exposed.app.id) && rules.policy.is_for(exposed.app) {
            of_app.push(Warning {
                app_id: exposed.app.id.clone(),
                subject: "service port".to_owned(),
                text:
                    "the range for apps that name none has no number left: the port is not exposed"
                        .to_owned(),
            });
        }
        warnings.append(&mut of_app);
        for service in services {
            let backend = backend(exposed, &service, rules);
            if backend.servers.is_empty() {
                continue;
            }
            if service.indices.contains(&0) && service.mode == Mode::Http {
                first_ports.push((exposed.id.to_ascii_lowercase(), backend.name.clone()));
            }
            found.push((service, backend));
        }
    }
    found.sort_by(|(_, a), (_, b)| (&a.app_id, a.port).cmp(&(&b.app_id, b.port)));

    let mut table = Table::default();
    let mut by_index = Found::new();
    let mut weighted: Vec<(bool, i64, Rule)> = Vec::new();
    for (at, (service, backend)) in found.into_iter().enumerate() {
        let port = match rules.policy.http_port {
            Some(http_port) if service.port == HTTP => http_port,
            _ => service.port,
        };
        let sharers = table.ports.entry(port).or_default();
        if let Some(&other) = sharers.first() {
            warnings.push(Warning {
                app_id: service.app_id.clone(),
                subject: format!("port {port}"),
                text: format!(
                    "is claimed by {} too: connections are split",
                    table.backends[other].app_id
                ),
            });
        }
        sharers.push(at);
        // A group's backend has the tasks of two apps: it stands for neither.
        if backend.app_id == service.app_id {
            for index in service.indices {
                by_index.insert((service.app_id.clone(), index), at);
            }
        }
        if service.bind.is_some() || service.certificates.is_some() {
            // Of apps that share the port the first one counts, and TLS of any.
            let binding = table.bindings.entry(port).or_default();
            binding.ip = binding.ip.or(service.bind);
            binding.certificates = binding.certificates.take().or(service.certificates);
        }
        for vhost in service.vhosts {
            let rule = Rule {
                vhost,
                paths: service.paths.clone(),
                paths_ignore_case: service.paths_ignore_case,
                redirect_to_https: service.redirect_to_https,
                auth: service.auth.clone(),
                backend: at,
                split: None,
            };
            let is_plain = rule.paths.is_empty() && rule.auth.is_none() && !rule.redirect_to_https;
            weighted.push((is_plain, service.weight, rule));
        }
        table.backends.push(Arc::new(backend));
    }
    // Plain vhosts (a map in the original) come after all other rules; the sort is stable, so equals stay in (app id, port) order.
    weighted.sort_by_key(|(is_plain, weight, _)| (*is_plain, std::cmp::Reverse(*weight)));
    table.rules = weighted.into_iter().map(|(_, _, rule)| rule).collect();
    split_by_weight(&mut table);
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
    warnings.extend(gateways::add(&mut table, &by_id, &by_index, rules));
    (table, warnings)
}

/// Joins the rules of apps with weights that are for the same requests.
fn split_by_weight(table: &mut Table) {
    let Table {
        backends,
        rules,
        splits,
        ..
    } = table;
    for rule in rules
        .iter()
        .filter(|rule| backends[rule.backend].share.is_some())
    {
        splits
            .entry(split_name(rule))
            .or_default()
            .push(rule.backend);
    }
    splits.retain(|_, backends| backends.len() > 1);
    for rule in rules
        .iter_mut()
        .filter(|rule| backends[rule.backend].share.is_some())
    {
        rule.split = Some(split_name(rule)).filter(|name| splits.contains_key(name));
    }
}

fn split_name(rule: &Rule) -> String {
    let flag = if rule.paths_ignore_case { "-i " } else { "" };
    format!("{} {flag}{}", rule.vhost, rule.paths.join(" "))
}

fn backend(exposed: &Exposed<'_>, service: &Service, rules: &Rules<'_>) -> Backend {
    let wanted = Wanted {
        indices: &service.indices,
        check: service.check.as_ref(),
        is_sticky: service.options.is_sticky,
    };
    Backend {
        name: backend_name(&exposed.id, service.port),
        app_id: exposed.id.clone(),
        port: service.port,
        mode: service.mode,
        is_of_gateway: false,
        share: service.share,
        check: service.check.clone(),
        options: service.options.clone(),
        vhosts: service.vhosts.clone(),
        vhost_texts: service.vhost_texts.clone(),
        servers: servers(exposed, &wanted, rules),
    }
}

/// What a backend needs of its servers.
pub(super) struct Wanted<'a> {
    /// Which of a task's ports.
    pub(super) indices: &'a [usize],
    /// How they are checked.
    pub(super) check: Option<&'a Check>,
    /// Clients stay with them.
    pub(super) is_sticky: bool,
}

/// The servers that tasks are at the moment, in order.
pub(super) fn servers(
    exposed: &Exposed<'_>,
    wanted: &Wanted<'_>,
    rules: &Rules<'_>,
) -> Vec<Server> {
    let mut servers: Vec<(String, Server)> = Vec::new();
    for member in &exposed.tasks {
        let task = member.task;
        if !takes_traffic(member.app, task, rules) {
            continue;
        }
        for &index in wanted.indices {
            let Some((host, address)) = address(member.app, task, index, rules.hosts) else {
                continue;
            };
            let check_address = match wanted.check.map(|check| check.port) {
                None | Some(CheckPort::Own) => address,
                Some(CheckPort::Fixed(port)) => SocketAddr::new(address.ip(), port),
                Some(CheckPort::Index(index)) => {
                    self::address(member.app, task, index, rules.hosts)
                        .map_or(address, |(_, address)| address)
                }
            };
            let name = server_name(&host, address);
            let server = Server {
                cookie: if wanted.is_sticky {
                    verdict::cookie_of(&name)
                } else {
                    String::new()
                },
                name,
                task_id: TaskId::new(&task.id),
                address,
                check_address,
                weight: 1,
                is_draining: member.is_draining,
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
    servers
}

/// Whether a task may take traffic, as far as Marathon and its master's orders are concerned.
pub(super) fn takes_traffic(app: &App, task: &Task, rules: &Rules<'_>) -> bool {
    if !is_running(task, rules) || is_unready(app, task) {
        return false;
    }
    if app.health_checks.is_empty() || !rules.health_check {
        return true;
    }
    health(task)
        .or_else(|| rules.last_health.get(&task.id).copied())
        .unwrap_or(false)
}

/// Whether a task runs and is not ordered to drain.
pub(super) fn is_running(task: &Task, rules: &Rules<'_>) -> bool {
    let is_running = match task.state.as_deref() {
        None | Some("TASK_RUNNING" | "TASK_LOST" | "TASK_UNREACHABLE") => true,
        Some(_) => false,
    };
    is_running && !(rules.draining)(&TaskId::new(&task.id))
}

/// Whether a readiness check of a running deployment says that the task is not ready.
fn is_unready(app: &App, task: &Task) -> bool {
    app.readiness_check_results
        .iter()
        .any(|result| result.task_id == task.id && !result.ready)
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
        let named = task_ports(app).get(index).copied();
        let port = named.filter(|port| *port > 0);
        let port = port.or_else(|| task.ports.get(index).copied())?;
        (task.ip_addresses.first()?.ip_address.as_str(), port)
    } else {
        (task.host.as_str(), *task.ports.get(index)?)
    };
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    let ip = host.parse().ok().or_else(|| hosts.get(host).copied())?;
    Some((host.to_owned(), SocketAddr::new(ip, port)))
}

/// The app's tasks are reached at addresses of their own.
pub(super) fn has_own_address(app: &App) -> bool {
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
