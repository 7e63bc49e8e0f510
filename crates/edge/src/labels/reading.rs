//! The labels of one port of an app, made a service.

use std::net::IpAddr;

use zddcluster_client::marathon::{App, HealthCheck};
use zddcluster_model::gateway::MOST_WEIGHT;

use super::{
    Balance, CheckPort, HTTP, Mode, Options, Policy, PortLabels, Service, WEIGHT, Warnings, value,
};

/// Labels that act on requests and answers.
const HTTP_ONLY: [&str; 5] = [
    "HTTP_BACKEND_PROXYPASS_PATH",
    "HTTP_BACKEND_REDIR",
    "HTTP_BACKEND_REVPROXY_PATH",
    "STICKY",
    "USE_HSTS",
];

/// One port of an app whose labels are being read.
pub(super) struct Reading<'a> {
    pub(super) app: &'a App,
    /// How many service ports it has.
    pub(super) n_ports: usize,
    pub(super) index: usize,
    pub(super) labels: &'a PortLabels<'a>,
    pub(super) policy: &'a Policy,
}

impl Reading<'_> {
    pub(super) fn label(&self, name: &str) -> String {
        format!("HAPROXY_{}_{name}", self.index)
    }

    /// The service, or `None` if there is to be none.
    pub(super) fn service(
        &self,
        service_port: i64,
        warnings: &mut Warnings<'_>,
    ) -> Option<Service> {
        let is_enabled = self
            .labels
            .get("ENABLED")
            .map_or(!self.policy.strict_mode, value::is_true);
        if !is_enabled {
            return None;
        }
        let port = self.listener_port(service_port, warnings)?;
        let allowed = match self
            .labels
            .get("BACKEND_NETWORK_ALLOWED_ACL")
            .map(value::networks)
        {
            None => None,
            Some(Ok(networks)) => Some(networks),
            Some(Err(word)) => {
                let text = format!(
                    "{word:?} is neither an address nor a network: the service is not exposed"
                );
                warnings.add(&self.label("BACKEND_NETWORK_ALLOWED_ACL"), &text);
                return None;
            }
        };
        let (check, check_port) = self.health_check(warnings);
        let mode = self.mode(check, warnings);
        let mut service = Service {
            app_id: self.app.id.clone(),
            indices: vec![self.index],
            port,
            mode,
            vhosts: Vec::new(),
            vhost_texts: Vec::new(),
            paths: Vec::new(),
            paths_ignore_case: false,
            weight: 0,
            redirect_to_https: false,
            auth: None,
            bind: self.bind(warnings),
            certificates: self
                .labels
                .get("SSL_CERT")
                .map(|paths| paths.trim().to_owned()),
            share: self.share(warnings),
            check: check.and_then(|check| value::read_check(check, mode == Mode::Http, check_port)),
            options: Options {
                allowed,
                ..Options::default()
            },
        };
        self.read_vhosts(&mut service, warnings);
        self.read_options(&mut service, warnings);
        Some(service)
    }

    /// The address to listen on, if it is not the edge's.
    fn bind(&self, warnings: &mut Warnings<'_>) -> Option<IpAddr> {
        let value = self
            .labels
            .get("BIND_ADDR")
            .map(str::trim)
            .filter(|value| !["", "*"].contains(value))?;
        let fault = match value.parse::<IpAddr>() {
            Ok(ip) if ip.is_loopback() || self.policy.has_token => return Some(ip),
            Ok(_) => "can be reached by other machines, and the edge has no token",
            Err(_) => "is no address",
        };
        warnings.add(
            &self.label("BIND_ADDR"),
            &format!("{value:?} {fault}: the edge's own address is used"),
        );
        None
    }

    /// The weight among the apps on the same port or vhost.
    fn share(&self, warnings: &mut Warnings<'_>) -> Option<u32> {
        let value = self.labels.get(WEIGHT)?;
        let share = value
            .trim()
            .parse()
            .ok()
            .filter(|share| *share <= MOST_WEIGHT);
        if share.is_none() {
            let label = format!("ZDD_{}_WEIGHT", self.index);
            let text = format!("{value:?} is no weight (0-{MOST_WEIGHT}): the app has none");
            warnings.add(&label, &text);
        }
        share
    }

    /// The port to listen on, or `None` if there can be none.
    fn listener_port(&self, service_port: i64, warnings: &mut Warnings<'_>) -> Option<u16> {
        let label = self.label("PORT");
        let given = self.labels.get("PORT").and_then(|value| {
            let port = value.trim().parse::<u16>().ok().filter(|port| *port > 0);
            if port.is_none() {
                let text = format!(
                    "{value:?} is no port (1-65535): the service port {service_port} is used"
                );
                warnings.add(&label, &text);
            }
            port
        });
        let subject = if given.is_some() {
            label.as_str()
        } else {
            "service port"
        };
        // A service port of 0 was never assigned.
        let port = given.or_else(|| u16::try_from(service_port).ok().filter(|port| *port > 0))?;
        if self.policy.reserved.contains(&port) {
            let text = format!("port {port} is the edge's own: the service is not exposed");
            warnings.add(subject, &text);
            return None;
        }
        if self
            .policy
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

    /// Marathon's check that the edge repeats, and where.
    fn health_check(&self, warnings: &mut Warnings<'_>) -> (Option<&HealthCheck>, CheckPort) {
        const NAME: &str = "BACKEND_HEALTHCHECK_PORT_INDEX";
        let own = (value::check_of(self.app, self.index), CheckPort::Own);
        let Some(value) = self.labels.get(NAME) else {
            return own;
        };
        match value.trim().parse::<usize>() {
            Ok(index) if index < self.n_ports => {
                (value::check_of(self.app, index), CheckPort::Index(index))
            }
            _ => {
                warnings.add(
                    &self.label(NAME),
                    &format!("{value:?} is no port of the app: this one's own check is used"),
                );
                own
            }
        }
    }

    fn mode(&self, check: Option<&HealthCheck>, warnings: &mut Warnings<'_>) -> Mode {
        if let Some(value) = self.labels.get("MODE") {
            if value.trim().eq_ignore_ascii_case("http") {
                return Mode::Http;
            }
            if value.trim().eq_ignore_ascii_case("tcp") {
                return Mode::Tcp;
            }
            warnings.add(
                &self.label("MODE"),
                &format!("{value:?} is neither http nor tcp: the default is used"),
            );
        }
        let is_given = self.labels.get("BACKEND_HEALTHCHECK_PORT_INDEX").is_some();
        let is_http = check.is_some_and(|check| match check.protocol.as_str() {
            "HTTP" => true,
            "HTTPS" | "MESOS_HTTP" | "MESOS_HTTPS" => is_given,
            _ => false,
        });
        if is_http || self.labels.get("VHOST").is_some() {
            Mode::Http
        } else {
            Mode::Tcp
        }
    }

    fn read_options(&self, service: &mut Service, warnings: &mut Warnings<'_>) {
        let options = &mut service.options;
        if let Some(value) = self.labels.get("BALANCE") {
            options.balance = Balance::read(value).unwrap_or_else(|| {
                let text = format!(
                    "{value:?} is none of roundrobin, leastconn, source: roundrobin is used"
                );
                warnings.add(&self.label("BALANCE"), &text);
                Balance::default()
            });
        }
        if service.mode == Mode::Tcp {
            for name in HTTP_ONLY.into_iter().filter(|name| {
                let is_switch = ["STICKY", "USE_HSTS"].contains(name);
                if is_switch {
                    self.labels.is_true(name)
                } else {
                    self.labels.get(name).is_some()
                }
            }) {
                warnings.add(
                    &self.label(name),
                    "the mode is tcp: the label has no effect",
                );
            }
            return;
        }
        options.is_sticky = self.labels.is_true("STICKY");
        options.has_hsts = self.labels.is_true("USE_HSTS");
        for (name, field) in [
            ("HTTP_BACKEND_REDIR", &mut options.root_redirect),
            ("HTTP_BACKEND_PROXYPASS_PATH", &mut options.stripped_prefix),
            ("HTTP_BACKEND_REVPROXY_PATH", &mut options.location_root),
        ] {
            let Some(value) = self.labels.get(name).map(str::trim) else {
                continue;
            };
            if is_path(value) {
                *field = Some(value.to_owned());
            } else {
                warnings.add(
                    &self.label(name),
                    &format!("{value:?} is no path: the service runs without it"),
                );
            }
        }
        if options.root_redirect.is_some() && service.vhosts.is_empty() {
            warnings.add(
                &self.label("HTTP_BACKEND_REDIR"),
                "without VHOST it has no effect",
            );
        }
    }
}

/// Whether a request line or header may hold it as a path.
fn is_path(value: &str) -> bool {
    value.starts_with('/') && value.bytes().all(|byte| byte.is_ascii_graphic())
}
