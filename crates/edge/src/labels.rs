//! The grammar of `HAPROXY_*` labels: which services of an app are exposed, where and how.
//!
//! Reads one app's labels and ports into [`Service`]s, without looking at its tasks. A label that is unknown, not supported or
//! unreadable costs one [`Warning`] and nothing else: the service runs without it and other apps are not
//! touched. Labels that restrict access are the exception, they fail closed: what cannot be restricted is not exposed.
//!
//! Source: contract marathon-lb §0, §1.1, §1.2, §1.4, §1.5, §2.2; Marathon-LB 1.4.1 `config.py`, `marathon_lb.py`.

use std::collections::BTreeSet;

use zddcluster_client::marathon::App;

/// What the edge exposes of all that apps declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    /// The edge's groups.
    pub(crate) groups: BTreeSet<String>,
    /// `ENABLED` defaults to false.
    pub(crate) strict_mode: bool,
    /// The port on which vhosts are served, if they are. A service on port 80 shares it.
    pub(crate) http_port: Option<u16>,
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

/// A service port of an app that is to be exposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// The app, with its leading slash.
    pub(crate) app_id: String,
    /// Which of the app's ports lead here: positions in `ports` of its tasks.
    pub(crate) indices: Vec<usize>,
    /// The port to listen on; also in the backend's name.
    pub(crate) port: u16,
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

/// The labels of one service port that the edge acts on.
#[derive(Debug, Default)]
struct PortLabels<'a> {
    group: Option<&'a str>,
    port: Option<&'a str>,
    vhost: Option<&'a str>,
    mode: Option<&'a str>,
    enabled: Option<&'a str>,
    path: Option<&'a str>,
    weight: Option<&'a str>,
    has_auth: bool,
    has_network_acl: bool,
}

/// App-level labels that say nothing the edge acts on and deserve no warning.
const SILENT: [&str; 1] = ["APP_ID"];
/// App-level labels of zdd.py.
const DEPLOYMENT_GROUP: &str = "DEPLOYMENT_GROUP";
const DEPLOYMENT: [&str; 5] = [
    "DEPLOYMENT_ALT_PORT",
    "DEPLOYMENT_COLOUR",
    "DEPLOYMENT_STARTED_AT",
    "DEPLOYMENT_TARGET_INSTANCES",
    "DEPLOYMENT_NEW_INSTANCES",
];

/// Returns the services of `app` that `policy` exposes, by port index, and what is wrong with its labels. The labels of an app
/// that is in none of the edge's groups are not looked at.
pub(crate) fn services(app: &App, policy: &Policy) -> (Vec<Service>, Vec<Warning>) {
    let mut warnings = Warnings {
        app_id: &app.id,
        list: Vec::new(),
    };
    let ports = service_ports(app);
    let app_group = app.labels.get("HAPROXY_GROUP").map(String::as_str);
    let mut by_port: Vec<PortLabels<'_>> = Vec::new();
    by_port.resize_with(ports.len(), PortLabels::default);
    // Judged only if the app is exposed at all; collected here because labels are one flat map.
    let mut deferred = Warnings {
        app_id: &app.id,
        list: Vec::new(),
    };
    for (label, value) in &app.labels {
        if let Some(name) = label.strip_prefix("HAPROXY_") {
            read_label(label, name, value, &mut by_port, &mut deferred);
        }
    }

    let mut services: Vec<Service> = Vec::new();
    let mut is_exposed = false;
    for (index, (&port, labels)) in ports.iter().zip(&by_port).enumerate() {
        let groups = labels.group.or(app_group);
        let label = |name: &str| format!("HAPROXY_{index}_{name}");
        if !policy.takes(groups) {
            continue;
        }
        is_exposed = true;
        let is_enabled = labels.enabled.map_or(!policy.strict_mode, is_true);
        if !is_enabled {
            continue;
        }
        let Some(port) = listener_port(port, labels.port, policy, &label("PORT"), &mut warnings)
        else {
            continue;
        };
        if labels.has_network_acl {
            let text = "access restrictions are not supported yet: the service is not exposed";
            warnings.add(&label("BACKEND_NETWORK_ALLOWED_ACL"), text);
            continue;
        }
        let mut service = Service {
            app_id: app.id.clone(),
            indices: vec![index],
            port,
            mode: mode(app, index, labels, &label("MODE"), &mut warnings),
            vhosts: Vec::new(),
            vhost_texts: Vec::new(),
            paths: Vec::new(),
            paths_ignore_case: false,
            weight: 0,
        };
        if labels.has_auth {
            let text = "passwords are not supported yet: the vhosts of this port are not served";
            warnings.add(&label("AUTH"), text);
        } else {
            read_vhosts(&mut service, labels, &label, &mut warnings);
        }
        // Equal ports inside one app are one service.
        match services.iter_mut().find(|other| other.port == port) {
            Some(other) => other.indices.push(index),
            None => services.push(service),
        }
    }
    if is_exposed {
        warnings.list.append(&mut deferred.list);
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
    fn takes(&self, groups: Option<&str>) -> bool {
        self.groups.contains("*")
            || groups.is_some_and(|groups| {
                groups
                    .split(',')
                    .any(|group| self.groups.contains(group.trim()))
            })
    }
}

/// Sorts one `HAPROXY_…` label into `by_port`, or warns.
fn read_label<'a>(
    label: &str,
    name: &str,
    value: &'a str,
    by_port: &mut [PortLabels<'a>],
    warnings: &mut Warnings<'_>,
) {
    let Some((index, name)) = indexed(name) else {
        if name == DEPLOYMENT_GROUP {
            let text = "deployment groups are not merged yet: each app is served on its own";
            warnings.add(label, text);
        } else if name != "GROUP" && !SILENT.contains(&name) && !DEPLOYMENT.contains(&name) {
            warnings.add(label, "not supported: the app is served without it");
        }
        return;
    };
    let Some(labels) = by_port.get_mut(index) else {
        warnings.add(label, "the app has no such port: the label has no effect");
        return;
    };
    match name {
        "GROUP" => labels.group = Some(value),
        "PORT" => labels.port = Some(value),
        "VHOST" => labels.vhost = Some(value),
        "MODE" => labels.mode = Some(value),
        "ENABLED" => labels.enabled = Some(value),
        "HTTP_BACKEND_PATH" | "PATH" => labels.path = Some(value),
        "BACKEND_WEIGHT" => labels.weight = Some(value),
        "AUTH" => labels.has_auth = true,
        "BACKEND_NETWORK_ALLOWED_ACL" => labels.has_network_acl = true,
        "BALANCE" if value.trim() == "roundrobin" => {}
        "BALANCE" => warnings.add(label, "only roundrobin is supported: roundrobin is used"),
        "STICKY" | "REDIRECT_TO_HTTPS" | "USE_HSTS" if !is_true(value) => {}
        _ => warnings.add(label, "not supported: the service runs without it"),
    }
}

/// Splits `0_VHOST` into its parts.
fn indexed(name: &str) -> Option<(usize, &str)> {
    let (index, name) = name.split_once('_')?;
    let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large for any port of any app is treated as one that the app does not have.
    is_number.then(|| (index.parse().unwrap_or(usize::MAX), name))
}

/// Marathon-LB's booleans: `1` and `on` are false.
fn is_true(value: &str) -> bool {
    ["true", "t", "yes", "y"]
        .iter()
        .any(|word| value.trim().eq_ignore_ascii_case(word))
}

/// The port to listen on, or `None` if there can be none.
fn listener_port(
    service_port: i64,
    label_value: Option<&str>,
    policy: &Policy,
    label: &str,
    warnings: &mut Warnings<'_>,
) -> Option<u16> {
    let given = label_value.and_then(|value| {
        let port = value.trim().parse::<u16>().ok().filter(|port| *port > 0);
        if port.is_none() {
            let text =
                format!("{value:?} is no port (1-65535): the service port {service_port} is used");
            warnings.add(label, &text);
        }
        port
    });
    let subject = if given.is_some() {
        label
    } else {
        "service port"
    };
    // A service port of 0 was never assigned.
    let port = given.or_else(|| u16::try_from(service_port).ok().filter(|port| *port > 0))?;
    if policy.reserved.contains(&port) {
        let text = format!("port {port} is the edge's own: the service is not exposed");
        warnings.add(subject, &text);
        return None;
    }
    if policy
        .http_port
        .is_some_and(|http_port| port == HTTP || port == http_port)
    {
        let text = format!(
            "port {port} is shared with the vhosts: the service gets what matches none of them"
        );
        warnings.add(subject, &text);
    }
    Some(port)
}

/// The port whose number means "where vhosts are served", wherever that is.
pub(crate) const HTTP: u16 = 80;

fn mode(
    app: &App,
    index: usize,
    labels: &PortLabels<'_>,
    label: &str,
    warnings: &mut Warnings<'_>,
) -> Mode {
    if let Some(value) = labels.mode {
        if value.trim().eq_ignore_ascii_case("http") {
            return Mode::Http;
        }
        if value.trim().eq_ignore_ascii_case("tcp") {
            return Mode::Tcp;
        }
        warnings.add(
            label,
            &format!("{value:?} is neither http nor tcp: the default is used"),
        );
    }
    // The port's first check: one with a fixed port, else one of its index; Marathon's default index is 0.
    let check = app.health_checks.iter().find(|check| {
        check.port.is_some() || check.port_index.unwrap_or(0) == i64::try_from(index).unwrap_or(-1)
    });
    let is_http = check.is_some_and(|check| check.protocol == "HTTP");
    if is_http || labels.vhost.is_some() {
        Mode::Http
    } else {
        Mode::Tcp
    }
}

fn read_vhosts(
    service: &mut Service,
    labels: &PortLabels<'_>,
    label: &impl Fn(&str) -> String,
    warnings: &mut Warnings<'_>,
) {
    let Some(vhosts) = labels.vhost else {
        for (value, name) in [(labels.path, "PATH"), (labels.weight, "BACKEND_WEIGHT")] {
            if value.is_some() {
                warnings.add(&label(name), "without VHOST it has no effect");
            }
        }
        return;
    };
    if service.mode == Mode::Tcp {
        warnings.add(&label("VHOST"), "the mode is tcp: no vhost is served");
        return;
    }
    let mut is_odd = false;
    for text in vhosts
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        service.vhost_texts.push(text.to_owned());
        match bare_host(text) {
            Some(host) => {
                is_odd |= !host.eq_ignore_ascii_case(text);
                service.vhosts.push(host);
            }
            None => is_odd = true,
        }
    }
    if is_odd || service.vhosts.is_empty() {
        let text = format!(
            "{vhosts:?} is no plain list of host names, which the original never matches: {:?} is served",
            service.vhosts.join(",")
        );
        warnings.add(&label("VHOST"), &text);
    }
    if let Some(path) = labels.path {
        let mut words = path.split_whitespace().peekable();
        service.paths_ignore_case = words.next_if_eq(&"-i").is_some();
        service.paths = words.map(str::to_owned).collect();
        if service.paths_ignore_case {
            service
                .paths
                .iter_mut()
                .for_each(|path| path.make_ascii_lowercase());
        }
    }
    if let Some(weight) = labels.weight {
        match weight.trim().parse() {
            Ok(weight) => service.weight = weight,
            Err(_) => {
                warnings.add(
                    &label("BACKEND_WEIGHT"),
                    &format!("{weight:?} is no number: 0 is used"),
                );
            }
        }
    }
    if service.weight == 0 && !service.paths.is_empty() {
        service.weight = 1;
    }
}

/// The host name in `text`, in lower case, without scheme, port and path; `None` if there is none.
fn bare_host(text: &str) -> Option<String> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = crate::table::without_port(authority);
    let is_name = !host.is_empty() && !host.contains(char::is_whitespace);
    is_name.then(|| host.to_ascii_lowercase())
}

struct Warnings<'a> {
    app_id: &'a str,
    list: Vec<Warning>,
}

impl Warnings<'_> {
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
