//! Rolling restart of one app: how many old tasks may be killed now, and how many new ones started.
//!
//! Marathon's `TaskReplaceActor` in pure form. [`Rollout::look`] is asked again whenever a task of the app changes, and never
//! waits.
//!
//! ```text
//!   old ──(kill at once: launched − min)──────────────────▶ killing ──▶ gone ──▶ room for one new task
//!   old ──(one for each new task healthy and ready)───────▶ killing ──▶ gone ──▶ room for one new task
//!   (none) ──(old + started < max)──▶ queued ──▶ launched ──▶ running ──▶ healthy ──▶ ready
//! ```
//!
//! Counts are tasks. `min` = ⌈n·minimumHealthCapacity⌉, `max` = ⌊n·(1 + maximumOverCapacity)⌋ in doubles; one more if `max` =
//! `min` and that many are launched, else nothing could ever move. Old tasks count until they are *terminal*.
//!
//! Beyond the original: when new tasks die after an old one was killed for them, or after a restart of the master, a further
//! kill waits until it leaves at least the promised number of tasks. Without such faults this never makes a difference.
//!
//! Source: contract marathon §3.3; Marathon 1.3 `TaskReplaceActor`.

use std::collections::BTreeSet;

use zddcluster_model::TaskId;
use zddcluster_model::app::UpgradeStrategy;

/// The arithmetic of one rolling restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Tasks that are kept at least.
    pub(crate) min_healthy: i64,
    /// Tasks that are launched at most.
    pub(crate) max_capacity: i64,
    /// Old tasks to kill at once.
    pub(crate) kill_now: i64,
}

impl Bounds {
    /// Bounds for `instances` wanted, with `old` tasks to replace and `new` ones of the target version launched already.
    ///
    /// `new` is 0 but for a deployment that goes on after a restart of the master.
    pub(crate) fn new(
        instances: u32,
        strategy: UpgradeStrategy,
        old: usize,
        new: usize,
        is_resident: bool,
    ) -> Self {
        let n = f64::from(instances);
        let launched = (old + new) as i64;
        let old = old as i64;
        let min_healthy = (n * strategy.minimum_health_capacity).ceil() as i64;
        let mut max_capacity = (n * (1.0 + strategy.maximum_over_capacity)).trunc() as i64;
        let mut kill_now = (old - min_healthy).max(0);
        if min_healthy == max_capacity && max_capacity <= launched {
            if is_resident {
                kill_now = (old - min_healthy + 1).max(0);
            } else {
                max_capacity += 1;
            }
        }
        Self {
            min_healthy,
            max_capacity,
            kill_now,
        }
    }
}

/// What an app's tasks look like to its rolling restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Old tasks that are launched, those on their way out included.
    pub(crate) old_launched: i64,
    /// Old tasks that are launched and not on their way out.
    pub(crate) old_kept: i64,
    /// New tasks that are launched.
    pub(crate) new_launched: i64,
    /// New tasks that wait in the launch queue.
    pub(crate) queued: i64,
    /// New tasks, launched now, that are healthy and ready.
    pub(crate) good: BTreeSet<TaskId>,
}

/// What may be done now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moves {
    /// How many of the old tasks to kill, in kill order, those already on their way out not counted.
    pub(crate) kill: i64,
    /// How many new tasks to put into the launch queue.
    pub(crate) queue: i64,
    /// Nothing is left to do.
    pub(crate) is_done: bool,
}

/// A rolling restart on its way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rollout {
    instances: i64,
    bounds: Bounds,
    /// New tasks queued so far; never decreases.
    started: i64,
    /// Tasks that a pairing kill has to leave: `min`, or all of them if there were fewer from the start.
    floor: i64,
    /// New tasks that have been healthy and ready, each once.
    credited: BTreeSet<TaskId>,
    /// Pairing kills earned and not yet carried out.
    credit: i64,
}

impl Rollout {
    /// Begins: the bounds, and the number of new tasks that are launched already.
    pub(crate) fn new(instances: u32, bounds: Bounds, old: usize, new: usize) -> Self {
        let launched = (old + new) as i64;
        Self {
            instances: i64::from(instances),
            bounds,
            started: new as i64,
            floor: bounds.min_healthy.min(launched),
            credited: BTreeSet::new(),
            credit: 0,
        }
    }

    /// Its arithmetic.
    pub(crate) const fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Decides what may be done for the app as it is now; the caller does all of it before it asks again.
    pub(crate) fn look(&mut self, view: &View) -> Moves {
        // `start()`: asked at any time it gives more only when an old task has ended.
        let room = (self.bounds.max_capacity - view.old_launched - self.started).max(0);
        self.started += room.min((self.instances - self.started).max(0));

        // A new task that ended is replaced at once, whatever the bounds say.
        let queue = (self.started - view.new_launched - view.queued).max(0);

        for task_id in &view.good {
            if self.credited.insert(task_id.clone()) {
                self.credit += 1;
            }
        }
        let good = view.good.len() as i64;
        // With all new tasks good nothing is left to wait for.
        let is_complete = good >= self.instances;
        // No more new tasks may start before an old one ends, and none is on its way: waiting longer would be for ever.
        let is_stuck = view.old_kept == view.old_launched && good == self.started;
        let mut kept = view.old_kept;
        let mut kill = 0;
        while kept > 0 {
            let leaves_enough = kept + good > self.floor;
            // Once, and without credit too: lost tasks that came back may have taken the room for new ones.
            // Bounds without play, as a resident app has, then give way by one, as they do at the start.
            let may_get_unstuck = is_stuck && kill == 0;
            let is_earned = self.credit > 0 && leaves_enough;
            if !(is_complete || is_earned || may_get_unstuck) {
                break;
            }
            kept -= 1;
            kill += 1;
            self.credit = (self.credit - 1).max(0);
        }
        let is_done = view.old_launched == 0 && is_complete && view.queued == 0;
        Moves {
            kill,
            queue,
            is_done,
        }
    }
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
