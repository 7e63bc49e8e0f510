//! Which requests may reach an API that listens on loopback without a password.
//!
//! A web page the user happens to visit can send requests to `127.0.0.1`, and by DNS rebinding (its own name suddenly
//! points to `127.0.0.1`) read the answers too. Two checks stop both, and let `curl` and other tools pass:
//!
//! - **Host, on every request**: only names that cannot belong to a stranger: loopback addresses, `localhost`,
//!   `*.mesos` (no public top-level domain), and those the user allowed.
//! - **Origin, on writes**: a browser tells there which page a write comes from. It must be an allowed name and the very host
//!   and port the request goes to. Tools send no `Origin`.
//!
//! Reads with a foreign `Origin` are answered, but without CORS headers, so the page cannot read the answer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};

/// Decides by `Host` and `Origin` who may use an API; see the module's page.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// Names the user allowed, in lower case, without port or final dot.
    hosts: Arc<BTreeSet<String>>,
}

impl Guard {
    /// Allows `hosts` (names or addresses; a port is ignored) besides loopback addresses, `localhost` and `*.mesos`.
    pub fn new(hosts: impl IntoIterator<Item = String>) -> Self {
        let hosts = hosts.into_iter().map(|host| match Authority::parse(&host) {
            Some(authority) => authority.host,
            None => host,
        });
        Self {
            hosts: Arc::new(hosts.collect()),
        }
    }

    /// Puts the checks before all routes of `router`, and its fallback. A refused request gets 403 and
    /// `{"message": "…"}`.
    pub fn wrap(self, router: axum::Router) -> axum::Router {
        router.layer(middleware::from_fn_with_state(self, check))
    }

    /// Says why a request with this head is refused.
    fn verdict(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let named_by_header = single(headers, HOST)?;
        // The authority of an absolute URI wins over the header (RFC 9112 §3.2.2), but neither may be foreign.
        let named_by_uri = uri.authority().map(http::uri::Authority::as_str);
        let mut host = None;
        for name in [named_by_header, named_by_uri].into_iter().flatten() {
            let authority = Authority::parse(name).ok_or(Refusal::ForeignHost)?;
            if !self.allows(&authority.host) {
                return Err(Refusal::ForeignHost);
            }
            host = Some(authority);
        }
        let host = host.ok_or(Refusal::NoHost)?;
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        let Some(origin) = single(headers, ORIGIN)? else {
            return Ok(());
        };
        let origin = Authority::parse_origin(origin).ok_or(Refusal::ForeignOrigin)?;
        if origin == host && self.allows(&origin.host) {
            Ok(())
        } else {
            Err(Refusal::ForeignOrigin)
        }
    }

    fn allows(&self, host: &str) -> bool {
        if let Ok(address) = host.parse::<IpAddr>() {
            if address.to_canonical().is_loopback() {
                return true;
            }
        } else if host == "localhost"
            || host
                .strip_suffix(".mesos")
                .is_some_and(|name| !name.is_empty())
        {
            return true;
        }
        self.hosts.contains(host)
    }
}

async fn check(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match guard.verdict(request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            tracing::warn!(
                method = %request.method(),
                path = request.uri().path(),
                host = ?request.headers().get(HOST),
                origin = ?request.headers().get(ORIGIN),
                reason = %refusal,
                "request refused"
            );
            let body = serde_json::json!({ "message": refusal.to_string() });
            (StatusCode::FORBIDDEN, Json(body)).into_response()
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("the request names no host")]
    NoHost,
    #[error("the host of the request is not one of this cluster's; hint: --allow-host permits it")]
    ForeignHost,
    #[error("the request comes from a web page of another origin")]
    ForeignOrigin,
    #[error("a header is given twice or is not text")]
    BadHeader,
}

/// The one value of a header that may be given once.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::BadHeader);
    }
    value.to_str().map(Some).map_err(|_| Refusal::BadHeader)
}

/// `host[:port]` in comparable form.
#[derive(Debug, PartialEq, Eq)]
struct Authority {
    /// In lower case, without brackets or final dot.
    host: String,
    /// `None` for the ports 80 and 443, which browsers leave out of `Host` and `Origin`.
    port: Option<u16>,
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (
                    host,
                    if rest.is_empty() {
                        None
                    } else {
                        Some(rest.strip_prefix(':')?)
                    },
                )
            }
            None => match text.split_once(':') {
                // A bare IPv6 address is no valid `Host`, but is what a user may write for an allowed one.
                Some((_, rest)) if rest.contains(':') => {
                    text.parse::<std::net::Ipv6Addr>().ok()?;
                    (text, None)
                }
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(valid) {
            return None;
        }
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(port.parse().ok()?).filter(|port| ![80, 443].contains(port)),
        };
        Some(Self { host, port })
    }

    /// `scheme://host[:port]`; `null` and other schemes than HTTP have none.
    fn parse_origin(origin: &str) -> Option<Self> {
        let (scheme, authority) = origin.split_once("://")?;
        if scheme != "http" && scheme != "https" {
            None
        } else {
            Self::parse(authority)
        }
    }
}

#[cfg(test)]
mod tests;
