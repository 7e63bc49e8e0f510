//! The routing table: who listens where, and which servers may take traffic. Pure and comparable.
//!
//! [`build`] turns what Marathon says (apps with their tasks) and what the edge knows itself (draining tasks, the last known
//! health, resolved names) into a [`Table`]. A service without a server that may take traffic is not in it at
//! all, so it has no listener either. Several backends may stand behind one port: connections are split between them.
//! Gateways are put in beside what labels say, and come first.
//!
//! Source: contract marathon-lb §0-§2.3.

mod assign;
mod build;
mod deployment;
mod gateways;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use zddcluster_client::marathon::App;
use zddcluster_model::TaskId;

pub(crate) use self::build::{Rules, build, health};
pub(crate) use self::gateways::{Claim, Gateway, Goal};
use crate::labels::{Auth, Check, Mode, Options};

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
    /// Service listeners that are bound elsewhere, or that have TLS.
    pub(crate) bindings: BTreeMap<u16, Binding>,
    /// Vhosts that several apps share by weight, and their backends.
    pub(crate) splits: BTreeMap<String, Vec<usize>>,
    /// Gateways, by name.
    pub(crate) gateways: BTreeMap<String, Gateway>,
    /// Which of them has a listener; no service is served there then.
    pub(crate) gateway_ports: BTreeMap<u16, String>,
    /// Which of them has a host, in lower case; asked before the rules.
    claims: BTreeMap<String, Vec<Claim>>,
}

/// What is special about a service listener.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Where it listens; `None`: where the edge does.
    pub(crate) ip: Option<IpAddr>,
    /// Files of certificates, separated by commas, with which it has TLS.
    pub(crate) certificates: Option<String>,
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
    /// It is only reached by a gateway's route, and may have no servers.
    pub(crate) is_of_gateway: bool,
    /// Its share of what comes to its port and vhosts, if others are there too; `None`: no weight was given.
    pub(crate) share: Option<u32>,
    /// How the edge checks its servers; `None`: not at all.
    pub(crate) check: Option<Check>,
    /// What happens to its requests and answers.
    pub(crate) options: Options,
    /// The vhosts, in lower case, without port.
    pub(crate) vhosts: Vec<String>,
    /// The vhosts as the label has them.
    pub(crate) vhost_texts: Vec<String>,
    /// By (host, port); one that labels have made has at least one.
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
    /// Where it is checked, if its backend is.
    pub(crate) check_address: SocketAddr,
    /// What clients that are to stay with it are given; empty if they are not.
    pub(crate) cookie: String,
    /// Its share of the turns.
    pub(crate) weight: u32,
    /// It takes nothing new: another app of its deployment group takes over.
    pub(crate) is_draining: bool,
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
    /// Only served with TLS.
    pub(crate) redirect_to_https: bool,
    /// Only served to its user.
    pub(crate) auth: Option<Auth>,
    /// Position of the backend.
    pub(crate) backend: usize,
    /// The split that decides instead, by its name.
    pub(crate) split: Option<String>,
}

impl Rule {
    fn takes(&self, path: &str) -> bool {
        is_below(path, &self.paths, self.paths_ignore_case)
    }
}

/// Whether a path begins with one of the prefixes, if there are any. Those to be compared in any case are in lower case.
fn is_below(path: &str, prefixes: &[String], ignore_case: bool) -> bool {
    let matches = |prefix: &String| match path.get(..prefix.len()) {
        Some(start) if ignore_case => start.eq_ignore_ascii_case(prefix),
        Some(start) => start == prefix,
        None => false,
    };
    prefixes.is_empty() || prefixes.iter().any(matches)
}

/// What a request to a host and a path leads to first, before conditions are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lead<'a> {
    /// The gateway of this name.
    Gateway(&'a str),
    /// The backend at this position, by the first rule.
    Rule(usize),
}

impl Table {
    /// The backend of the first rule for a request to `host` and `path`.
    #[cfg(test)]
    pub(crate) fn route(&self, host: &str, path: &str) -> Option<usize> {
        self.matching(host, path).next().map(|rule| rule.backend)
    }

    /// All rules for a request to `host` (the `Host` header, any case, port allowed) and `path`, in order.
    pub(crate) fn matching<'a>(
        &'a self,
        host: &str,
        path: &'a str,
    ) -> impl Iterator<Item = &'a Rule> {
        let rules = self.by_vhost.get(&*host_name(host));
        let rules = rules.into_iter().flatten().map(|&at| &self.rules[at]);
        rules.filter(|rule| rule.takes(path))
    }

    /// The gateway that claims a request to `host` and `path`.
    pub(crate) fn claimed(&self, host: &str, path: &str) -> Option<&str> {
        if self.claims.is_empty() {
            return None;
        }
        let claims = self.claims.get(&*host_name(host))?;
        let claim = claims.iter().find(|it| is_below(path, &it.paths, false))?;
        Some(&claim.gateway)
    }

    /// What a request to `host` and `path` leads to: a gateway's claim goes before the rules.
    pub(crate) fn lead(&self, host: &str, path: &str) -> Option<Lead<'_>> {
        let by_rule = || {
            let mut rules = self.matching(host, path);
            rules.next().map(|rule| Lead::Rule(rule.backend))
        };
        let claimed = self.claimed(host, path).map(Lead::Gateway);
        claimed.or_else(by_rule)
    }

    /// The ports of all service listeners.
    pub(crate) fn listening(&self) -> BTreeSet<u16> {
        let ports = self.ports.keys().chain(self.gateway_ports.keys());
        ports.copied().collect()
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
        let (was_open, is_open) = (old.listening(), self.listening());
        Diff {
            opened: is_open.difference(&was_open).copied().collect(),
            closed: was_open.difference(&is_open).copied().collect(),
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

/// The host names among the tasks' hosts that have to be resolved.
pub(crate) fn host_names<'a>(apps: impl IntoIterator<Item = &'a App>) -> BTreeSet<String> {
    let tasks = apps.into_iter().flat_map(|app| &app.tasks);
    let names = tasks.map(|task| &task.host);
    names
        .filter(|host| !host.is_empty() && host.parse::<IpAddr>().is_err())
        .cloned()
        .collect()
}

/// `/zdd/blue` on 10080 is `zdd_blue_10080`. A deployment group may be named anything; what HAProxy has in no name is a `_` too.
pub(crate) fn backend_name(app_id: &str, port: u16) -> String {
    let keep = |c: char| match c {
        c if c.is_ascii_alphanumeric() || "-_.:".contains(c) => c,
        _ => '_',
    };
    let name: String = app_id.trim_start_matches('/').chars().map(keep).collect();
    format!("{name}_{port}")
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

/// The name in a `Host` header, in lower case and without port.
fn host_name(host: &str) -> Cow<'_, str> {
    let host = without_port(host);
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
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
