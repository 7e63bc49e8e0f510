//! Kills: SIGTERM is held only for edges, never past the deadline, and repeated until the task has ended (§4.8, Z20).

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::event::EventKind;
use zddcluster_model::{DeploymentId, EdgeId, TaskId, TaskState};

use crate::State;
use crate::effect::Effect;
use crate::sim::mirror::Mirror;

/// SIGTERM is held for edges at most this long, and repeated this often; milliseconds.
const DEADLINE_MILLIS: i64 = 10_000;

/// What is known of kills.
#[derive(Default)]
pub(super) struct Kills {
    /// Since when SIGTERM is held, and for which edges.
    held: BTreeMap<TaskId, (i64, BTreeSet<EdgeId>)>,
    /// When SIGTERM last went out.
    signalled: BTreeMap<TaskId, i64>,
    sentenced: BTreeMap<DeploymentId, BTreeSet<TaskId>>,
    stopped_at: Option<i64>,
    /// Edges that have connected to this master.
    connected: BTreeSet<EdgeId>,
    restarted_at: i64,
}

impl Kills {
    /// What edges promised before is for the next master to learn again; its clock of repeats is what it persisted.
    pub(super) fn master_restarted(&mut self, now: i64, state: &State) {
        self.held.clear();
        self.stopped_at = None;
        self.connected.clear();
        self.restarted_at = now;
        self.signalled = state
            .killing
            .iter()
            .map(|task_id| (task_id.clone(), now))
            .collect();
    }

    pub(super) const fn stops(&mut self, now: i64) {
        self.stopped_at = Some(now);
    }

    pub(super) fn let_go(&mut self, edge_id: &EdgeId, task_id: &TaskId) {
        if let Some((_, edges)) = self.held.get_mut(task_id) {
            edges.remove(edge_id);
        }
    }

    pub(super) fn edge_here(&mut self, edge_id: &EdgeId) {
        self.connected.insert(edge_id.clone());
    }

    pub(super) fn edge_gone(&mut self, edge_id: &EdgeId) {
        self.connected.remove(edge_id);
        for (_, edges) in self.held.values_mut() {
            edges.remove(edge_id);
        }
    }

    pub(super) fn sentenced(&mut self, plan: &DeploymentId, named: &[TaskId]) {
        let named = named.iter().cloned().collect();
        self.sentenced.insert(plan.clone(), named);
    }

    pub(super) fn plan_succeeds(&self, plan: &DeploymentId, mirror: &Mirror) {
        for task_id in self.sentenced.get(plan).into_iter().flatten() {
            let task = mirror.tasks.get(task_id);
            assert!(
                task.is_none_or(|task| !task.is_launched()),
                "{task_id} was to go with {plan}, and is there"
            );
        }
    }

    pub(super) fn ended(&mut self, task_id: &TaskId) {
        self.held.remove(task_id);
        self.signalled.remove(task_id);
    }

    pub(super) fn step(&mut self, now: i64, effects: &[Effect], after: &State, mirror: &Mirror) {
        for effect in effects {
            match effect {
                Effect::Drain(edge_id, task_id) => {
                    // An edge that comes back is told again; the deadline stays.
                    let task = after.tasks.get(task_id);
                    let Some(killing) = task.and_then(|task| task.killing.as_ref()) else {
                        // It ended in this step.
                        continue;
                    };
                    let since = killing.since.as_millis();
                    let (_, edges) = self
                        .held
                        .entry(task_id.clone())
                        .or_insert_with(|| (since, BTreeSet::new()));
                    edges.insert(edge_id.clone());
                }
                Effect::Kill(order) => {
                    let held = self.held.remove(&order.task_id);
                    if let Some((since, mut edges)) = held
                        && self.stopped_at != Some(now)
                    {
                        // Edges of before a restart are waited for as long as for a drain.
                        if now >= self.restarted_at + DEADLINE_MILLIS {
                            edges.retain(|edge_id| self.connected.contains(edge_id));
                        }
                        assert!(
                            edges.is_empty() || now >= since + DEADLINE_MILLIS,
                            "{}: SIGTERM before {edges:?} let go",
                            order.task_id
                        );
                    }
                    if let Some(task) = mirror.tasks.get(&order.task_id)
                        && task.is_launched()
                    {
                        assert_eq!(
                            task.held.agent_id, order.agent_id,
                            "{}: SIGTERM at the wrong agent",
                            order.task_id
                        );
                        assert_eq!(
                            task.state,
                            TaskState::Killing,
                            "{}: SIGTERM without a decision",
                            order.task_id
                        );
                        self.signalled.insert(order.task_id.clone(), now);
                    }
                }
                _ => {}
            }
        }
        holds_nothing_else(effects, after);
        for task_id in after.killing.iter() {
            let last = self.signalled.get(task_id);
            let held = self.held.get(task_id).map(|(since, _)| since);
            let Some(last) = last.or(held) else {
                panic!("{task_id}: neither held nor signalled");
            };
            assert!(
                now < last + DEADLINE_MILLIS,
                "{task_id}: SIGTERM is {} ms late",
                now - last - DEADLINE_MILLIS
            );
        }
    }
}

/// A health kill goes out at once, and so does every kill while no edge is there.
fn holds_nothing_else(effects: &[Effect], after: &State) {
    let is_sent = |task_id: &TaskId| {
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Kill(order) if order.task_id == *task_id))
    };
    let published = effects.iter().filter_map(|effect| match effect {
        Effect::Publish(event) => Some(&event.kind),
        _ => None,
    });
    let mut last_sick = None;
    for kind in published {
        match kind {
            EventKind::UnhealthyTaskKill { task_id, .. } => last_sick = Some(task_id),
            EventKind::StatusUpdate {
                task_id,
                task_status: TaskState::Killing,
                ..
            } => {
                let must_go = last_sick == Some(task_id) || after.edges.is_empty();
                assert!(
                    !must_go || is_sent(task_id) || !after.tasks.contains_key(task_id),
                    "{task_id}: SIGTERM is held for nobody"
                );
            }
            _ => {}
        }
    }
}
