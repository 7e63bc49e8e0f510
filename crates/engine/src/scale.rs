//! Scaling of one app: who goes, and how many come.
//!
//! Source: contract marathon §3.4; Marathon 1.3 `ScalingProposition` and `TaskStartActor`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zddcluster_model::app::{App, Constraint, KillSelection, Operator};
use zddcluster_model::{TaskId, TaskState, Timestamp};

use crate::constraint::field_of;
use crate::state::{State, Task};

/// A scaling on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scaling {
    /// Tasks that were chosen to go; all of them have to end first.
    pub(crate) victims: BTreeSet<TaskId>,
    /// Tasks that were on their way out for another reason when it began (a stopped removal): they are no instances. One that is
    /// killed later is, until it has ended.
    pub(crate) leaving: BTreeSet<TaskId>,
    /// New tasks that have to be launched, healthy and ready; set when the victims are gone.
    pub(crate) wanted: Option<i64>,
}

/// How an app wants those who go to be chosen.
#[derive(Debug, Default)]
pub(crate) struct Preference {
    pub(crate) selection: KillSelection,
    /// One for each GROUP_BY: what the agent of each task has under the constraint's field.
    pub(crate) groupings: Vec<BTreeMap<TaskId, Option<String>>>,
}

impl Preference {
    /// What the app says, for these tasks of it.
    pub(crate) fn of(state: &State, app: &App, tasks: &[Arc<Task>]) -> Self {
        let constraints = app.constraints.iter();
        let groupings = constraints.filter(|constraint| constraint.operator == Operator::GroupBy);
        let value = |task: &Task, field: &str| {
            let agent = state.agents.get(&task.agent_id)?;
            field_of(agent, field).map(str::to_owned)
        };
        let grouping = |constraint: &Constraint| {
            let tasks = tasks.iter();
            tasks
                .map(|task| (task.id.clone(), value(task, &constraint.field)))
                .collect()
        };
        Self {
            selection: app.kill_selection,
            groupings: groupings.map(grouping).collect(),
        }
    }
}

/// Chooses the tasks to kill so that `target` are left: `max(surplus, sentenced ones)`.
///
/// First the sentenced, then those on their way out, then those whose loss keeps GROUP_BY balanced; the rest unreachable,
/// staging, starting, running. Within a class the youngest go first, or the oldest, as the app prefers.
pub(crate) fn victims(
    tasks: &[Arc<Task>],
    target: u32,
    sentenced: &BTreeSet<TaskId>,
    preference: &Preference,
) -> Vec<Arc<Task>> {
    let is_sentenced = |task: &Arc<Task>| sentenced.contains(&task.id);
    let n_sentenced = tasks.iter().filter(|task| is_sentenced(task)).count();
    let surplus = tasks.len().saturating_sub(target as usize);
    let n_victims = surplus.max(n_sentenced);
    let mut order: Vec<&Arc<Task>> = tasks.iter().collect();
    match preference.selection {
        KillSelection::YoungestFirst => order.sort_by_key(|task| {
            let class = (!is_sentenced(task), kill_class(task));
            (class, Reverse((since(task), task.id.clone())))
        }),
        KillSelection::OldestFirst => order.sort_by_key(|task| {
            let class = (!is_sentenced(task), kill_class(task));
            (class, (since(task), task.id.clone()))
        }),
    }
    let is_free = |task: &&Arc<Task>| !is_sentenced(task) && task.state != TaskState::Killing;
    let n_fixed = order.iter().filter(|task| !is_free(task)).count();
    let (fixed, free) = order.split_at(n_fixed);
    let n_chosen = n_victims.saturating_sub(n_fixed);
    let balanced = balance(free, n_chosen, &preference.groupings);
    let rest = free
        .iter()
        .filter(|task| !balanced.iter().any(|chosen| chosen.id == task.id));
    let chosen = fixed.iter().chain(&balanced).chain(rest);
    chosen
        .take(n_victims)
        .map(|task| Arc::clone(task))
        .collect()
}

/// At most `n` of the tasks, in that order, each of whose loss leaves every grouping balanced, or better than it was.
///
/// Source: Marathon 1.3 `Constraints.selectTasksToKill`.
fn balance<'a>(
    tasks: &[&'a Arc<Task>],
    n: usize,
    groupings: &[BTreeMap<TaskId, Option<String>>],
) -> Vec<&'a Arc<Task>> {
    let mut groupings: Vec<Grouping<'_>> = groupings
        .iter()
        .map(|values| Grouping::new(values, tasks))
        .collect();
    let mut chosen: Vec<&Arc<Task>> = Vec::new();
    let mut left: Vec<&Arc<Task>> = tasks.to_vec();
    while !groupings.is_empty() && chosen.len() < n {
        // Out of the fullest groups of the most uneven grouping first.
        let uneven = groupings.iter().max_by_key(|grouping| grouping.gap(None));
        let is_in_fullest =
            |task: &Arc<Task>| uneven.is_some_and(|uneven| uneven.is_full(&task.id));
        let fullest = left.iter().position(|task| {
            is_in_fullest(task) && groupings.iter().all(|grouping| grouping.admits(&task.id))
        });
        let place = fullest.or_else(|| {
            let admits = |task: &&Arc<Task>| groupings.iter().all(|one| one.admits(&task.id));
            left.iter().position(admits)
        });
        let Some(place) = place else { break };
        let task = left.remove(place);
        for grouping in &mut groupings {
            grouping.take(&task.id);
        }
        chosen.push(task);
    }
    chosen
}

/// How many tasks there are with each value of a field.
struct Grouping<'a> {
    values: &'a BTreeMap<TaskId, Option<String>>,
    sizes: BTreeMap<Option<&'a str>, usize>,
    gap_at_first: usize,
}

impl<'a> Grouping<'a> {
    fn new(values: &'a BTreeMap<TaskId, Option<String>>, tasks: &[&Arc<Task>]) -> Self {
        let mut grouping = Self {
            values,
            sizes: BTreeMap::new(),
            gap_at_first: 0,
        };
        for task in tasks {
            *grouping.sizes.entry(grouping.value(&task.id)).or_default() += 1;
        }
        grouping.gap_at_first = grouping.gap(None);
        grouping
    }

    fn value(&self, id: &TaskId) -> Option<&'a str> {
        self.values.get(id)?.as_deref()
    }

    /// Between the largest group and the smallest, perhaps without a task.
    fn gap(&self, without: Option<&TaskId>) -> usize {
        let reduced = without.map(|id| self.value(id));
        let sizes = self.sizes.iter();
        let sizes = sizes.map(|(value, size)| size - usize::from(reduced == Some(*value)));
        let (least, most) = sizes.fold((usize::MAX, 0), |(least, most), size| {
            (least.min(size), most.max(size))
        });
        most.saturating_sub(least)
    }

    /// Whether the groups differ by at most one without the task, or by less than at first.
    fn admits(&self, id: &TaskId) -> bool {
        let gap = self.gap(Some(id));
        gap <= 1 || gap < self.gap_at_first
    }

    /// Whether the task is in one of the largest groups, where not all are as large.
    fn is_full(&self, id: &TaskId) -> bool {
        let most = self.sizes.values().max();
        self.gap(None) > 0 && self.sizes.get(&self.value(id)) == most
    }

    fn take(&mut self, id: &TaskId) {
        if let Some(size) = self.sizes.get_mut(&self.value(id)) {
            *size -= 1;
        }
    }
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

fn since(task: &Task) -> Timestamp {
    task.started_at.unwrap_or(task.staged_at)
}
