//! What the values of `HAPROXY_{n}_*` labels mean.
//!
//! Source: contract marathon-lb §0 rule 9, §1.4, §2.7.

use std::time::Duration;

use ipnet::IpNet;
use zddcluster_client::marathon::{App, HealthCheck};

use crate::crypt::Crypted;

/// How a server is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Balance {
    /// Each in its turn.
    #[default]
    RoundRobin,
    /// The one with the fewest requests or connections in flight.
    LeastConn,
    /// By the client's address: always the same one while the servers stay the same.
    Source,
}

impl Balance {
    /// HAProxy's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "roundrobin",
            Self::LeastConn => "leastconn",
            Self::Source => "source",
        }
    }

    pub(super) fn read(value: &str) -> Option<Self> {
        [Self::RoundRobin, Self::LeastConn, Self::Source]
            .into_iter()
            .find(|balance| balance.name() == value.trim())
    }
}

/// Who may see a vhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Auth {
    /// What the browser shows when it asks.
    pub(crate) realm: String,
    /// The one user.
    pub(crate) user: String,
    /// The user's password.
    pub(crate) password: Crypted,
}

impl Auth {
    /// Reads `realm:user:crypted`; why not, otherwise.
    pub(super) fn read(value: &str) -> Result<Self, &'static str> {
        let [realm, user, crypted] = value.split(':').collect::<Vec<_>>()[..] else {
            return Err("is not of the form realm:user:password");
        };
        let is_plain = |text: &str| {
            !text
                .chars()
                .any(|c| c.is_control() || c == '"' || c == '\\')
        };
        if user.is_empty() || !is_plain(realm) || !is_plain(user) {
            return Err("has no usable realm or user");
        }
        let password = Crypted::new(crypted)
            .ok_or("has no password that crypt(3) made with $1$, or with $5$ or $6$ in a million rounds at most")?;
        Ok(Self {
            realm: realm.to_owned(),
            user: user.to_owned(),
            password,
        })
    }
}

/// What happens to requests at a backend, whichever way they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// How a server is chosen.
    pub(crate) balance: Balance,
    /// A client stays with its server, by cookie.
    pub(crate) is_sticky: bool,
    /// Answers carry `Strict-Transport-Security`.
    pub(crate) has_hsts: bool,
    /// Who may come; `None`: everybody.
    pub(crate) allowed: Option<Vec<IpNet>>,
    /// Where `/` of a vhost leads.
    pub(crate) root_redirect: Option<String>,
    /// The prefix that paths lose.
    pub(crate) stripped_prefix: Option<String>,
    /// The root that `Location`s of answers are put under.
    pub(crate) location_root: Option<String>,
}

/// Reads a list of addresses and networks, separated by blanks; the word that is neither, otherwise.
pub(super) fn networks(value: &str) -> Result<Vec<IpNet>, String> {
    let words = value.split_whitespace().map(|word| {
        let address = || {
            word.parse()
                .map(|address: std::net::IpAddr| IpNet::from(address))
        };
        word.parse::<IpNet>()
            .or_else(|_| address())
            .map_err(|_| word.to_owned())
    });
    let networks = words.collect::<Result<Vec<_>, _>>()?;
    if networks.is_empty() {
        return Err(value.to_owned());
    }
    Ok(networks)
}

/// Marathon-LB's booleans: `1` and `on` are false.
pub(crate) fn is_true(value: &str) -> bool {
    ["true", "t", "yes", "y"]
        .iter()
        .any(|word| value.trim().eq_ignore_ascii_case(word))
}

/// How the edge checks the servers of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// What is asked.
    pub(crate) probe: Probe,
    /// From one check to the next.
    pub(crate) interval: Duration,
    /// For one check.
    pub(crate) timeout: Duration,
    /// So many failures in a row take a server down.
    pub(crate) fall: u32,
    /// Where, if not where the traffic goes.
    pub(crate) port: CheckPort,
}

/// What a check asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Whether the server takes connections.
    Connect,
    /// A path.
    Get(String),
}

/// The port that is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckPort {
    /// That of the traffic.
    Own,
    /// The task's port at this position.
    Index(usize),
    /// The same for all tasks.
    Fixed(u16),
}

/// Marathon's defaults for what a check leaves out.
const INTERVAL: u64 = 60;
const TIMEOUT: u64 = 20;
const FAILURES: u64 = 3;

/// The check of the app's port number `index`: the first one with a fixed port, or of that index.
pub(super) fn check_of(app: &App, index: usize) -> Option<&HealthCheck> {
    app.health_checks.iter().find(|check| {
        // Marathon's default index is 0.
        check.port.is_some() || check.port_index.unwrap_or(0) == i64::try_from(index).unwrap_or(-1)
    })
}

/// How the edge does `check` for a service in http mode or not; `None` if it cannot.
pub(super) fn read_check(check: &HealthCheck, is_http: bool, port: CheckPort) -> Option<Check> {
    let path = || {
        let path = check.path.as_deref().unwrap_or("/");
        let is_sendable =
            path.starts_with('/') && !path.contains(|c: char| c.is_whitespace() || c.is_control());
        if is_sendable {
            path.to_owned()
        } else {
            "/".to_owned()
        }
    };
    let probe = match check.protocol.as_str() {
        "HTTP" | "MESOS_HTTP" if is_http => Probe::Get(path()),
        // What speaks TLS is not asked in plain text.
        "HTTP" | "MESOS_HTTP" | "HTTPS" | "MESOS_HTTPS" | "TCP" | "MESOS_TCP" => Probe::Connect,
        // COMMAND: only the agent can run it.
        _ => return None,
    };
    let fixed = check
        .port
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| *port > 0);
    let fall = check
        .max_consecutive_failures
        .unwrap_or(FAILURES)
        .saturating_add(1);
    Some(Check {
        probe,
        interval: Duration::from_secs(check.interval_seconds.unwrap_or(INTERVAL).max(1)),
        timeout: Duration::from_secs(check.timeout_seconds.unwrap_or(TIMEOUT).max(1)),
        fall: u32::try_from(fall).unwrap_or(u32::MAX),
        port: fixed.map_or(port, CheckPort::Fixed),
    })
}
