//! The grammar of `HAPROXY_*` labels: which services of an app are exposed, where and how.
//!
//! Reads one app's labels and ports into [`Service`]s, without looking at its tasks. A label that is unknown, not supported or
//! unreadable costs one [`Warning`] and nothing else: the service runs without it and other apps are not
//! touched. Labels that restrict access are the exception, they fail closed: what cannot be restricted is not exposed.
//!
//! Source: contract marathon-lb §0, §1.1, §1.2, §1.4, §1.5, §2.2; Marathon-LB 1.4.1 `config.py`, `marathon_lb.py`.

mod names;
mod reading;
mod value;
mod vhosts;

use std::collections::BTreeSet;
use std::net::IpAddr;

use zddcluster_client::marathon::App;
use zddcluster_model::gateway;

use self::reading::Reading;
pub(crate) use self::value::{Auth, Balance, Check, CheckPort, Options, Probe};

/// What the edge exposes of all that apps declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The edge's groups.
    pub(crate) groups: BTreeSet<String>,
    /// `ENABLED` defaults to false.
    pub(crate) strict_mode: bool,
    /// The port on which vhosts are served, if they are. A service on port 80 shares it.
    pub(crate) http_port: Option<u16>,
    /// Others than this machine may connect: callers of the cluster have a token.
    pub(crate) has_token: bool,
    /// Ports of the edge itself, which no service may use.
    pub(crate) reserved: BTreeSet<u16>,
}

/// How a service's traffic is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Requests are routed one by one.
    Http,
    /// Connections are passed on as bytes.
    Tcp,
}

impl From<gateway::Mode> for Mode {
    fn from(mode: gateway::Mode) -> Self {
        match mode {
            gateway::Mode::Http => Self::Http,
            gateway::Mode::Tcp => Self::Tcp,
        }
    }
}

/// A service port of an app that is to be exposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// The app, with its leading slash.
    pub(crate) app_id: String,
    /// Which of the app's ports lead here: positions in `ports` of its tasks.
    pub(crate) indices: Vec<usize>,
    /// The port to listen on; also in the backend's name.
    pub(crate) port: u16,
    /// Where to listen; `None`: where the edge does.
    pub(crate) bind: Option<IpAddr>,
    /// Files of certificates, separated by commas, with which the port has TLS.
    pub(crate) certificates: Option<String>,
    /// How.
    pub(crate) mode: Mode,
    /// Host names on the vhost port, in lower case, bare.
    pub(crate) vhosts: Vec<String>,
    /// The vhosts as the label has them, for the map.
    pub(crate) vhost_texts: Vec<String>,
    /// Path prefixes that restrict the vhosts; none: all paths.
    pub(crate) paths: Vec<String>,
    /// Prefixes match in any case.
    pub(crate) paths_ignore_case: bool,
    /// Order of the vhost rules, larger first.
    pub(crate) weight: i64,
    /// The vhosts are only served with TLS.
    pub(crate) redirect_to_https: bool,
    /// Who may see the vhosts; `None`: everybody.
    pub(crate) auth: Option<Auth>,
    /// Its share of what comes to its port and vhosts, if other apps are there too; `None`: no weight was given.
    pub(crate) share: Option<u32>,
    /// How the edge checks its servers; `None`: not at all.
    pub(crate) check: Option<Check>,
    /// What happens at the backend.
    pub(crate) options: Options,
}

/// Something about an app that its owner should know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Warning {
    /// The app.
    pub(crate) app_id: String,
    /// The label, or what else it is about.
    pub(crate) subject: String,
    /// What is done instead.
    pub(crate) text: String,
}

/// The labels of one service port that the edge acts on, by their names after `HAPROXY_{n}_`.
#[derive(Debug, Default)]
struct PortLabels<'a>(Vec<(&'static str, &'a str)>);

impl<'a> PortLabels<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| *value)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(value::is_true)
    }
}

/// Returns the services of `app` that `policy` exposes, by port index, and what is wrong with its labels. The labels of an app
/// that is in none of the edge's groups are not looked at. `assigned`: its service ports if it names none.
pub(crate) fn services(
    app: &App,
    assigned: &[i64],
    policy: &Policy,
) -> (Vec<Service>, Vec<Warning>) {
    let named = service_ports(app);
    let ports = if named.is_empty() { assigned } else { &named };
    let app_group = app.labels.get("HAPROXY_GROUP").map(String::as_str);
    let mut by_port: Vec<PortLabels<'_>> = Vec::new();
    by_port.resize_with(ports.len(), PortLabels::default);
    // Told only if the app is exposed at all; collected here because labels are one flat map.
    let mut of_labels = Warnings::new(&app.id);
    for (label, value) in &app.labels {
        if let Some(name) = label.strip_prefix("HAPROXY_") {
            sort_label(label, name, value, &mut by_port, &mut of_labels);
        }
        // Ours; what else begins like this is not the edge's.
        let weight = label.strip_prefix("ZDD_").and_then(indexed);
        if let Some((index, "WEIGHT")) = weight {
            match by_port.get_mut(index) {
                Some(labels) => labels.0.push((WEIGHT, value)),
                None => of_labels.add(label, NO_PORT),
            }
        }
    }

    let mut warnings = Warnings::new(&app.id);
    let mut services: Vec<Service> = Vec::new();
    let mut is_exposed = false;
    for (index, (&port, labels)) in ports.iter().zip(&by_port).enumerate() {
        if !policy.takes(labels.get("GROUP").or(app_group)) {
            continue;
        }
        is_exposed = true;
        let reading = Reading {
            app,
            n_ports: ports.len(),
            index,
            labels,
            policy,
        };
        let Some(service) = reading.service(port, &mut warnings) else {
            continue;
        };
        // Equal ports inside one app are one service.
        match services.iter_mut().find(|other| other.port == service.port) {
            Some(other) => other.take_in(service),
            None => services.push(service),
        }
    }
    if is_exposed {
        warnings.list.append(&mut of_labels.list);
    }
    (services, warnings.list)
}

/// The service ports, from the first source that has any (contract §1.2).
pub(crate) fn service_ports(app: &App) -> Vec<i64> {
    if let Some(container) = &app.container {
        let of_docker = container
            .docker
            .as_ref()
            .and_then(|docker| docker.port_mappings.as_ref());
        for mappings in [of_docker, container.port_mappings.as_ref()]
            .into_iter()
            .flatten()
        {
            let ports: Vec<_> = mappings
                .iter()
                .filter_map(|mapping| mapping.service_port)
                .collect();
            if !ports.is_empty() {
                return ports;
            }
        }
    }
    match &app.port_definitions {
        Some(definitions) => definitions
            .iter()
            .map(|definition| definition.port)
            .collect(),
        None => app.ports.clone(),
    }
}

impl Policy {
    /// Whether the app is in one of the edge's groups.
    pub(crate) fn is_for(&self, app: &App) -> bool {
        self.takes(app.labels.get("HAPROXY_GROUP").map(String::as_str))
    }

    fn takes(&self, groups: Option<&str>) -> bool {
        self.groups.contains("*")
            || groups.is_some_and(|groups| {
                groups
                    .split(',')
                    .any(|group| self.groups.contains(group.trim()))
            })
    }
}

impl Service {
    /// Takes in another port of the same number. Its labels do not count, except that a restriction of either holds.
    fn take_in(&mut self, other: Self) {
        self.indices.extend(other.indices);
        if self.certificates.is_none() {
            self.certificates = other.certificates;
        }
        if self.options.allowed.is_none() {
            self.options.allowed = other.options.allowed;
        }
        if self.auth.is_none() {
            self.auth = other.auth;
        }
    }
}

/// Sorts one `HAPROXY_…` label into `by_port`, or warns.
fn sort_label<'a>(
    label: &str,
    name: &str,
    value: &'a str,
    by_port: &mut [PortLabels<'a>],
    warnings: &mut Warnings<'_>,
) {
    let Some((index, name)) = indexed(name) else {
        if !names::OF_APP.contains(&name) {
            warnings.add(label, &names::not_acted_on(None, name));
        }
        return;
    };
    let Some(labels) = by_port.get_mut(index) else {
        warnings.add(label, NO_PORT);
        return;
    };
    match names::OF_PORT.iter().find(|known| **known == name) {
        Some(known) => labels.0.push((known, value)),
        None => warnings.add(label, &names::not_acted_on(Some(index), name)),
    }
}

const NO_PORT: &str = "the app has no such port: the label has no effect";

/// What `ZDD_{n}_WEIGHT` is called among the labels of a port.
const WEIGHT: &str = "ZDD_WEIGHT";

/// Splits `0_VHOST` into its parts.
fn indexed(name: &str) -> Option<(usize, &str)> {
    let (index, name) = name.split_once('_')?;
    let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large for any port of any app is treated as one that the app does not have.
    is_number.then(|| (index.parse().unwrap_or(usize::MAX), name))
}

/// The port whose number means "where vhosts are served", wherever that is.
pub(crate) const HTTP: u16 = 80;

struct Warnings<'a> {
    app_id: &'a str,
    list: Vec<Warning>,
}

impl<'a> Warnings<'a> {
    fn new(app_id: &'a str) -> Self {
        Self {
            app_id,
            list: Vec::new(),
        }
    }

    fn add(&mut self, subject: &str, text: &str) {
        self.list.push(Warning {
            app_id: self.app_id.to_owned(),
            subject: subject.to_owned(),
            text: text.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests;
