//! The edge's configuration, from Marathon-LB's own arguments and the environment the agent gives.
//!
//! The package starts the edge as it starts Marathon-LB: `sse -m http://master.mesos:8080 --health-check --haproxy-map
//! --group external`. Options that are not known are warned about and skipped, with their value if one follows, so that
//! an app definition written for Marathon-LB always starts.
//!
//! Source: contract marathon-lb §1.1, §2.2, §6.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use ipnet::IpNet;
use zddcluster_model::EdgeId;
use zddcluster_runtime::Token;

/// The edge's own host names: an edge on the same machine reaches the master by environment instead.
const CLUSTER_NAMES: [&str; 3] = ["master.mesos", "leader.mesos", "marathon.mesos"];

/// In the environment: the original sets these parameters of the kernel. The package always has some.
const SYSCTL: &str = "HAPROXY_SYSCTL_PARAMS";

/// In the environment: what the original serves TLS with.
const CERTIFICATE: &str = "HAPROXY_SSL_CERT";

/// Everything an edge needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Marathon's addresses, without a final slash; tried in turn.
    pub marathon: Vec<String>,
    /// The groups whose services are exposed; `*` takes every service.
    pub groups: BTreeSet<String>,
    /// A task of an app with health checks takes traffic only while they all are good.
    pub health_check: bool,
    /// The map endpoints list the vhosts.
    pub haproxy_map: bool,
    /// `HAPROXY_{n}_ENABLED` is false unless given.
    pub strict_mode: bool,
    /// Vhosts are served.
    pub bind_http: bool,
    /// The address to listen on; without a token a loopback one.
    pub bind: IpAddr,
    /// Names by which the admin port may be asked, beside those that any API answers to.
    pub allowed_hosts: Vec<String>,
    /// What the master wants to see of its callers, if it does.
    pub token: Option<Token>,
    /// The ports to listen on.
    pub ports: Ports,
    /// Who the master knows this edge as: the task it runs as.
    pub edge_id: EdgeId,
    /// A request that does no harm when repeated is sent once more when its server breaks off before the answer. Without that, no
    /// connection to a server is used twice either.
    pub resends: bool,
    /// Service ports for apps whose tasks have addresses of their own and that name none; `None`: they get none.
    pub own_address_ports: Option<RangeInclusive<u16>>,
    /// Marathon's own app, which is not exposed.
    pub framework_name: Option<String>,
    /// Threads that carry traffic, 1 at least; one for each core if it is not given.
    pub threads: Option<usize>,
    /// The intervals of health checks are divided by it, as the cluster's are.
    pub speed: f64,
    /// What TLS is served with. None: one that signs itself.
    pub certificates: Vec<Certificate>,
    /// Proxies before the edge, whose word on their clients' addresses counts.
    pub trusted: Vec<IpNet>,
    /// Where gateways are kept, if they are to outlive the edge.
    pub gateways: Option<PathBuf>,
    /// What was skipped, for the log.
    pub warnings: Vec<String>,
    /// What is skipped in any cluster, for the log.
    pub notes: Vec<String>,
}

/// A certificate with its chain and key, as PEM.
#[derive(Clone, PartialEq, Eq)]
pub enum Certificate {
    /// This one.
    Text(String),
    /// That of a file, also when it changes.
    File(String),
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // It has a key in it.
            Self::Text(_) => f.write_str("Text"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The ports of the fixed listeners; 0 takes any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// Vhosts, if the process may bind it.
    pub http: u16,
    /// Vhosts otherwise.
    pub http_unprivileged: u16,
    /// Vhosts with TLS, if the process may bind it.
    pub https: u16,
    /// Vhosts with TLS otherwise.
    pub https_unprivileged: u16,
    /// Statistics and administration.
    pub stats: u16,
    /// Routing by app id.
    pub app_id: u16,
}

impl Ports {
    /// Any free ones: for an edge beside others, as in tests.
    pub const ANY: Self = Self {
        http: 0,
        http_unprivileged: 0,
        https: 0,
        https_unprivileged: 0,
        stats: 0,
        app_id: 0,
    };
}

impl Default for Ports {
    fn default() -> Self {
        Self {
            http: 80,
            http_unprivileged: 8000,
            https: 443,
            https_unprivileged: 8443,
            stats: 9090,
            app_id: 9091,
        }
    }
}

/// Why the arguments cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgsError {
    /// An option stands last but needs a value.
    #[error("the option {0} needs a value")]
    NoValue(String),
    /// No Marathon to follow.
    #[error("no Marathon to follow; hint: -m http://HOST:8080 or ZDD_MARATHON_URL")]
    NoMarathon,
    /// Marathon's address is no plain HTTP one.
    #[error("{0} is not an http:// address")]
    Address(String),
    /// `HOST` is no address.
    #[error("HOST is {0}, which is not an IP address")]
    Host(String),
    /// What is to be trusted is no address.
    #[error("--trust-forwarded: {0} is neither an address nor a network")]
    Network(String),
    /// `HOST` can be reached from elsewhere.
    #[error(
        "HOST is {0}, which other machines can reach, and there is no token; hint: HOST=127.0.0.2, or --token-file FILE (or \
         ZDD_TOKEN) for a cluster that others than this machine may use"
    )]
    NotLoopback(IpAddr),
}

impl Config {
    /// Reads `args` (without the program's name) and the environment (`ZDD_MARATHON_URL`, `HOST`, `MESOS_TASK_ID`,
    /// `FRAMEWORK_NAME`, `ZDD_NO_RESEND`, `ZDD_ALLOW_HOST`, `ZDD_EDGE_THREADS`, `ZDD_SPEED`; of marathon-lb's own what is skipped) through `env`.
    ///
    /// # Errors
    /// When an option lacks its value or an address is no address.
    pub fn from_args<I>(
        args: I,
        token: Option<Token>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ArgsError>
    where
        I: IntoIterator<Item = String>,
    {
        let bind = match env("HOST").filter(|host| !host.is_empty()) {
            Some(host) => host.parse().map_err(|_| ArgsError::Host(host))?,
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        if !bind.is_loopback() && token.is_none() {
            return Err(ArgsError::NotLoopback(bind));
        }
        let edge_id =
            env("MESOS_TASK_ID").unwrap_or_else(|| format!("edge-{}", std::process::id()));
        let mut config = Self {
            marathon: Vec::new(),
            groups: BTreeSet::new(),
            health_check: false,
            haproxy_map: false,
            strict_mode: false,
            bind_http: true,
            bind,
            allowed_hosts: env("ZDD_ALLOW_HOST")
                .iter()
                .flat_map(|names| names.split(','))
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            token,
            ports: Ports::default(),
            edge_id: EdgeId::new(&edge_id),
            resends: env("ZDD_NO_RESEND").is_none_or(|value| value.is_empty()),
            own_address_ports: None,
            framework_name: env("FRAMEWORK_NAME"),
            threads: env("ZDD_EDGE_THREADS")
                .and_then(|threads| threads.parse().ok())
                .filter(|threads| *threads > 0),
            speed: env("ZDD_SPEED")
                .and_then(|speed| speed.parse().ok())
                .filter(|speed: &f64| speed.is_finite() && *speed > 0.0)
                .unwrap_or(1.0),
            certificates: env(CERTIFICATE)
                .filter(|pem| !pem.is_empty())
                .map(Certificate::Text)
                .into_iter()
                .collect(),
            gateways: None,
            trusted: Vec::new(),
            warnings: Vec::new(),
            notes: Vec::new(),
        };
        let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
        if is_set(SYSCTL) {
            let note = format!("{SYSCTL} is ignored: the kernel's settings stay as they are");
            config.notes.push(note);
        }
        config.read_args(args)?;
        let override_url = env("ZDD_MARATHON_URL").filter(|url| !url.is_empty());
        if let Some(url) = override_url {
            let on_cluster =
                |given: &String| host_of(given).is_some_and(|host| CLUSTER_NAMES.contains(&host));
            if config.marathon.is_empty() {
                config.marathon.push(url);
            } else {
                for given in config.marathon.iter_mut().filter(|given| on_cluster(given)) {
                    given.clone_from(&url);
                }
                config.marathon.dedup();
            }
        }
        if config.marathon.is_empty() {
            return Err(ArgsError::NoMarathon);
        }
        for url in &mut config.marathon {
            url.truncate(url.trim_end_matches('/').len());
            if host_of(url).is_none() {
                return Err(ArgsError::Address(url.clone()));
            }
        }
        if config.groups.is_empty() {
            config
                .warnings
                .push("no --group was given: no service is exposed".to_owned());
        }
        Ok(config)
    }

    fn read_args(&mut self, args: impl IntoIterator<Item = String>) -> Result<(), ArgsError> {
        let mut args = args.into_iter().peekable();
        let mut own_address_ports: [Option<String>; 2] = [None, None];
        while let Some(arg) = args.next() {
            let (name, inline) = match arg.split_once('=') {
                Some((name, value)) if name.starts_with("--") => {
                    (name.to_owned(), Some(value.to_owned()))
                }
                _ => (arg, None),
            };
            let is_value = |next: &String| !next.starts_with('-');
            match name.as_str() {
                "sse" => {}
                "poll" | "event" => self
                    .warnings
                    .push(format!("{name}: the edge follows events (sse) instead")),
                "-m" | "--marathon" => {
                    let first = inline.or_else(|| args.next_if(is_value));
                    self.marathon.push(first.ok_or(ArgsError::NoValue(name))?);
                    while let Some(next) = args.next_if(is_value) {
                        self.marathon.push(next);
                    }
                }
                "--group" => {
                    let group = inline.or_else(|| args.next_if(is_value));
                    self.groups.insert(group.ok_or(ArgsError::NoValue(name))?);
                }
                "--min-serv-port-ip-per-task" | "--max-serv-port-ip-per-task" => {
                    let end = usize::from(name.starts_with("--max"));
                    let port = inline.or_else(|| args.next_if(is_value));
                    own_address_ports[end] = Some(port.ok_or(ArgsError::NoValue(name))?);
                }
                "--gateways" => {
                    let path = inline.or_else(|| args.next_if(is_value));
                    self.gateways = Some(path.ok_or(ArgsError::NoValue(name))?.into());
                }
                "--trust-forwarded" => {
                    let networks = inline.or_else(|| args.next_if(is_value));
                    for text in networks.ok_or(ArgsError::NoValue(name))?.split(',') {
                        self.trusted.push(network(text.trim())?);
                    }
                }
                "--ssl-certs" => {
                    let paths = inline.or_else(|| args.next_if(is_value));
                    for path in paths.ok_or(ArgsError::NoValue(name))?.split(',') {
                        let path = path.trim().to_owned();
                        self.certificates.push(Certificate::File(path));
                    }
                }
                "-H" | "--health-check" => self.health_check = true,
                "--haproxy-map" => self.haproxy_map = true,
                "--strict-mode" => self.strict_mode = true,
                "--dont-bind-http-https" => self.bind_http = false,
                _ => {
                    let value = if name.starts_with('-') {
                        args.next_if(is_value)
                    } else {
                        None
                    };
                    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
                    self.warnings.push(format!(
                        "the argument {name}{value} is not supported and skipped"
                    ));
                }
            }
        }
        self.own_address_ports = match &own_address_ports {
            [None, None] => None,
            [min, max] => {
                let range = port_range(min.as_deref(), max.as_deref());
                if range.is_none() {
                    self.warnings.push(
                        "--min-serv-port-ip-per-task and --max-serv-port-ip-per-task are no range of ports: apps that name none \
                         get none"
                            .to_owned(),
                    );
                }
                range
            }
        };
        Ok(())
    }
}

/// The ports from `min` to `max`, if that are any.
fn port_range(min: Option<&str>, max: Option<&str>) -> Option<RangeInclusive<u16>> {
    let port = |text: Option<&str>| text?.trim().parse::<u16>().ok();
    let range = port(min)?..=port(max)?;
    (*range.start() > 0 && !range.is_empty()).then_some(range)
}

/// An address, or a network of them.
fn network(text: &str) -> Result<IpNet, ArgsError> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text.parse().or_else(|_| address());
    network.map_err(|_| ArgsError::Network(text.to_owned()))
}

/// The host of an `http://` address.
fn host_of(url: &str) -> Option<&str> {
    let uri: &str = url.strip_prefix("http://")?;
    let authority = uri.split('/').next()?;
    let host = authority
        .rsplit_once(':')
        .map_or(authority, |(host, _)| host);
    (!host.is_empty()).then_some(host)
}

#[cfg(test)]
mod tests;
