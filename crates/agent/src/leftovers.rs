//! Tasks that live on without their agent: found by its books, for `status` and `down`.
//!
//! Blocking and without a runtime, so that a short command can use it. Processes and containers alike.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use zddcluster_model::{AppId, TaskId};

use crate::containerizer::{KillSignal, Order};
use crate::journal::{Journal, KillOrder, Scan};
use crate::{docker, process};

/// Between two looks at whether the tasks are gone.
const LOOK: Duration = Duration::from_millis(20);

/// How long an executor that was just started may take to write down its task's process; it takes milliseconds.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How long SIGKILL and the executors' last writes may take.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A running task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The task.
    pub task_id: TaskId,
    /// Its app.
    pub app_id: AppId,
    /// Its host ports.
    pub ports: Vec<u16>,
}

impl Leftover {
    fn of(order: Order) -> Self {
        Self {
            task_id: order.launch.task_id,
            app_id: order.launch.app_id,
            ports: order.launch.ports,
        }
    }
}

/// The tasks under `work_dir` that run now, whether or not an agent does.
///
/// # Errors
/// When the books cannot be read. A work directory that does not exist has no tasks.
pub fn leftovers(work_dir: &Path) -> io::Result<Vec<Leftover>> {
    Ok(running(work_dir)?.into_iter().map(Leftover::of).collect())
}

/// Ends the tasks under `work_dir`: SIGTERM to all, SIGKILL to those left after `grace`. Blocks until they are gone.
///
/// Their books say that they were killed, so that an agent that starts here later reports TASK_KILLED.
///
/// # Errors
/// When an agent runs here (it would have to do it), when the books cannot be read, or when a task cannot be signalled
/// or survives.
pub fn stop_leftovers(work_dir: &Path, grace: Duration) -> io::Result<Vec<Leftover>> {
    if unfinished(work_dir)?.is_empty() {
        return Ok(Vec::new());
    }
    let journal = Journal::new(work_dir);
    let Some(_lock) = journal.lock()? else {
        return Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!(
                "an agent runs in {}; it ends its tasks itself",
                work_dir.display()
            ),
        ));
    };
    // The agent may have died between an executor's start and its first record.
    for order in unfinished(work_dir)? {
        forbid_start(&order)?;
    }
    let orders = running(work_dir)?;
    for order in &orders {
        order.record_kill(KillOrder::now(grace))?;
        kill(order, KillSignal::Terminate)?;
    }
    wait_for_end(&orders, grace);
    for order in orders.iter().filter(|order| may_be_alive(order)) {
        kill(order, KillSignal::Kill)?;
    }
    wait_for_end(&orders, KILL_LIMIT);
    if let Some(order) = orders.iter().find(|order| may_be_alive(order)) {
        return Err(io::Error::other(format!(
            "task {} does not end",
            order.launch.task_id
        )));
    }
    orders.iter().try_for_each(docker::finish)?;
    Ok(orders.into_iter().map(Leftover::of).collect())
}

/// Sees to it that the task is either found running or never runs.
fn forbid_start(order: &Order) -> io::Result<()> {
    let until = Instant::now() + START_LIMIT;
    while !docker::is_container(order) && !process::forbid_start(order)? {
        if Instant::now() >= until {
            return Err(io::Error::other(format!(
                "the executor of task {} lives but did not start it",
                order.launch.task_id
            )));
        }
        pause();
    }
    Ok(())
}

fn kill(order: &Order, signal: KillSignal) -> io::Result<()> {
    match docker::is_container(order) {
        true => docker::signal(order, signal),
        false => process::kill(order, signal),
    }
}

/// `Err` if an engine that would have to tell is away.
fn is_alive(order: &Order) -> io::Result<bool> {
    match docker::is_container(order) {
        true => docker::is_running(order),
        false => Ok(process::is_alive(order)),
    }
}

fn may_be_alive(order: &Order) -> bool {
    is_alive(order).unwrap_or(true)
}

/// What runs under `work_dir`, as it was ordered.
pub(crate) fn running(work_dir: &Path) -> io::Result<Vec<Order>> {
    let mut running = Vec::new();
    for order in unfinished(work_dir)? {
        if is_alive(&order)? {
            running.push(order);
        }
    }
    Ok(running)
}

/// The tasks whose end is not in the books.
fn unfinished(work_dir: &Path) -> io::Result<Vec<Order>> {
    let Scan {
        recorded,
        unreadable,
    } = Journal::new(work_dir).scan()?;
    if let Some((path, error)) = unreadable.into_iter().next() {
        return Err(io::Error::new(
            error.kind(),
            format!("{}: {error}", path.display()),
        ));
    }
    let unfinished = recorded.into_iter().filter(|task| task.exit.is_none());
    Ok(unfinished.map(|task| task.order).collect())
}

fn wait_for_end(orders: &[Order], limit: Duration) {
    let until = Instant::now() + limit;
    while Instant::now() < until && orders.iter().any(may_be_alive) {
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a short command without a runtime; nothing else waits"
)]
fn pause() {
    std::thread::sleep(LOOK);
}
