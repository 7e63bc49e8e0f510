//! One step in progress: the state being changed, the time, and the effects gathered so far.
//!
//! All changes of tasks go through [`Turn::put_task`] and [`Turn::remove_task`], which keep the indexes right and the store
//! informed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand_chacha::rand_core::Rng;
use zddcluster_model::deployment::Download;
use zddcluster_model::event::{Event, EventKind};
use zddcluster_model::{AgentId, AppId, TaskId, Timestamp};

use crate::persist;
use crate::state::{State, Task, Usage};
use crate::{Config, Effect, Mutation};

/// Where 1970 lies in the 100-ns ticks since 1582 that version-1 UUIDs count.
const UNIX_EPOCH_TICKS: u64 = 0x01B2_1DD2_1381_4000;

/// 100-ns ticks in a millisecond.
const TICKS_PER_MILLI: u64 = 10_000;

/// One step in progress.
pub(crate) struct Turn<'a> {
    pub(crate) config: &'a Config,
    pub(crate) state: &'a mut State,
    pub(crate) now: Timestamp,
    pub(crate) effects: Vec<Effect>,
    /// Apps whose tasks, queue or plans changed in this step: their deployments look at them.
    pub(crate) touched: BTreeSet<AppId>,
    /// Apps whose number of tasks has to be compared with their instances before the step ends.
    pub(crate) unbalanced: BTreeSet<AppId>,
    /// Files that the next deployment of this step needs in the artifact store.
    pub(crate) downloads: BTreeMap<AppId, Vec<Download>>,
    /// Tasks launched in this step.
    pub(crate) n_launched: usize,
}

impl<'a> Turn<'a> {
    /// Begins a step; time never runs backwards.
    pub(crate) fn begin(config: &'a Config, state: &'a mut State, now: Timestamp) -> Self {
        let now = now.max(state.clock);
        state.clock = now;
        Self {
            config,
            state,
            now,
            effects: Vec::new(),
            touched: BTreeSet::new(),
            unbalanced: BTreeSet::new(),
            downloads: BTreeMap::new(),
            n_launched: 0,
        }
    }

    /// A control-plane duration at the configured speed, at least one millisecond.
    pub(crate) fn scaled(&self, millis: i64) -> i64 {
        scaled(self.config, millis)
    }

    /// A new version, later than every earlier one of the tree.
    ///
    /// With many changes in a millisecond it runs ahead of the time; the time must not follow, or deadlines come late.
    pub(crate) fn new_version(&self) -> Timestamp {
        self.now.max(self.state.root.version.plus_millis(1))
    }

    /// Remembers that an app has to be looked at before the step ends.
    pub(crate) fn touch(&mut self, app_id: &AppId) {
        self.touched.insert(app_id.clone());
    }

    /// Remembers, besides, that it may have more or fewer tasks than instances.
    ///
    /// Only what the contract names leads here (§3.6): a task that ended, the sweep, the end of a plan. So a stopped
    /// deployment leaves everything as it is for a while.
    pub(crate) fn unbalance(&mut self, app_id: &AppId) {
        self.touch(app_id);
        self.unbalanced.insert(app_id.clone());
    }

    pub(crate) fn publish(&mut self, kind: EventKind) {
        self.effects.push(Effect::Publish(Event {
            timestamp: self.now,
            kind,
        }));
    }

    pub(crate) fn persist(&mut self, mutation: Mutation) {
        self.effects.push(Effect::Persist(mutation));
    }

    /// A random number below `bound` (which must not be 0).
    pub(crate) fn random_below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.state.rng.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// A random UUID of version 4.
    pub(crate) fn random_uuid(&mut self) -> uuid::Uuid {
        let mut bytes = [0; 16];
        self.state.rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// A new task id: time-based, with this process' node part.
    pub(crate) fn new_task_id(&mut self, app_id: &AppId) -> TaskId {
        let millis = self.now.as_millis().max(0).unsigned_abs();
        let tick = (UNIX_EPOCH_TICKS + millis * TICKS_PER_MILLI).max(self.state.last_tick + 1);
        self.state.last_tick = tick;
        let timestamp = uuid::Timestamp::from_gregorian_time(tick, 0);
        TaskId::for_app(app_id, &uuid::Uuid::new_v1(timestamp, &self.config.node))
    }

    /// Stores a task, new or changed.
    pub(crate) fn put_task(&mut self, task: Task) {
        self.persist(persist::put_task(&task));
        index_task(self.state, Arc::new(task));
    }

    /// Changes a task where nothing of it is persisted (health results).
    pub(crate) fn put_task_unsaved(&mut self, task: Task) {
        index_task(self.state, Arc::new(task));
    }

    /// Forgets a task.
    pub(crate) fn remove_task(&mut self, id: &TaskId) -> Option<Arc<Task>> {
        let task = self.state.tasks.get(id).map(Arc::clone)?;
        unindex_task(self.state, &task);
        self.state.tasks.remove_mut(id);
        self.persist(persist::remove_task(id));
        Some(task)
    }
}

/// A control-plane duration at the configured speed, at least one millisecond.
pub(crate) fn scaled(config: &Config, millis: i64) -> i64 {
    ((millis as f64 / config.speed) as i64).max(1)
}

/// A resource amount in millionths.
pub(crate) fn millionths(amount: f64) -> i64 {
    (amount * 1e6).round() as i64
}

/// Puts a task and brings the indexes up to it.
pub(crate) fn index_task(state: &mut State, task: Arc<Task>) {
    let old = state.tasks.get(&task.id).map(Arc::clone);
    if let Some(old) = old {
        if old.is_launched() && task.is_launched() {
            // What it holds is fixed at the launch.
            unindex_kill(state, &old);
            index_kill(state, &task);
            state.tasks.insert_mut(task.id.clone(), task);
            return;
        }
        unindex_task(state, &old);
    }
    let mut ids = state.by_app.get(&task.app_id).cloned().unwrap_or_default();
    ids.insert_mut(task.id.clone());
    state.by_app.insert_mut(task.app_id.clone(), ids);
    if task.is_launched() {
        change_usage(state, &task, 1);
    } else {
        state.lost.insert_mut(task.id.clone());
    }
    if task.is_launched() {
        index_kill(state, &task);
    }
    state.tasks.insert_mut(task.id.clone(), task);
}

fn index_kill(state: &mut State, task: &Task) {
    if let Some(killing) = &task.killing {
        state.killing.insert_mut(task.id.clone());
        let signal = (killing.next_signal, task.id.clone());
        state.signals.insert_mut(signal);
    }
}

fn unindex_kill(state: &mut State, task: &Task) {
    if let Some(killing) = &task.killing {
        state.killing.remove_mut(&task.id);
        let signal = (killing.next_signal, task.id.clone());
        state.signals.remove_mut(&signal);
    }
}

fn unindex_task(state: &mut State, task: &Task) {
    if let Some(mut ids) = state.by_app.get(&task.app_id).cloned() {
        ids.remove_mut(&task.id);
        if ids.is_empty() {
            state.by_app.remove_mut(&task.app_id);
        } else {
            state.by_app.insert_mut(task.app_id.clone(), ids);
        }
    }
    if task.is_launched() {
        change_usage(state, task, -1);
    }
    unindex_kill(state, task);
    if state.lost.remove_mut(&task.id) {
        // Its ports were kept from other agents of its host.
        state.queue_is_stale = true;
    }
}

fn change_usage(state: &mut State, task: &Task, sign: i64) {
    let mut usage: Usage = state
        .usage
        .get(&task.agent_id)
        .map(|u| (**u).clone())
        .unwrap_or_default();
    // What is reserved stays so when the task ends.
    if task.reservation.is_none() {
        usage.cpus += sign * task.cpus;
        usage.mem += sign * task.mem;
        usage.disk += sign * task.disk;
    }
    if sign > 0 {
        usage.tasks += 1;
        usage.ports.extend(task.ports.iter().copied());
    } else {
        usage.tasks -= 1;
        for port in &task.ports {
            usage.ports.remove(port);
        }
        state.queue_is_stale = true;
    }
    state
        .usage
        .insert_mut(task.agent_id.clone(), Arc::new(usage));
}

/// Adds cores, memory and disk to what is in use on an agent; millionths.
pub(crate) fn change_amounts(state: &mut State, agent_id: &AgentId, [cpus, mem, disk]: [i64; 3]) {
    let usage = state.usage.get(agent_id);
    let mut usage: Usage = usage.map(|usage| (**usage).clone()).unwrap_or_default();
    usage.cpus += cpus;
    usage.mem += mem;
    usage.disk += disk;
    state.usage.insert_mut(agent_id.clone(), Arc::new(usage));
}
