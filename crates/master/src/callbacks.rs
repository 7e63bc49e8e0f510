//! Event callbacks: every subscribed URL gets each event by POST, in order, one at a time.
//!
//! ```text
//!   bus ──▶ run(): rendered once ──bounded queue──▶ worker (one a URL) ──POST, 10 s──▶ server
//!                                  full: dropped        │ fails n times in a row: events of the next 2^n s are dropped
//! ```
//!
//! Nothing here is waited for by the one writer. No event is sent twice, so a subscriber that was away has missed what
//! happened meanwhile, as with the stream. Which URLs are subscribed is a record of the store (`actor::own`).
//! Source: contract marathon §5.2.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zddcluster_client::{HttpClient, HttpError};
use zddcluster_model::event::Event;
use zddcluster_runtime::{Error, OnFailure};

use crate::shared::Shared;

/// Most subscribed URLs: each costs a task and a queue.
pub(crate) const MOST: usize = 100;
/// Events that may wait for one subscriber, whose server may be slow for 10 s at a time. What does not fit is dropped, as
/// Marathon does: a subscriber cannot be told that it missed something by ending a stream.
const QUEUE: usize = 1024;
/// How long a subscriber may take to answer (contract §5.2).
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// From so many failures in a row on the pause grows no longer: 2^12 s are more than an hour.
const LONGEST_PAUSE_EXPONENT: u32 = 12;

/// The workers that run, by URL.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    running: Mutex<BTreeMap<String, Worker>>,
    /// Times that a subscriber did not get an event.
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Worker {
    token: CancellationToken,
    queue: mpsc::Sender<Bytes>,
}

/// Hands every event of the bus to the workers until the master ends.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut events: mpsc::Receiver<Event>,
) -> Result<(), Error> {
    let token = shared.token().clone();
    loop {
        let event = tokio::select! {
            biased;
            // Cancel-safe: only waits for a state.
            () = token.cancelled() => return Ok(()),
            // Cancel-safe: `recv` keeps the event when dropped.
            event = events.recv() => event,
        };
        match event {
            Some(event) => shared.callbacks.distribute(&event),
            None => {
                tracing::warn!("the event bus was overrun; subscribers missed events");
                events = shared.bus.observe();
            }
        }
    }
}

impl Callbacks {
    /// Times that a subscriber did not get an event, since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    fn distribute(&self, event: &Event) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_empty() {
            return;
        }
        let json = serde_json::to_vec(event).expect("events have string keys only");
        let json = Bytes::from(json);
        for worker in running.values() {
            if worker.queue.try_send(json.clone()).is_err() {
                self.drop_one();
            }
        }
    }

    /// The URLs that are called, sorted.
    pub(crate) fn urls(&self) -> Vec<String> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.keys().cloned().collect()
    }

    /// Makes exactly these URLs the ones that are called.
    pub(crate) fn follow(&self, shared: &Arc<Shared>, urls: &BTreeSet<String>) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|url, worker| {
            let is_kept = urls.contains(url);
            if !is_kept {
                worker.token.cancel();
            }
            is_kept
        });
        for url in urls {
            if running.contains_key(url) {
                continue;
            }
            let token = shared.token().child_token();
            let (sender, queue) = mpsc::channel(QUEUE);
            let worker = Worker {
                token: token.clone(),
                queue: sender,
            };
            running.insert(url.clone(), worker);
            let (worker, url) = (Arc::clone(shared), url.clone());
            shared.tasks.spawn("callback", OnFailure::Log, async move {
                work(&worker, &url, &token, queue).await;
                Ok(())
            });
        }
    }
}

/// Sends events until the subscription or the master ends.
async fn work(
    shared: &Shared,
    url: &str,
    token: &CancellationToken,
    mut queue: mpsc::Receiver<Bytes>,
) {
    // A client of its own: the cluster's own one brings the cluster's token along.
    let client = HttpClient::new();
    let mut standing = Standing::default();
    loop {
        let event = tokio::select! {
            biased;
            // Cancel-safe: only waits for a state.
            () = token.cancelled() => return,
            // Cancel-safe: `recv` keeps the event when dropped.
            event = queue.recv() => event,
        };
        let Some(event) = event else { return };
        if !standing.lets_through(Instant::now()) {
            shared.callbacks.drop_one();
            continue;
        }
        // Cancel-safe: dropping it abandons one request.
        let Some(outcome) = token.run_until_cancelled(post(&client, url, event)).await else {
            return;
        };
        match outcome {
            Ok(()) => standing = Standing::default(),
            Err(error) => {
                shared.callbacks.drop_one();
                standing.fail(Instant::now());
                let n_failures = standing.n_failures;
                // Once for each row of failures; the others are the same news.
                if n_failures == 1 {
                    tracing::warn!(url, %error, "event callback failed");
                } else {
                    tracing::debug!(url, %error, n_failures, "event callback failed again");
                }
            }
        }
    }
}

/// Why a subscriber did not take an event.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the address cannot be used")]
    Request(#[from] http::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
}

async fn post(client: &HttpClient, url: &str, event: Bytes) -> Result<(), PostError> {
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .body(event)?;
    // Its body is of no interest, however long.
    let status = client.open(request, ANSWER_LIMIT).await?.status();
    if status.is_success() {
        Ok(())
    } else {
        Err(PostError::Refused(status))
    }
}

/// How a subscriber has done lately.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// In a row.
    n_failures: u32,
    /// It is left alone until then.
    paused_until: Option<Instant>,
}

impl Standing {
    fn lets_through(&self, now: Instant) -> bool {
        self.paused_until.is_none_or(|until| until <= now)
    }

    fn fail(&mut self, now: Instant) {
        self.n_failures = self.n_failures.saturating_add(1);
        let seconds = 1_u64 << self.n_failures.min(LONGEST_PAUSE_EXPONENT);
        self.paused_until = Some(now + Duration::from_secs(seconds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_with_each_failure_in_a_row() {
        let start = Instant::now();
        let mut standing = Standing::default();
        let mut pauses = Vec::new();
        for _ in 0..14 {
            standing.fail(start);
            pauses.push((standing.paused_until.unwrap() - start).as_secs());
        }
        assert_eq!(pauses[..4], [2, 4, 8, 16]);
        assert_eq!(pauses[11..], [4096, 4096, 4096]);
        assert!(!standing.lets_through(start + Duration::from_secs(4095)));
        assert!(standing.lets_through(start + Duration::from_secs(4096)));
    }
}
