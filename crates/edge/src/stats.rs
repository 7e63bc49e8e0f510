//! Statistics in HAProxy's terms, as a list of rows; [`csv`] and [`page`] show them.
//!
//! Order: `stats` (a frontend and a backend), the fixed frontends, the service frontends, the gateways', the backends with their
//! servers.
//! Source: contract marathon-lb §2.1, §3.1, §3.2.

pub(crate) mod csv;
pub(crate) mod page;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sha1::{Digest as _, Sha1};
use zddcluster_model::gateway;

use crate::counters::{Counters, Took};
use crate::health::{Outcome, Status};
use crate::labels::Mode;
use crate::live::{History, LiveBackend, LiveServer};
use crate::state::Shared;

/// HAProxy's `maxconn` of a frontend in Marathon-LB's template, and what it derives for a backend.
const FRONTEND_LIMIT: u64 = 10_000;
const BACKEND_LIMIT: u64 = 1_000;

/// The rows of one proxy.
#[derive(Debug)]
pub(crate) struct Proxy {
    /// Its name.
    pub(crate) name: String,
    /// Its rows: a frontend, or servers and the backend, or a frontend and a backend.
    pub(crate) rows: Vec<Row>,
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Frontend,
    Backend,
    Server,
}

/// One row, read at one moment.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// `FRONTEND`, `BACKEND` or the server's name.
    pub(crate) name: String,
    pub(crate) is_http: bool,
    /// The proxy's number.
    pub(crate) iid: u64,
    /// The server's number in its proxy; 0 for the proxy itself.
    pub(crate) sid: u64,
    pub(crate) sessions: Sessions,
    pub(crate) bytes: (u64, u64),
    pub(crate) requests: u64,
    /// Requests in the last second, and the most in any.
    pub(crate) request_rate: (u64, u64),
    pub(crate) request_errors: u64,
    pub(crate) denied_requests: u64,
    pub(crate) client_aborts: u64,
    pub(crate) server_aborts: u64,
    pub(crate) connect_errors: u64,
    pub(crate) response_errors: u64,
    pub(crate) retries: u64,
    pub(crate) redispatches: u64,
    /// By class: 1xx to 5xx, others.
    pub(crate) responses: [u64; 6],
    pub(crate) status: Status,
    /// How long it has been so.
    pub(crate) since: Duration,
    pub(crate) weight: u64,
    /// Servers that take traffic.
    pub(crate) n_active: u64,
    /// Of a server; `None` if nothing is checked.
    pub(crate) checks: Option<Checks>,
    /// Of a backend: how often it was down, and how long.
    pub(crate) outages: (u64, Duration),
    /// Average times of a server's requests, or of those of a backend's servers.
    pub(crate) times: Took,
}

/// Sessions of a row.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) now: u64,
    pub(crate) max: u64,
    pub(crate) total: u64,
    /// In the last second, and the most in any.
    pub(crate) rate: (u64, u64),
    /// Seconds since the last one.
    pub(crate) last: Option<u64>,
}

/// What checks have found.
#[derive(Debug)]
pub(crate) struct Checks {
    pub(crate) n_failed: u64,
    pub(crate) n_down: u64,
    pub(crate) downtime: Duration,
    pub(crate) last: Option<Outcome>,
    pub(crate) is_checking: bool,
}

/// Reads everything.
pub(crate) fn report(shared: &Shared) -> Vec<Proxy> {
    let routes = shared.routes.load();
    let now = shared.second();
    let uptime = shared.started.elapsed();
    let mut proxies: Vec<Proxy> = Vec::new();
    let mut iid = 0;
    let mut next_iid = || {
        iid += 1;
        iid
    };
    let unused = Counters::default();
    let fixed = [
        ("stats", &*shared.fixed.stats),
        ("marathon_http_in", &*shared.fixed.http),
        ("marathon_http_appid_in", &*shared.fixed.app_id),
        ("marathon_https_in", &*shared.fixed.https),
    ];
    for (name, counters) in fixed {
        let iid = next_iid();
        let mut rows = vec![Row::new(Kind::Frontend, "FRONTEND", counters, iid, now)];
        if name == "stats" {
            rows.push(Row {
                status: Status::Up,
                since: uptime,
                ..Row::new(Kind::Backend, "BACKEND", &unused, iid, now)
            });
        }
        proxies.push(Proxy {
            name: name.to_owned(),
            rows,
        });
    }
    for backend in routes.backends.iter().filter(|it| !it.spec.is_of_gateway) {
        let row = Row {
            is_http: backend.spec.mode == Mode::Http,
            ..Row::new(
                Kind::Frontend,
                "FRONTEND",
                &backend.kept.frontend,
                next_iid(),
                now,
            )
        };
        proxies.push(Proxy {
            name: backend.spec.name.clone(),
            rows: vec![row],
        });
    }
    for gateway in routes.gateways.values() {
        let (counters, iid) = (&gateway.frontend, next_iid());
        let row = Row {
            is_http: gateway.spec.spec.listen.mode == gateway::Mode::Http,
            ..Row::new(Kind::Frontend, "FRONTEND", counters, iid, now)
        };
        proxies.push(Proxy {
            name: gateway.name.to_string(),
            rows: vec![row],
        });
    }
    for backend in &routes.backends {
        proxies.push(Proxy {
            name: backend.spec.name.clone(),
            rows: rows_of(backend, next_iid(), now),
        });
    }
    proxies
}

fn rows_of(backend: &LiveBackend, iid: u64, now: u64) -> Vec<Row> {
    let is_http = backend.spec.mode == Mode::Http;
    let mut sids: Vec<u64> = Vec::new();
    let mut rows = Vec::new();
    for server in &backend.servers {
        let mut sid = stable_id(&server.spec.name);
        while sids.contains(&sid) {
            sid = sid % 32767 + 1;
        }
        sids.push(sid);
        rows.push(Row {
            is_http,
            sid,
            ..server_row(server, iid, now)
        });
    }
    let is_up = |row: &&Row| {
        matches!(
            row.status,
            Status::Up | Status::GoingDown(..) | Status::Unchecked
        )
    };
    let n_active = rows.iter().filter(is_up).count() as u64;
    let History {
        since,
        n_outages,
        downtime,
    } = backend.kept.standing.history();
    let weight = rows.iter().filter(is_up).map(|row| row.weight).sum();
    rows.push(Row {
        is_http,
        status: if n_active > 0 {
            Status::Up
        } else {
            Status::Down
        },
        since,
        weight,
        n_active,
        outages: (n_outages, downtime),
        times: backend.times(),
        ..Row::new(Kind::Backend, "BACKEND", &backend.kept.backend, iid, now)
    });
    rows
}

fn server_row(server: &LiveServer, iid: u64, now: u64) -> Row {
    let record = server.health.record();
    let status = record.status();
    let downtime = record.downtime();
    Row {
        status,
        since: record.since.elapsed(),
        weight: u64::from(server.spec.weight),
        n_active: 1,
        checks: (status != Status::Unchecked).then_some(Checks {
            n_failed: record.n_failed,
            n_down: record.n_down,
            downtime,
            last: record.last,
            is_checking: record.is_checking,
        }),
        ..Row::new(Kind::Server, &server.spec.name, &server.counters, iid, now)
    }
}

impl Row {
    /// What counters tell; the rest is a frontend's.
    fn new(kind: Kind, name: &str, counters: &Counters, iid: u64, now: u64) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            is_http: true,
            iid,
            sid: 0,
            sessions: Sessions {
                now: counters.sessions.now.load(Relaxed),
                max: counters.sessions.max.load(Relaxed),
                total: counters.sessions.total.load(Relaxed),
                rate: counters.rate(now),
                last: counters
                    .last_session()
                    .map(|second| now.saturating_sub(second)),
            },
            bytes: (
                counters.bytes_in.load(Relaxed),
                counters.bytes_out.load(Relaxed),
            ),
            requests: counters.requests.load(Relaxed),
            request_rate: counters.request_rate(now),
            request_errors: counters.request_errors.load(Relaxed),
            denied_requests: counters.denied_requests.load(Relaxed),
            client_aborts: counters.client_aborts.load(Relaxed),
            server_aborts: counters.server_aborts.load(Relaxed),
            connect_errors: counters.connect_errors.load(Relaxed),
            response_errors: counters.response_errors.load(Relaxed),
            retries: counters.retries.load(Relaxed),
            redispatches: counters.redispatches.load(Relaxed),
            responses: counters
                .responses
                .each_ref()
                .map(|count| count.load(Relaxed)),
            status: Status::Open,
            since: Duration::ZERO,
            weight: 0,
            n_active: 0,
            checks: None,
            outages: (0, Duration::ZERO),
            times: counters.times.averages().1,
        }
    }

    /// The most sessions it takes; `None`: any number.
    pub(crate) fn limit(&self) -> Option<u64> {
        match self.kind {
            Kind::Frontend => Some(FRONTEND_LIMIT),
            Kind::Backend => Some(BACKEND_LIMIT),
            Kind::Server => None,
        }
    }
}

/// A number from 1 to 32767 that a server's name always has.
fn stable_id(name: &str) -> u64 {
    let digest = Sha1::digest(name.as_bytes());
    let number = u64::from(digest[0]) << 8 | u64::from(digest[1]);
    number % 32767 + 1
}
