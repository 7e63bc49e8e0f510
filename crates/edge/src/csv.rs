//! `/haproxy?stats;csv`: HAProxy's statistics as zdd.py and haproxy_exporter read them.
//!
//! 62 named fields, each followed by a comma, no blank line, no quotes. Every proxy is a block of rows: a
//! frontend is one row; a backend its servers and then itself; `stats` both.
//!
//! Source: contract marathon-lb §2.1, §3.1, §3.2.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sha1::{Digest as _, Sha1};

use crate::counters::Counters;
use crate::labels::Mode;
use crate::live::{LiveBackend, LiveServer};
use crate::state::Shared;

/// The fields in order.
const FIELDS: [&str; 62] = [
    "pxname",
    "svname",
    "qcur",
    "qmax",
    "scur",
    "smax",
    "slim",
    "stot",
    "bin",
    "bout",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "status",
    "weight",
    "act",
    "bck",
    "chkfail",
    "chkdown",
    "lastchg",
    "downtime",
    "qlimit",
    "pid",
    "iid",
    "sid",
    "throttle",
    "lbtot",
    "tracked",
    "type",
    "rate",
    "rate_lim",
    "rate_max",
    "check_status",
    "check_code",
    "check_duration",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "hanafail",
    "req_rate",
    "req_rate_max",
    "req_tot",
    "cli_abrt",
    "srv_abrt",
    "comp_in",
    "comp_out",
    "comp_byp",
    "comp_rsp",
    "lastsess",
    "last_chk",
    "last_agt",
    "qtime",
    "ctime",
    "rtime",
    "ttime",
];

/// HAProxy's `maxconn` of a frontend in Marathon-LB's template, and what it derives for a backend.
const FRONTEND_LIMIT: u64 = 10_000;
const BACKEND_LIMIT: u64 = 1_000;

/// Writes the whole table.
pub(crate) fn render(shared: &Shared) -> String {
    let routes = shared.routes.load();
    let now = shared.second();
    let mut out = format!("# {},\n", FIELDS.join(","));
    let mut iid = 0;
    let mut next_iid = || {
        iid += 1;
        iid
    };
    let stats_iid = next_iid();
    frontend(&mut out, "stats", &shared.fixed.stats, stats_iid, true, now);
    let mut stats = Row::new("stats", "BACKEND");
    stats.set("status", "UP");
    backend_fields(&mut stats, &Counters::default(), stats_iid, true, now);
    stats.finish(&mut out);
    for (name, counters) in [
        ("marathon_http_in", &shared.fixed.http),
        ("marathon_http_appid_in", &shared.fixed.app_id),
    ] {
        frontend(&mut out, name, counters, next_iid(), true, now);
    }
    frontend(
        &mut out,
        "marathon_https_in",
        &Counters::default(),
        next_iid(),
        true,
        now,
    );
    for backend in &routes.backends {
        let is_http = backend.spec.mode == Mode::Http;
        frontend(
            &mut out,
            &backend.spec.name,
            &backend.kept.frontend,
            next_iid(),
            is_http,
            now,
        );
    }
    for backend in &routes.backends {
        block(&mut out, backend, next_iid(), now);
    }
    out
}

/// The rows of a backend.
fn block(out: &mut String, backend: &LiveBackend, iid: u64, now: u64) {
    let is_http = backend.spec.mode == Mode::Http;
    let mut sids: Vec<u64> = Vec::new();
    for server in &backend.servers {
        let mut sid = stable_id(&server.spec.name);
        while sids.contains(&sid) {
            sid = sid % 32767 + 1;
        }
        sids.push(sid);
        server_row(out, backend, server, iid, sid, now);
    }
    let mut row = Row::new(&backend.spec.name, "BACKEND");
    row.set("status", "UP");
    row.number("act", backend.servers.len() as u64);
    let weight: u32 = backend
        .servers
        .iter()
        .map(|server| server.spec.weight)
        .sum();
    row.number("weight", u64::from(weight));
    let since = backend
        .servers
        .iter()
        .map(|server| server.since.elapsed().as_secs())
        .max();
    row.number("lastchg", since.unwrap_or(0));
    backend_fields(&mut row, &backend.kept.backend, iid, is_http, now);
    row.finish(out);
}

fn frontend(out: &mut String, name: &str, counters: &Counters, iid: u64, is_http: bool, now: u64) {
    let mut row = Row::new(name, "FRONTEND");
    sessions(&mut row, counters);
    row.number("slim", FRONTEND_LIMIT);
    for field in ["dreq", "dresp", "sid", "type", "rate_lim"] {
        row.number(field, 0);
    }
    row.count("ereq", &counters.request_errors);
    row.set("status", "OPEN");
    row.number("pid", 1);
    row.number("iid", iid);
    rates(&mut row, counters, now);
    if is_http {
        responses(&mut row, counters);
    }
    row.number("req_rate", 0);
    row.number("req_rate_max", 0);
    row.count("req_tot", &counters.requests);
    compression(&mut row);
    row.finish(out);
}

/// The fields of a backend row that need no servers.
fn backend_fields(row: &mut Row, counters: &Counters, iid: u64, is_http: bool, now: u64) {
    sessions(row, counters);
    row.number("slim", BACKEND_LIMIT);
    for field in [
        "qcur", "qmax", "dreq", "dresp", "bck", "chkdown", "downtime", "sid", "cli_abrt",
        "srv_abrt",
    ] {
        row.number(field, 0);
    }
    for field in ["weight", "act", "lastchg"] {
        row.number_if_empty(field);
    }
    upstream(row, counters);
    row.number("pid", 1);
    row.number("iid", iid);
    row.number("type", 1);
    row.count("lbtot", &counters.sessions.total);
    rates(row, counters, now);
    if is_http {
        responses(row, counters);
    }
    compression(row);
    last_session(row, counters, now);
    times(row);
}

fn server_row(
    out: &mut String,
    backend: &LiveBackend,
    server: &LiveServer,
    iid: u64,
    sid: u64,
    now: u64,
) {
    let counters = &*server.counters;
    let mut row = Row::new(&backend.spec.name, &server.spec.name);
    sessions(&mut row, counters);
    for field in ["qcur", "qmax", "dresp", "bck", "cli_abrt", "srv_abrt"] {
        row.number(field, 0);
    }
    upstream(&mut row, counters);
    // Only servers that Marathon calls healthy are in the table.
    row.set(
        "status",
        if backend.spec.is_checked {
            "UP"
        } else {
            "no check"
        },
    );
    row.number("weight", u64::from(server.spec.weight));
    row.number("act", 1);
    if backend.spec.is_checked {
        for field in ["chkfail", "chkdown", "downtime"] {
            row.number(field, 0);
        }
    }
    row.number("lastchg", server.since.elapsed().as_secs());
    row.number("pid", 1);
    row.number("iid", iid);
    row.number("sid", sid);
    row.count("lbtot", &counters.sessions.total);
    row.number("type", 2);
    rates(&mut row, counters, now);
    if backend.spec.mode == Mode::Http {
        responses(&mut row, counters);
        row.number("hanafail", 0);
    }
    last_session(&mut row, counters, now);
    times(&mut row);
    row.finish(out);
}

fn sessions(row: &mut Row, counters: &Counters) {
    row.count("scur", &counters.sessions.now);
    row.count("smax", &counters.sessions.max);
    row.count("stot", &counters.sessions.total);
    row.count("bin", &counters.bytes_in);
    row.count("bout", &counters.bytes_out);
}

fn upstream(row: &mut Row, counters: &Counters) {
    row.count("econ", &counters.connect_errors);
    row.count("eresp", &counters.response_errors);
    row.count("wretr", &counters.retries);
    row.count("wredis", &counters.redispatches);
}

fn rates(row: &mut Row, counters: &Counters, now: u64) {
    let (rate, max) = counters.rate(now);
    row.number("rate", rate);
    row.number("rate_max", max);
}

fn responses(row: &mut Row, counters: &Counters) {
    let fields = [
        "hrsp_1xx",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
    ];
    for (field, count) in fields.iter().zip(&counters.responses) {
        row.count(field, count);
    }
}

fn compression(row: &mut Row) {
    for field in ["comp_in", "comp_out", "comp_byp", "comp_rsp"] {
        row.number(field, 0);
    }
}

fn last_session(row: &mut Row, counters: &Counters, now: u64) {
    match counters.last_session() {
        Some(second) => row.number("lastsess", now.saturating_sub(second)),
        None => row.set("lastsess", "-1"),
    }
}

/// Average times are not measured yet.
fn times(row: &mut Row) {
    for field in ["qtime", "ctime", "rtime", "ttime"] {
        row.number(field, 0);
    }
}

/// A number from 1 to 32767 that a server's name always has.
fn stable_id(name: &str) -> u64 {
    let digest = Sha1::digest(name.as_bytes());
    let number = u64::from(digest[0]) << 8 | u64::from(digest[1]);
    number % 32767 + 1
}

/// One row under construction.
struct Row([String; FIELDS.len()]);

impl Row {
    fn new(proxy: &str, server: &str) -> Self {
        let mut row = Self(std::array::from_fn(|_| String::new()));
        row.set("pxname", proxy);
        row.set("svname", server);
        row
    }

    fn set(&mut self, field: &str, value: &str) {
        // Readers split at commas and take quotes literally.
        self.0[position(field)] = value.replace([',', '"', '\'', '\n'], "_");
    }

    fn number(&mut self, field: &str, value: u64) {
        self.0[position(field)] = value.to_string();
    }

    fn number_if_empty(&mut self, field: &str) {
        if self.0[position(field)].is_empty() {
            self.number(field, 0);
        }
    }

    fn count(&mut self, field: &str, value: &AtomicU64) {
        self.number(field, value.load(Relaxed));
    }

    fn finish(self, out: &mut String) {
        for value in self.0 {
            out.push_str(&value);
            out.push(',');
        }
        out.push('\n');
    }
}

fn position(field: &str) -> usize {
    FIELDS
        .iter()
        .position(|name| *name == field)
        .expect("the names in this file are in the list")
}
