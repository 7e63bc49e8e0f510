//! Persistent volumes: what an instance of a resident app leaves on its agent, and where the next one finds it.
//!
//! All volumes of one instance are made together, on one agent, with a reservation of what its tasks need there. The reservation
//! outlives the task; whoever takes the instance's place takes it over, and so runs on the same agent, on the same data.
//!
//! ```text
//!   (none) ──launch, while there are fewer than instances──▶ held ◀──launch── free
//!                                                             │ └──task ends──▶ ▲
//!      wipe ──▶ condemned ──task ends──▶ freed ◀──── wipe, app is gone ─────────┘
//!                                          └──DestroyVolumes, again at each registration──▶ the agent has it no more
//! ```
//!
//! What is freed is written down by its persistence ids before any agent hears of it, and an agent is told to destroy only those: a
//! volume that a master knows nothing of, perhaps since it lost its own memory, is left alone. Ports are not reserved.
//!
//! A lost task holds its reservation for ever (`WAIT_FOREVER`): its agent may come back with it. An app that is scaled down
//! keeps the data of all its former instances for when it is scaled up again; only a kill with `wipe`, the end of the app, and
//! the end of a rollback to an app without volumes free any. Source: contract marathon §1.10, §2.4, §4.7; Marathon's page on
//! stateful applications.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zddcluster_model::agent::MountVolume;
use zddcluster_model::app::App;
use zddcluster_model::task::LocalVolume;
use zddcluster_model::{AgentId, AppId, TaskId, TaskState};

use crate::effect::Effect;
use crate::persist;
use crate::state::{Agent, State, Task};
use crate::turn::{Turn, change_amounts, millionths};

/// What one instance of a resident app keeps on its agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// Names it.
    pub id: Uuid,
    /// The app.
    pub app_id: AppId,
    /// The agent; it never changes.
    pub agent_id: AgentId,
    /// The volumes, in the order of the definition.
    pub volumes: Vec<LocalVolume>,
    /// Cores, millionths.
    pub cpus: i64,
    /// Memory, millionths of a MiB.
    pub mem: i64,
    /// Disk with the volumes, millionths of a MiB.
    pub disk: i64,
    /// A task has run with it: the volumes are there.
    pub is_made: bool,
    /// It is freed as soon as its task has ended, and nobody takes it over.
    pub is_condemned: bool,
}

/// Where one more instance of a resident app may go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// Reservations that no task holds, by agent; in order of their ids, and none empty.
    free: BTreeMap<AgentId, VecDeque<Arc<Reservation>>>,
    /// How many more may be made: each instance has one.
    n_missing: usize,
    /// The hosts of those that an instance waits for: free ones, and those of lost tasks. Their agents are here.
    pub(crate) hosts: Arc<[String]>,
    /// The same where the agents are away.
    pub(crate) away: Arc<[String]>,
}

impl Claims {
    /// The one that the next instance on an agent takes over.
    pub(crate) fn free_on(&self, agent_id: &AgentId) -> Option<&Arc<Reservation>> {
        self.free.get(agent_id)?.front()
    }

    /// There are fewer than instances.
    pub(crate) const fn may_reserve(&self) -> bool {
        self.n_missing > 0
    }

    /// One more instance was launched on an agent: with what is free there, or else with one of its own. Hosts stay as they were.
    pub(crate) fn take(&mut self, agent_id: &AgentId) {
        let Some(free) = self.free.get_mut(agent_id) else {
            self.n_missing = self.n_missing.saturating_sub(1);
            return;
        };
        free.pop_front();
        if free.is_empty() {
            self.free.remove(agent_id);
        }
    }
}

#[cfg(test)]
thread_local! {
    /// How often the claims of an app were gathered, each time from all its tasks and reservations.
    pub(crate) static CLAIMS_GATHERED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl State {
    /// The reservations of an app, in order of their ids.
    pub fn reservations_of<'a>(
        &'a self,
        app_id: &'a AppId,
    ) -> impl Iterator<Item = &'a Arc<Reservation>> {
        let ids = self.reserved_by.get(app_id).into_iter();
        ids.flat_map(|ids| ids.iter())
            .filter_map(|id| self.reservations.get(id))
    }

    /// The reservations of an app that its tasks hold, launched or lost.
    fn held_of(&self, app_id: &AppId) -> BTreeSet<Uuid> {
        let tasks = self.tasks_of(app_id);
        tasks.filter_map(|task| task.reservation).collect()
    }

    /// Where one more instance of `app` may go; `None` if the app keeps nothing on agents.
    pub(crate) fn claims_of(&self, app: &App) -> Option<Claims> {
        if !app.is_resident() {
            return None;
        }
        let held: BTreeMap<Uuid, bool> = self
            .tasks_of(&app.id)
            .filter_map(|task| Some((task.reservation?, task.is_launched())))
            .collect();
        #[cfg(test)]
        CLAIMS_GATHERED.with(|n| n.set(n.get() + 1));
        let mut claims = Claims::default();
        let mut awaited: BTreeSet<&AgentId> = BTreeSet::new();
        let mut n: usize = 0;
        for reservation in self.reservations_of(&app.id).filter(|it| !it.is_condemned) {
            n += 1;
            let agent_id = &reservation.agent_id;
            let is_launched = held.get(&reservation.id);
            if is_launched.is_none() {
                let free = claims.free.entry(agent_id.clone()).or_default();
                free.push_back(Arc::clone(reservation));
            }
            if is_launched != Some(&true) {
                awaited.insert(agent_id);
            }
        }
        let agents = awaited.into_iter().filter_map(|id| self.agents.get(id));
        let (here, away): (Vec<_>, Vec<_>) = agents.partition(|agent| agent.is_connected);
        let hosts_of = |agents: Vec<&Arc<Agent>>| {
            let hosts = agents.into_iter().map(|agent| agent.hostname.clone());
            hosts.collect()
        };
        claims.hosts = hosts_of(here);
        claims.away = hosts_of(away);
        claims.n_missing = (app.instances as usize).saturating_sub(n);
        Some(claims)
    }

    /// Whether a lost task is kept until its agent comes back: its data is there, and nowhere else.
    pub(crate) fn is_awaited(&self, task: &Task) -> bool {
        let reservation = task.reservation.and_then(|id| self.reservations.get(&id));
        reservation.is_some_and(|reservation| !reservation.is_condemned)
    }

    /// A task's persistent volumes, for its agent.
    pub(crate) fn mounts_of(&self, task: &Task) -> Vec<MountVolume> {
        let reservation = task.reservation.and_then(|id| self.reservations.get(&id));
        let is_new = reservation.is_some_and(|reservation| !reservation.is_made);
        let volumes = task.local_volumes.iter();
        volumes
            .map(|volume| MountVolume {
                container_path: volume.container_path.clone(),
                persistence_id: volume.persistence_id.clone(),
                is_new,
            })
            .collect()
    }
}

/// Disk that one instance takes, its persistent volumes included; millionths of a MiB.
pub(crate) fn disk_of(app: &App) -> i64 {
    let volumes: f64 = app.persistent_volumes().map(|(_, size)| size).sum();
    // Summed before, since a sum of millionths may be too large for them; one amount is cut at the most.
    millionths(app.disk + volumes)
}

/// Puts a reservation, new or changed, and brings the indexes up to it.
pub(crate) fn index_reservation(state: &mut State, reservation: Arc<Reservation>) {
    if state.reservations.get(&reservation.id).is_none() {
        let mut ids = state
            .reserved_by
            .get(&reservation.app_id)
            .cloned()
            .unwrap_or_default();
        ids.insert_mut(reservation.id);
        state
            .reserved_by
            .insert_mut(reservation.app_id.clone(), ids);
        let Reservation {
            cpus, mem, disk, ..
        } = *reservation;
        change_amounts(state, &reservation.agent_id, [cpus, mem, disk]);
    }
    state.reservations.insert_mut(reservation.id, reservation);
}

fn unindex_reservation(state: &mut State, reservation: &Reservation) {
    if !state.reservations.remove_mut(&reservation.id) {
        return;
    }
    if let Some(mut ids) = state.reserved_by.get(&reservation.app_id).cloned() {
        ids.remove_mut(&reservation.id);
        if ids.is_empty() {
            state.reserved_by.remove_mut(&reservation.app_id);
        } else {
            state
                .reserved_by
                .insert_mut(reservation.app_id.clone(), ids);
        }
    }
    let Reservation {
        cpus, mem, disk, ..
    } = *reservation;
    change_amounts(state, &reservation.agent_id, [-cpus, -mem, -disk]);
    state.queue_is_stale = true;
}

impl Turn<'_> {
    fn put_reservation(&mut self, reservation: Reservation) {
        self.persist(persist::put_reservation(&reservation));
        index_reservation(self.state, Arc::new(reservation));
    }

    /// Makes what one more instance of `app` keeps on an agent.
    pub(crate) fn reserve(&mut self, app: &App, agent_id: &AgentId) -> Arc<Reservation> {
        let id = self.random_uuid();
        let paths: Vec<String> = app
            .persistent_volumes()
            .map(|(volume, _)| volume.container_path.clone())
            .collect();
        let name = app.id.safe_name();
        let volumes = paths
            .into_iter()
            .map(|container_path| LocalVolume {
                persistence_id: format!("{name}#{container_path}#{}", self.random_uuid()),
                container_path,
            })
            .collect();
        let reservation = Reservation {
            id,
            app_id: app.id.clone(),
            agent_id: agent_id.clone(),
            volumes,
            cpus: millionths(app.cpus),
            mem: millionths(app.mem),
            disk: disk_of(app),
            is_made: false,
            is_condemned: false,
        };
        self.put_reservation(reservation.clone());
        Arc::new(reservation)
    }

    /// A task runs: its volumes are there from now on.
    pub(crate) fn volumes_are_made(&mut self, task: &Task) {
        let reservation = task
            .reservation
            .and_then(|id| self.state.reservations.get(&id));
        if let Some(reservation) = reservation.filter(|it| !it.is_made) {
            let is_made = true;
            let reservation = Reservation {
                is_made,
                ..(**reservation).clone()
            };
            self.put_reservation(reservation);
        }
    }

    /// A task that ended gives its volumes back: to the next instance, or for good if they are condemned.
    pub(crate) fn give_back(&mut self, task: &Task) {
        let reservation = task
            .reservation
            .and_then(|id| self.state.reservations.get(&id));
        if let Some(reservation) = reservation.filter(|it| it.is_condemned).map(Arc::clone) {
            self.free(&reservation);
        }
    }

    /// Nobody takes a reservation over any more: it is freed as soon as its task has ended.
    fn condemn(&mut self, reservation: &Arc<Reservation>) {
        if !reservation.is_condemned {
            let is_condemned = true;
            self.put_reservation(Reservation {
                is_condemned,
                ..(**reservation).clone()
            });
            // An instance that waits for it needs one of its own now.
            self.state.queue_is_stale = true;
        }
    }

    /// Frees what a reservation holds; its volumes are to be destroyed.
    fn free(&mut self, reservation: &Arc<Reservation>) {
        self.persist(persist::remove_reservation(reservation.id));
        unindex_reservation(self.state, reservation);
        let agent_id = &reservation.agent_id;
        let volumes = reservation.volumes.iter();
        let volume_ids: Vec<String> = volumes
            .map(|volume| volume.persistence_id.clone())
            .collect();
        for id in &volume_ids {
            self.persist(persist::put_freed(id, agent_id));
            self.state.freed.insert_mut(id.clone(), agent_id.clone());
        }
        self.order_destruction(agent_id.clone(), volume_ids);
    }

    fn order_destruction(&mut self, agent_id: AgentId, volume_ids: Vec<String>) {
        self.effects.push(Effect::DestroyVolumes {
            agent_id,
            volume_ids,
        });
    }

    /// An agent says which volumes it keeps: what was freed goes, what is gone is forgotten, anything else is left alone.
    pub(crate) fn reconcile_volumes(&mut self, agent_id: &AgentId, kept: &[String]) {
        let kept: BTreeSet<&String> = kept.iter().collect();
        let freed = self.state.freed.iter();
        let gone: Vec<String> = freed
            .filter(|(id, at)| *at == agent_id && !kept.contains(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.persist(persist::remove_freed(&id));
            self.state.freed.remove_mut(&id);
        }
        let still_there: Vec<String> = kept
            .into_iter()
            .filter(|id| self.state.freed.contains_key(*id))
            .cloned()
            .collect();
        if !still_there.is_empty() {
            self.order_destruction(agent_id.clone(), still_there);
        }
    }

    /// Condemns the volumes of a task that is killed with `wipe`; a lost one is given up.
    pub(crate) fn wipe(&mut self, id: &TaskId) {
        let Some(task) = self.state.tasks.get(id).map(Arc::clone) else {
            return;
        };
        let reservation = task
            .reservation
            .and_then(|id| self.state.reservations.get(&id));
        if let Some(reservation) = reservation.map(Arc::clone) {
            self.condemn(&reservation);
        }
        if !task.is_launched() {
            self.finalize(id, TaskState::Lost, "given up by request".to_owned());
        }
    }

    /// Frees those volumes of an app that no task holds, on one host or on all.
    pub(crate) fn wipe_free(&mut self, app_id: &AppId, host: Option<&str>) {
        let is_there = |reservation: &Reservation| {
            let agent = self.state.agents.get(&reservation.agent_id);
            host.is_none_or(|host| agent.is_some_and(|agent| agent.hostname == host))
        };
        let held = self.state.held_of(app_id);
        let free: Vec<Arc<Reservation>> = self
            .state
            .reservations_of(app_id)
            .filter(|it| is_there(it) && !held.contains(&it.id))
            .map(Arc::clone)
            .collect();
        for reservation in free {
            self.free(&reservation);
        }
    }

    /// Condemns everything that an app keeps on agents: it is gone, or was and another has its name, or keeps nothing any more.
    pub(crate) fn condemn_all(&mut self, app_id: &AppId) {
        let held = self.state.held_of(app_id);
        let all: Vec<Arc<Reservation>> =
            self.state.reservations_of(app_id).map(Arc::clone).collect();
        for reservation in all {
            if held.contains(&reservation.id) {
                self.condemn(&reservation);
            } else {
                self.free(&reservation);
            }
        }
    }
}
