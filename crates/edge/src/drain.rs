//! Draining on the master's orders: the edge's side of `zddcluster_model::edge`.
//!
//! ```text
//!   order ─▶ out of the table ─▶ nothing in flight, idle connections closed ─▶ acknowledged until heard
//! ```
//!
//! Two tasks: one reads orders and acts on them at once; the other waits for loads to empty and acknowledges, so that a master that is
//! slow to take an acknowledgement does not hold up orders. The master repeats open orders when the edge attaches again;
//! all of it is idempotent. Against a Marathon that knows no drains the edge goes without.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{Method, Request, StatusCode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zddcluster_client::sse::open_lines;
use zddcluster_client::{HttpClient, HttpError};
use zddcluster_model::TaskId;
use zddcluster_model::edge::{DrainOrder, Drained};
use zddcluster_runtime::{Backoff, Error};

use crate::live::Load;
use crate::source::Source;
use crate::state::Shared;

/// Pauses between attempts to attach. Short at first: while the edge is away the master kills without waiting for it.
const ATTACH_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// How often a Marathon that knows no drains is asked again: it may have been replaced by one that does.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(60);
/// The longest silence on the stream: three missed keep-alives of 15 s.
const SILENCE: Duration = Duration::from_secs(46);
/// Pauses between attempts to acknowledge; the master waits 10 s at most.
const ACK_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long the master may take for an acknowledgement.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait for Marathon before the last server is taken out; well below the master's 10 s for draining.
const LOOK_AGAIN: Duration = Duration::from_secs(3);
/// Orders that wait to be watched; beyond it, reading orders waits.
const QUEUE: usize = 1024;

/// A task that drains.
pub(crate) type Draining = (TaskId, Arc<Load>);

/// Makes the queue between the two tasks.
pub(crate) fn queue() -> (mpsc::Sender<Draining>, mpsc::Receiver<Draining>) {
    mpsc::channel(QUEUE)
}

/// Reads orders and acts on them until `token` is cancelled.
pub(crate) async fn follow_orders(
    shared: Arc<Shared>,
    source: Arc<Source>,
    client: HttpClient,
    orders: mpsc::Sender<Draining>,
    token: CancellationToken,
) -> Result<(), Error> {
    let mut backoff = Backoff::new(ATTACH_PAUSE.0, ATTACH_PAUSE.1);
    let mut was_unknown = false;
    let mut was_refused = false;
    loop {
        let attempt = attach(&shared, &source, &client, &orders, &mut backoff);
        let ended = tokio::select! {
            // Cancel-safe: nothing is done any more.
            () = token.cancelled() => return Ok(()),
            ended = attempt => ended,
        };
        let pause = match ended {
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => {
                if !was_unknown {
                    was_unknown = true;
                    tracing::info!(
                        "this Marathon announces no kills: tasks are taken out when their state changes"
                    );
                }
                UNKNOWN_PAUSE
            }
            Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) && !was_refused => {
                was_refused = true;
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the master does not let this edge in: tasks are not drained before they are killed"
                );
                backoff.next()
            }
            Err(error) => {
                was_unknown = false;
                tracing::debug!(error = &error as &dyn std::error::Error, "no drain orders");
                backoff.next()
            }
            Ok(()) => {
                was_unknown = false;
                was_refused = false;
                backoff.next()
            }
        };
        tokio::select! {
            // Cancel-safe: timers.
            () = token.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn attach(
    shared: &Shared,
    source: &Source,
    client: &HttpClient,
    orders: &mpsc::Sender<Draining>,
    backoff: &mut Backoff,
) -> Result<(), HttpError> {
    let url = format!(
        "{}/zdd/v1/edges/{}/drains",
        source.url(),
        shared.config.edge_id
    );
    let mut lines = open_lines(client, &url, "application/json").await?;
    tracing::info!("attached: tasks are drained before they are killed");
    // Beside each other: a Marathon that is slow to answer for one app must not hold up the orders for others.
    let mut looks = FuturesUnordered::new();
    loop {
        let task_id = tokio::select! {
            // Cancel-safe: what has arrived stays in the stream.
            line = lines.next(SILENCE) => {
                let Some(line) = line? else {
                    // The master gives the orders that are open again.
                    return Ok(());
                };
                backoff.reset();
                if line.is_empty() {
                    continue;
                }
                let DrainOrder { task_id, .. } = match serde_json::from_str(&line) {
                    Ok(order) => order,
                    Err(error) => {
                        tracing::warn!(line, %error, "unreadable drain order");
                        continue;
                    }
                };
                if shared.is_last(&task_id) {
                    looks.push(look_again(shared, task_id));
                    continue;
                }
                task_id
            }
            // Cancel-safe: a look that is not over stays among them.
            Some(task_id) = looks.next(), if !looks.is_empty() => task_id,
        };
        let load = shared.drain(&task_id);
        tracing::info!(%task_id, in_flight = load.in_flight(), "draining");
        // The receiver lives as long as the edge.
        if orders.send((task_id, load)).await.is_err() {
            return Ok(());
        }
    }
}

/// Fetches everything before the last server of a backend is taken out. The order and the news of a task's replacement come by
/// different streams; without this, an app with one instance would have none for as long as the news is late.
async fn look_again(shared: &Shared, task_id: TaskId) -> TaskId {
    let wish = shared.wish();
    if tokio::time::timeout(LOOK_AGAIN, shared.fulfilled(wish))
        .await
        .is_err()
    {
        tracing::warn!(%task_id, "Marathon does not answer: draining the last server known");
    }
    task_id
}

/// Acknowledges tasks as they empty, until `token` is cancelled.
pub(crate) async fn acknowledge(
    shared: Arc<Shared>,
    source: Arc<Source>,
    client: HttpClient,
    mut orders: mpsc::Receiver<Draining>,
    token: CancellationToken,
) -> Result<(), Error> {
    let mut waiting = FuturesUnordered::new();
    let wait = |(task_id, load): Draining| async move {
        load.emptied().await;
        task_id
    };
    loop {
        let first = tokio::select! {
            // Cancel-safe: all only wait.
            () = token.cancelled() => return Ok(()),
            Some(draining) = orders.recv() => {
                waiting.push(wait(draining));
                continue;
            }
            Some(task_id) = waiting.next(), if !waiting.is_empty() => task_id,
        };
        let mut task_ids = vec![first];
        while let Ok(draining) = orders.try_recv() {
            waiting.push(wait(draining));
        }
        while let Some(Some(task_id)) = waiting.next().now_or_never() {
            task_ids.push(task_id);
        }
        tokio::select! {
            // Not resumed: the edge ends.
            () = token.cancelled() => return Ok(()),
            () = send(&shared, &source, &client, task_ids) => {}
        }
    }
}

/// Sends one acknowledgement until it is heard.
async fn send(shared: &Shared, source: &Source, client: &HttpClient, task_ids: Vec<TaskId>) {
    let mut backoff = Backoff::new(ACK_PAUSE.0, ACK_PAUSE.1);
    let drained = Drained { task_ids };
    let body = Bytes::from(serde_json::to_vec(&drained).expect("ids are plain text"));
    loop {
        let url = format!(
            "{}/zdd/v1/edges/{}/drained",
            source.url(),
            shared.config.edge_id
        );
        let request = Request::builder()
            .method(Method::POST)
            .uri(&url)
            .header(CONTENT_TYPE, "application/json")
            .body(body.clone())
            .expect("the address was checked when the arguments were read");
        match client.send(request, ACK_TIMEOUT).await {
            Ok(answer) if answer.status().is_success() => {
                tracing::info!(task_ids = ?drained.task_ids, "drained");
                return;
            }
            Ok(answer) if answer.status().is_client_error() => {
                tracing::warn!(status = %answer.status(), task_ids = ?drained.task_ids, "the master does not take the acknowledgement");
                return;
            }
            Ok(answer) => {
                tracing::debug!(status = %answer.status(), "acknowledgement not taken: trying again")
            }
            Err(error) => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "acknowledgement not heard: trying again"
                );
            }
        }
        tokio::time::sleep(backoff.next()).await;
    }
}
