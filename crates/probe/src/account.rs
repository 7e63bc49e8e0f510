//! Where each request that was sent is entered once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::exchange::{Answer, Fault};
use crate::report::{Failure, FailureKind, Latency, Report, Second, Tally};
use crate::{Config, Mode};

/// How many different versions are told apart: a deployment has two. Protects the account from a server that makes one up
/// for each answer.
const MAX_VERSIONS: usize = 64;
/// Under which name the rest is counted.
const OTHER_VERSIONS: &str = "(others)";
/// Three significant digits: latencies are read to about 0.1 %.
const DIGITS: u8 = 3;
/// An hour in µs; longer latencies count as this. No request may take so long.
const MAX_LATENCY: u64 = 3_600_000_000;

/// The counts of a probe while it runs. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Live {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    ok: AtomicU64,
    failed: AtomicU64,
}

impl Live {
    /// Returns how many were sent so far, those still without an outcome included.
    pub fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::Relaxed)
    }

    /// Returns how many were ok so far.
    pub fn ok(&self) -> u64 {
        self.counts.ok.load(Ordering::Relaxed)
    }

    /// Returns how many have failed so far.
    pub fn failed(&self) -> u64 {
        self.counts.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn count_sent(&self) {
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// One request that has found its end. Times are since the start of the probe.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) is_fresh: bool,
    pub(crate) sent_at: Duration,
    pub(crate) ended_at: Duration,
    /// From when it was due to its end.
    pub(crate) latency: Duration,
    pub(crate) was_retried: bool,
    pub(crate) result: Result<Answer, Fault>,
}

/// The books.
pub(crate) struct Account {
    live: Live,
    fresh: Tally,
    kept_alive: Tally,
    retried: u64,
    failed_by: BTreeMap<FailureKind, u64>,
    by_status: BTreeMap<u16, u64>,
    by_version: BTreeMap<String, u64>,
    /// In µs.
    latencies: Histogram<u64>,
    first_failure: Option<Failure>,
    last_failure: Option<Failure>,
    timeline: BTreeMap<u64, Second>,
}

impl Account {
    pub(crate) fn new(live: Live) -> Self {
        Self {
            live,
            fresh: Tally::default(),
            kept_alive: Tally::default(),
            retried: 0,
            failed_by: BTreeMap::new(),
            by_status: BTreeMap::new(),
            by_version: BTreeMap::new(),
            latencies: Histogram::new_with_bounds(1, MAX_LATENCY, DIGITS)
                .expect("the bounds are in order and three digits within its limits"),
            first_failure: None,
            last_failure: None,
            timeline: BTreeMap::new(),
        }
    }

    /// Enters one request.
    pub(crate) fn enter(&mut self, outcome: Outcome) {
        let Outcome {
            is_fresh,
            sent_at,
            ended_at,
            latency,
            was_retried,
            result,
        } = outcome;
        let tally = if is_fresh {
            &mut self.fresh
        } else {
            &mut self.kept_alive
        };
        let number = sent_at.as_secs();
        let second = self.timeline.entry(number).or_default();
        second.second = number;
        second.sent += 1;
        tally.sent += 1;
        self.retried += u64::from(was_retried);
        if let Ok(Answer { status, .. })
        | Err(Fault {
            status: Some(status),
            ..
        }) = &result
        {
            *self.by_status.entry(*status).or_default() += 1;
        }
        match result {
            Ok(Answer { status: _, version }) => {
                tally.ok += 1;
                second.ok += 1;
                self.live.counts.ok.fetch_add(1, Ordering::Relaxed);
                self.latencies.saturating_record(micros(latency));
                second.max_ms = second.max_ms.max(millis(latency));
                if let Some(version) = version {
                    let is_known = self.by_version.contains_key(&version);
                    let is_full = self.by_version.len() >= MAX_VERSIONS;
                    let key = if is_known || !is_full {
                        version
                    } else {
                        OTHER_VERSIONS.to_owned()
                    };
                    *second.by_version.entry(key.clone()).or_default() += 1;
                    *self.by_version.entry(key).or_default() += 1;
                }
            }
            Err(Fault {
                kind,
                detail,
                status: _,
            }) => {
                tally.failed += 1;
                second.failed += 1;
                self.live.counts.failed.fetch_add(1, Ordering::Relaxed);
                *self.failed_by.entry(kind).or_default() += 1;
                let (sent_ms, failed_ms) = (millis(sent_at), millis(ended_at));
                let failure = Failure {
                    sent_ms,
                    failed_ms,
                    kind,
                    detail,
                };
                // Outcomes come in the order of their ends, not of their sending.
                if self
                    .first_failure
                    .as_ref()
                    .is_none_or(|first| sent_ms < first.sent_ms)
                {
                    self.first_failure = Some(failure.clone());
                }
                if self
                    .last_failure
                    .as_ref()
                    .is_none_or(|last| sent_ms >= last.sent_ms)
                {
                    self.last_failure = Some(failure);
                }
            }
        }
    }

    /// Closes the books.
    pub(crate) fn close(
        self,
        config: &Config,
        started_ms: u64,
        elapsed: Duration,
        not_sent: u64,
    ) -> Report {
        let Self {
            live: _,
            fresh,
            kept_alive,
            retried,
            failed_by,
            by_status,
            by_version,
            latencies,
            first_failure,
            last_failure,
            timeline,
        } = self;
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Report {
            url: config.target.url.clone(),
            mode: config.mode,
            rate: config.rate,
            started_ms,
            elapsed_ms: millis(elapsed),
            sent: fresh.sent + kept_alive.sent,
            ok: fresh.ok + kept_alive.ok,
            failed: fresh.failed + kept_alive.failed,
            not_sent,
            retried,
            fresh,
            kept_alive,
            failed_by,
            by_status,
            by_version,
            latency: Latency {
                mean_ms: latencies.mean() / 1000.0,
                p50_ms: at(0.5),
                p90_ms: at(0.9),
                p99_ms: at(0.99),
                max_ms: latencies.max() as f64 / 1000.0,
            },
            first_failure,
            last_failure,
            timeline: timeline.into_values().collect(),
        }
    }
}

impl Mode {
    /// Whether the request with this number goes over a fresh connection.
    pub(crate) fn is_fresh(self, number: u64) -> bool {
        match self {
            Self::Fresh => true,
            Self::KeepAlive => false,
            Self::Both => number.is_multiple_of(2),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn millis(duration: Duration) -> f64 {
    micros(duration) as f64 / 1000.0
}

#[cfg(test)]
mod tests;
