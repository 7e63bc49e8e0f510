//! When requests go out.
//!
//! Request *k* is due at `start + k / rate`, whatever became of the earlier ones. It is sent then, or as soon as fewer than
//! `concurrency` are under way.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::account::{Account, Live, Outcome};
use crate::connect::Connections;
use crate::exchange::{Fault, exchange};
use crate::{Config, FailureKind, Report};

/// A request sent this much after it was due is not late: timers tick in milliseconds.
const PUNCTUAL: Duration = Duration::from_millis(3);

/// Sends requests as ordered until the duration is over or `stop` is cancelled, lets those under way end (each within
/// its time limit), and returns the account.
///
/// Dropping the future breaks off all requests.
pub async fn run(config: Config, stop: CancellationToken) -> Report {
    run_watched(config, stop, Live::default()).await
}

/// As [`run`], and shows the counts in `live` meanwhile.
pub async fn run_watched(config: Config, stop: CancellationToken, live: Live) -> Report {
    let connections = Arc::new(Connections::new(config.target.clone()));
    let mut account = Account::new(live.clone());
    let started_ms = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
    let start = Instant::now();
    let end = config.duration.map(|duration| start + duration);
    let concurrency = config.concurrency.max(1);
    let due = |number: u64| start + Duration::from_secs_f64(number as f64 / config.rate);

    let mut under_way: JoinSet<Outcome> = JoinSet::new();
    let mut number = 0;
    loop {
        let next_due = due(number);
        let is_last_due = end.is_some_and(|end| next_due >= end);
        tokio::select! {
            biased;
            // Cancel-safe: they only wait for a state or a moment, or take a finished task.
            () = stop.cancelled() => break,
            Some(outcome) = under_way.join_next() => account.enter(settled(outcome, start)),
            () = sleep_until(next_due), if under_way.len() < concurrency && !is_last_due => {
                live.count_sent();
                let request = Request {
                    connections: Arc::clone(&connections),
                    is_fresh: config.mode.is_fresh(number),
                    timeout: config.timeout,
                    start,
                    due: next_due,
                };
                under_way.spawn(request.fulfil());
                number += 1;
            }
            () = sleep_until(end.unwrap_or(start)), if end.is_some() => break,
        }
    }
    let stopped_at = end.map_or_else(Instant::now, |end| end.min(Instant::now()));
    let elapsed = stopped_at.duration_since(start).as_secs_f64();
    let n_due = (elapsed * config.rate).ceil() as u64;
    // One that became due this very moment is not missed.
    let late = |number: u64| stopped_at.saturating_duration_since(due(number)) > PUNCTUAL;
    let not_sent = (number..n_due).take_while(|&number| late(number)).count() as u64;

    while let Some(outcome) = under_way.join_next().await {
        account.enter(settled(outcome, start));
    }
    let elapsed = start.elapsed();
    connections.close().await;
    account.close(&config, started_ms, elapsed, not_sent)
}

/// A request that is to be sent now.
struct Request {
    connections: Arc<Connections>,
    is_fresh: bool,
    timeout: Duration,
    start: Instant,
    due: Instant,
}

impl Request {
    async fn fulfil(self) -> Outcome {
        let Self {
            connections,
            is_fresh,
            timeout,
            start,
            due,
        } = self;
        let sent = Instant::now();
        let is_punctual = sent.duration_since(due) <= PUNCTUAL;
        let (was_retried, result) = exchange(&connections, is_fresh, timeout).await;
        let ended = Instant::now();
        Outcome {
            is_fresh,
            sent_at: sent.duration_since(start),
            ended_at: ended.duration_since(start),
            latency: ended.duration_since(if is_punctual { sent } else { due }),
            was_retried,
            result,
        }
    }
}

/// The outcome of a finished task. A task that panicked is a failed request: each one sent is accounted for.
fn settled(outcome: Result<Outcome, tokio::task::JoinError>, start: Instant) -> Outcome {
    outcome.unwrap_or_else(|error| Outcome {
        is_fresh: true,
        sent_at: start.elapsed(),
        ended_at: start.elapsed(),
        latency: Duration::ZERO,
        was_retried: false,
        result: Err(Fault::new(FailureKind::Local, error.to_string())),
    })
}

#[cfg(test)]
mod tests;
