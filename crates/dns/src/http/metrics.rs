//! What the role counts, as Prometheus reads it: questions by type, answers by transport and code, and the zone's size and age.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::response::Response;
use hickory_server::net::xfer::Protocol;
use hickory_server::proto::op::ResponseCode;
use zddcluster_runtime::{Exposition, Form, Kind};

use crate::limit::Verdict;
use crate::zone::Zone;

/// The codes that are ever answered, by number; all others are the last.
const CODES: [&str; 7] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other",
];

/// The types that are asked for where a Mesos-DNS is, by number; all others are the last.
const TYPES: [(&str, u16); 8] = [
    ("A", 1),
    ("NS", 2),
    ("SOA", 6),
    ("PTR", 12),
    ("AAAA", 28),
    ("SRV", 33),
    ("ANY", 255),
    // A number that stands for none.
    ("other", 0),
];

/// The role's counters.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    asked: [AtomicU64; TYPES.len()],
    udp: [AtomicU64; CODES.len()],
    tcp: [AtomicU64; CODES.len()],
    /// Answers over UDP that were truncated because their network has had its share.
    truncated: AtomicU64,
    /// Those that were dropped for the same reason.
    dropped: AtomicU64,
    /// Zones made and put into service.
    pub(crate) zones: AtomicU64,
    /// 1 while the master is heard.
    pub(crate) is_following: AtomicU64,
}

impl Counts {
    /// Notes a question, by the number of its type.
    pub(crate) fn asked(&self, qtype: u16) {
        let at = TYPES.iter().position(|(_, number)| *number == qtype);
        self.asked[at.unwrap_or(TYPES.len() - 1)].fetch_add(1, Relaxed);
    }

    /// Notes what becomes of an answer.
    pub(crate) fn judged(&self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Answer => return,
            Verdict::Truncate => &self.truncated,
            Verdict::Drop => &self.dropped,
        };
        count.fetch_add(1, Relaxed);
    }

    /// Notes an answer.
    pub(crate) fn answered(&self, protocol: Protocol, code: ResponseCode) {
        let counts = match protocol {
            Protocol::Udp => &self.udp,
            _ => &self.tcp,
        };
        let at = usize::from(u16::from(code)).min(CODES.len() - 1);
        counts[at].fetch_add(1, Relaxed);
    }
}

/// `/metrics`.
pub(super) fn render(counts: &Counts, zone: Option<&Zone>, form: Form) -> Response {
    let Counts {
        asked,
        udp,
        tcp,
        truncated,
        dropped,
        zones,
        is_following,
    } = counts;
    let mut out = Exposition::new(form);
    out.family(
        "zddcluster_dns_queries",
        Kind::Counter,
        "Questions by the type of record asked for.",
    );
    for ((name, _), count) in TYPES.into_iter().zip(asked) {
        out.sample(&[("type", name)], count.load(Relaxed));
    }
    out.family(
        "zddcluster_dns_responses",
        Kind::Counter,
        "Answers by transport and response code.",
    );
    for (protocol, counts) in [("udp", udp), ("tcp", tcp)] {
        for (code, count) in CODES.into_iter().zip(counts) {
            out.sample(
                &[("protocol", protocol), ("rcode", code)],
                count.load(Relaxed),
            );
        }
    }
    out.family(
        "zddcluster_dns_limited",
        Kind::Counter,
        "Answers over UDP above the rate of their client's network.",
    );
    for (action, count) in [("truncated", truncated), ("dropped", dropped)] {
        out.sample(&[("action", action)], count.load(Relaxed));
    }
    out.single(
        "zddcluster_dns_zones",
        Kind::Counter,
        "Zones put into service: one for each change of the records.",
        zones.load(Relaxed),
    );
    out.single(
        "zddcluster_dns_master_up",
        Kind::Gauge,
        "1 while the master is heard.",
        is_following.load(Relaxed),
    );
    out.family(
        "zddcluster_dns_names",
        Kind::Gauge,
        "Names by type of record.",
    );
    let (n_a, n_aaaa, n_srv) = zone.map_or((0, 0, 0), |zone| {
        let records = zone.records();
        (records.a.len(), records.aaaa.len(), records.srv.len())
    });
    for (kind, n) in [("A", n_a), ("AAAA", n_aaaa), ("SRV", n_srv)] {
        out.sample(&[("type", kind)], n);
    }
    out.single(
        "zddcluster_dns_zone_serial",
        Kind::Gauge,
        "Serial of the zone in service; 0 before the first one.",
        zone.map_or(0, Zone::serial),
    );
    out.finish()
}
