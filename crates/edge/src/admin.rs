//! The admin port (`stats`): health, statistics, maps, signals.
//!
//! `/metrics` and `/zdd/v1/status` are ours: the same counters for Prometheus, and what is odd about apps. So is
//! `/zdd/v1/gateways`, the only thing that can be changed here.
//!
//! Everything else is a GET without a password, as in the original; the guard checks the host of every request.
//!
//! Source: contract marathon-lb §3, §5.6.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use zddcluster_model::edge::{EdgeStatus, EdgeWarning, STATUS_PATH};
use zddcluster_runtime::{Form, Guard};

use crate::gateways;
use crate::labels::Warning;
use crate::proxy::pages;
use crate::state::Shared;
use crate::stats::page::{Process, View};
use crate::stats::{csv, page, report};
use crate::{metrics, rendering};

/// What `/_haproxy_getpids` lists while connections to removed or draining servers last: old workers, as far as zdd.py can tell.
const OLD_WORKERS: u32 = 2;
/// The size of the line that tells the time of an answer.
const DATE: usize = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n".len();
/// The kernel's clock ticks a second, as `/proc` counts time on all of Linux' platforms.
const TICKS: u64 = 100;

/// The routes of the admin port.
pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let allowed = shared.config.allowed_hosts.iter().cloned();
    let guard = Guard::new(allowed.chain([shared.config.bind.to_string()]));
    let pages = Router::new()
        .fallback(answer)
        .with_state(Arc::clone(&shared));
    guard.wrap(pages.merge(gateways::api::router(shared)))
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let counters = &shared.fixed.stats;
    let second = shared.second();
    counters.begin(second);
    counters.request(second);
    let line = request.method().as_str().len() + request.uri().to_string().len();
    let head = head_size(line + " HTTP/1.1\r\n".len(), request.headers());
    counters.bytes_in.fetch_add(head, Relaxed);
    let response = respond(&shared, &request);
    counters.response(response.status());
    let body = response.body().size_hint().lower();
    let line = format!(
        "HTTP/1.1 {}\r\ncontent-length: {body}\r\n",
        response.status()
    );
    let head = head_size(line.len() + DATE, response.headers());
    counters.bytes_out.fetch_add(head + body, Relaxed);
    counters.end();
    response
}

/// How large a head is whose first line, and what else is not in `headers`, has `others` bytes.
fn head_size(others: usize, headers: &HeaderMap) -> u64 {
    let lines = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + ": ".len() + value.len() + "\r\n".len());
    (others + lines.sum::<usize>() + "\r\n".len()) as u64
}

fn respond(shared: &Shared, request: &Request) -> Response {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return unavailable();
    }
    let query = request.uri().query().unwrap_or_default();
    match request.uri().path() {
        "/_haproxy_health_check" => pages::READY.with(Body::from(pages::READY.bytes())),
        "/haproxy" if query.starts_with("stats") => {
            let proxies = report(shared);
            if query.split(';').any(|option| option == "csv") {
                text("text/plain", csv::render(&proxies))
            } else {
                text(
                    "text/html",
                    page::render(&proxies, &process(shared), &View::read(query)),
                )
            }
        }
        STATUS_PATH => text("application/json", status(shared)),
        "/metrics" => {
            let mut response = metrics::render(shared, Form::wanted(request.headers()));
            let fresh = HeaderValue::from_static("no-cache");
            response.headers_mut().insert(CACHE_CONTROL, fresh);
            response
        }
        "/_haproxy_getconfig" => {
            let routes = shared.routes.load();
            let warnings = shared.warnings.load();
            let bind = shared.config.bind;
            text(
                "text/plain",
                rendering::render(&routes.table, shared.addresses, bind, &warnings),
            )
        }
        "/_haproxy_getpids" => text("text/plain", pids(shared)),
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

fn pids(shared: &Shared) -> String {
    let pid = std::process::id();
    let mut pids = pid.to_string();
    if shared.registry.has_leftovers(&shared.routes.load()) {
        for old in 1..=OLD_WORKERS {
            let _ = write!(pids, " {}", pid + old);
        }
    }
    pids
}

/// What [`zddcluster_model::edge`] says of it.
fn status(shared: &Shared) -> String {
    let warnings = shared.warnings.load();
    let warning = |warning: &Warning| EdgeWarning {
        app_id: warning.app_id.clone(),
        subject: warning.subject.clone(),
        text: warning.text.clone(),
    };
    let mut warnings: Vec<_> = warnings.iter().map(warning).collect();
    warnings.sort_by(|a, b| (&a.app_id, &a.subject).cmp(&(&b.app_id, &b.subject)));
    let status = EdgeStatus {
        attached: *shared.attached().borrow(),
        http: shared.addresses.http,
        https: shared.addresses.https,
        warnings,
    };
    serde_json::to_string(&status).expect("it is plain text")
}

fn vhost_map(shared: &Shared) -> String {
    let mut lines = String::new();
    if shared.config.haproxy_map {
        let routes = shared.routes.load();
        let mut shown = BTreeSet::new();
        // In the order in which they are tried.
        for rule in &routes.table.rules {
            if !shown.insert(rule.backend) {
                continue;
            }
            let backend = &routes.table.backends[rule.backend];
            for vhost in &backend.vhost_texts {
                let _ = writeln!(lines, "{} {}", of_one_line(vhost), backend.name);
            }
        }
    }
    lines
}

/// A label's text, which may hold anything.
fn of_one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), "_")
}

fn app_map(shared: &Shared) -> String {
    let routes = shared.routes.load();
    let mut lines = String::new();
    if shared.config.haproxy_map {
        for &at in routes.table.by_app_id.values() {
            let backend = &routes.table.backends[at];
            let _ = writeln!(lines, "{} {}", of_one_line(&backend.app_id), backend.name);
        }
    }
    lines
}

fn process(shared: &Shared) -> Process {
    let uptime = shared.started.elapsed();
    Process {
        pid: std::process::id(),
        uptime,
        open_files: open_files(),
        n_tasks: tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        idle: idle(uptime).unwrap_or(100),
        n_warnings: shared.warnings.load().len(),
    }
}

/// How many files the process may have open; `None` if there is no limit or it cannot be told.
fn open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How much of one processor was not used since the start, in percent.
fn idle(uptime: Duration) -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything: user and system time are the 12th and 13th field.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    let busy = ticks * 100 * 1000 / TICKS / u64::try_from(uptime.as_millis()).ok()?.max(1);
    Some(100_u64.saturating_sub(busy))
}
