//! Scaling of one app: who goes, and how many come.
//!
//! Source: contract marathon §3.4; Marathon 1.3 `ScalingProposition` and `TaskStartActor`.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use zddcluster_model::{TaskId, TaskState, Timestamp};

use crate::state::Task;

/// A scaling on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scaling {
    /// Tasks that were chosen to go; all of them have to end first.
    pub(crate) victims: BTreeSet<TaskId>,
    /// New tasks that have to be launched, healthy and ready; set when the victims are gone.
    pub(crate) wanted: Option<i64>,
}

/// Chooses the tasks to kill so that `target` are left: `max(surplus, sentenced ones)`, the sentenced first, then those on their
/// way out, unreachable, staging, starting, running, the youngest first.
pub(crate) fn victims(
    tasks: &[Arc<Task>],
    target: u32,
    sentenced: &BTreeSet<TaskId>,
) -> Vec<Arc<Task>> {
    let n_sentenced = tasks
        .iter()
        .filter(|task| sentenced.contains(&task.id))
        .count();
    let surplus = tasks.len().saturating_sub(target as usize);
    let mut order: Vec<&Arc<Task>> = tasks.iter().collect();
    order.sort_by_key(|task| (!sentenced.contains(&task.id), kill_class(task), youth(task)));
    order
        .into_iter()
        .take(surplus.max(n_sentenced))
        .map(Arc::clone)
        .collect()
}

/// Old tasks in the order in which a rolling restart kills them: on their way out, not running, unhealthy, oldest first.
pub(crate) fn replacement_order(tasks: &mut [Arc<Task>]) {
    tasks.sort_by_key(|task| {
        let is_unhealthy = task.health.iter().flatten().any(|result| !result.alive);
        let class = match task.state {
            TaskState::Killing => 0,
            TaskState::Running if !is_unhealthy => 3,
            TaskState::Running => 2,
            _ => 1,
        };
        (
            class,
            task.started_at.unwrap_or(task.staged_at),
            task.id.clone(),
        )
    });
}

fn kill_class(task: &Task) -> u8 {
    match task.state {
        TaskState::Killing => 0,
        TaskState::Lost => 1,
        TaskState::Staging => 2,
        TaskState::Starting => 3,
        _ => 4,
    }
}

fn youth(task: &Task) -> (Reverse<Timestamp>, Reverse<TaskId>) {
    (
        Reverse(task.started_at.unwrap_or(task.staged_at)),
        Reverse(task.id.clone()),
    )
}
