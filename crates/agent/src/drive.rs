//! One task from its order to its end: what is done, in which order, and what is written down before.
//!
//! ```text
//!   ordered ──intent flushed──▶ fetch, launch ──▶ running ──▶ ended ──▶ cleaned
//!      │        volumes made      │           │  kill: written down, SIGTERM … grace … SIGKILL
//!      └─ killed before: KILLED   └─ refused: FAILED
//!   found after a restart ──recover──▶ running | ended | never started (forgotten: the master orders it anew)
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use zddcluster_model::TaskId;
use zddcluster_runtime::Backoff;

use crate::containerizer::{
    Addresses, Containerizer, Exit, KillSignal, LaunchError, Order, Recovered,
};
use crate::fetch::Fetcher;
use crate::journal::KillOrder;

/// First and longest pause before a containerizer is asked again for a task it could not tell about.
const RECOVER_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// How long a task that is to end may still take to start: an image that is being pulled could take for ever.
const LAUNCH_AFTER_KILL: Duration = Duration::from_secs(2);

/// How long after a SIGKILL that ended nothing the next one follows.
const KILL_AGAIN: Duration = Duration::from_secs(2);

/// What a driver tells the agent.
#[derive(Debug)]
pub(crate) enum News {
    /// Its command was executed, or it was found running; where it is reached.
    Running(Addresses),
    /// It ended.
    Ended(Exit),
    /// It was found, and had ended before: nobody has told where it was reached.
    FoundEnded(Exit, Addresses),
    /// It was ordered before a restart and never came to life.
    NeverStarted,
}

/// Where a task's story begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A new order.
    Ordered,
    /// Found in the books.
    Found,
}

/// Everything one driver works with.
pub(crate) struct Driver {
    pub(crate) order: Arc<Order>,
    pub(crate) containerizer: Arc<dyn Containerizer>,
    pub(crate) fetcher: Fetcher,
    /// Set when the task is to end; only replaced by an earlier end.
    pub(crate) kill: watch::Receiver<Option<KillOrder>>,
    pub(crate) news: mpsc::Sender<(TaskId, News)>,
}

impl Driver {
    /// Drives the task to its end. Dropping the future leaves the task running, to be found by the next agent.
    pub(crate) async fn run(mut self, origin: Origin) {
        let begun = match origin {
            Origin::Ordered => self.launch().await,
            Origin::Found => self.recover().await,
        };
        let exit = match begun {
            News::Running(addresses) => {
                self.tell(News::Running(addresses)).await;
                self.watch(origin).await
            }
            News::Ended(exit) => exit,
            News::FoundEnded(exit, addresses) => {
                self.containerizer.clean(&self.order).await;
                return self.tell(News::FoundEnded(exit, addresses)).await;
            }
            News::NeverStarted => {
                self.containerizer.clean(&self.order).await;
                // Before it is told: the master may order the same task again at once.
                let order = Arc::clone(&self.order);
                if let Err(error) = blocking(move || order.forget()).await {
                    let message =
                        format!("Failed to forget an order that came to nothing: {error}");
                    let exit = self.not_started(message).await;
                    return self.tell(News::Ended(exit)).await;
                }
                return self.tell(News::NeverStarted).await;
            }
        };
        self.containerizer.clean(&self.order).await;
        self.tell(News::Ended(exit)).await;
    }

    async fn tell(&self, news: News) {
        // The agent is gone only at shutdown.
        let _ = self.news.send((self.order.task_id().clone(), news)).await;
    }

    async fn launch(&mut self) -> News {
        let order = Arc::clone(&self.order);
        if let Err(error) = blocking(move || order.record()).await {
            return News::Ended(Exit::NotStarted {
                message: format!("Failed to write down the task: {error}"),
            });
        }
        if self.kill.borrow_and_update().is_some() {
            return News::Ended(self.killed_before().await);
        }
        let order = Arc::clone(&self.order);
        let prepared = tokio::task::spawn_blocking(move || order.prepare_volumes()).await;
        if let Err(message) = prepared
            .map_err(|error| error.to_string())
            .and_then(|prepared| prepared.map_err(|error| error.message))
        {
            return News::Ended(self.not_started(message).await);
        }
        let mut kill = self.kill.clone();
        let given_up = async {
            // The agent is gone only at shutdown.
            if kill.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LAUNCH_AFTER_KILL).await;
        };
        let launched = tokio::select! {
            launched = self.bring_up() => launched,
            // Cancel-safe: a containerizer whose launch is dropped finds what came of it; files are fetched anew.
            () = given_up => return self.recover().await,
        };
        match launched {
            Ok(()) => self.running().await,
            Err(error) => News::Ended(self.not_started(error.message).await),
        }
    }

    /// Sandbox, files, start.
    async fn bring_up(&self) -> Result<(), LaunchError> {
        let order = &self.order;
        if !order.launch.fetch.is_empty() {
            let owner = self.containerizer.prepare(order).await?;
            let fetched = self
                .fetcher
                .fetch(&order.launch.fetch, &order.sandbox, owner.as_ref());
            fetched.await?;
        }
        self.containerizer.launch(order).await
    }

    async fn recover(&mut self) -> News {
        let mut backoff = Backoff::new(RECOVER_PAUSE.0, RECOVER_PAUSE.1);
        loop {
            match self.containerizer.recover(&self.order).await {
                Ok(Recovered::Running) => return self.running().await,
                Ok(Recovered::Ended(exit)) => {
                    return match self.containerizer.last_addresses(&self.order).await {
                        Some(addresses) => News::FoundEnded(exit, addresses),
                        None => News::Ended(exit),
                    };
                }
                Ok(Recovered::NeverStarted) if self.kill.borrow().is_some() => {
                    return News::Ended(self.killed_before().await);
                }
                Ok(Recovered::NeverStarted) => return News::NeverStarted,
                Err(error) => {
                    tracing::warn!(task = %self.order.task_id(), %error, "cannot tell yet what became of it");
                    tokio::time::sleep(backoff.next()).await;
                }
            }
        }
    }

    async fn running(&self) -> News {
        News::Running(self.containerizer.addresses(&self.order).await)
    }

    async fn killed_before(&self) -> Exit {
        let kill = *self.kill.borrow();
        if let Some(kill) = kill {
            self.record_kill(kill).await;
        }
        self.not_started("Task killed before it was launched".to_owned())
            .await
    }

    async fn not_started(&self, message: String) -> Exit {
        let (order, exit) = (Arc::clone(&self.order), Exit::NotStarted { message });
        let recorded = exit.clone();
        if let Err(error) = blocking(move || order.record_exit(&recorded)).await {
            tracing::warn!(task = %self.order.task_id(), %error, "its end cannot be written down");
        }
        exit
    }

    async fn record_kill(&self, kill: KillOrder) {
        let order = Arc::clone(&self.order);
        if let Err(error) = blocking(move || order.record_kill(kill)).await {
            // It is killed all the same: only a restart in between would call it a failure.
            tracing::warn!(task = %self.order.task_id(), %error, "its kill cannot be written down");
        }
    }

    /// Waits for the end and carries out a kill on the way.
    async fn watch(&mut self, origin: Origin) -> Exit {
        let containerizer = Arc::clone(&self.containerizer);
        let order = Arc::clone(&self.order);
        let wait = containerizer.wait(&order);
        tokio::pin!(wait);
        let mut is_terminated = false;
        // A kill from before a restart has used some of its grace.
        let is_resumed = origin == Origin::Found && self.kill.borrow().is_some();
        let mut deadline = None;
        // A kill that came while it started counts as a change.
        self.kill.mark_changed();
        loop {
            let due = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let signal = tokio::select! {
                // Cancel-safe: pinned outside of the loop.
                exit = &mut wait => return exit,
                // Cancel-safe: a change stays marked until it is seen.
                Ok(()) = self.kill.changed() => {
                    let Some(kill) = *self.kill.borrow_and_update() else { continue };
                    if is_terminated {
                        deadline = Some(Instant::now() + kill.remaining());
                        continue;
                    }
                    // Written down before the signal; a new one's grace counts from the signal on.
                    let kill = if is_resumed { kill } else { KillOrder::now(kill.grace()) };
                    self.record_kill(kill).await;
                    is_terminated = true;
                    let grace = if is_resumed { kill.remaining() } else { kill.grace() };
                    deadline = Some(Instant::now() + grace);
                    KillSignal::Terminate
                }
                // Cancel-safe: the deadline is a value.
                () = due => {
                    deadline = Some(Instant::now() + KILL_AGAIN);
                    KillSignal::Kill
                }
            };
            if let Err(error) = containerizer.kill(&order, signal).await {
                tracing::warn!(task = %order.task_id(), ?signal, %error, "cannot signal it");
            }
        }
    }
}

/// Runs file work where it may block.
async fn blocking(work: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

#[cfg(test)]
#[path = "drive/tests.rs"]
mod tests;
