//! `/haproxy?stats;csv`: HAProxy's statistics as zdd.py and haproxy_exporter read them.
//!
//! 62 named fields, each followed by a comma, no blank line, no quotes.
//! Source: contract marathon-lb §0 rules 5 and 6, §3.1, §3.2.

use std::time::Duration;

use super::{Kind, Proxy, Row};
use crate::health::Status;

/// The fields in order.
const FIELDS: &str = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,\
    wredis,status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,\
    throttle,lbtot,tracked,type,rate,rate_lim,rate_max,check_status,check_code,\
    check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,hanafail,req_rate,\
    req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,\
    last_chk,last_agt,qtime,ctime,rtime,ttime";

/// Writes all rows.
pub(crate) fn render(proxies: &[Proxy]) -> String {
    let fields: Vec<&str> = FIELDS.split(',').collect();
    let mut out = format!("# {FIELDS},\n");
    for proxy in proxies {
        for row in &proxy.rows {
            let mut line = Line {
                fields: &fields,
                values: vec![String::new(); fields.len()],
            };
            line.set("pxname", &proxy.name);
            line.fill(row);
            for value in line.values {
                out.push_str(&value);
                out.push(',');
            }
            out.push('\n');
        }
    }
    out
}

/// One row under construction.
struct Line<'a> {
    fields: &'a [&'static str],
    values: Vec<String>,
}

impl Line<'_> {
    fn fill(&mut self, row: &Row) {
        let sessions = &row.sessions;
        self.set("svname", &row.name);
        self.set("status", &row.status.to_string());
        self.numbers(&[
            ("scur", sessions.now),
            ("smax", sessions.max),
            ("stot", sessions.total),
            ("bin", row.bytes.0),
            ("bout", row.bytes.1),
            ("pid", 1),
            ("iid", row.iid),
            ("sid", row.sid),
            ("rate", sessions.rate.0),
            ("rate_max", sessions.rate.1),
        ]);
        if let Some(limit) = row.limit() {
            self.number("slim", limit);
        }
        if row.is_http {
            let classes = [
                "hrsp_1xx",
                "hrsp_2xx",
                "hrsp_3xx",
                "hrsp_4xx",
                "hrsp_5xx",
                "hrsp_other",
            ];
            for (field, count) in classes.into_iter().zip(row.responses) {
                self.number(field, count);
            }
        }
        match row.kind {
            Kind::Frontend => self.fill_frontend(row),
            Kind::Backend => {
                self.fill_upstream(row);
                self.numbers(&[
                    ("type", 1),
                    ("dreq", row.denied_requests),
                    ("act", row.n_active),
                    ("chkdown", row.outages.0),
                    ("downtime", row.outages.1.as_secs()),
                ]);
                self.fill_compression();
            }
            Kind::Server => {
                self.fill_upstream(row);
                self.numbers(&[("type", 2), ("act", row.n_active)]);
                self.fill_checks(row);
                if row.is_http {
                    self.number("hanafail", 0);
                }
            }
        }
    }

    fn fill_frontend(&mut self, row: &Row) {
        self.numbers(&[
            ("type", 0),
            ("dreq", row.denied_requests),
            // No rule denies answers.
            ("dresp", 0),
            ("ereq", row.request_errors),
            ("rate_lim", 0),
            ("req_rate", row.request_rate.0),
            ("req_rate_max", row.request_rate.1),
            ("req_tot", row.requests),
        ]);
        self.fill_compression();
    }

    /// What frontends have not.
    fn fill_upstream(&mut self, row: &Row) {
        self.numbers(&[
            ("qcur", 0),
            ("qmax", 0),
            ("dresp", 0),
            ("econ", row.connect_errors),
            ("eresp", row.response_errors),
            ("wretr", row.retries),
            ("wredis", row.redispatches),
            ("weight", row.weight),
            ("bck", 0),
            ("lastchg", row.since.as_secs()),
            ("lbtot", row.sessions.total),
            ("cli_abrt", row.client_aborts),
            ("srv_abrt", row.server_aborts),
            // Nobody waits for a server.
            ("qtime", 0),
            ("ctime", millis(row.times.connect)),
            ("rtime", millis(row.times.response)),
            ("ttime", millis(row.times.total)),
        ]);
        match row.sessions.last {
            Some(seconds) => self.number("lastsess", seconds),
            None => self.set("lastsess", "-1"),
        }
    }

    fn fill_checks(&mut self, row: &Row) {
        let Some(checks) = &row.checks else { return };
        self.numbers(&[
            ("chkfail", checks.n_failed),
            ("chkdown", checks.n_down),
            ("downtime", checks.downtime.as_secs()),
        ]);
        if row.status == Status::Maintenance {
            return;
        }
        let Some(last) = &checks.last else {
            self.set("check_status", "INI");
            return;
        };
        self.set("check_status", last.code);
        if let Some(status) = last.status {
            self.number("check_code", u64::from(status));
        }
        self.number("check_duration", millis(last.took));
        self.set("last_chk", &last.text);
    }

    fn fill_compression(&mut self) {
        self.numbers(&[
            ("comp_in", 0),
            ("comp_out", 0),
            ("comp_byp", 0),
            ("comp_rsp", 0),
        ]);
    }

    fn set(&mut self, field: &str, value: &str) {
        let at = self
            .fields
            .iter()
            .position(|name| *name == field)
            .expect("the names in this file are in the list");
        // Readers split at commas and take quotes literally.
        self.values[at] = value.replace([',', '"', '\'', '\n'], "_");
    }

    fn number(&mut self, field: &str, value: u64) {
        self.set(field, &value.to_string());
    }

    fn numbers(&mut self, fields: &[(&str, u64)]) {
        for (field, value) in fields {
            self.number(field, *value);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
