//! Kills of what does not serve.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Stage, start_master};
use crate::{pid_of, signal};

/// Between two kills, milliseconds.
const PAUSE: std::ops::Range<u64> = 200..1_200;
/// How long the master stays away, milliseconds.
const AWAY: std::ops::Range<u64> = 0..1_000;
/// How many of a hundred kills are the master's.
const MASTERS: u32 = 20;
/// How long a task is stopped before it is killed: what the edge was about to hear about it, it has heard by then.
const HEARD: Duration = Duration::from_millis(150);

/// Kills until the end, and leaves everything at work.
pub(super) async fn run(
    stage: Arc<Stage>,
    seed: u64,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        let pause = Duration::from_millis(random.random_range(PAUSE));
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return Ok(());
        }
        if stage.kills_left.load(Relaxed) == 0 {
            continue;
        }
        let has_killed = if random.random_range(0..100) < MASTERS {
            let away = Duration::from_millis(random.random_range(AWAY));
            stage.kill_master(away).await?;
            true
        } else {
            stage.kill_idle(random.random()).await?
        };
        if has_killed {
            // The next swap may have begun meanwhile, with as many as it may have.
            let _ = stage
                .kills_left
                .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }
}

impl Stage {
    async fn kill_master(&self, away: Duration) -> anyhow::Result<()> {
        self.note(&format!("the master is killed, away for {away:?}"));
        self.apart().kill("master")?;
        self.counts().masters += 1;
        sleep(away).await;
        start_master(&mut self.apart(), self.drains)?;
        Ok(())
    }

    /// Kills a task that takes no requests, if there is one; `any` chooses. Whether it has.
    async fn kill_idle(&self, any: u32) -> anyhow::Result<bool> {
        let Some(tasks) = self.idle().await else {
            return Ok(false);
        };
        if tasks.is_empty() {
            return Ok(false);
        }
        let (task_id, state) = &tasks[any as usize % tasks.len()];
        // Its executor may not have got so far.
        let Some(pid) = pid_of(task_id) else {
            return Ok(false);
        };
        // It may become one that serves at this very moment, but not once it stands still.
        if signal(pid, "-STOP").is_err() {
            return Ok(false);
        }
        sleep(HEARD).await;
        let is_still = self.idle().await;
        let is_still = is_still.is_some_and(|idle| idle.iter().any(|(id, _)| id == task_id));
        // Either may find that it has ended.
        if !is_still {
            let _ = signal(pid, "-CONT");
            return Ok(false);
        }
        if signal(pid, "-KILL").is_err() {
            return Ok(false);
        }
        self.note(&format!("{task_id} is killed, {state}"));
        let mut counts = self.counts();
        match state.as_str() {
            "MAINT" => counts.drained += 1,
            _ => counts.starting += 1,
        }
        Ok(true)
    }

    /// Tasks that the edge sends nothing: those it does not know, and those it has drained. None if nobody answers.
    async fn idle(&self) -> Option<Vec<(String, String)>> {
        let url = format!("{}/v2/tasks", self.front);
        let answer: Value = self.http.get_json(&url).await.ok()?;
        let servers = self.servers().await.ok()?;
        let tasks = answer["tasks"].as_array()?.iter();
        let idle = tasks.filter_map(|task| {
            let id = task["id"].as_str()?;
            // One that is drained by order is in no table, but still answers what it has.
            if task["state"] == "TASK_KILLING" {
                return None;
            }
            let host = task["host"].as_str()?.replace('.', "_");
            let name = format!("{host}_{}", task["ports"][0]);
            let results = task["healthCheckResults"].as_array();
            let is_alive = results.is_some_and(|all| all.iter().any(|one| one["alive"] == true));
            match servers.iter().find(|(server, ..)| *server == name) {
                // The edge is about to hear of one that is alive.
                None if is_alive => None,
                None => Some((id.to_owned(), "not in use".to_owned())),
                Some((_, state, 0)) if state == "MAINT" => Some((id.to_owned(), state.clone())),
                Some(_) => None,
            }
        });
        Some(idle.collect())
    }
}
