//! `/metrics` for Prometheus: the statistics' counters under the names that HAProxy's own exporter gives them, so that its dashboards fit.
//!
//! A proxy is a label; of a server the name is too. Only what is counted is here: see `csv` for all fields.
//!
//! Source: HAProxy 2.x `addons/promex`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::response::Response;
use zddcluster_runtime::{Exposition, Form, Kind};

use crate::counters::{Counters, Took};
use crate::health::Record;
use crate::live::{LiveBackend, LiveServer};
use crate::state::Shared;

/// One set of counters and whose it is.
type Labelled<'a> = (Vec<(&'static str, &'a str)>, &'a Counters);

/// Classes of answers in the order that they are counted in.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// Writes everything.
pub(crate) fn render(shared: &Shared, form: Form) -> Response {
    let routes = shared.routes.load();
    let mut frontends: Vec<Labelled<'_>> = vec![
        (vec![("proxy", "stats")], &shared.fixed.stats),
        (vec![("proxy", "marathon_http_in")], &shared.fixed.http),
        (vec![("proxy", "marathon_https_in")], &shared.fixed.https),
        (
            vec![("proxy", "marathon_http_appid_in")],
            &shared.fixed.app_id,
        ),
    ];
    let mut backends: Vec<Labelled<'_>> = Vec::new();
    let mut servers: Vec<(Labelled<'_>, &Arc<LiveServer>)> = Vec::new();
    for backend in &routes.backends {
        let name = backend.spec.name.as_str();
        if !backend.spec.is_of_gateway {
            frontends.push((vec![("proxy", name)], &backend.kept.frontend));
        }
        backends.push((vec![("proxy", name)], &backend.kept.backend));
        for server in &backend.servers {
            let labels = vec![("proxy", name), ("server", server.spec.name.as_str())];
            servers.push(((labels, &*server.counters), server));
        }
    }
    for gateway in routes.gateways.values() {
        frontends.push((vec![("proxy", &gateway.name)], &gateway.frontend));
    }
    let mut out = Exposition::new(form);
    out.single(
        "zddcluster_edge_uptime_seconds",
        Kind::Gauge,
        "Age of the edge.",
        shared.started.elapsed().as_secs(),
    );
    out.single(
        "zddcluster_edge_attached",
        Kind::Gauge,
        "1 once Marathon has been heard.",
        u8::from(*shared.attached().borrow()),
    );
    common(&mut out, "haproxy_frontend", &frontends);
    family(
        &mut out,
        ("haproxy_frontend_http_requests", "HTTP requests."),
        &frontends,
        |counters| &counters.requests,
    );
    family(
        &mut out,
        (
            "haproxy_frontend_request_errors",
            "Requests that could not be read.",
        ),
        &frontends,
        |counters| &counters.request_errors,
    );
    let denied = |prefix: &str| format!("haproxy_{prefix}_requests_denied");
    const DENIED: &str = "Requests and connections that were kept out.";
    family(&mut out, (&denied("frontend"), DENIED), &frontends, |it| {
        &it.denied_requests
    });
    rates(&mut out, &frontends, shared.second());
    common(&mut out, "haproxy_backend", &backends);
    upstream(&mut out, "haproxy_backend", &backends);
    family(&mut out, (&denied("backend"), DENIED), &backends, |it| {
        &it.denied_requests
    });
    of_backends(&mut out, &routes.backends);
    out.family(
        "haproxy_backend_active_servers",
        Kind::Gauge,
        "Servers of a backend that take traffic.",
    );
    let n_open = |backend: &LiveBackend| {
        backend
            .servers
            .iter()
            .filter(|server| server.is_open())
            .count()
    };
    for backend in &routes.backends {
        let labels = [("proxy", backend.spec.name.as_str())];
        out.sample(&labels, n_open(backend));
    }
    out.family(
        "haproxy_backend_up",
        Kind::Gauge,
        "1 while a backend has an active server.",
    );
    for backend in &routes.backends {
        let labels = [("proxy", backend.spec.name.as_str())];
        out.sample(&labels, u8::from(n_open(backend) > 0));
    }
    let counted: Vec<Labelled<'_>> = servers.iter().map(|(it, _)| it.clone()).collect();
    common(&mut out, "haproxy_server", &counted);
    upstream(&mut out, "haproxy_server", &counted);
    let averages: Vec<_> = servers
        .iter()
        .map(|((labels, counters), _)| (labels.clone(), counters.times.averages().1))
        .collect();
    times(&mut out, "haproxy_server", &averages);
    out.family("haproxy_server_weight", Kind::Gauge, "A server's weight.");
    for ((labels, _), server) in &servers {
        out.sample(labels, server.spec.weight);
    }
    out.family(
        "haproxy_server_up",
        Kind::Gauge,
        "1 while a server takes new requests, 0 while it drains or is down.",
    );
    for ((labels, _), server) in &servers {
        out.sample(labels, u8::from(server.is_open()));
    }
    of_checks(&mut out, &servers);
    out.finish()
}

/// Requests a second.
fn rates(out: &mut Exposition, frontends: &[Labelled<'_>], now: u64) {
    out.family(
        "haproxy_frontend_http_requests_rate_current",
        Kind::Gauge,
        "HTTP requests in the last second.",
    );
    for (labels, counters) in frontends {
        out.sample(labels, counters.request_rate(now).0);
    }
    out.family(
        "haproxy_frontend_http_requests_rate_max",
        Kind::Gauge,
        "The most HTTP requests in any second.",
    );
    for (labels, counters) in frontends {
        out.sample(labels, counters.request_rate(now).1);
    }
}

/// Outages and times of backends.
fn of_backends(out: &mut Exposition, backends: &[Arc<LiveBackend>]) {
    out.family(
        "haproxy_backend_check_up_down",
        Kind::Counter,
        "How often the backend was left without a server.",
    );
    let histories: Vec<_> = backends
        .iter()
        .map(|backend| {
            let labels = [("proxy", backend.spec.name.as_str())];
            (labels, backend.kept.standing.history())
        })
        .collect();
    for (labels, history) in &histories {
        out.sample(labels, history.n_outages);
    }
    out.family(
        "haproxy_backend_downtime_seconds",
        Kind::Counter,
        "How long the backend was without a server.",
    );
    for (labels, history) in &histories {
        out.sample(labels, history.downtime.as_secs());
    }
    let averages: Vec<_> = backends
        .iter()
        .map(|backend| (vec![("proxy", backend.spec.name.as_str())], backend.times()))
        .collect();
    times(out, "haproxy_backend", &averages);
}

/// Average times, in seconds.
fn times(out: &mut Exposition, prefix: &str, all: &[(Vec<(&'static str, &str)>, Took)]) {
    for (what, pick) in [
        ("connect", (|took| took.connect) as fn(&Took) -> Duration),
        ("response", |took| took.response),
        ("total", |took| took.total),
    ] {
        out.family(
            &format!("{prefix}_{what}_time_average_seconds"),
            Kind::Gauge,
            "On average over the last 1024 requests.",
        );
        for (labels, took) in all {
            out.sample(labels, pick(took).as_secs_f64());
        }
    }
}

/// What the edge's own checks found.
fn of_checks(out: &mut Exposition, servers: &[(Labelled<'_>, &Arc<LiveServer>)]) {
    let records: Vec<_> = servers
        .iter()
        .map(|((labels, _), server)| (labels, server.health.record()))
        .collect();
    for (name, help, pick) in [
        (
            "haproxy_server_check_failures",
            "Checks that failed while the server was up.",
            (|record| record.n_failed) as fn(&Record) -> u64,
        ),
        (
            "haproxy_server_check_up_down",
            "How often the server went down.",
            |record| record.n_down,
        ),
        (
            "haproxy_server_downtime_seconds",
            "How long the server was down.",
            |record| record.downtime().as_secs(),
        ),
    ] {
        out.family(name, Kind::Counter, help);
        for (labels, record) in &records {
            out.sample(labels, pick(record));
        }
    }
}

/// Sessions, bytes and answers.
fn common(out: &mut Exposition, prefix: &str, all: &[Labelled<'_>]) {
    let name = |what: &str| format!("{prefix}_{what}");
    out.family(&name("current_sessions"), Kind::Gauge, "Open sessions.");
    for (labels, counters) in all {
        out.sample(labels, counters.sessions.now.load(Relaxed));
    }
    family(out, (&name("sessions"), "Sessions."), all, |counters| {
        &counters.sessions.total
    });
    family(
        out,
        (&name("bytes_in"), "Bytes from clients."),
        all,
        |counters| &counters.bytes_in,
    );
    family(
        out,
        (&name("bytes_out"), "Bytes to clients."),
        all,
        |counters| &counters.bytes_out,
    );
    out.family(
        &name("http_responses"),
        Kind::Counter,
        "Answers by class of their status.",
    );
    for (labels, counters) in all {
        for (class, count) in CLASSES.into_iter().zip(&counters.responses) {
            let mut labels = labels.clone();
            labels.push(("code", class));
            out.sample(&labels, count.load(Relaxed));
        }
    }
}

/// What goes wrong towards servers.
fn upstream(out: &mut Exposition, prefix: &str, all: &[Labelled<'_>]) {
    let name = |what: &str| format!("{prefix}_{what}");
    let connect = name("connection_errors");
    let help = "Connections that failed.";
    family(out, (&connect, help), all, |it| &it.connect_errors);
    let response = name("response_errors");
    let help = "Answers that failed.";
    family(out, (&response, help), all, |it| &it.response_errors);
    let retries = name("retry_warnings");
    let help = "Connects tried again.";
    family(out, (&retries, help), all, |it| &it.retries);
    let aborts = name("client_aborts");
    let help = "Clients that broke off.";
    family(out, (&aborts, help), all, |it| &it.client_aborts);
    let aborts = name("server_aborts");
    let help = "Servers that broke off.";
    family(out, (&aborts, help), all, |it| &it.server_aborts);
    let redispatches = name("redispatch_warnings");
    let help = "Requests moved to another server.";
    family(out, (&redispatches, help), all, |it| &it.redispatches);
}

/// A family of counters.
fn family(
    out: &mut Exposition,
    (name, help): (&str, &str),
    all: &[Labelled<'_>],
    pick: impl Fn(&Counters) -> &AtomicU64,
) {
    out.family(name, Kind::Counter, help);
    for (labels, counters) in all {
        out.sample(labels, pick(counters).load(Relaxed));
    }
}
