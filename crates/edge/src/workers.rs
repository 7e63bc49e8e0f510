//! The threads that carry traffic: one a core, each with a runtime of its own.
//!
//! A connection stays with the worker that accepted it, and so do the connections to servers that it opens: nothing of a request
//! crosses threads. What all workers share (routes, whose turn it is, loads, counters) are atomics. A worker without traffic
//! sleeps in the kernel.

use std::cell::Cell;
use std::io;
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, oneshot};
use zddcluster_runtime::{OnFailure, Tasks};

/// Workers at most. One forwards some ten thousand requests a second; a listener costs a socket for each.
pub(crate) const MAX: usize = 8;
/// How long a worker waits for its connections when everybody else has ended: until the process does.
const FOREVER: Duration = Duration::from_secs(24 * 3600);

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// The position of the worker whose thread this is, below [`MAX`].
pub(crate) fn index() -> usize {
    INDEX.get()
}

/// What a worker is to start in its runtime.
type Job = Box<dyn FnOnce(&Tasks) + Send>;

/// The workers. They end when this is dropped and their connections have ended.
#[derive(Debug)]
pub(crate) struct Workers {
    inboxes: Vec<mpsc::UnboundedSender<Job>>,
}

impl Workers {
    /// Starts a worker for each core, or as many as are `wanted`, owned by `tasks`.
    ///
    /// # Errors
    /// When the kernel has no more threads.
    pub(crate) fn start(tasks: &Tasks, wanted: Option<usize>) -> io::Result<Self> {
        let n_cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let n = wanted.unwrap_or_else(n_cores).min(MAX);
        let inboxes = (0..n).map(|index| start(index, tasks));
        Ok(Self {
            inboxes: inboxes.collect::<io::Result<_>>()?,
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.inboxes.len()
    }

    /// Has the worker at `index` call `job` in its runtime, with what owns the worker's tasks.
    pub(crate) fn run(&self, index: usize, job: impl FnOnce(&Tasks) + Send + 'static) {
        // A worker that has failed has ended the process, or is about to.
        let _ = self.inboxes[index].send(Box::new(job));
    }
}

fn start(index: usize, tasks: &Tasks) -> io::Result<mpsc::UnboundedSender<Job>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (inbox, jobs) = mpsc::unbounded_channel();
    let (has_ended, ended) = oneshot::channel();
    let owned = tasks.child("worker");
    thread::Builder::new()
        .name(format!("edge {index}"))
        .spawn(move || {
            INDEX.set(index);
            work(runtime, jobs, &owned);
            // Nobody may be left to hear it.
            let _ = has_ended.send(());
        })?;
    // A panic drops the sender, and the process ends with the name of this task.
    tasks.spawn("worker thread", OnFailure::Shutdown, async move {
        Ok(ended.await?)
    });
    Ok(inbox)
}

fn work(runtime: Runtime, mut jobs: mpsc::UnboundedReceiver<Job>, tasks: &Tasks) {
    runtime.block_on(async {
        while let Some(job) = jobs.recv().await {
            job(tasks);
        }
        // An error: it is the process' end that counts.
        let _ = tasks.shut_down(FOREVER).await;
    });
}
