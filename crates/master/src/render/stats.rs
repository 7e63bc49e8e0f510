//! Counts and statistics over the tasks of one app (contract marathon §1.11, §6.4).

use std::sync::Arc;

use serde_json::{Map, Value, json};
use zddcluster_engine::state::Task;
use zddcluster_model::{App, TaskState, Timestamp};

/// `tasksStaged, tasksRunning, tasksHealthy, tasksUnhealthy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) staged: usize,
    pub(crate) running: usize,
    pub(crate) healthy: usize,
    pub(crate) unhealthy: usize,
}

impl Counts {
    pub(crate) fn of<'a>(tasks: impl IntoIterator<Item = &'a &'a Arc<Task>>) -> Self {
        let mut counts = Self::default();
        for task in tasks {
            match task.state {
                TaskState::Staging => counts.staged += 1,
                TaskState::Running => counts.running += 1,
                TaskState::Starting
                | TaskState::Killing
                | TaskState::Finished
                | TaskState::Failed
                | TaskState::Killed
                | TaskState::Lost
                | TaskState::Error => {}
            }
            let mut results = task.health.iter().flatten().peekable();
            if results.peek().is_some() {
                if results.all(|result| result.alive) {
                    counts.healthy += 1;
                } else {
                    counts.unhealthy += 1;
                }
            }
        }
        counts
    }

    pub(crate) fn insert_into(self, json: &mut Map<String, Value>) {
        let Self {
            staged,
            running,
            healthy,
            unhealthy,
        } = self;
        json.insert("tasksStaged".to_owned(), staged.into());
        json.insert("tasksRunning".to_owned(), running.into());
        json.insert("tasksHealthy".to_owned(), healthy.into());
        json.insert("tasksUnhealthy".to_owned(), unhealthy.into());
    }
}

/// `taskStats`: up to four keys, each only if it has tasks.
pub(crate) fn task_stats(app: &App, tasks: &[&Arc<Task>], now: Timestamp) -> Value {
    let config = app.config_version();
    let scaling = app
        .version_info
        .map_or(app.version, |info| info.last_scaling_at);
    let mut stats = Map::new();
    let mut add = |key: &str, is_in: &dyn Fn(&Task) -> bool| {
        let selected: Vec<&Arc<Task>> = tasks.iter().copied().filter(|task| is_in(task)).collect();
        if !selected.is_empty() {
            stats.insert(key.to_owned(), json!({ "stats": summary(&selected, now) }));
        }
    };
    add("startedAfterLastScaling", &|task| task.version >= scaling);
    add("withLatestConfig", &|task| task.version >= config);
    add("withOutdatedConfig", &|task| task.version < config);
    add("totalSummary", &|_| true);
    stats.into()
}

fn summary(tasks: &[&Arc<Task>], now: Timestamp) -> Value {
    let Counts {
        staged,
        running,
        healthy,
        unhealthy,
    } = Counts::of(tasks);
    let mut summary = json!({
        "counts": {
            "staged": staged, "running": running, "healthy": healthy, "unhealthy": unhealthy,
        },
    });
    let mut ages: Vec<f64> = tasks
        .iter()
        .filter_map(|task| task.started_at)
        .map(|started| now.as_secs_f64() - started.as_secs_f64())
        .collect();
    ages.sort_by(f64::total_cmp);
    if !ages.is_empty() {
        let n = ages.len();
        let median = f64::midpoint(ages[(n - 1) / 2], ages[n / 2]);
        let average = ages.iter().sum::<f64>() / n as f64;
        summary["lifeTime"] = json!({ "averageSeconds": average, "medianSeconds": median });
    }
    summary
}

#[cfg(test)]
mod tests;
