//! Persistent volumes: each is one app's, stays on its agent, is used by one task at a time, and goes only when it may.
//!
//! A book of its own, from the orders to agents; the engine's reservations are only asked which of them are condemned.

use std::collections::{BTreeMap, BTreeSet};

use zddcluster_model::agent::LaunchTask;
use zddcluster_model::app::App;
use zddcluster_model::{AgentId, AppId, TaskId};

use crate::State;
use crate::sim::fair::{Kept, amounts};
use crate::sim::mirror::Mirror;

/// All volumes of one instance.
struct Entry {
    app_id: AppId,
    agent_id: AgentId,
    ids: Vec<String>,
    amounts: [i64; 3],
    /// The last task that has had it.
    task_id: Option<TaskId>,
    /// Its app was gone, or somebody has asked for its end.
    may_go: bool,
}

/// The book.
#[derive(Default)]
pub(super) struct Volumes {
    /// By their first id.
    entries: BTreeMap<String, Entry>,
    destroyed: BTreeSet<String>,
}

impl Volumes {
    /// A new master: what it has read is what there is; the last orders of its predecessor may not have been heard.
    pub(super) fn master_restarted(&mut self, state: &State) {
        let mut may_go: BTreeSet<String> = BTreeSet::new();
        for (id, entry) in std::mem::take(&mut self.entries) {
            if entry.may_go {
                may_go.insert(id);
            }
        }
        for reservation in state.reservations.values() {
            let volumes = reservation.volumes.iter();
            let ids: Vec<String> = volumes.map(|it| it.persistence_id.clone()).collect();
            let Some(first) = ids.first().cloned() else {
                panic!("{}: no volumes", reservation.id);
            };
            assert!(!self.destroyed.contains(&first), "{first} is there again");
            let holder = state
                .tasks
                .values()
                .find(|task| task.local_volumes == reservation.volumes);
            let entry = Entry {
                app_id: reservation.app_id.clone(),
                agent_id: reservation.agent_id.clone(),
                ids,
                amounts: [reservation.cpus, reservation.mem, reservation.disk],
                task_id: holder.map(|task| task.id.clone()),
                may_go: may_go.contains(&first) || reservation.is_condemned,
            };
            self.entries.insert(first, entry);
        }
        self.destroyed.extend(state.freed.keys().cloned());
    }

    /// What is kept on agents, for who looks for a place.
    pub(super) fn kept(&self, mirror: &Mirror, after: &State) -> Vec<Kept> {
        let condemned = condemned(after);
        let entries = self.entries.iter();
        entries
            .map(|(first, entry)| {
                let is_condemned = condemned.contains(first);
                let is_held = entry.is_held(mirror);
                Kept {
                    app_id: entry.app_id.clone(),
                    agent_id: entry.agent_id.clone(),
                    amounts: entry.amounts,
                    is_free: !is_held && !is_condemned,
                    is_condemned,
                }
            })
            .collect()
    }

    /// A task is launched; `mirror` does not know it yet.
    pub(super) fn launched(&mut self, launch: &LaunchTask, app: &App, mirror: &Mirror) {
        let wanted = app.volumes().filter(|volume| volume.persistent.is_some());
        let wanted: Vec<&String> = wanted.map(|volume| &volume.container_path).collect();
        let given = launch.volumes.iter();
        let given: Vec<&String> = given.map(|volume| &volume.container_path).collect();
        let (task_id, agent_id) = (&launch.task_id, &launch.agent_id);
        assert_eq!(wanted, given, "{task_id}: its volumes");
        let Some(first) = launch.volumes.first().map(|it| &it.persistence_id) else {
            return;
        };
        assert!(!self.destroyed.contains(first), "{first} was destroyed");
        let ids: Vec<String> = launch
            .volumes
            .iter()
            .map(|volume| volume.persistence_id.clone())
            .collect();
        match self.entries.get_mut(first) {
            Some(entry) => {
                assert_eq!(entry.agent_id, *agent_id, "{first} moves");
                assert_eq!(entry.app_id, app.id, "{first} is another app's");
                assert_eq!(entry.ids, ids, "{task_id}: volumes of two");
                assert!(!entry.is_held(mirror), "{first} has two tasks");
                entry.task_id = Some(task_id.clone());
            }
            None => {
                assert!(launch.volumes.iter().all(|volume| volume.is_new));
                let entry = Entry {
                    app_id: app.id.clone(),
                    agent_id: agent_id.clone(),
                    ids,
                    amounts: amounts(app),
                    task_id: Some(task_id.clone()),
                    may_go: false,
                };
                self.entries.insert(first.clone(), entry);
            }
        }
    }

    /// Somebody has asked for the end of these tasks' volumes, or of all of an app's.
    pub(super) fn wiped(&mut self, tasks: &BTreeSet<TaskId>, app_id: Option<&AppId>) {
        for entry in self.entries.values_mut() {
            let is_named = entry.task_id.as_ref().is_some_and(|id| tasks.contains(id));
            entry.may_go |= is_named || Some(&entry.app_id) == app_id;
        }
    }

    /// An agent is told to destroy volumes; `mirror` is as of this moment.
    pub(super) fn destroys(
        &mut self,
        agent_id: &AgentId,
        ids: &[String],
        mirror: &Mirror,
        after: &State,
    ) {
        for id in ids {
            let Some(entry) = self.entries.remove(id) else {
                let belongs = self.entries.values().any(|entry| entry.ids.contains(id));
                assert!(!belongs, "{id} goes without its like");
                // Again, or the second volume of an instance that has just gone.
                self.destroyed.insert(id.clone());
                continue;
            };
            assert_eq!(entry.agent_id, *agent_id, "{id} is to go from elsewhere");
            assert!(!entry.is_held(mirror), "{id} is to go under its task");
            self.destroyed.extend(entry.ids.iter().cloned());
            let is_app_gone = !keeps_volumes(after, &entry.app_id);
            assert!(
                entry.may_go || is_app_gone,
                "{id} is to go, and nobody has asked for that"
            );
        }
    }

    /// What is gone from the tree, or keeps nothing there any more, may go from agents.
    pub(super) fn end_of_step(&mut self, after: &State) {
        for entry in self.entries.values_mut() {
            entry.may_go |= !keeps_volumes(after, &entry.app_id);
        }
        assert_eq!(
            self.entries.len(),
            after.reservations.size(),
            "volumes nobody ordered"
        );
    }
}

impl Entry {
    fn is_held(&self, mirror: &Mirror) -> bool {
        let task_id = self.task_id.as_ref();
        task_id.is_some_and(|task_id| mirror.may_be_there(task_id))
    }
}

fn keeps_volumes(state: &State, app_id: &AppId) -> bool {
    state.root.app(app_id).is_some_and(|app| app.is_resident())
}

/// What goes with its task, by volume.
fn condemned(state: &State) -> BTreeSet<&String> {
    let reservations = state.reservations.values();
    reservations
        .filter(|reservation| reservation.is_condemned)
        .flat_map(|reservation| reservation.volumes.iter())
        .map(|volume| &volume.persistence_id)
        .collect()
}
