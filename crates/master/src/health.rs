//! The prober: carries out the engine's check orders and feeds the outcomes back.
//!
//! One task a check. A health check asks all RUNNING tasks of its app version together, first min(interval, 5 s) after the
//! order, then every interval; a readiness check asks its one task at once, then every interval until it is ready. Rounds may
//! overlap when the timeout is longer than the interval. Intervals are divided by the speed; timeouts are not, since a machine
//! does not answer faster for it. What an outcome means is the engine's business. Source: contract marathon §6.2, §6.5.
//!
//! | protocol | asked by |
//! |---|---|
//! | HTTP, HTTPS, TCP | the master, at the task's host and host port (or its own address) |
//! | MESOS_HTTP, MESOS_HTTPS, MESOS_TCP | the task's agent, in the network where the task listens (Z7) |
//! | COMMAND | the task's agent, which runs it beside the task |

mod by_agent;
mod endpoint;
mod readiness;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use zddcluster_client::ask::{self, Scheme};
use zddcluster_engine::state::Task;
use zddcluster_engine::{CheckOrder, CheckVerdict, Input};
use zddcluster_model::agent::Check;
use zddcluster_model::app::{HealthCheck, HealthProtocol};
use zddcluster_model::{App, AppId, TaskId, TaskState, Timestamp};
use zddcluster_runtime::{Error, OnFailure};

use crate::metrics::Asked;
use crate::shared::{Message, Shared};

/// The first round comes at most this long after a check was added; it is Marathon's constant.
const FIRST_ROUND_MILLIS: u64 = 5_000;
/// Questions that one check may have open at one task: rounds overlap when the timeout is longer than the interval, but a task
/// that never answers must not take the master's sockets. Marathon's defaults (60 s, 20 s) never have two.
const MOST_OPEN: usize = 8;
/// Questions that are open at once, all checks together; others wait for their turn, and their time limit begins with it.
/// A round of thousands of tasks must not take the file descriptors of callers and agents. At a millisecond each, as tasks
/// on one machine answer, a round of ten thousand takes 40 ms.
const MOST_AT_ONCE: usize = 256;
/// Questions of one health check, or of one app's readiness checks, that are open at once: tasks of one app that do not answer
/// must not keep the others waiting.
pub(crate) const MOST_OF_A_CHECK: usize = 96;
/// No interval becomes shorter than this by the speed: loopback answers need a few milliseconds.
const SHORTEST: Duration = Duration::from_millis(50);

/// What runs, and how to stop it; and how much may be asked at once.
#[derive(Clone)]
struct Running {
    checks: Arc<Mutex<BTreeMap<Key, CancellationToken>>>,
    turns: Arc<Semaphore>,
    /// For the readiness checks of each app that has some.
    turns_of_apps: Arc<Mutex<BTreeMap<AppId, Weak<Semaphore>>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Health(AppId, Timestamp, usize),
    Readiness(TaskId),
}

/// Takes orders until the master stops.
pub(crate) async fn run(
    shared: Arc<Shared>,
    mut orders: mpsc::Receiver<CheckOrder>,
) -> Result<(), Error> {
    let running = Running {
        checks: Arc::default(),
        turns: Arc::new(Semaphore::new(MOST_AT_ONCE)),
        turns_of_apps: Arc::default(),
    };
    let token = shared.token().clone();
    loop {
        let order = tokio::select! {
            biased;
            // Cancel-safe: only waits for a state.
            () = token.cancelled() => return Ok(()),
            // Cancel-safe: `recv` keeps the order when dropped.
            order = orders.recv() => order,
        };
        match order {
            None => return Ok(()),
            Some(CheckOrder::StartHealth { app, check_idx }) => {
                start_health(&shared, &running, app, check_idx);
            }
            Some(CheckOrder::StopHealth { app_id, version }) => {
                stop(
                    &running,
                    |key| matches!(key, Key::Health(id, v, _) if *id == app_id && *v == version),
                );
            }
            Some(CheckOrder::StartReadiness { task_id, app }) => {
                readiness::start(&shared, &running, task_id, app);
            }
            Some(CheckOrder::StopReadiness { task_id }) => {
                stop(
                    &running,
                    |key| matches!(key, Key::Readiness(id) if *id == task_id),
                );
            }
        }
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, CancellationToken>> {
        // A panic elsewhere leaves only whole entries behind.
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a check that came to its end. One that was stopped is forgotten already, and its name may be another's by now.
    fn ended(&self, key: &Key, token: &CancellationToken) {
        let mut checks = self.lock();
        // Cancelled under the lock alone, but for a master that ends.
        if !token.is_cancelled() {
            checks.remove(key);
        }
    }

    /// What the readiness checks of an app share.
    fn turns_of(&self, app_id: &AppId) -> Arc<Semaphore> {
        let known = self.turns_of_apps.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = known.get(app_id).and_then(Weak::upgrade) {
            return turns;
        }
        let turns = Arc::new(Semaphore::new(MOST_OF_A_CHECK));
        known.insert(app_id.clone(), Arc::downgrade(&turns));
        turns
    }

    /// Forgets it when the last of them has ended.
    fn leave(&self, app_id: &AppId, turns: Arc<Semaphore>) {
        let known = self.turns_of_apps.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        drop(turns);
        if known
            .get(app_id)
            .is_some_and(|turns| turns.strong_count() == 0)
        {
            known.remove(app_id);
        }
    }
}

fn stop(running: &Running, is_meant: impl Fn(&Key) -> bool) {
    running.lock().retain(|key, token| {
        let is_stopped = is_meant(key);
        if is_stopped {
            token.cancel();
        }
        !is_stopped
    });
}

/// A token for a check that is not yet running; `None` if it is.
fn claim(shared: &Shared, running: &Running, key: &Key) -> Option<CancellationToken> {
    let mut running = running.lock();
    if running.contains_key(key) {
        return None;
    }
    let token = shared.token().child_token();
    running.insert(key.clone(), token.clone());
    Some(token)
}

fn divided(millis: u64, speed: f64) -> Duration {
    let divided = Duration::from_millis(millis).div_f64(speed.max(f64::MIN_POSITIVE));
    divided.max(SHORTEST)
}

fn every(first: Duration, interval: Duration) -> Interval {
    let mut rounds = tokio::time::interval_at(Instant::now() + first, interval);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    rounds
}

// === Health ===

fn start_health(shared: &Arc<Shared>, running: &Running, app: Arc<App>, check_idx: usize) {
    let Some(check) = app.health_checks.get(check_idx).cloned() else {
        return;
    };
    let key = Key::Health(app.id.clone(), app.version, check_idx);
    let Some(token) = claim(shared, running, &key) else {
        return;
    };
    let (shared, turns) = (Arc::clone(shared), Arc::clone(&running.turns));
    shared
        .tasks
        .clone()
        .spawn("health-check", OnFailure::Log, async move {
            check_health(&shared, &token, &turns, &app, check_idx, &check).await;
            Ok(())
        });
}

async fn check_health(
    shared: &Arc<Shared>,
    token: &CancellationToken,
    turns: &Arc<Semaphore>,
    app: &Arc<App>,
    check_idx: usize,
    check: &HealthCheck,
) {
    let interval_millis = check.interval_seconds.saturating_mul(1000);
    let first = divided(interval_millis.min(FIRST_ROUND_MILLIS), shared.speed);
    let mut rounds = every(first, divided(interval_millis, shared.speed));
    let timeout = Duration::from_secs(check.timeout_seconds);
    let own_turns = Arc::new(Semaphore::new(MOST_OF_A_CHECK));
    let mut asked = JoinSet::new();
    let mut n_open: BTreeMap<TaskId, usize> = BTreeMap::new();
    loop {
        tokio::select! {
            biased;
            // Cancel-safe: only waits for a state. What is being asked is dropped with the set.
            () = token.cancelled() => return,
            // Cancel-safe: a finished one stays in the set until it is returned.
            Some(outcome) = asked.join_next() => {
                let Ok((task_id, verdict)) = outcome else { continue };
                if let Some(n) = n_open.get_mut(&task_id) {
                    *n -= 1;
                    if *n == 0 {
                        n_open.remove(&task_id);
                    }
                }
                if let Some(verdict) = verdict {
                    shared.metrics.checked(Asked::Health, verdict == CheckVerdict::Healthy);
                    let input = Input::Health { task_id, check_idx, verdict };
                    if shared.send(Message::Input(input)).await.is_err() {
                        return;
                    }
                }
            }
            // Cancel-safe: a tick is kept.
            _ = rounds.tick() => {
                for task in shared.state().tasks_of(&app.id) {
                    if task.version != app.version || task.state != TaskState::Running {
                        continue;
                    }
                    let n = n_open.entry(task.id.clone()).or_default();
                    if *n >= MOST_OPEN {
                        continue;
                    }
                    *n += 1;
                    let (app, check, task) = (Arc::clone(app), check.clone(), Arc::clone(task));
                    let (shared, turns) = (Arc::clone(shared), Arc::clone(turns));
                    let own_turns = Arc::clone(&own_turns);
                    asked.spawn(async move {
                        // Never closed. The own one first: who waits for it must not hold one of all.
                        let _own_turn = own_turns.acquire().await;
                        let _turn = turns.acquire().await;
                        let verdict = verdict(&shared, &app, &check, &task, timeout).await;
                        (task.id.clone(), verdict)
                    });
                }
            }
        }
    }
}

/// What came of a question.
#[derive(Debug)]
enum Outcome {
    /// What it says of the task's health.
    Verdict(CheckVerdict),
    /// The status of an answer of HTTP.
    Status(u16),
}

impl Outcome {
    /// `None` if it changes nothing.
    fn verdict(self, check: &HealthCheck) -> Option<CheckVerdict> {
        let status = match self {
            Self::Verdict(verdict) => return Some(verdict),
            Self::Status(status) => status,
        };
        match status {
            200..400 => Some(CheckVerdict::Healthy),
            100..200 if check.ignore_http1xx => None,
            _ => Some(CheckVerdict::Unhealthy(
                match StatusCode::from_u16(status) {
                    Ok(status) => status.to_string(),
                    Err(_) => status.to_string(),
                },
            )),
        }
    }
}

/// Asks one task; `None` if the answer changes nothing.
async fn verdict(
    shared: &Shared,
    app: &App,
    check: &HealthCheck,
    task: &Task,
    timeout: Duration,
) -> Option<CheckVerdict> {
    let no_port = || {
        let cause = "Missing/invalid port index and no explicit port specified";
        Some(CheckVerdict::Unhealthy(cause.to_owned()))
    };
    let question = match check.protocol {
        HealthProtocol::Http | HealthProtocol::Https | HealthProtocol::Tcp => None,
        HealthProtocol::Command => {
            // One without a command is refused when the app is written.
            let command = check.command.as_ref()?;
            Some(Check::Command(command.value.clone()))
        }
        HealthProtocol::MesosHttp | HealthProtocol::MesosHttps | HealthProtocol::MesosTcp => {
            let Some(port) = endpoint::inside(app, task, check.port_index, check.port) else {
                return no_port();
            };
            Some(match scheme(check.protocol) {
                None => Check::Tcp { port },
                Some(scheme) => Check::Http {
                    is_https: scheme == Scheme::Https,
                    path: path(check).to_owned(),
                    port,
                },
            })
        }
    };
    if let Some(question) = question {
        match by_agent::ask(shared, question, task, timeout).await {
            by_agent::Asked::Outcome(outcome) => return outcome.verdict(check),
            by_agent::Asked::Nothing => return None,
            by_agent::Asked::TooOld => {}
        }
    }
    let at = endpoint::outside(app, task, check.port_index, check.port);
    let Some(at) = at else { return no_port() };
    ask_here(check, at, timeout).await.verdict(check)
}

/// Asks from here.
async fn ask_here(check: &HealthCheck, (host, port): (&str, u16), timeout: Duration) -> Outcome {
    let unhealthy = |cause: String| Outcome::Verdict(CheckVerdict::Unhealthy(cause));
    match scheme(check.protocol) {
        None => match ask::connect(host, port, timeout).await {
            Ok(()) => Outcome::Verdict(CheckVerdict::Healthy),
            Err(refusal) => unhealthy(refusal.to_string()),
        },
        Some(scheme) => match ask::get(scheme, (host, port), path(check), timeout, 0).await {
            Ok(answer) => Outcome::Status(answer.status.as_u16()),
            Err(failure) => unhealthy(failure.to_string()),
        },
    }
}

fn path(check: &HealthCheck) -> &str {
    check.path.as_deref().unwrap_or("/")
}

/// Of protocols that ask by HTTP.
fn scheme(protocol: HealthProtocol) -> Option<Scheme> {
    match protocol {
        HealthProtocol::Http | HealthProtocol::MesosHttp => Some(Scheme::Http),
        HealthProtocol::Https | HealthProtocol::MesosHttps => Some(Scheme::Https),
        HealthProtocol::Tcp | HealthProtocol::MesosTcp | HealthProtocol::Command => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_stopped_check_is_not_that_of_the_next_one() {
        let running = Running {
            checks: Arc::default(),
            turns: Arc::new(Semaphore::new(1)),
            turns_of_apps: Arc::default(),
        };
        let key = Key::Readiness(TaskId::new("a.1"));
        let begin = || {
            let token = CancellationToken::new();
            running.lock().insert(key.clone(), token.clone());
            token
        };
        let first = begin();
        stop(&running, |it| *it == key);
        let second = begin();
        running.ended(&key, &first);
        assert!(running.lock().contains_key(&key), "it can be stopped");
        running.ended(&key, &second);
        assert!(!running.lock().contains_key(&key));
    }
}
