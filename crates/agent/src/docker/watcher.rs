//! Who waits for a container looks at it again when the engine says that something happened.
//!
//! Events carry no decision, only "look again": a stream of them can end silently, or miss what happened while the engine
//! was away. So it is opened anew from where it was, again and again, and between two openings all running containers are
//! listed and compared with those that are waited for. What is not in the list is looked at.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::EventMessage;
use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::{Backoff, Error};

use super::engine::{Engine, EngineError};

/// How long one stream of events is trusted.
const STREAM_LIFE: Duration = Duration::from_secs(60);

/// Between two comparisons with the engine's list: how late an end may be seen whose event was lost.
const COMPARE: Duration = Duration::from_secs(10);

/// First and longest pause while the engine is away.
const AWAY_PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// Seconds of events that are asked for twice: times in events are the engine's, in whole seconds.
const OVERLAP: i64 = 2;

/// Somebody waits for a container.
#[derive(Debug, Default)]
struct Waiter {
    look: Notify,
    /// From a `die` event, for a container that is taken away before it can be looked at.
    status: Mutex<Option<i64>>,
}

/// All containers that are waited for.
#[derive(Debug)]
pub(crate) struct Watcher {
    engine: Arc<Engine>,
    /// What our containers bear.
    label: &'static str,
    waiters: Mutex<HashMap<String, Arc<Waiter>>>,
    /// Containers that could not be taken away yet. Held while they are, so that a spared one is not hit.
    doomed: tokio::sync::Mutex<BTreeSet<String>>,
    /// Containers that an engine may still be making for nobody; doomed at the next comparison.
    unwanted: Mutex<BTreeSet<String>>,
}

/// A place among the waiters; given up when dropped.
pub(crate) struct Watch<'a> {
    watcher: &'a Watcher,
    name: String,
    waiter: Arc<Waiter>,
}

impl Watch<'_> {
    /// Resolves when it is worth looking again. Cancel-safe.
    pub(crate) async fn look(&self) {
        self.waiter.look.notified().await;
    }

    /// The status an event told, if one did.
    pub(crate) fn status(&self) -> Option<i64> {
        *self
            .waiter
            .status
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.watcher.waiters().remove(&self.name);
    }
}

/// A container is being made.
pub(crate) struct Making<'a> {
    watcher: &'a Watcher,
    name: Option<String>,
}

impl Making<'_> {
    /// The engine has answered.
    pub(crate) fn done(mut self) {
        self.name = None;
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.watcher.unwanted().insert(name);
        }
    }
}

impl Watcher {
    pub(crate) fn new(engine: Arc<Engine>, label: &'static str) -> Self {
        Self {
            engine,
            label,
            waiters: Mutex::default(),
            doomed: tokio::sync::Mutex::default(),
            unwanted: Mutex::default(),
        }
    }

    /// Takes a place; one for each container.
    pub(crate) fn watch(&self, name: &str) -> Watch<'_> {
        let waiter = Arc::new(Waiter::default());
        self.waiters().insert(name.to_owned(), Arc::clone(&waiter));
        Watch {
            watcher: self,
            name: name.to_owned(),
            waiter,
        }
    }

    /// Has a container taken away once the engine answers.
    pub(crate) async fn doom(&self, name: &str) {
        self.doomed.lock().await.insert(name.to_owned());
    }

    /// The name is about to be given to a new container.
    pub(crate) async fn spare(&self, name: &str) {
        self.unwanted().remove(name);
        self.doomed.lock().await.remove(name);
    }

    /// The engine is about to be asked for a container that nobody wants if this is dropped before it was made.
    pub(crate) fn making(&self, name: &str) -> Making<'_> {
        Making {
            watcher: self,
            name: Some(name.to_owned()),
        }
    }

    /// Follows the engine until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, token: CancellationToken) -> Result<(), Error> {
        tokio::select! {
            // Cancel-safe: nothing is half-done that the next agent would not do again.
            () = self.follow() => {}
            () = token.cancelled() => {}
        }
        Ok(())
    }

    async fn follow(&self) {
        let mut backoff = Backoff::new(AWAY_PAUSE.0, AWAY_PAUSE.1);
        let mut is_away = false;
        let mut since = None;
        loop {
            let error = match self.follow_once(&mut since, &mut is_away).await {
                Ok(()) => {
                    backoff.reset();
                    continue;
                }
                Err(error) => error,
            };
            if !is_away {
                tracing::warn!(%error, "the Docker engine is away; its containers are taken to run on");
                is_away = true;
                backoff.reset();
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    /// One stream of events, with comparisons at its beginning and now and then.
    async fn follow_once(
        &self,
        since: &mut Option<i64>,
        is_away: &mut bool,
    ) -> Result<(), EngineError> {
        let from = since.map(|since: i64| since - OVERLAP);
        let mut events = self.engine.events(self.label, from).await?;
        self.compare().await?;
        if std::mem::take(is_away) {
            tracing::info!("the Docker engine answers again");
        }
        let opened = Instant::now();
        let mut next_compare = opened + COMPARE;
        loop {
            tokio::select! {
                // Cancel-safe: a stream's `next` keeps what it has not given.
                event = events.next() => match event {
                    Some(Ok(event)) => {
                        *since = event.time.or(*since);
                        self.hear(&event);
                    }
                    Some(Err(error)) => return Err(error),
                    // The list at the next opening tells whether the engine is there.
                    None => {
                        tokio::time::sleep(AWAY_PAUSE.0).await;
                        return Ok(());
                    }
                },
                // Cancel-safe: the deadline is a value.
                () = tokio::time::sleep_until(next_compare) => {
                    if opened.elapsed() >= STREAM_LIFE {
                        return Ok(());
                    }
                    self.compare().await?;
                    next_compare = Instant::now() + COMPARE;
                }
            }
        }
    }

    fn hear(&self, event: &EventMessage) {
        let attributes = event
            .actor
            .as_ref()
            .and_then(|actor| actor.attributes.as_ref());
        let Some(attributes) = attributes else { return };
        let Some(waiter) = attributes
            .get("name")
            .and_then(|name| self.waiters().get(name).cloned())
        else {
            return;
        };
        if event.action.as_deref() == Some("die") {
            let status = attributes
                .get("exitCode")
                .and_then(|code| code.parse().ok());
            *waiter.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        }
        waiter.look.notify_one();
    }

    /// Everybody whose container is not among the running ones looks again; what is doomed goes.
    async fn compare(&self) -> Result<(), EngineError> {
        // Taken before the list: a container that was started meanwhile is looked at once too often, no more.
        let waiters: Vec<(String, Arc<Waiter>)> = self
            .waiters()
            .iter()
            .map(|(name, waiter)| (name.clone(), Arc::clone(waiter)))
            .collect();
        let running: BTreeSet<String> =
            self.engine.running(self.label).await?.into_iter().collect();
        for (name, waiter) in waiters {
            if !running.contains(&name) {
                waiter.look.notify_one();
            }
        }
        let mut doomed = self.doomed.lock().await;
        while let Some(name) = doomed.first().cloned() {
            match self.engine.remove(&name).await {
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => tracing::warn!(container = name, %error, "a container stays"),
                Ok(()) => {}
            }
            doomed.remove(&name);
        }
        // By the next time they are made.
        doomed.append(&mut self.unwanted());
        Ok(())
    }

    fn unwanted(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.unwanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiters(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Waiter>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
