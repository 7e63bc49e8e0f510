//! What runs, who owns it, and what its end means.
//!
//! A [`Tasks`] is a node in a tree: the root belongs to the process, a [`child`](Tasks::child) to a role. A node owns
//! the futures spawned on it and on its children: cancelling it cancels them all, [`shut_down`](Tasks::shut_down)
//! waits for them all. The whole tree has one failure channel, so that a role that panics ends the process with its
//! name instead of leaving a silent gap.
//!
//! ```text
//!   spawn ──▶ running ──Ok──────────────────▶ ended
//!                     ──Err/panic, Log──────▶ ended, logged
//!                     ──Err/panic, Shutdown─▶ ended, logged, told to `failed()`
//! ```

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::chain;

/// Any error a task may end with.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What a panic or an `Err` of a task means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The process cannot do its work without the task: [`Tasks::failed`] resolves.
    Shutdown,
    /// The failure is logged, all else goes on.
    Log,
}

/// The end of a task whose failure ends the process.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the task {name} failed")]
pub struct Failure {
    /// The names of the task's roles and its own, joined by `/`: `master/actor`.
    pub name: String,
    /// Why it ended.
    #[source]
    pub cause: Cause,
}

/// Why a task failed.
#[derive(Debug, Clone)]
pub enum Cause {
    /// It panicked with this message.
    Panic(String),
    /// It returned this error.
    Error(Arc<dyn std::error::Error + Send + Sync>),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(message) => write!(f, "it panicked: {message}"),
            Self::Error(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Panic(_) => None,
            Self::Error(error) => error.source(),
        }
    }
}

/// The tasks that had not ended when the grace period was over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("still running after the grace period: {}", .names.join(", "))]
pub struct StillRunning {
    /// Their full names, sorted.
    pub names: Vec<String>,
}

/// A node in the tree of what runs; see the module's page. Clones are the same node.
#[derive(Debug, Clone)]
pub struct Tasks {
    /// The roles from the root to this node, joined by `/`; empty at the root.
    path: String,
    token: CancellationToken,
    /// This node's tracker last, before it those of the nodes above: a task is waited for by all of them.
    trackers: Vec<TaskTracker>,
    shared: Arc<Shared>,
}

/// What all nodes of one tree have in common.
#[derive(Debug)]
struct Shared {
    /// The first failure that ends the process.
    failure: watch::Sender<Option<Failure>>,
    /// Full names of running tasks by their number, to say who did not end.
    running: Mutex<BTreeMap<u64, String>>,
    next_number: AtomicU64,
}

impl Tasks {
    /// Makes the root of a new tree.
    pub fn new() -> Self {
        Self {
            path: String::new(),
            token: CancellationToken::new(),
            trackers: vec![TaskTracker::new()],
            shared: Arc::new(Shared {
                failure: watch::Sender::new(None),
                running: Mutex::default(),
                next_number: AtomicU64::new(0),
            }),
        }
    }

    /// Makes a node below this one, for a role or a part of one. Its tasks are also this node's.
    pub fn child(&self, role: &'static str) -> Self {
        let mut trackers = self.trackers.clone();
        trackers.push(TaskTracker::new());
        Self {
            path: self.full_name(role),
            token: self.token.child_token(),
            trackers,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns the token that is cancelled when this node, or one above it, shuts down.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Starts a future that this node owns. The future is expected to end soon after [`token`](Self::token) is
    /// cancelled; it is never aborted.
    ///
    /// # Panics
    /// When called outside of a tokio runtime.
    pub fn spawn<F>(&self, name: &'static str, on_failure: OnFailure, future: F)
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let name = self.full_name(name);
        let span = tracing::info_span!("task", %name);
        // Held by the future, so that it leaves the books also when the runtime drops it half-done.
        let entry = Entry::new(&self.shared, &name);
        let held: Vec<_> = self.trackers.iter().map(TaskTracker::token).collect();
        let shared = Arc::clone(&self.shared);
        let supervised = async move {
            let ended = AssertUnwindSafe(future).catch_unwind().await;
            let cause = match ended {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Cause::Error(Arc::from(error))),
                Err(panic) => Some(Cause::Panic(panic_message(&*panic))),
            };
            if let Some(cause) = cause {
                tracing::error!(task = %name, error = %chain(&cause), ?on_failure, "task failed");
                if on_failure == OnFailure::Shutdown {
                    shared.fail(Failure { name, cause });
                }
            }
            drop((entry, held));
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place: here tasks get their owner"
        )]
        tokio::spawn(supervised.instrument(span));
    }

    /// Resolves when a task of the tree whose failure means [`OnFailure::Shutdown`] has failed, also if it did so
    /// earlier; always with the first one. Cancel-safe.
    pub async fn failed(&self) -> Failure {
        let mut failure = self.shared.failure.subscribe();
        let first = failure
            .wait_for(Option::is_some)
            .await
            .expect("we hold the sender");
        first.clone().expect("waited for it to be there")
    }

    /// Cancels this node and waits until its tasks have ended.
    ///
    /// # Errors
    /// When some of them still run after `grace`; they go on running.
    pub async fn shut_down(&self, grace: Duration) -> Result<(), StillRunning> {
        self.token.cancel();
        let tracker = self.trackers.last().expect("a node has its own tracker");
        tracker.close();
        if tokio::time::timeout(grace, tracker.wait()).await.is_ok() {
            return Ok(());
        }
        let running = self.shared.running();
        let ours = |name: &&String| {
            self.path.is_empty()
                || name
                    .strip_prefix(&self.path)
                    .is_some_and(|rest| rest.starts_with('/'))
        };
        let mut names: Vec<_> = running.values().filter(ours).cloned().collect();
        drop(running);
        names.sort();
        // The last of them may have ended between the time-out and this look.
        if names.is_empty() {
            Ok(())
        } else {
            Err(StillRunning { names })
        }
    }

    fn full_name(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.path)
        }
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Shared {
    fn fail(&self, failure: Failure) {
        self.failure.send_if_modified(|first| {
            let is_first = first.is_none();
            if is_first {
                *first = Some(failure);
            }
            is_first
        });
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, String>> {
        // The map is whole between any two calls, so a panic elsewhere cannot have torn it.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running task's line in the books; leaves with it.
struct Entry {
    shared: Arc<Shared>,
    number: u64,
}

impl Entry {
    fn new(shared: &Arc<Shared>, name: &str) -> Self {
        let number = shared.next_number.fetch_add(1, Ordering::Relaxed);
        shared.running().insert(number, name.to_owned());
        Self {
            shared: Arc::clone(shared),
            number,
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.running().remove(&self.number);
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "a value that is no text".to_owned()
    }
}

#[cfg(test)]
mod tests;
