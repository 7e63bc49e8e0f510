//! The admin port (`stats`): health, statistics, maps, signals.
//!
//! `/metrics` is ours: the same counters for Prometheus.
//!
//! Everything is a GET without a password, as in the original, so the guard checks the host of every request.
//!
//! Source: contract marathon-lb §3, §5.6.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};
use zddcluster_runtime::{Form, Guard};

use crate::csv;
use crate::metrics;
use crate::proxy::pages;
use crate::state::Shared;

/// What `/_haproxy_getpids` lists while connections to removed servers last: old workers, as far as zdd.py can tell.
const OLD_WORKERS: u32 = 2;

/// The routes of the admin port.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let allowed = shared.config.allowed_hosts.iter().cloned();
    let guard = Guard::new(allowed.chain([shared.config.bind.to_string()]));
    guard.wrap(Router::new().fallback(answer).with_state(shared))
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let counters = &shared.fixed.stats;
    counters.begin(shared.second());
    counters
        .requests
        .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let response = respond(&shared, &request);
    counters.response(response.status());
    counters.end();
    response
}

fn respond(shared: &Shared, request: &Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return unavailable();
    }
    let query = request.uri().query().unwrap_or_default();
    match request.uri().path() {
        "/_haproxy_health_check" => pages::READY.with(Body::from(pages::READY.bytes())),
        "/haproxy" if query.starts_with("stats") => {
            if query.split(';').any(|option| option == "csv") {
                text("text/plain", csv::render(shared))
            } else {
                text("text/html", html(shared))
            }
        }
        "/metrics" => metrics::render(shared, Form::wanted(request.headers())),
        "/_haproxy_getpids" => {
            let pid = std::process::id();
            let mut pids = pid.to_string();
            if shared.registry.has_leftovers(&shared.routes.load()) {
                for old in 1..=OLD_WORKERS {
                    let _ = write!(pids, " {}", pid + old);
                }
            }
            text("text/plain", pids)
        }
        "/_haproxy_getvhostmap" => text("text/plain", vhost_map(shared)),
        "/_haproxy_getappmap" => text("text/plain", app_map(shared)),
        "/_mlb_signal/hup" => {
            shared.wish();
            text("text/plain", "Sent SIGHUP signal to marathon-lb".to_owned())
        }
        "/_mlb_signal/usr1" => {
            shared.reapply();
            text(
                "text/plain",
                "Sent SIGUSR1 signal to marathon-lb".to_owned(),
            )
        }
        _ => unavailable(),
    }
}

fn unavailable() -> Response {
    pages::UNAVAILABLE.with(Body::from(pages::UNAVAILABLE.bytes()))
}

fn text(content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn vhost_map(shared: &Shared) -> String {
    let mut lines = String::new();
    if shared.config.haproxy_map {
        for backend in &shared.routes.load().table.backends {
            for vhost in &backend.vhost_texts {
                let _ = writeln!(lines, "{vhost} {}", backend.name);
            }
        }
    }
    lines
}

fn app_map(shared: &Shared) -> String {
    let routes = shared.routes.load();
    let mut lines = String::new();
    if shared.config.haproxy_map {
        for &at in routes.table.by_app_id.values() {
            let backend = &routes.table.backends[at];
            let _ = writeln!(lines, "{} {}", backend.app_id, backend.name);
        }
    }
    lines
}

/// A short page; the full one is to come.
fn html(shared: &Shared) -> String {
    let mut rows = String::new();
    for backend in &shared.routes.load().backends {
        let (name, n) = (escape(&backend.spec.name), backend.servers.len());
        let _ = writeln!(rows, "<tr><td>{name}</td><td>{n}</td></tr>");
    }
    format!(
        "<!DOCTYPE html>\n<html><head><title>zddcluster edge</title></head><body>\n\
         <h1>zddcluster edge</h1>\n\
         <p>All statistics: <a href=\"/haproxy?stats;csv\">CSV</a>.</p>\n\
         <table><tr><th>backend</th><th>servers</th></tr>\n{rows}</table>\n</body></html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
