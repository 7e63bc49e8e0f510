//! The account that is handed out at the end.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Mode;

/// What became of all requests of a probe.
///
/// Always `sent == ok + failed`, in all and in each part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Where the requests went.
    pub url: String,
    /// On which connections.
    pub mode: Mode,
    /// The requests a second that were ordered.
    pub rate: f64,
    /// When the first request was due, in ms since 1970.
    pub started_ms: u64,
    /// From then to the last answer.
    pub elapsed_ms: f64,
    /// The requests sent.
    pub sent: u64,
    /// Those that got a whole answer with a status of success (2xx).
    pub ok: u64,
    /// All others.
    pub failed: u64,
    /// Requests that were due and never sent, as too many were still without an answer when the probe ended. Not in `sent`.
    pub not_sent: u64,
    /// Requests whose kept-alive connection the server closed before any byte of the answer, and that were sent again, once,
    /// on a fresh connection, as browsers do. How that ended is in `ok` or `failed`.
    pub retried: u64,
    /// The part that was to go over fresh connections.
    pub fresh: Tally,
    /// The part that was to go over kept-alive connections.
    pub kept_alive: Tally,
    /// The failed ones by what happened.
    pub failed_by: BTreeMap<FailureKind, u64>,
    /// The whole answers by status.
    pub by_status: BTreeMap<u16, u64>,
    /// The ok ones by the field `version` of the JSON body; those without are not here.
    pub by_version: BTreeMap<String, u64>,
    /// Of the ok ones.
    pub latency: Latency,
    /// The failed request that was sent first.
    pub first_failure: Option<Failure>,
    /// The failed request that was sent last.
    pub last_failure: Option<Failure>,
    /// One entry for each second in which a request was sent.
    pub timeline: Vec<Second>,
}

/// Sent requests and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// `ok + failed`.
    pub sent: u64,
    /// Got a whole answer with a status of success.
    pub ok: u64,
    /// All others.
    pub failed: u64,
}

/// The time from when a request was due to the last byte of its answer, in ms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// The arithmetic mean.
    pub mean_ms: f64,
    /// Half took no longer.
    pub p50_ms: f64,
    /// Nine of ten took no longer.
    pub p90_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// What happened to the requests that were *sent* in one second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Seconds since the start, whole.
    pub second: u64,
    /// `ok + failed`.
    pub sent: u64,
    /// Answered in whole with a status of success.
    pub ok: u64,
    /// All others.
    pub failed: u64,
    /// The longest latency of an ok one, in ms.
    pub max_ms: f64,
    /// The ok ones by version.
    pub by_version: BTreeMap<String, u64>,
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// When it was sent, in ms since the start.
    pub sent_ms: f64,
    /// When it had failed, in ms since the start.
    pub failed_ms: f64,
    /// What went wrong, in a word.
    pub kind: FailureKind,
    /// What the system or the server said.
    pub detail: String,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The name has no address.
    Resolve,
    /// Nobody listens.
    ConnectRefused,
    /// No connection for another reason: no route, no handshake in time.
    ConnectFailed,
    /// The connection was reset before the answer was whole.
    Reset,
    /// The connection was closed before any byte of an answer.
    Closed,
    /// The head or the body of the answer broke off.
    Truncated,
    /// Not whole within the time limit, once connected.
    Timeout,
    /// The answer is not HTTP.
    Malformed,
    /// A whole answer whose status is no success.
    BadStatus,
    /// The probe itself could not send: out of ports or of open files.
    Local,
}

impl FailureKind {
    /// Returns a few words for tables.
    pub fn words(self) -> &'static str {
        match self {
            Self::Resolve => "name not resolved",
            Self::ConnectRefused => "connection refused",
            Self::ConnectFailed => "no connection",
            Self::Reset => "connection reset",
            Self::Closed => "closed without an answer",
            Self::Truncated => "answer broke off",
            Self::Timeout => "timed out",
            Self::Malformed => "not HTTP",
            Self::BadStatus => "bad status",
            Self::Local => "the probe could not send",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl Report {
    /// Whether there were requests, and none failed.
    pub fn is_clean(&self) -> bool {
        self.sent > 0 && self.failed == 0
    }

    /// Renders the account for people: lines of a name and its values, aligned, each ended by `\n`.
    pub fn table(&self) -> String {
        let mut rows: Vec<(&str, String)> = Vec::new();
        let per_second = self.sent as f64 / (self.elapsed_ms / 1000.0).max(0.001);
        rows.push(("address", self.url.clone()));
        rows.push((
            "sent",
            format!(
                "{} in {:.1} s ({per_second:.0}/s)",
                self.sent,
                self.elapsed_ms / 1000.0
            ),
        ));
        rows.push(("ok", self.ok.to_string()));
        rows.push(("failed", self.failed.to_string()));
        for (kind, n) in &self.failed_by {
            rows.push(("", format!("{n} {kind}")));
        }
        if self.not_sent > 0 {
            rows.push((
                "not sent",
                format!("{} (too many without an answer)", self.not_sent),
            ));
        }
        if self.retried > 0 {
            rows.push((
                "retried",
                format!("{} (idle connection closed by the server)", self.retried),
            ));
        }
        for (name, tally) in [("fresh", self.fresh), ("kept alive", self.kept_alive)] {
            if tally.sent > 0 {
                let Tally { sent, ok, failed } = tally;
                rows.push((name, format!("{sent} sent, {ok} ok, {failed} failed")));
            }
        }
        rows.push(("status", counts(&self.by_status)));
        rows.push(("version", counts(&self.by_version)));
        let Latency {
            mean_ms,
            p50_ms,
            p90_ms,
            p99_ms,
            max_ms,
        } = self.latency;
        rows.push((
            "latency",
            format!(
                "mean {mean_ms:.2} ms, p50 {p50_ms:.2}, p90 {p90_ms:.2}, p99 {p99_ms:.2}, max {max_ms:.2}"
            ),
        ));
        let failures = [
            ("first failure", &self.first_failure),
            ("last failure", &self.last_failure),
        ];
        for (name, failure) in failures {
            if let Some(Failure {
                sent_ms,
                failed_ms: _,
                kind,
                detail,
            }) = failure
            {
                rows.push((
                    name,
                    format!("at {:.3} s: {kind}: {detail}", sent_ms / 1000.0),
                ));
            }
        }
        let mut text = String::new();
        for (name, value) in rows {
            text.push_str(&format!("{name:<13} {value}\n"));
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table())
    }
}

/// `0.9: 120, 1.0: 80`, or `-`.
fn counts<K: fmt::Display>(counts: &BTreeMap<K, u64>) -> String {
    if counts.is_empty() {
        return "-".to_owned();
    }
    let each: Vec<_> = counts
        .iter()
        .map(|(key, n)| format!("{key}: {n}"))
        .collect();
    each.join(", ")
}
