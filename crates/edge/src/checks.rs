//! Checking servers, beside Marathon's checks: who is dead here takes no traffic here, whatever Marathon still says.
//!
//! A reconciler: one small task a checked server of the table, which asks, waits and asks again. A server that keeps its
//! name, address and check keeps its task over new tables; draining servers have none.
//!
//! Source: contract marathon-lb §2.7; Marathon-LB 1.15 for the answer to many new servers.

mod probe;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zddcluster_runtime::Error;

use crate::health::{Change, Health};
use crate::labels::Check;
use crate::state::Shared;

/// Checks that are under way at once; others wait for their turn, and their time limit begins with it.
const MOST_AT_ONCE: usize = 256;
/// The first checks of many new servers are spread: so much for each of them,
const SPREAD: Duration = Duration::from_millis(2);
/// and no more than this in all.
const MOST_SPREAD: Duration = Duration::from_secs(3);
/// No interval becomes shorter than this by the cluster's speed.
const SHORTEST: Duration = Duration::from_millis(50);

/// A server: its backend's name and its own.
type Key = (String, String);

/// What is checked, where and for whom.
#[derive(Clone)]
struct Target {
    check: Check,
    address: SocketAddr,
    health: Arc<Health>,
    name: Key,
}

impl Target {
    fn is_same(&self, other: &Self) -> bool {
        self.check == other.check
            && self.address == other.address
            && Arc::ptr_eq(&self.health, &other.health)
    }
}

/// Checks the servers of the routes in use until `token` is cancelled.
pub(crate) async fn keep(shared: Arc<Shared>, token: CancellationToken) -> Result<(), Error> {
    let mut changes = shared.changes();
    let mut watched: HashMap<Key, (Target, AbortHandle)> = HashMap::new();
    let mut watches = JoinSet::new();
    let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
    loop {
        changes.borrow_and_update();
        let wanted = targets(&shared);
        watched.retain(|key, (target, handle)| {
            let is_wanted = wanted.get(key).is_some_and(|wanted| wanted.is_same(target));
            if !is_wanted {
                handle.abort();
            }
            is_wanted
        });
        let new: Vec<_> = wanted
            .into_iter()
            .filter(|(key, _)| !watched.contains_key(key))
            .collect();
        let spread = SPREAD
            .saturating_mul(u32::try_from(new.len()).unwrap_or(u32::MAX))
            .min(MOST_SPREAD);
        for (key, target) in new {
            let first = spread.mul_f64(rand::random_range(0.0..=1.0));
            let (shared, places) = (Arc::clone(&shared), Arc::clone(&places));
            let handle = watches.spawn(watch(shared, target.clone(), first, places));
            watched.insert(key, (target, handle));
        }
        loop {
            tokio::select! {
                // Cancel-safe: all only wait for a state.
                () = token.cancelled() => return Ok(()),
                changed = changes.changed() => {
                    changed?;
                    break;
                }
                // Ended ones were aborted; a panic is the edge's.
                Some(ended) = watches.join_next() => match ended {
                    Err(error) if error.is_panic() => return Err(error.into()),
                    Ok(()) | Err(_) => {}
                },
            }
        }
    }
}

fn targets(shared: &Shared) -> HashMap<Key, Target> {
    let routes = shared.routes.load();
    let mut targets = HashMap::new();
    for backend in &routes.backends {
        let Some(check) = &backend.spec.check else {
            continue;
        };
        for server in backend
            .servers
            .iter()
            .filter(|server| !server.spec.is_draining)
        {
            let name = (backend.spec.name.clone(), server.spec.name.clone());
            let target = Target {
                check: check.clone(),
                address: server.spec.check_address,
                health: Arc::clone(&server.health),
                name: name.clone(),
            };
            targets.insert(name, target);
        }
    }
    targets
}

/// Checks one server again and again.
async fn watch(shared: Arc<Shared>, target: Target, first: Duration, places: Arc<Semaphore>) {
    let speed = shared.config.speed;
    tokio::time::sleep(first).await;
    loop {
        let begun = Instant::now();
        {
            // The semaphore is never closed.
            let _place = places.acquire().await;
            target.health.begin();
            let outcome = probe::ask(&target.check, target.address).await;
            let (backend, server) = &target.name;
            let (code, reason) = (outcome.code, outcome.text.clone());
            let change = target.health.note(outcome);
            if change.is_some() {
                shared.note_standings();
            }
            match change {
                Some(Change::WentDown) => {
                    tracing::warn!(
                        backend,
                        server,
                        code,
                        reason,
                        "server is DOWN: it takes no traffic"
                    )
                }
                Some(Change::WentUp) => tracing::info!(backend, server, code, "server is UP"),
                None => {}
            }
        }
        tokio::time::sleep_until(begun + interval(target.check.interval, speed)).await;
    }
}

/// The time to the next check: the interval, 5 % more or less, so that the checks of many servers do not stay together.
fn interval(interval: Duration, speed: f64) -> Duration {
    interval
        .div_f64(speed)
        .max(SHORTEST)
        .mul_f64(rand::random_range(0.95..=1.05))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_vary_by_a_twentieth() {
        // contract: lb-check-timing
        let second = Duration::from_secs(1);
        let drawn: Vec<_> = (0..1000).map(|_| interval(60 * second, 1.0)).collect();
        assert!(
            drawn
                .iter()
                .all(|it| (57 * second..=63 * second).contains(it))
        );
        assert!(
            drawn.iter().any(|it| *it < 58 * second) && drawn.iter().any(|it| *it > 62 * second)
        );
        assert!(interval(second, 1e6) >= SHORTEST.mul_f64(0.95));
    }
}
