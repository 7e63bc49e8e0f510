//! What the master counts of its own work: requests, flushes of the store, launches, checks, ends. Read by `/metrics`.
//!
//! Numbers only ever grow while the process lives. What can be seen in the snapshot (apps, tasks) is not counted here but
//! looked at when asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zddcluster_engine::State;
use zddcluster_engine::state::Task;
use zddcluster_model::TaskState;
use zddcluster_model::event::{Event, EventKind};

/// Upper ends of the buckets, seconds: from a read of the snapshot (some 100 µs) to a flush on a busy disk.
const BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The same for launches: from a process (some 10 ms) to an image that is pulled over a slow line.
const LAUNCH_BOUNDS: [f64; 12] = [
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0,
];

/// What is asked of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// A health check.
    Health,
    /// A readiness check.
    Readiness,
}

/// The counters of one master.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Answers of the front door, by status.
    requests: Mutex<BTreeMap<u16, u64>>,
    /// Time from a request's head to its answer's head.
    pub(crate) request_time: Histogram,
    /// Time that a batch took to become durable.
    pub(crate) flush_time: Histogram,
    /// Ends of tasks, by state.
    ended_tasks: Mutex<BTreeMap<TaskState, u64>>,
    /// Time from the decision to launch a task to its first RUNNING.
    pub(crate) launch_time: Histogram,
    /// Outcomes of checks, the good ones and the others.
    checks: Mutex<BTreeMap<(Asked, bool), u64>>,
    /// Ends of deployments, the good ones and the others.
    ended_deployments: Mutex<BTreeMap<bool, u64>>,
    /// Batches that could not be made durable.
    pub(crate) failed_flushes: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            request_time: Histogram::new(&BOUNDS),
            flush_time: Histogram::new(&BOUNDS),
            ended_tasks: Mutex::default(),
            launch_time: Histogram::new(&LAUNCH_BOUNDS),
            checks: Mutex::default(),
            ended_deployments: Mutex::default(),
            failed_flushes: AtomicU64::default(),
        }
    }
}

impl Metrics {
    /// Notes what an event tells; `state` is the one that it led to.
    pub(crate) fn published(&self, event: &Event, state: &State) {
        match &event.kind {
            EventKind::StatusUpdate {
                task_id,
                task_status,
                ..
            } => {
                self.status(*task_status);
                let task = state.tasks.get(task_id);
                // Later ones tell the same state again.
                let is_first = |task: &&Arc<Task>| task.started_at == Some(event.timestamp);
                if *task_status == TaskState::Running
                    && let Some(task) = task.filter(is_first)
                {
                    let millis = event.timestamp.millis_since(task.staged_at);
                    let millis = u64::try_from(millis).unwrap_or_default();
                    self.launch_time.observe(Duration::from_millis(millis));
                }
            }
            EventKind::DeploymentSuccess { .. } => self.deployment_ended(true),
            EventKind::DeploymentFailed { .. } => self.deployment_ended(false),
            _ => {}
        }
    }

    /// Notes the outcome of a check.
    pub(crate) fn checked(&self, asked: Asked, is_good: bool) {
        *lock(&self.checks).entry((asked, is_good)).or_default() += 1;
    }

    /// How many checks of this kind came out so since the start.
    pub(crate) fn checks(&self, asked: Asked, is_good: bool) -> u64 {
        let checks = lock(&self.checks);
        checks.get(&(asked, is_good)).copied().unwrap_or_default()
    }

    fn deployment_ended(&self, is_success: bool) {
        *lock(&self.ended_deployments).entry(is_success).or_default() += 1;
    }

    /// How many deployments ended well, or not, since the start.
    pub(crate) fn ended_deployments(&self, is_success: bool) -> u64 {
        let ended = lock(&self.ended_deployments);
        ended.get(&is_success).copied().unwrap_or_default()
    }

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
    fn status(&self, state: TaskState) {
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
#[derive(Debug)]
pub(crate) struct Histogram {
    /// Upper ends of the buckets, seconds.
    bounds: &'static [f64],
    /// Observations in each bucket alone; the last one holds what is beyond.
    buckets: Box<[AtomicU64]>,
    total_micros: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0));
        Self {
            bounds,
            buckets: buckets.collect(),
            total_micros: AtomicU64::new(0),
        }
    }

    /// Notes one observation.
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// What was seen so far.
    pub(crate) fn look(&self) -> Observed {
        let mut n = 0;
        let buckets = self.buckets.iter();
        let up_to = buckets.map(|bucket| {
            n += bucket.load(Ordering::Relaxed);
            n
        });
        Observed {
            bounds: self.bounds,
            up_to: up_to.collect(),
            total_seconds: self.total_micros.load(Ordering::Relaxed) as f64 / 1e6,
        }
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Observed {
    /// Upper ends of the buckets, seconds.
    pub(crate) bounds: &'static [f64],
    /// Observations up to each bound; the last one counts all.
    pub(crate) up_to: Vec<u64>,
    /// Their sum.
    pub(crate) total_seconds: f64,
}

impl Observed {
    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.up_to.last().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_fall_into_the_first_bucket_that_holds_them() {
        let histogram = Histogram::new(&BOUNDS);
        for micros in [500, 501, 9_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let seen = histogram.look();
        assert_eq!((seen.up_to[0], seen.up_to[1], seen.up_to[11]), (1, 2, 2));
        assert_eq!((seen.count(), seen.total_seconds), (3, 9.001_001));
    }
}
