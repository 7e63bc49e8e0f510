//! Kills of tasks that serve: what is in flight on them is lost, and nothing else.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use tokio::time::{Instant, sleep};

use super::{INSTANCES, Stage};
use crate::load::{Failure, Kind, Load, Report};
use crate::{eventually, pid_of, signal};

/// How long a task stands still before it is killed, so that there is something in flight on it.
const STILL: Duration = Duration::from_millis(100);

/// A task that served.
#[derive(Debug)]
pub struct Killed {
    /// Its id.
    pub task: String,
    /// Requests and tunnels in flight on it, by the edge's word, a moment before.
    pub in_flight: u64,
    /// Between these two.
    pub at: (Instant, Instant),
}

/// Kills so many serving tasks one after the other, each when all are there, with so many requests a second.
///
/// # Errors
/// When the service does not come back to its full number.
pub async fn kill_serving(
    n_kills: usize,
    rate: f64,
    origin: &str,
) -> anyhow::Result<(Report, Vec<Killed>)> {
    let stage = Stage::set(true).await?;
    stage.first_deploy(origin).await?;
    let load = Load::start(stage.service, rate);
    let mut killed = Vec::new();
    for _ in 0..n_kills {
        // Connections that are kept, tunnels and uploads have their turn on each task.
        sleep(Duration::from_secs(1)).await;
        killed.push(stage.kill_one_that_serves().await?);
        stage.all_serve().await;
    }
    Ok((load.stop().await, killed))
}

/// What a kill may not have cost: a request that can be sent twice, or one that was not under way when a task was killed.
pub fn needless<'a>(report: &'a Report, killed: &[Killed]) -> Vec<&'a Failure> {
    let is_a_cost = |failure: &&Failure| {
        let was_under_way = |kill: &Killed| match failure.kind {
            // A tunnel that is cut is seen by its next frame.
            Kind::Websocket if failure.what.contains(&kill.task) => failure.failed_at >= kill.at.0,
            _ => failure.sent_at <= kill.at.1 && kill.at.0 <= failure.failed_at,
        };
        !failure.kind.is_repeatable() && killed.iter().any(was_under_way)
    };
    let failures = report.failures.iter();
    failures.filter(|failure| !is_a_cost(failure)).collect()
}

impl Stage {
    /// Waits until the edge has all tasks in use, and no other.
    pub(super) async fn all_serve(&self) {
        eventually("all tasks behind the edge", || async {
            let servers = self.servers().await.map_err(|error| format!("{error:?}"))?;
            let n_up = servers.iter().filter(|(_, state, _)| state == "UP").count();
            match n_up == INSTANCES as usize && servers.len() == n_up {
                true => Ok(()),
                false => Err(format!("{servers:?}")),
            }
        })
        .await;
    }

    async fn kill_one_that_serves(&self) -> anyhow::Result<Killed> {
        let answer = self.get("/v2/tasks").await;
        let task = &answer["tasks"][0];
        let id = task["id"].as_str().context("a task")?.to_owned();
        let host = task["host"].as_str().context("a host")?.replace('.', "_");
        let name = format!("{host}_{}", task["ports"][0]);
        let pid = pid_of(&id).context("a process")?;
        signal(pid, "-STOP")?;
        sleep(STILL).await;
        let servers = self.servers().await?;
        let server = servers.iter().find(|(server, ..)| *server == name);
        let (_, state, in_flight) = server.with_context(|| format!("no {name}: {servers:?}"))?;
        ensure!(state == "UP", "it does not serve: {state}");
        let before = Instant::now();
        signal(pid, "-KILL")?;
        let at = (before, Instant::now());
        self.note(&format!("{id} is killed with {in_flight} in flight"));
        Ok(Killed {
            task: id,
            in_flight: *in_flight,
            at,
        })
    }
}
