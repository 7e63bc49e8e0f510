//! Mesos-DNS' HTTP API: what the zone has, as JSON; and `/metrics` for Prometheus.
//!
//! Only GET, HEAD not either; a name that is not there is no error but one empty element. The bytes are the original's: Go's indented
//! JSON with a prefix.
//!
//! The paths are also the front door's, below `/mesos_dns`. Source: contract mesos-dns §8.

mod bodies;
mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::net::TcpListener;
use zddcluster_runtime::{Form, Guard};

use crate::config::{ForwardConfig, ZoneConfig};
use crate::publish::Current;
use crate::start::Source;

pub(crate) use self::metrics::Counts;

/// The HTTP API's own settings.
#[derive(Debug)]
pub struct HttpConfig {
    /// Bound (`httplistener`, `httpport`).
    pub listener: TcpListener,
    /// Names by which it may be asked, besides loopback, `localhost`, `*.mesos` and its own address.
    pub allowed_hosts: Vec<String>,
    /// Whether everything may be listed (`EnumerationOn`).
    pub enumeration_on: bool,
}

/// What answers are made of.
pub(crate) struct Shown {
    pub(crate) current: Current,
    pub(crate) source: Source,
    pub(crate) zone: ZoneConfig,
    pub(crate) forward: ForwardConfig,
    /// Where DNS is answered, if it is.
    pub(crate) dns: Option<SocketAddr>,
    /// Where this API is.
    pub(crate) http: SocketAddr,
    pub(crate) enumeration_on: bool,
    /// The `config.json`, if there is one.
    pub(crate) file: Option<String>,
    pub(crate) counts: Arc<Counts>,
}

/// The API behind the guard.
pub(crate) fn router(shown: Shown, allowed_hosts: Vec<String>) -> Router {
    let own = shown.dns.into_iter().chain([shown.http]);
    let own: Vec<String> = own.map(|address| address.ip().to_string()).collect();
    let guard = Guard::new(allowed_hosts.into_iter().chain(own));
    guard.wrap(Router::new().fallback(answer).with_state(Arc::new(shown)))
}

async fn answer(State(shown): State<Arc<Shown>>, request: Request<Body>) -> Response {
    let segments: Vec<String> = request
        .uri()
        .path()
        .split('/')
        .skip(1)
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let mut segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if segments.len() > 1 && segments.last().is_some_and(|last| last.is_empty()) {
        segments.pop();
    }
    let zone = shown.current.load_full();
    if segments == ["metrics"] {
        let form = Form::wanted(request.headers());
        return metrics::render(&shown.counts, zone.as_deref(), form);
    }
    let Some(wanted) = Wanted::of(&segments, shown.enumeration_on) else {
        return text(StatusCode::NOT_FOUND, "404: Page Not Found");
    };
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "405: Method Not Allowed");
    }
    if !takes_json(request.headers()) {
        return text(StatusCode::NOT_ACCEPTABLE, "406: Not Acceptable");
    }
    match (wanted, zone.as_deref()) {
        (Wanted::Ports, _) => text(StatusCode::NOT_IMPLEMENTED, "To be implemented..."),
        (Wanted::Version, _) => json(&bodies::version()),
        (Wanted::Config, _) => json(&bodies::config(&shown)),
        (_, None) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "503: the master was not heard yet",
        ),
        (Wanted::Hosts(name), Some(zone)) => json(&bodies::hosts(zone, name)),
        (Wanted::Services(name), Some(zone)) => json(&bodies::services(zone, name)),
        (Wanted::Enumerate, Some(zone)) => json(&bodies::enumerate(zone)),
        (Wanted::Axfr, Some(zone)) => json(&bodies::axfr(zone, &shown)),
    }
}

/// A resource.
enum Wanted<'a> {
    Version,
    Config,
    Hosts(&'a str),
    /// Foreseen by the original and never made.
    Ports,
    Services(&'a str),
    Enumerate,
    Axfr,
}

impl<'a> Wanted<'a> {
    fn of(segments: &[&'a str], enumeration_on: bool) -> Option<Self> {
        match *segments {
            ["v1", "version"] => Some(Self::Version),
            ["v1", "config"] => Some(Self::Config),
            ["v1", "hosts", name] => Some(Self::Hosts(name)),
            ["v1", "hosts", _, "ports"] => Some(Self::Ports),
            ["v1", "services", name] => Some(Self::Services(name)),
            ["v1", "enumerate"] if enumeration_on => Some(Self::Enumerate),
            ["v1", "axfr"] if enumeration_on => Some(Self::Axfr),
            _ => None,
        }
    }
}

fn takes_json(headers: &HeaderMap) -> bool {
    let mut given = headers.get_all(ACCEPT).iter().peekable();
    let takes = |value: &HeaderValue| {
        value
            .to_str()
            .unwrap_or_default()
            .split(',')
            .filter_map(|range| range.split(';').next())
            .any(|range| ["application/json", "*/*"].contains(&range.trim()))
    };
    given.peek().is_none() || given.any(takes)
}

fn json(body: &Value) -> Response {
    respond(StatusCode::OK, "application/json", bodies::indented(body))
}

fn text(status: StatusCode, body: &'static str) -> Response {
    respond(status, "text/plain; charset=utf-8", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
