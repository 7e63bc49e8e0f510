//! What the master counts of its own work: requests, flushes of the store. Read by `/metrics`.
//!
//! Numbers only ever grow while the process lives. What can be seen in the snapshot (apps, tasks) is not counted here but
//! looked at when asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zddcluster_model::TaskState;

/// Upper ends of the buckets, seconds: from a read of the snapshot (some 100 µs) to a flush on a busy disk.
pub(crate) const BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The counters of one master.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Answers of the front door, by status.
    requests: Mutex<BTreeMap<u16, u64>>,
    /// Time from a request's head to its answer's head.
    pub(crate) request_time: Histogram,
    /// Time that a batch took to become durable.
    pub(crate) flush_time: Histogram,
    /// Ends of tasks, by state.
    ended_tasks: Mutex<BTreeMap<TaskState, u64>>,
    /// Batches that could not be made durable.
    pub(crate) failed_flushes: AtomicU64,
}

impl Metrics {
    /// Notes an answer.
    pub(crate) fn answered(&self, status: u16, took: Duration) {
        *lock(&self.requests).entry(status).or_default() += 1;
        self.request_time.observe(took);
    }

    /// Notes the end of a commit.
    pub(crate) fn flushed(&self, is_durable: bool, took: Duration) {
        if is_durable {
            self.flush_time.observe(took);
        } else {
            self.failed_flushes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes a task's state if it is an end.
    pub(crate) fn status(&self, state: TaskState) {
        if state.is_terminal() {
            *lock(&self.ended_tasks).entry(state).or_default() += 1;
        }
    }

    /// How many tasks came to each end since the start.
    pub(crate) fn ended_tasks(&self) -> Vec<(TaskState, u64)> {
        let ended = lock(&self.ended_tasks);
        let ends = [
            TaskState::Finished,
            TaskState::Failed,
            TaskState::Killed,
            TaskState::Lost,
            TaskState::Error,
        ];
        let n = |state| ended.get(&state).copied().unwrap_or_default();
        ends.map(|state| (state, n(state))).to_vec()
    }

    /// Answers by status.
    pub(crate) fn requests(&self) -> BTreeMap<u16, u64> {
        lock(&self.requests).clone()
    }
}

/// Counters are whole after every step, so that a panic elsewhere does not matter.
fn lock<T>(counters: &Mutex<T>) -> MutexGuard<'_, T> {
    counters.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long something took, in buckets.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Observations in each bucket of [`BOUNDS`] alone; the last one holds what is beyond.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    total_micros: AtomicU64,
}

impl Histogram {
    /// Notes one observation.
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was seen so far.
    pub(crate) fn look(&self) -> Observed {
        let mut n = 0;
        let up_to = self.buckets.each_ref().map(|bucket| {
            n += bucket.load(Ordering::Relaxed);
            n
        });
        Observed {
            up_to,
            total_seconds: self.total_micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

/// A histogram at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Observed {
    /// Observations up to each bound of [`BOUNDS`]; the last one counts all.
    pub(crate) up_to: [u64; BOUNDS.len() + 1],
    /// Their sum.
    pub(crate) total_seconds: f64,
}

impl Observed {
    /// How many there were.
    pub(crate) const fn count(&self) -> u64 {
        self.up_to[BOUNDS.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_the_first_bucket_that_holds_them() {
        let histogram = Histogram::default();
        for micros in [500, 501, 9_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let seen = histogram.look();
        assert_eq!((seen.up_to[0], seen.up_to[1], seen.up_to[11]), (1, 2, 2));
        assert_eq!((seen.count(), seen.total_seconds), (3, 9.001_001));
    }
}
