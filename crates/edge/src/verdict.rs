//! What the labels say to a request and its answer. Pure: facts in, what to do out; the data plane does it.
//!
//! ```text
//!   head ─▶ before_routing ─▶ route ─▶ at_backend ─▶ changed ─▶ server ─▶ answered ─▶ client
//!              │ 301, 401                 │ 403, 301
//! ```
//!
//! Before routing, every rule that the host and path match is heard, not only the one that routes: first all redirects, then all
//! passwords. That is so on the vhost ports only; at the backend it does not matter which way a request came.
//!
//! Source: contract marathon-lb §0 rule 10, §1.4, §2.3, §2.6.

use std::net::IpAddr;

use sha1::{Digest as _, Sha1};

use crate::passwords::{Attempt, Known, Passwords};
use crate::table::{Backend, Server, Table, without_port};

/// The cookie that keeps a client with its server.
pub(crate) const STICKY_COOKIE: &str = "mesosphere_server_id";
/// Half a year, as Marathon-LB has it.
pub(crate) const HSTS: &str = "max-age=15768000";
/// The well-known port, which URLs leave out.
const HTTPS: u16 = 443;

/// What is known of a request when its head has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// Who asks.
    pub(crate) client: IpAddr,
    /// The edge has ended TLS.
    pub(crate) is_tls: bool,
    /// `Host`, or nothing.
    pub(crate) host: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    /// `Authorization`.
    pub(crate) authorization: Option<&'a str>,
}

impl<'a> Facts<'a> {
    fn path(&self) -> &'a str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Why a request goes to no server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 301 to this place.
    Moved(String),
    /// 401 for this realm.
    Unauthorized(String),
    /// 401, unless the password turns out to be right: then it is decided once more.
    Unchecked(Attempt),
    /// 403.
    Forbidden,
}

/// What is decided on the vhost port before a request is routed. `https_port` is where clients find TLS.
pub(crate) fn before_routing(
    table: &Table,
    facts: &Facts<'_>,
    passwords: &Passwords,
    https_port: u16,
) -> Option<Refusal> {
    let rules = || table.matching(facts.host, facts.path());
    if !facts.is_tls && rules().any(|rule| rule.redirect_to_https) {
        let host = without_port(facts.host);
        let port = if https_port == HTTPS {
            String::new()
        } else {
            format!(":{https_port}")
        };
        return Some(Refusal::Moved(format!(
            "https://{host}{port}{}",
            facts.target
        )));
    }
    let mut guards = rules().filter_map(|rule| rule.auth.as_ref());
    guards.find_map(|auth| match passwords.known(auth, facts.authorization) {
        Known::Right => None,
        Known::Wrong => Some(Refusal::Unauthorized(auth.realm.clone())),
        Known::NotYet(attempt) => Some(Refusal::Unchecked(attempt)),
    })
}

/// Whether a client may come to a backend at all; for TCP this is all there is to decide.
pub(crate) fn is_allowed(backend: &Backend, client: IpAddr) -> bool {
    let allowed = backend.options.allowed.as_ref();
    allowed.is_none_or(|networks| networks.iter().any(|network| network.contains(&client)))
}

/// What is decided when the backend is known.
pub(crate) fn at_backend(backend: &Backend, facts: &Facts<'_>) -> Option<Refusal> {
    if !is_allowed(backend, facts.client) {
        return Some(Refusal::Forbidden);
    }
    let place = backend.options.root_redirect.as_ref()?;
    let is_of_vhost = is_vhost(backend, facts.host);
    // A root that leads to itself would go round for ever.
    (facts.path() == "/" && is_of_vhost && place != "/").then(|| Refusal::Moved(place.clone()))
}

fn is_vhost(backend: &Backend, host: &str) -> bool {
    let host = without_port(host);
    backend
        .vhosts
        .iter()
        .any(|vhost| vhost.eq_ignore_ascii_case(host))
}

/// What changes in a request on its way to a server; `None` leaves a part as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes<'a> {
    /// Path and query.
    pub(crate) target: Option<String>,
    /// `Host`.
    pub(crate) host: Option<&'a str>,
    /// The sticky cookie is taken out.
    pub(crate) loses_cookie: bool,
}

/// What changes in a request to `backend`.
pub(crate) fn changes<'a>(backend: &'a Backend, facts: &Facts<'_>) -> Changes<'a> {
    let options = &backend.options;
    let mut changes = Changes {
        loses_cookie: options.is_sticky,
        ..Changes::default()
    };
    if let Some(prefix) = &options.stripped_prefix {
        // The original would send the whole list of vhosts.
        changes.host = backend.vhosts.first().map(String::as_str);
        let start = facts.target.get(..prefix.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
            let rest = &facts.target[prefix.len()..];
            changes.target = Some(format!("/{}", rest.strip_prefix('/').unwrap_or(rest)));
        }
    }
    changes
}

/// Where a `Location` of an answer of `backend` is to lead instead. What leads to another host is left as it is, and what is
/// below the root already.
pub(crate) fn location(backend: &Backend, location: &str) -> Option<String> {
    let root = backend
        .options
        .location_root
        .as_ref()?
        .trim_end_matches('/');
    let scheme = ["http://", "https://"]
        .into_iter()
        .find_map(|scheme| location.strip_prefix(scheme));
    let path = match scheme {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/')?);
            if !is_vhost(backend, authority) {
                return None;
            }
            path
        }
        None => location,
    };
    let is_below = path
        .strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']));
    // `//host/path` names another host.
    let is_path = path.starts_with('/') && !path.starts_with("//");
    (is_path && !is_below).then(|| format!("{root}{path}"))
}

/// The value of the sticky cookie for a server of this name.
pub(crate) fn cookie_of(server_name: &str) -> String {
    let digest = Sha1::digest(server_name.as_bytes());
    digest[..5]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The server that a `Cookie` header asks for.
pub(crate) fn wanted_server(backend: &Backend, cookies: &str) -> Option<usize> {
    let value = cookies
        .split(';')
        .find_map(|pair| sticky_value(pair.trim()))?;
    backend
        .servers
        .iter()
        .position(|server: &Server| server.cookie == value)
}

/// A `Cookie` header without the sticky cookie; `None` if nothing is left.
pub(crate) fn without_cookie(cookies: &str) -> Option<String> {
    let others: Vec<_> = cookies
        .split(';')
        .map(str::trim)
        .filter(|pair| !pair.is_empty() && sticky_value(pair).is_none())
        .collect();
    (!others.is_empty()).then(|| others.join("; "))
}

/// The `Set-Cookie` that keeps a client with `server`.
pub(crate) fn set_cookie(server: &Server) -> String {
    format!("{STICKY_COOKIE}={}; path=/", server.cookie)
}

fn sticky_value(pair: &str) -> Option<&str> {
    pair.strip_prefix(STICKY_COOKIE)?.strip_prefix('=')
}

#[cfg(test)]
mod tests;
