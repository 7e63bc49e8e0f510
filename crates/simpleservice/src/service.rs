//! Requests to answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use tokio::time::Instant;

use crate::config::Config;
use crate::json::dumps;
use crate::log::Log;

/// What Tornado takes for the host of a request that names none.
const NO_HOST: &str = "127.0.0.1";

pub(crate) struct Service {
    config: Config,
    log: Log,
    /// Whether the process is about to end: connections are closed after the next answer.
    is_stopping: AtomicBool,
}

#[derive(Serialize)]
struct Endpoint0<'a> {
    host: &'a str,
    version: &'a str,
    result: &'a str,
}

#[derive(Serialize)]
struct Health {
    healthy: bool,
}

#[derive(Serialize)]
struct AboutMe<'a> {
    host: &'a str,
    version: &'a str,
    from: IpAddr,
}

#[derive(Serialize)]
struct Environment<'a> {
    version: &'a str,
    env: BTreeMap<String, String>,
}

impl Service {
    pub(crate) fn new(config: Config, log: Log) -> Self {
        Self {
            config,
            log,
            is_stopping: AtomicBool::new(false),
        }
    }

    /// From now on answers close their connections.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Answers one request; its body, if any, is of no interest.
    pub(crate) async fn answer<B>(
        &self,
        request: Request<B>,
        from: IpAddr,
    ) -> Response<Full<Bytes>> {
        let began = Instant::now();
        let (head, _) = request.into_parts();
        let mut response = match head.method {
            Method::GET | Method::HEAD => {
                let host = match head.headers.get(HOST) {
                    Some(host) => String::from_utf8_lossy(host.as_bytes()),
                    None => NO_HOST.into(),
                };
                self.resource(head.uri.path(), &host, from).await
            }
            _ if line_of(head.uri.path()).is_some() => {
                let mut response = html(StatusCode::METHOD_NOT_ALLOWED);
                response
                    .headers_mut()
                    .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                response
            }
            _ => html(StatusCode::NOT_FOUND),
        };
        if self.is_stopping.load(Ordering::Relaxed) {
            response
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let status = response.status().as_u16();
        self.log
            .answered(status, head.method.as_str(), target, from, began.elapsed());
        response
    }

    async fn resource(&self, path: &str, host: &str, from: IpAddr) -> Response<Full<Bytes>> {
        let Some(line) = line_of(path) else {
            return html(StatusCode::NOT_FOUND);
        };
        self.log.invoked(path, host, from, line);
        let version = &self.config.version;
        match path {
            "/endpoint0" => json(&Endpoint0 {
                host,
                version,
                result: "all is well",
            }),
            "/health" => {
                tokio::time::sleep(self.health_delay()).await;
                json(&Health { healthy: true })
            }
            "/info" => json(&AboutMe {
                host,
                version,
                from,
            }),
            _ => {
                let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
                let env = std::env::vars_os().map(|(name, value)| (text(name), text(value)));
                json(&Environment {
                    version,
                    env: env.collect(),
                })
            }
        }
    }

    fn health_delay(&self) -> Duration {
        let ms = rand::random_range(self.config.health_delay.clone());
        Duration::from_millis(ms).div_f64(self.config.speed)
    }
}

/// The line of the original's source that logs an invocation of the resource.
fn line_of(path: &str) -> Option<u32> {
    match path {
        "/endpoint0" => Some(59),
        "/health" => Some(79),
        "/info" => Some(101),
        "/env" => Some(122),
        _ => None,
    }
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    respond(StatusCode::OK, "application/json", dumps(value))
}

/// Tornado's page for errors.
fn html(status: StatusCode) -> Response<Full<Bytes>> {
    let reason = status.canonical_reason().unwrap_or("Unknown");
    let title = format!("{}: {reason}", status.as_u16());
    let page = format!("<html><title>{title}</title><body>{title}</body></html>");
    respond(status, "text/html; charset=UTF-8", page)
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
